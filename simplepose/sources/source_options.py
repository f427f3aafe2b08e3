"""Which frames of a source are given, and how patiently a stream is waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceOptions:
    """How a source is read; what does not fit a kind of source is not looked at.

    Attributes:
        start: the first place that is given, from 0: pictures of a list, frames of a video, or frames of
            a camera or stream after it was opened. Frames and not seconds, so that it is exact and means
            the same everywhere; earlier frames of a video are decoded to get there.
        every: of the places from `start` on, each `every`-th is given.
        max_frames: end after so many places were given; None: read to the end.
        upright: turn pictures by their EXIF orientation and videos by their rotation.
        readers: threads that read and decode pictures of a list, for where one core is too slow.
        timeout: seconds that a stream may take to answer, and then to go on after each frame.
        reconnect_attempts: tries in a row to reach a camera or stream again that broke off, then its loss
            is raised; with 0 it breaks off as a file ends.
        reconnect_wait: seconds before the first of these tries; doubled for each more, 30 s at most.
        raw_size: width and height of frames on standard input, pixels.
        raw_fps: their rate; the default is the one ffmpeg assumes of raw video too.
    """

    start: int = 0
    every: int = 1
    max_frames: int | None = None
    upright: bool = True
    readers: int = 1
    timeout: float = 10.0
    reconnect_attempts: int = 5
    reconnect_wait: float = 1.0
    raw_size: tuple[int, int] | None = None
    raw_fps: float = 25.0

    def __post_init__(self) -> None:
        least = {
            "start": 0,
            "every": 1,
            "max_frames": 1,
            "readers": 1,
            "reconnect_attempts": 0,
            "reconnect_wait": 0,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and not value >= bound:
                raise ValueError(f"{name} of at least {bound} expected, got {value}")
        for name in ("timeout", "raw_fps"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} above 0 expected, got {getattr(self, name)}")
        if self.raw_size is not None and min(self.raw_size) < 1:
            raise ValueError(f"raw_size of at least 1 x 1 expected, got {self.raw_size}")

    def takes(self, number: int) -> bool:
        """Whether this place is given, as far as `start` and `every` go."""
        return number >= self.start and (number - self.start) % self.every == 0

    def share_of(self, total: int | None) -> int | None:
        """How many of so many places are given."""
        if total is None:
            return None
        return len(range(self.start, total, self.every)[: self.max_frames])

    def rate_of(self, frames_per_second: float) -> float | None:
        """At what rate frames are given of a source of this rate; None where it states none, or nonsense."""
        return frames_per_second / self.every if 0 < frames_per_second <= 1000 else None
