"""One picture of a run over many: what sources give, and what results are written for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture, or a frame of a video or stream.

    Attributes:
        number: its place in its source, from 0; places that were left out or could not be read count too.
        name: what results call it: a picture file's name (its path where two share a name), the video's or
            stream's name otherwise. Different pictures have different names; frames of a video share one.
        image: (H, W, 3) uint8 BGR.
        seconds: since the source began: a video's own time, for live sources when it arrived; 0 for pictures.
        path: the picture's file; None for all else.
    """

    number: int
    name: str
    image: np.ndarray
    seconds: float = 0.0
    path: Path | None = None


@dataclass(frozen=True)
class BadFrame:
    """A place of a source that gave no picture.

    Attributes:
        number, name: as a `Frame`'s.
        reason: one line: what was wrong.
    """

    number: int
    name: str
    reason: str


class FrameSource(Protocol):
    """Where frames come from; iterated once, by one thread.

    Attributes:
        name: of the video, stream or folder, for people to read.
        total: how many frames and bad frames it will give; None where that is not known.
        live: it goes on whether or not anybody looks: a frame that nobody took is replaced by the next.
        frames_per_second: of a video or camera, None where there is no such thing.
    """

    name: str
    total: int | None
    live: bool
    frames_per_second: float | None

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        """Read; a fault of one picture is a `BadFrame`, one of the whole source is raised."""
        ...

    def close(self) -> None:
        """Let go of files and devices. Any thread may call it, at any time, twice; iteration then ends."""
        ...
