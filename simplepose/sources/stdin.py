"""Frames without any header, one after the other, as `ffmpeg -f rawvideo -pix_fmt bgr24 -` writes them."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator

import numpy as np

from simplepose.frames import BadFrame, Frame
from simplepose.sources.source_options import SourceOptions

_HOW = "pipe frames in, as ffmpeg -f rawvideo -pix_fmt bgr24 - does"

_LOOK_UP_SECONDS = 0.2
"""How often a reader that waits for bytes looks whether it was closed."""


class RawSource:
    """Frames of height x width x 3 bytes, BGR, from a pipe or file; none is left out, the writer waits.

    Args:
        options: `raw_size` and `raw_fps`; `start`, `every` and `max_frames`.
        descriptor: an open file's number; it stays open. Default: standard input.

    Raises:
        ValueError: the frames' size is not given, or nothing is piped in.
    """

    live = False
    total: int | None = None
    name = "stdin"

    def __init__(self, options: SourceOptions, descriptor: int | None = None) -> None:
        if options.raw_size is None:
            raise ValueError("frames on standard input have no header: their size (width, height) is needed")
        if descriptor is None and sys.stdin is None:
            raise ValueError(f"standard input is closed: {_HOW}")
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        if os.isatty(self._descriptor):
            raise ValueError(f"standard input is a terminal: {_HOW}")
        width, height = options.raw_size
        self._shape = (height, width, 3)
        self._options = options
        self._closed = False
        self.frames_per_second = options.rate_of(options.raw_fps)

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        """Read one after the other; half a frame at the end is a `BadFrame`.

        Raises:
            ValueError: the input ends before the first frame, or before `start`.
        """
        options, given, number = self._options, 0, 0
        while given != options.max_frames:
            image = np.empty(self._shape, np.uint8)
            filled = self._fill(image)
            if self._closed:
                return
            if filled < image.size:
                break
            if options.takes(number):
                yield Frame(number, self.name, image, number / options.raw_fps)
                given += 1
            number += 1
        else:
            return
        if filled:
            yield BadFrame(number, self.name, self._half(number, filled))
        elif not given:
            raise ValueError(
                f"standard input ended after {number:,} frames, none from frame {options.start} on"
            )

    def _fill(self, image: np.ndarray) -> int:
        """Read a frame; how many bytes there were."""
        room, filled = memoryview(image).cast("B"), 0
        with io.FileIO(self._descriptor, closefd=False) as file:
            while filled < len(room) and self._is_ready():
                if not (count := file.readinto(room[filled:])):
                    break
                filled += count
        return filled

    def _is_ready(self) -> bool:
        """Wait until there is something to read, or the input's end; False: closed meanwhile."""
        if sys.platform == "win32":  # select is for sockets there: closing takes effect at the next frame
            return not self._closed
        while not self._closed:
            if select.select([self._descriptor], [], [], _LOOK_UP_SECONDS)[0]:
                return True
        return False

    def _half(self, number: int, filled: int) -> str:
        height, width, _ = self._shape
        return (
            f"standard input ended in the middle of frame {number:,}: {filled:,} of {height * width * 3:,} "
            f"bytes; frames of {width} x {height} bgr24 are expected"
        )

    def close(self) -> None:
        """End iteration; the input stays open, for who opened it."""
        self._closed = True
