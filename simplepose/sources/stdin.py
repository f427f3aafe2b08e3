"""Raw frames without a header, as `ffmpeg -f rawvideo -pix_fmt bgr24 -` writes them."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator

import numpy as np

from simplepose.frames import BadFrame, Frame
from simplepose.sources.source_options import SourceOptions

_USAGE = "pipe frames in, as ffmpeg -f rawvideo -pix_fmt bgr24 - does"

# Interval at which a reader that waits for bytes checks whether it was closed, seconds.
_CLOSE_CHECK_INTERVAL_S = 0.2


class RawFrameSource:
    """Frames of height x width x 3 bytes, BGR, from a pipe or file. No frame is dropped: the writer waits.

    Args:
        options: `raw_size`, `raw_fps`, `start`, `every` and `max_frames` apply.
        descriptor: of an open file, which stays open. Default: standard input.

    Raises:
        ValueError: `raw_size` is missing, or standard input is closed or a terminal.
    """

    live = False
    dropped = 0
    total: int | None = None
    name = "stdin"

    def __init__(self, options: SourceOptions, descriptor: int | None = None) -> None:
        if options.raw_size is None:
            raise ValueError("frames on standard input have no header: expected raw_size (width, height)")
        if descriptor is None and sys.stdin is None:
            raise ValueError(f"standard input is closed: {_USAGE}")
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        if os.isatty(self._descriptor):
            raise ValueError(f"standard input is a terminal: {_USAGE}")
        width, height = options.raw_size
        self._shape = (height, width, 3)
        self._options = options
        self._closed = False
        self.frames_per_second = options.selected_rate(options.raw_fps)

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        """Read the frames; an incomplete frame at the end is a `BadFrame`.

        Raises:
            ValueError: the input ends before the first frame, or before `start`.
        """
        options, yielded, number = self._options, 0, 0
        while yielded != options.max_frames:
            image = np.empty(self._shape, np.uint8)
            filled = self._fill(image)
            if self._closed:
                return
            if filled < image.size:
                break
            if options.selects(number):
                yield Frame(number, self.name, image, number / options.raw_fps)
                yielded += 1
            number += 1
        else:
            return
        if filled:
            yield BadFrame(number, self.name, self._incomplete_frame_message(number, filled))
        elif not yielded:
            raise ValueError(f"standard input: expected more than {options.start:,} frames, got {number:,}")

    def _fill(self, image: np.ndarray) -> int:
        """Read one frame; returns the number of bytes that were read."""
        buffer, filled = image.data.cast("B"), 0
        with io.FileIO(self._descriptor, closefd=False) as file:
            while filled < len(buffer) and self._is_ready():
                if not (count := file.readinto(buffer[filled:])):
                    break
                filled += count
        return filled

    def _is_ready(self) -> bool:
        """Wait for bytes or the end of the input; returns False if the source was closed meanwhile."""
        if sys.platform == "win32":  # select only supports sockets there: closing waits for the next frame
            return not self._closed
        while not self._closed:
            if select.select([self._descriptor], [], [], _CLOSE_CHECK_INTERVAL_S)[0]:
                return True
        return False

    def _incomplete_frame_message(self, number: int, filled: int) -> str:
        height, width, _ = self._shape
        return (
            f"standard input ended in the middle of frame {number:,}: expected {height * width * 3:,} bytes "
            f"({width} x {height} bgr24), got {filled:,}"
        )

    def close(self) -> None:
        """End the iteration; the input stays open."""
        self._closed = True
