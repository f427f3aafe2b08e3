"""Half bodies: a sample that frames a person's upper or lower body as others frame the whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from simplepose.config import Augment
from simplepose.data.record import Record
from simplepose.skeleton import Skeleton

Half = Literal["upper", "lower"]

LEAST_JOINTS = 3
"""Labelled joints that a half must have to be framed."""

MARGIN, LEAST_SHARE = 1.5, 0.25
"""Framed height: the longer side of the joints' box times this, at least this share of the person's."""


def draw(rng: np.random.Generator, settings: Augment) -> Half | None:
    """Decide by chance which half is framed; None: the whole."""
    halved, upper = rng.random() < settings.half_body_probability, rng.random() < 0.5
    if not halved:
        return None
    return "upper" if upper else "lower"


def half_body(record: Record, half: Half, lower_body: tuple[str, ...], skeleton: Skeleton) -> Record:
    """The record with the main person's half as its centre and height.

    Where that half has fewer than 3 labelled joints, the other is framed; where that has too, the whole.

    Args:
        lower_body: a joint whose name contains one of these is of the lower body.
        skeleton: names the joints of `record.keypoints`.
    """
    if not len(record.keypoints):
        return record
    joints = record.keypoints[0]
    labelled = joints[:, 2] > 0
    lower = np.array([any(word in name for word in lower_body) for name in skeleton.annotated], bool)
    first, second = (lower, ~lower) if half == "lower" else (~lower, lower)
    for members in (first & labelled, second & labelled):
        if members.sum() >= LEAST_JOINTS:
            low, high = joints[members, :2].min(0), joints[members, :2].max(0)
            x, y = map(float, (low + high) / 2)
            height = max(MARGIN * float((high - low).max()), LEAST_SHARE * record.height)
            return replace(record, center_xy=(x, y), height=height)
    return record
