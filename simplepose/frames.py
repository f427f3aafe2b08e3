"""Frames: the images of a source, which results are written for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class Frame:
    """An image, or a frame of a video or stream.

    Attributes:
        number: its position in its source, from 0. Skipped and unreadable positions count too.
        name: its name in results: the name of an image file (its path if two files share the name), or the
            name of the video or stream. Different images have different names; frames of a video share one.
        image: (H, W, 3) uint8 BGR.
        seconds: time since the start of the source: the video's own time, for live sources the time of
            arrival; 0 for images.
        path: the image file; None for all other sources.
    """

    number: int
    name: str
    image: np.ndarray
    seconds: float = 0.0
    path: Path | None = None


@dataclass(frozen=True)
class BadFrame:
    """A position of a source without a usable image.

    Attributes:
        number, name: see `Frame`.
        reason: one line that states what is wrong.
    """

    number: int
    name: str
    reason: str


class FrameSource(Protocol):
    """A source of frames. One thread iterates over it once.

    Attributes:
        name: of the video, stream or folder, for messages.
        total: number of frames and bad frames that it will give, or None if this is not known.
        live: whether frames arrive at their own pace; one that is not read in time is replaced by the next.
        frames_per_second: of a video or camera; None if there is no rate.
        dropped: number of frames of a live source that newer ones replaced before they were read; else 0.
    """

    name: str
    total: int | None
    live: bool
    frames_per_second: float | None
    dropped: int

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        """Read the frames. An unreadable image is a `BadFrame`; a failure of the source is raised."""
        ...

    def close(self) -> None:
        """Release files and devices and end the iteration. Any thread may call it at any time, also twice."""
        ...
