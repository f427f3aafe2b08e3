"""Drawn frames as a video file that plays wherever its name is seen."""

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

H264, MPEG4 = "avc1", "mp4v"
"""OpenCV's names of the codecs: H.264, which browsers and phones play, and MPEG-4 part 2."""

SUFFIX = ".mp4"
RESERVE = 2**20
"""Bytes of the disk that are left free, beside a frame and its line in the index, to finish the file."""

EARLY_SECONDS = 0.25
"""So much earlier than they are due frames are taken: those of a stream come in bursts."""

_TRIAL = """
import sys, cv2, numpy
path, codec, rate, width, height = sys.argv[1], sys.argv[2], float(sys.argv[3]), *map(int, sys.argv[4:])
film = cv2.VideoWriter(path, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), rate, (width, height))
for shade in (0, 99, 200):
    film.write(numpy.full((height, width, 3), shade, numpy.uint8))
film.release()
sys.exit(not cv2.VideoCapture(path, cv2.CAP_FFMPEG).read()[0])
"""


class FilmWriter:
    """Writes (H, W, 3) uint8 BGR pictures, all of any size, as the frames of an mp4 file.

    The first one sets the size, made even, as the codecs want it, by repeating its last row or column. Others
    are fitted into it: scaled with their shape kept, black beside. The file grows as NAME.partial.mp4 and
    takes its name when it is closed, whole; without a single picture there is none. A `with` block closes it
    however it ends. One thread at a time.

    Attributes:
        codec: "H.264" where OpenCV's build can encode it at this size, else "MPEG-4"; None before the
            first frame.
        frames: how many it has.

    Args:
        path: ends in .mp4; a file that is there is replaced.
        frames_per_second: positive.
        codecs: to try, the best first.

    Raises:
        ValueError: the path or the rate is no such thing, or the folder's name is not UTF-8, which OpenCV
            cannot open (the file's own name may be anything).
        OSError: the folder is not there or cannot be written to; names the path.
    """

    def __init__(
        self, path: str | Path, frames_per_second: float, codecs: tuple[str, ...] = (H264, MPEG4)
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != SUFFIX:
            raise ValueError(f"{path}: a name that ends in {SUFFIX} expected")
        if not 0 < frames_per_second <= 1000:
            raise ValueError(f"{path}: 0 to 1000 frames a second expected, got {frames_per_second}")
        self.codec: str | None = None
        self.frames = 0
        self._rate, self._codecs = float(frames_per_second), codecs
        stem = os.fsencode(self.path.stem).decode(errors="backslashreplace")
        self._partial = self.path.with_name(f"{stem}.partial{SUFFIX}")
        _require_unicode(self._partial)
        self._film: cv2.VideoWriter | None = None
        self._size_hw = (0, 0)
        self._closed = False
        self._began: float | None = None
        self._last: np.ndarray | None = None
        self._missed_first = 0
        with atomic.naming(self.path):
            self._partial.write_bytes(b"")

    def write(self, image: np.ndarray, seconds: float | None = None) -> None:
        """Add a frame.

        Args:
            image: (H, W, 3) uint8 BGR.
            seconds: when it is due, counted from the first frame's, so that the film keeps the time of a
                source that leaves frames out, or has more than it states: those before are shown for as long
                as they last, and one that comes too early is left out. None: the next.

        Raises:
            ValueError: the film is closed.
            OSError: no codec takes the film, or the disk is all but full: what was written before is a
                whole film once it is closed.
        """
        self._require_open()
        if self._film is None:
            self._begin(image.shape[:2])
        while self._missed_first:
            self._missed_first -= 1
            self._add(np.zeros_like(image))
        early = 0.0
        if seconds is not None:
            self._began = seconds if self._began is None else self._began
            due = round((seconds - self._began) * self._rate)
            while self._last is not None and self.frames < due:
                self._add(self._last)
            early = (self.frames - due) / self._rate
        self._last = image
        if early <= EARLY_SECONDS:
            self._add(image)

    def miss(self) -> None:
        """Add a frame that there is no picture of: the one before again; before the first, a black one.

        So the film keeps its length. For frames that have no `seconds`. Raises as `write`.
        """
        self._require_open()
        if self._last is None:
            self._missed_first += 1
        else:
            self._add(self._last)

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self.path}: the film is closed")

    def _add(self, image: np.ndarray) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if free < RESERVE + image.nbytes + 64 * self.frames:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        assert self._film is not None
        self._film.write(_fitted(image, self._size_hw))
        self.frames += 1

    def close(self) -> None:
        """Finish the film and give it its name; a second call does nothing.

        Raises:
            OSError: it could not be written whole; names it. A film of an earlier run is still there.
        """
        film, self._film, self._closed = self._film, None, True
        if film is None:
            self._partial.unlink(missing_ok=True)
            return
        film.release()
        try:
            if not _plays(self._partial, self.frames):
                reason = "the film could not be written whole; is the disk full?"
                raise OSError(errno.EIO, reason, str(self.path))
            with atomic.naming(self.path):
                atomic.settle(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, size_hw: tuple[int, ...]) -> None:
        """Open the film with the first codec that can."""
        height, width = (side + side % 2 for side in size_hw)
        for codec in self._codecs:
            if codec != MPEG4 and not _encodes(codec, self._partial, self._rate, (width, height)):
                continue
            fourcc = cv2.VideoWriter.fourcc(*codec)
            film = cv2.VideoWriter(str(self._partial), cv2.CAP_FFMPEG, fourcc, self._rate, (width, height))
            if film.isOpened():
                self._film, self._size_hw = film, (height, width)
                self.codec = "H.264" if codec == H264 else "MPEG-4"
                return
        reason = f"OpenCV encodes no film of {width} x {height} ({', '.join(self._codecs)})"
        raise OSError(errno.ENOTSUP, reason, str(self.path))


def _require_unicode(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:  # of such a path OpenCV dies
        raise ValueError(
            f"{os.fsencode(path)!r}: a folder whose name is UTF-8 expected for a film; choose another"
        ) from None


def _encodes(codec: str, path: Path, rate: float, size: tuple[int, int]) -> bool:
    """Whether OpenCV makes a film that plays, tried in a process of its own.

    Its libraries print errors where a codec is missing, which nothing but another process keeps from the
    user's screen, and some encoders accept a size only to fail later.
    """
    arguments = [str(path), codec, str(rate), *map(str, size)]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        tried = subprocess.run(
            [sys.executable, "-c", _TRIAL, *arguments], capture_output=True, timeout=30, check=False
        )
        return tried.returncode == 0
    return False


def _plays(path: Path, frames: int) -> bool:
    """Whether a film can be opened and knows of all its frames."""
    film = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        return film.isOpened() and round(film.get(cv2.CAP_PROP_FRAME_COUNT)) == frames
    finally:
        film.release()


def _fitted(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """A picture in a frame of another size: whole, in the middle, black beside."""
    height, width = size_hw
    rows, columns = height - image.shape[0], width - image.shape[1]
    if 0 <= rows <= 1 and 0 <= columns <= 1:
        return cv2.copyMakeBorder(image, 0, rows, 0, columns, cv2.BORDER_REPLICATE)
    factor = min(height / image.shape[0], width / image.shape[1])
    fitting = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    small = cv2.resize(image, fitting, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    framed = np.zeros((height, width, 3), np.uint8)
    top, left = (height - fitting[1]) // 2, (width - fitting[0]) // 2
    framed[top : top + fitting[1], left : left + fitting[0]] = small
    return framed
