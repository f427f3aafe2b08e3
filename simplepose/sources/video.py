"""A video file as a source: every frame in order, with its own time.

`missing_bytes` finds truncated files by the lengths that their headers state. A container's frame count is no
evidence: an edited MP4 counts hidden frames, and Matroska states the duration of the sound where that is
longer. Byte lengths are exact. Supported are MP4 and QuickTime (ISO/IEC 14496-12, 4.2: boxes), Matroska and
WebM (RFC 8794: elements) and AVI (RIFF: chunks).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import cv2

from simplepose.frames import BadFrame, Frame
from simplepose.sources.captures import grab_next_frame, is_url, open_video, redact_url, url_file_name
from simplepose.sources.source_options import SourceOptions

_BOX_TYPES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp")
_EBML_ID, _SEGMENT_ID = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def missing_bytes(path: str | Path) -> int:
    """Compute how many bytes are missing at the end of a video file; 0 if none are, or if this is unknown.

    It is a minimum: if an MP4 is truncated within one box, the boxes after it are missing too.
    """
    with open(path, "rb") as file:
        head = file.read(12)
        size = file.seek(0, 2)
        if head[4:8] in _BOX_TYPES:
            end = _end_of_boxes(file, size)
        elif head.startswith(_EBML_ID):
            end = _end_of_segment(file)
        elif head[:4] == b"RIFF" and head[8:] == b"AVI ":
            end = _end_of_chunks(file, size)
        else:
            return 0
    return max(0, end - size)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        # Length 0: the box extends to the end of the file. Anything else here is not a box.
        if length < 8 or len(head) < 8 or not head[4:8].isascii():
            return size
        position += length
    return position


def _end_of_segment(file: BinaryIO) -> int:
    """Compute the end of a Matroska file's one segment, which follows the header."""
    file.seek(len(_EBML_ID))
    header = _read_length(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(len(_SEGMENT_ID)) != _SEGMENT_ID:
        return 0
    length = _read_length(file)
    return 0 if length is None else file.tell() + length


def _read_length(file: BinaryIO) -> int | None:
    """Read an element's length. The first byte's leading zeros count the next bytes; all ones: unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    bits = 7 * (more + 1)
    rest = file.read(more)
    value = int.from_bytes(first + rest, "big") & ((1 << bits) - 1)
    return None if len(rest) < more or value == (1 << bits) - 1 else value


def _end_of_chunks(file: BinaryIO, size: int) -> int:
    """Compute the end of an AVI's last RIFF chunk; files above 1 GB have several."""
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(8)
        if head[:4] != b"RIFF":  # appended data
            return position
        length = int.from_bytes(head[4:], "little")
        position += 8 + length + length % 2
    return position


class VideoSource:
    """A video file by its path or URL, decoded by OpenCV's FFmpeg.

    A frame that cannot be decoded is a `BadFrame`. A truncated file gives the frames that can be decoded,
    then one `BadFrame` with the number of missing bytes. A complete file with fewer frames than it states is
    only logged: its edit list may hide frames, or its sound may be longer.

    Args:
        path_or_url: a path, or an http(s) URL.
        options: `start`, `every`, `max_frames` and `upright` apply; `timeout` for a URL.
        log: called with messages.

    Attributes:
        total: number of frames by the count that the file states, which some containers only estimate.
        frames_per_second: the video's rate divided by `every`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file contains no video frame.
    """

    live = False
    dropped = 0

    def __init__(self, path_or_url: str, options: SourceOptions, log: Callable[[str], None]) -> None:
        self._is_file = not is_url(path_or_url)
        self._location = path_or_url if self._is_file else redact_url(path_or_url)
        self._options = options
        self._log = log
        self._lock = threading.Lock()  # close() waits for the frame that is being read
        self._undecoded = 0  # frames right before the newest one that could not be decoded
        if self._is_file and not os.path.isfile(path_or_url):
            raise FileNotFoundError(f"{path_or_url}: no such video file")
        self._capture = open_video(path_or_url, options.upright, options.timeout)
        if self._capture is None or not self._grab(self._capture):
            self.close()
            raise ValueError(self._no_video_message())
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self._stated_count = int(count) if 0 < count < 1e9 else None
        self._frame_seconds = 1 / rate if rate > 0 else 0.0
        self.name = os.path.basename(path_or_url) if self._is_file else url_file_name(path_or_url)
        self.total = options.count_selected(self._stated_count)
        self.frames_per_second = options.selected_rate(rate)

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        """Decode the frames in order.

        Raises:
            ValueError: the video ends before `start`.
        """
        options, yielded, count = self._options, 0, 0
        try:
            for frame in self._all_positions():
                count += 1
                if frame is not None:
                    yield frame
                    yielded += 1
                if yielded == options.max_frames:
                    return
            if self._capture is None:  # closed before the end, which is not an error of the video
                return
            if not yielded:
                raise ValueError(
                    f"{self._location}: expected more than {options.start:,} frames, got {count:,}"
                )
            if (message := self._check_complete(count)) is not None:
                yield BadFrame(count, self.name, message)
        finally:
            self.close()

    def _all_positions(self) -> Iterator[Frame | BadFrame | None]:
        """Yield an entry for each position of the video: a frame, or None if it is not selected."""
        number, seconds = 0, 0.0
        while (decoded := self._decode(number, seconds)) is not None:
            frame, seconds = decoded
            for undecoded in range(number, number + self._undecoded):
                yield self._bad_frame(undecoded) if self._options.selects(undecoded) else None
            number += self._undecoded + 1
            yield frame

    def _grab(self, capture: cv2.VideoCapture) -> bool:
        """Advance to the next frame that can be decoded; returns whether one exists."""
        undecoded = grab_next_frame(capture, self._options.timeout)
        self._undecoded = undecoded or 0
        return undecoded is not None

    def _decode(self, number: int, previous_seconds: float) -> tuple[Frame | BadFrame | None, float] | None:
        """Decode the next frame.

        Args:
            number: position after the previous frame; the constructor has already grabbed the first frame.
            previous_seconds: time of the previous frame.

        Returns:
            The frame (None if it is not selected) and its time, seconds; None at the end.
        """
        with self._lock:
            capture = self._capture
            if capture is None or (number and not self._grab(capture)):
                return None
            number += self._undecoded
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if number and seconds <= previous_seconds:  # raw streams of some codecs have no times
                seconds = previous_seconds + self._frame_seconds
            if not self._options.selects(number):
                return None, seconds
            decoded, image = capture.retrieve()
        if decoded:
            return Frame(number, self.name, image, seconds), seconds
        return self._bad_frame(number), seconds

    def _bad_frame(self, number: int) -> BadFrame:
        return BadFrame(number, self.name, f"{self._location}: frame {number} could not be decoded")

    def _check_complete(self, count: int) -> str | None:
        """Return an error message if a video that ended after `count` frames is certainly truncated."""
        frames = (
            f"it states {self._stated_count:,} frames and ends after {count:,}"
            if self._stated_count
            else f"it ends after {count:,} frames"
        )
        if self._is_file and (missing := missing_bytes(self._location)):
            return f"{self._location}: truncated: at least {missing:,} bytes are missing at its end; {frames}"
        if self._stated_count and self._stated_count - count > max(2, self._stated_count // 100):
            self._log(f"{self._location}: {frames}: edited, damaged, or its sound is longer")
        return None

    def _no_video_message(self) -> str:
        if not self._is_file:
            return f"{self._location}: expected the URL of a video file, got no video that FFmpeg can read"
        size = os.path.getsize(self._location)
        missing = missing_bytes(self._location)
        reason = (
            f"truncated: at least {missing:,} bytes are missing at its end"
            if missing
            else "empty, damaged or not a video"
        )
        return f"{self._location}: no video frame in these {size:,} bytes; {reason}"

    def close(self) -> None:
        """Release the file; the iteration ends after the frame that is being read."""
        with self._lock:
            if self._capture is not None:
                self._capture.release()
            self._capture = None
