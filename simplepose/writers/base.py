"""The interface of all result writers, several writers as one, and the values that all formats write."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np

from simplepose.frames import BadFrame, Frame
from simplepose.people import People
from simplepose.skeleton import Skeleton

LEAST_SCORE = 0.001
"""Of a joint that was found: its score is written with three decimals, and 0 means that it was not."""


def writable(people: People, skeleton: Skeleton) -> People:
    """The people as all formats write them: rounded, and without what no format can hold.

    Joints have three decimals, people's scores five: what is read back and written again is the same. A
    joint whose place or score is not finite counts as not found (0, 0, 0), a person's score that is not as
    0. What was found stays so.

    Raises:
        ValueError: they have another number of joints than the skeleton.
    """
    if people.keypoints.shape[1] != len(skeleton.annotated):
        raise ValueError(
            f"{len(skeleton.annotated)} joints a person expected, as skeleton {skeleton.name!r} has them, "
            f"got {people.keypoints.shape[1]}"
        )
    keypoints, scores = people.keypoints.astype(np.float64), people.scores.astype(np.float64)
    found = np.isfinite(keypoints).all(2, keepdims=True) & (keypoints[..., 2:] > 0)
    kept = np.where(found, keypoints, 0).round(3)
    kept[..., 2] = np.where(found[..., 0], kept[..., 2].clip(LEAST_SCORE), 0)
    return People(kept, np.where(np.isfinite(scores), scores, 0).round(5), people.ids)


def boxes_xywh(people: People) -> list[list[float]]:
    """The box around each person's found joints: left, top, width, height, pixels; 0 where there are none."""
    boxes = people.boxes_xyxy.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    rounded: list[list[float]] = np.round(boxes, 3).tolist()
    return rounded


def ids(people: People) -> list[int] | list[None]:
    """The id of each person, None where nobody was tracked."""
    if people.ids is None:
        return [None] * len(people)
    known: list[int] = people.ids.tolist()
    return known


def seconds(frame: Frame) -> float | None:
    """A frame's time in its video, to the microsecond, 0 where the source knows none; None for pictures."""
    if frame.path is not None:
        return None
    return round(float(frame.seconds), 6) if math.isfinite(frame.seconds) else 0.0


def encode(value: dict[str, Any]) -> bytes:
    """An object as one line of JSON, in ASCII. Raises ValueError for a number that JSON does not have."""
    return json.dumps(value, allow_nan=False).encode("ascii")


Self = TypeVar("Self", bound="ResultWriter")


class ResultWriter(Protocol):
    """Keeps the people of frame after frame in one format; used by one thread at a time.

    Each frame that is written or skipped leaves a record, also where nobody was found. What lies on the
    disk grows, the memory does not (but for the names of pictures that files are named after).

    After an error the writer is as it was before the call: what it holds stays valid, and may be closed.
    A `with` block closes it however the block ends, so that an interrupted run keeps what it found.
    """

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame.

        Raises:
            OSError: it cannot be written, for example to a full disk; names the file.
        """
        ...

    def skip(self, bad: BadFrame) -> None:
        """Add a place of the source that gave no picture. Raises OSError as `write` does."""
        ...

    def close(self, keep: bool = True) -> None:
        """Bring what was written to the disk, under its final name; a second call does nothing.

        Args:
            keep: False throws away what has no final name yet, and leaves a file of an earlier run.

        Raises:
            OSError: as `write` does.
        """
        ...

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Several(ResultWriter):
    """Hands everything to all of some writers; after an error those before the failing one have the frame."""

    def __init__(self, writers: Sequence[ResultWriter]) -> None:
        self.writers = tuple(writers)

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame to each, in their order."""
        for writer in self.writers:
            writer.write(frame, people)

    def skip(self, bad: BadFrame) -> None:
        """Add a place without a picture to each."""
        for writer in self.writers:
            writer.skip(bad)

    def close(self, keep: bool = True) -> None:
        """Close each, also where one before it failed; the last error is raised, with those before it."""
        with contextlib.ExitStack() as stack:
            for writer in reversed(self.writers):
                stack.callback(writer.close, keep)
