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
from simplepose.sources.captures import file_name, go_on, is_address, open_video, shown
from simplepose.sources.source_options import SourceOptions

_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def missing_bytes(path: str | Path) -> int:
    """How many bytes are missing at the end of the file; 0 where none are, or it cannot be told.

    At least so many: of an MP4 that is cut in one box, the boxes after it are missing too.
    """
    with open(path, "rb") as file:
        head = file.read(12)
        size = file.seek(0, 2)
        if head[4:8] in _BOXES:
            end = _end_of_boxes(file, size)
        elif head.startswith(_EBML):
            end = _end_of_segment(file)
        elif head[:4] == b"RIFF" and head[8:] == b"AVI ":
            end = _end_of_chunks(file, size)
        else:
            return 0
    return max(0, end - size)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if (
            length < 8 or len(head) < 8 or not head[4:8].isascii()
        ):  # 0: it goes on to the file's end; all else is no box
            return size
        place += length
    return place


def _end_of_segment(file: BinaryIO) -> int:
    """The end of a Matroska file's one segment, which follows the header."""
    file.seek(len(_EBML))
    header = _length(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(len(_SEGMENT)) != _SEGMENT:
        return 0
    length = _length(file)
    return 0 if length is None else file.tell() + length


def _length(file: BinaryIO) -> int | None:
    """An element's length: the first byte's leading zeros say how many follow; all ones: not known."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    bits = 7 * (more + 1)
    rest = file.read(more)
    value = int.from_bytes(first + rest, "big") & ((1 << bits) - 1)
    return None if len(rest) < more or value == (1 << bits) - 1 else value


def _end_of_chunks(file: BinaryIO, size: int) -> int:
    """The end of an AVI's last RIFF chunk; those of more than 1 GB have several."""
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(8)
        if head[:4] != b"RIFF":  # something appended
            return place
        length = int.from_bytes(head[4:], "little")
        place += 8 + length + length % 2
    return place


class VideoSource:
    """A video file, or one at a web address; OpenCV's FFmpeg decodes it.

    A damaged frame that cannot be decoded is a `BadFrame`. A file that is cut gives the frames
    that decode, then one `BadFrame` that says how much is missing. One that has all its bytes but fewer
    frames than it states is told only: its editing may hide frames, or its sound be longer.

    Args:
        where: a path, or an http(s) address.
        options: `start`, `every`, `max_frames` and `upright` matter; `timeout` for an address.
        tell: is called with a line for people.

    Attributes:
        total: by the count that the file states, which some containers only estimate.
        frames_per_second: of the frames that are given: the video's rate over `every`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no frame of a video is in it.
    """

    live = False

    def __init__(self, where: str, options: SourceOptions, tell: Callable[[str], None]) -> None:
        self._is_file = not is_address(where)
        self._where = where if self._is_file else shown(where)
        self._options = options
        self._tell = tell
        self._lock = threading.Lock()  # closing waits for the frame that is being read
        self._lost = 0  # frames right before the newest that could not be decoded
        if self._is_file and not os.path.isfile(where):
            raise FileNotFoundError(f"{where}: no such video file")
        self._capture = open_video(where, options.upright, options.timeout)
        if self._capture is None or not self._grab(self._capture):
            self.close()
            raise ValueError(self._no_video())
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self._stated = int(count) if 0 < count < 1e9 else None
        self._frame_seconds = 1 / rate if rate > 0 else 0.0
        self.name = os.path.basename(where) if self._is_file else file_name(where)
        self.total = options.share_of(self._stated)
        self.frames_per_second = options.rate_of(rate)

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        """Decode one after the other.

        Raises:
            ValueError: the video ends before `start`.
        """
        options, given, count = self._options, 0, 0
        try:
            for place in self._places():
                count += 1
                if place is not None:
                    yield place
                    given += 1
                if given == options.max_frames:
                    return
            if self._capture is None:  # closed half way, which is no fault of the video
                return
            if not given:
                raise ValueError(
                    f"{self._where}: it has {count:,} frames, none from frame {options.start} on"
                )
            if (lack := self._lack(count)) is not None:
                yield BadFrame(count, self.name, lack)
        finally:
            self.close()

    def _places(self) -> Iterator[Frame | BadFrame | None]:
        """What each place of the video holds; None where it is left out."""
        number, seconds = 0, 0.0
        while (decoded := self._decode(number, seconds)) is not None:
            place, seconds = decoded
            for lost in range(number, number + self._lost):
                yield self._undecoded(lost) if self._options.takes(lost) else None
            number += self._lost + 1
            yield place

    def _grab(self, capture: cv2.VideoCapture) -> bool:
        """Go on to the next frame that can be decoded; whether there is one."""
        lost = go_on(capture, self._options.timeout)
        self._lost = lost or 0
        return lost is not None

    def _decode(self, number: int, before: float) -> tuple[Frame | BadFrame | None, float] | None:
        """The next frame, None in its place where it is left out, and its time; None at the end.

        Args:
            number: of the place after the frame before; the door has gone to the first.
            before: the time of the frame before, seconds.
        """
        with self._lock:
            capture = self._capture
            if capture is None or (number and not self._grab(capture)):
                return None
            number += self._lost
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if number and seconds <= before:  # bare streams of some codecs have no times
                seconds = before + self._frame_seconds
            if not self._options.takes(number):
                return None, seconds
            fits, image = capture.retrieve()
        if fits:
            return Frame(number, self.name, image, seconds), seconds
        return self._undecoded(number), seconds

    def _undecoded(self, number: int) -> BadFrame:
        return BadFrame(number, self.name, f"{self._where}: frame {number} could not be decoded")

    def _lack(self, count: int) -> str | None:
        """What is wrong with a video that ended after so many frames, if that is certain."""
        stated = (
            f"it states {self._stated:,} frames and ends after {count:,}"
            if self._stated
            else f"it ends after {count:,} frames"
        )
        if self._is_file and (missing := missing_bytes(self._where)):
            return f"{self._where}: cut off: at least {missing:,} bytes are missing at its end; {stated}"
        if self._stated and self._stated - count > max(2, self._stated // 100):
            self._tell(f"{self._where}: {stated}: edited, damaged, or its sound is longer")
        return None

    def _no_video(self) -> str:
        if not self._is_file:
            return f"{self._where}: no video that FFmpeg reads; an address of a video file is expected"
        size = os.path.getsize(self._where)
        missing = missing_bytes(self._where)
        why = (
            f"cut off: at least {missing:,} bytes are missing at its end"
            if missing
            else "empty, damaged or no video"
        )
        return f"{self._where}: no frame of a video in these {size:,} bytes; {why}"

    def close(self) -> None:
        """Let go of the file; iteration ends after the frame that is being read."""
        with self._lock:
            if self._capture is not None:
                self._capture.release()
            self._capture = None
