"""Write drawn frames to an mp4 file that common players can play."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from simplepose.utils import atomic
from simplepose.utils.files import check_output_file, create_temporary

# OpenCV's names of the codecs: H.264, which browsers and phones play, and MPEG-4 part 2.
H264, MPEG4 = "avc1", "mp4v"

SUFFIX = ".mp4"

# Bytes of disk space kept free to finish the file, in addition to one frame and the index.
RESERVED_DISK_BYTES = 2**20

# Seconds that a frame of a live source may arrive before it is due and still be written: frames of a stream
# arrive in bursts.
MAX_EARLY_S = 0.25

# Frames by which a frame may come after it is due before the previous one is repeated: times vary a little.
MAX_LATE_FRAMES = 0.75

# Writes a small video in another process and exits with 0 if it can be read back.
_CODEC_TEST_SCRIPT = """
import sys, cv2, numpy
path, codec, rate, width, height = sys.argv[1], sys.argv[2], float(sys.argv[3]), *map(int, sys.argv[4:])
video = cv2.VideoWriter(path, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), rate, (width, height))
for shade in (0, 99, 200):
    video.write(numpy.full((height, width, 3), shade, numpy.uint8))
video.release()
sys.exit(not cv2.VideoCapture(path, cv2.CAP_FFMPEG).read()[0])
"""


class VideoWriter:
    """Write (H, W, 3) uint8 BGR images of any sizes as the frames of an mp4 file.

    The first image sets the size. Odd sides are made even, as the codecs require, by repeating the last row
    or column. Other images are resized to fit, with their aspect ratio kept and black borders. The file is
    written as NAME.partial.mp4 and renamed when it is closed and complete. Without any image there is no
    file. A `with` block closes the writer however the block ends. Not thread-safe.

    Attributes:
        codec: "H.264" if OpenCV's build can encode it at this size, else "MPEG-4"; None before the first
            frame.
        frames: number of frames written.
        repeated: number of these that repeat the previous image until the next one is due.
        dropped: number of images that were left out because they came too early.

    Args:
        path: ends in .mp4; an existing file is replaced.
        frames_per_second: frame rate, > 0.
        codecs: codecs to try, in order of preference.
        max_early_s: seconds by which an image may precede the time at which it is due; at least one frame.

    Raises:
        ValueError: the path (also that of a folder, device, named pipe or socket) or the frame rate is
            invalid, or the folder's name is not UTF-8, which OpenCV cannot open (the file's own may be any).
        OSError: the folder does not exist or cannot be written to; names the path.
    """

    def __init__(
        self,
        path: str | Path,
        frames_per_second: float,
        codecs: tuple[str, ...] = (H264, MPEG4),
        max_early_s: float = MAX_EARLY_S,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != SUFFIX:
            raise ValueError(f"{path}: expected a name that ends in {SUFFIX}")
        if not 0 < frames_per_second <= 1000:
            raise ValueError(f"{path}: expected a frame rate in (0, 1000] fps, got {frames_per_second}")
        self.codec: str | None = None
        self.frames = self.repeated = self.dropped = 0
        self._fps, self._codecs = float(frames_per_second), codecs
        self._max_early_frames = max(1.0, max_early_s * self._fps)
        stem = os.fsencode(self.path.stem).decode(errors="backslashreplace")
        self._partial = self.path.with_name(f"{stem}.partial{SUFFIX}")
        _require_unicode(self._partial)
        self._video: cv2.VideoWriter | None = None
        self._size_hw = (0, 0)
        self._closed = False
        self._start_s: float | None = None
        self._last_image: np.ndarray | None = None
        self._missing_at_start = 0
        check_output_file(self.path)
        with atomic.add_path_to_errors(self.path):
            create_temporary(self._partial).close()

    def write(self, image: np.ndarray, seconds: float | None = None) -> None:
        """Add a frame.

        Args:
            image: (H, W, 3) uint8 BGR.
            seconds: the time at which the frame is due, on the same clock as the first frame's. The previous
                frame is repeated until then, and a frame that comes too early is dropped. The video thus
                keeps the time of a source whose rate varies, that skips frames, or states a wrong rate. None:
                the frame follows the previous one.

        Raises:
            ValueError: the writer is closed.
            OSError: no codec can encode the video, or the disk is almost full. `close` still completes a
                video of the frames written before.
        """
        self._require_open()
        if self._video is None:
            self._open_video(image.shape[:2])
        for _ in range(self._missing_at_start):
            self._append(np.zeros_like(image))
        self._missing_at_start = 0
        due_frame = float(self.frames)
        if seconds is not None:
            if self._start_s is None:
                self._start_s = seconds - self.frames / self._fps
            due_frame = (seconds - self._start_s) * self._fps
            while self._last_image is not None and self.frames < due_frame - MAX_LATE_FRAMES:
                self._append(self._last_image)
                self.repeated += 1
        self._last_image = image
        if self.frames - due_frame <= self._max_early_frames:
            self._append(image)
        else:
            self.dropped += 1

    def write_missing(self) -> None:
        """Add a frame without an image: the previous frame again, or a black frame if it is the first.

        The video thus keeps its length. Raises as `write` does.
        """
        self._require_open()
        if self._last_image is None:
            self._missing_at_start += 1
        else:
            self._append(self._last_image)

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self.path}: the video is closed")

    def _append(self, image: np.ndarray) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if free < RESERVED_DISK_BYTES + image.nbytes + 64 * self.frames:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        assert self._video is not None
        self._video.write(_fit(image, self._size_hw))
        self.frames += 1

    def close(self) -> None:
        """Finish the video and rename it to its final name. A second call does nothing.

        Raises:
            OSError: it could not be written completely; names it. A video of an earlier run stays as it is.
        """
        video, self._video, self._closed = self._video, None, True
        if video is None:
            self._partial.unlink(missing_ok=True)
            return
        video.release()
        try:
            if not _is_complete(self._partial, self.frames):
                reason = "the video could not be written completely; is the disk full?"
                raise OSError(errno.EIO, reason, str(self.path))
            with atomic.add_path_to_errors(self.path):
                atomic.flush_and_rename(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_video(self, size_hw: tuple[int, ...]) -> None:
        """Open the video with the first codec that works."""
        height, width = (side + side % 2 for side in size_hw)
        for codec in self._codecs:
            if codec != MPEG4 and not _can_encode(codec, self._partial, self._fps, (width, height)):
                continue
            fourcc = cv2.VideoWriter.fourcc(*codec)
            video = cv2.VideoWriter(str(self._partial), cv2.CAP_FFMPEG, fourcc, self._fps, (width, height))
            if video.isOpened():
                self._video, self._size_hw = video, (height, width)
                self.codec = "H.264" if codec == H264 else "MPEG-4"
                return
        reason = f"OpenCV cannot encode a video of {width} x {height} pixels ({', '.join(self._codecs)})"
        raise OSError(errno.ENOTSUP, reason, str(self.path))


def _require_unicode(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:  # OpenCV crashes on such a path
        raise ValueError(
            f"{os.fsencode(path)!r}: expected a UTF-8 folder name for a video; choose another folder"
        ) from None


def _can_encode(codec: str, path: Path, fps: float, size_wh: tuple[int, int]) -> bool:
    """Test in a separate process whether OpenCV can write a video with a codec and read it back.

    OpenCV's libraries print errors if a codec is missing; only another process keeps them off the user's
    screen. Some encoders accept a size and fail later.
    """
    arguments = [str(path), codec, str(fps), *map(str, size_wh)]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        test = subprocess.run(
            [sys.executable, "-c", _CODEC_TEST_SCRIPT, *arguments],
            capture_output=True,
            timeout=30,
            check=False,
        )
        return test.returncode == 0
    return False


def _is_complete(path: Path, frames: int) -> bool:
    """Return whether a video can be opened and states the expected number of frames."""
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        return video.isOpened() and round(video.get(cv2.CAP_PROP_FRAME_COUNT)) == frames
    finally:
        video.release()


def _fit(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Fit an image into a frame of another size: keep its aspect ratio, pad with black."""
    height, width = size_hw
    rows, columns = height - image.shape[0], width - image.shape[1]
    if 0 <= rows <= 1 and 0 <= columns <= 1:
        return cv2.copyMakeBorder(image, 0, rows, 0, columns, cv2.BORDER_REPLICATE)
    scale = min(height / image.shape[0], width / image.shape[1])
    size_wh = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    resized = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    padded = np.zeros((height, width, 3), np.uint8)
    top, left = (height - size_wh[1]) // 2, (width - size_wh[0]) // 2
    padded[top : top + size_wh[1], left : left + size_wh[0]] = resized
    return padded
