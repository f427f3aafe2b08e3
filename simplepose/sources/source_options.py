"""Options of a source: which frames it gives, and how long it waits for a stream."""

from __future__ import annotations

from dataclasses import dataclass

from simplepose.image_io import MAX_PIXELS


@dataclass(frozen=True)
class SourceOptions:
    """Options of all kinds of sources; each source ignores the options that do not apply to it.

    Attributes:
        start: first position to read, from 0: images of a list, frames of a video, or frames of a camera or
            stream after it was opened. It counts frames and not seconds, so that it is exact and the same for
            all sources. The earlier frames of a video are decoded to get there.
        every: read each `every`-th position from `start` on.
        max_frames: end after this number of positions; None: read to the end.
        upright: rotate images by their EXIF orientation and videos by their rotation.
        readers: threads that read and decode the images of a list, for when one core is too slow.
        max_pixels: limit of the width times the height of an image file, checked before it is decoded.
        timeout: seconds that a stream may take to answer, and then until each next frame.
        reconnect_attempts: number of consecutive attempts to reconnect to a lost camera or stream before its
            loss is raised. With 0, a lost connection ends the source as the end of a file does.
        reconnect_wait: seconds before the first of these attempts; doubled for each next one, at most 30 s.
        raw_size: width and height of raw frames on standard input, pixels.
        raw_fps: their frame rate; the default is also ffmpeg's for raw video.
    """

    start: int = 0
    every: int = 1
    max_frames: int | None = None
    upright: bool = True
    readers: int = 1
    max_pixels: int = MAX_PIXELS
    timeout: float = 10.0
    reconnect_attempts: int = 5
    reconnect_wait: float = 1.0
    raw_size: tuple[int, int] | None = None
    raw_fps: float = 25.0

    def __post_init__(self) -> None:
        minimums = {
            "start": 0,
            "every": 1,
            "max_frames": 1,
            "readers": 1,
            "max_pixels": 1,
            "reconnect_attempts": 0,
            "reconnect_wait": 0,
        }
        for name, minimum in minimums.items():
            value = getattr(self, name)
            if value is not None and not value >= minimum:
                raise ValueError(f"{name}: expected a value >= {minimum}, got {value}")
        for name in ("timeout", "raw_fps"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: expected a value > 0, got {getattr(self, name)}")
        if self.raw_size is not None and min(self.raw_size) < 1:
            raise ValueError(f"raw_size: expected at least 1 x 1, got {self.raw_size}")
        if self.raw_size is not None and self.raw_size[0] * self.raw_size[1] > self.max_pixels:
            width, height = self.raw_size
            raise ValueError(f"raw_size: expected at most {self.max_pixels:,} pixels, got {width} x {height}")

    def selects(self, number: int) -> bool:
        """Whether `start` and `every` select this position."""
        return number >= self.start and (number - self.start) % self.every == 0

    def count_selected(self, total: int | None) -> int | None:
        """Count the selected positions of a source with `total` positions."""
        if total is None:
            return None
        return len(range(self.start, total, self.every)[: self.max_frames])

    def selected_rate(self, frames_per_second: float) -> float | None:
        """Compute the rate of the selected frames; None if the source's rate is missing or implausible."""
        return frames_per_second / self.every if 0 < frames_per_second <= 1000 else None
