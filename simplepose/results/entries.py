"""What all formats write of a frame and its people, in plain values."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from simplepose.frames import Frame
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
