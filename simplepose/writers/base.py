"""The interface of all result writers, a writer that combines several, and values that all formats share."""

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

# Lower bound for the written score of a keypoint that was found. Scores have three decimals, and 0 means
# "not found".
MIN_KEYPOINT_SCORE = 0.001


def sanitize(people: People, skeleton: Skeleton) -> People:
    """Round people's values and replace those that the formats cannot represent.

    Keypoints are rounded to three decimals, person scores to five, so that reading and writing again changes
    nothing. A keypoint whose position or score is not finite becomes "not found" (0, 0, 0). A person score
    that is not finite becomes 0. A keypoint that was found stays found.

    Raises:
        ValueError: the people have another number of keypoints than the skeleton.
    """
    if people.keypoints.shape[1] != len(skeleton.annotated):
        raise ValueError(
            f"expected {len(skeleton.annotated)} keypoints per person (skeleton {skeleton.name!r}), "
            f"got {people.keypoints.shape[1]}"
        )
    keypoints, scores = people.keypoints.astype(np.float64), people.scores.astype(np.float64)
    found = np.isfinite(keypoints).all(2, keepdims=True) & (keypoints[..., 2:] > 0)
    rounded = np.where(found, keypoints, 0).round(3)
    rounded[..., 2] = np.where(found[..., 0], rounded[..., 2].clip(MIN_KEYPOINT_SCORE), 0)
    return People(rounded, np.where(np.isfinite(scores), scores, 0).round(5), people.ids)


def boxes_xywh(people: People) -> list[list[float]]:
    """Return each person's bounding box of found keypoints: left, top, width, height in pixels; 0 if none."""
    boxes = people.boxes_xyxy.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    rounded: list[list[float]] = np.round(boxes, 3).tolist()
    return rounded


def person_ids(people: People) -> list[int] | list[None]:
    """Return each person's id; None for each if the people are not tracked."""
    if people.ids is None:
        return [None] * len(people)
    ids: list[int] = people.ids.tolist()
    return ids


def timestamp(frame: Frame) -> float | None:
    """Return a frame's time in seconds, rounded to microseconds.

    Returns:
        None for an image file; 0 if the source gives no finite time.
    """
    if frame.path is not None:
        return None
    return round(float(frame.seconds), 6) if math.isfinite(frame.seconds) else 0.0


def encode_json(value: dict[str, Any]) -> bytes:
    """Encode an object as one line of ASCII JSON. Raises ValueError for NaN and infinite numbers."""
    return json.dumps(value, allow_nan=False).encode("ascii")


Self = TypeVar("Self", bound="ResultWriter")


class ResultWriter(Protocol):
    """Write the people of each frame in one format. Not thread-safe.

    Each frame that is written or skipped adds a record, also if it shows no people. Memory use does not grow
    with the number of frames, except for the names of images that output files are named after.

    After an error the writer is in the state before the call: its content stays valid, and it can be closed.
    A `with` block closes the writer however the block ends, so that an interrupted run keeps its results.
    """

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame.

        Raises:
            OSError: it cannot be written, for example because the disk is full; names the file.
        """
        ...

    def skip(self, bad: BadFrame) -> None:
        """Add a frame that could not be read. Raises OSError as `write` does."""
        ...

    def close(self, keep: bool = True) -> None:
        """Flush the results to the disk under their final names. A second call does nothing.

        Args:
            keep: False discards files that do not have their final name yet; files of an earlier run stay.

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


class MultiWriter(ResultWriter):
    """Forward each call to several writers.

    After an error, the writers before the failed one have the frame.
    """

    def __init__(self, writers: Sequence[ResultWriter]) -> None:
        self.writers = tuple(writers)

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame to each writer, in order."""
        for writer in self.writers:
            writer.write(frame, people)

    def skip(self, bad: BadFrame) -> None:
        """Add a frame that could not be read to each writer, in order."""
        for writer in self.writers:
            writer.skip(bad)

    def close(self, keep: bool = True) -> None:
        """Close each writer, even if an earlier one fails. Raises the last error, chained to the others."""
        with contextlib.ExitStack() as stack:
            for writer in reversed(self.writers):
                stack.callback(writer.close, keep)
