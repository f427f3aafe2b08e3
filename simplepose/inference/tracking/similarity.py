"""How alike people and tracks are: object keypoint similarity that allows for time, and overlap of boxes."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from simplepose.inference.tracking.motion import SCALE, Forecast
from simplepose.inference.tracking.tracks import Sights
from simplepose.people import boxes_around

SIGHT_NOISE = 3.0
"""OKS's variance times this is that between two sights of a joint: networks place it no better than
annotators do, both times, and limbs move in between."""
SWING_FRAMES = 3.0
"""In so many frames a joint's place on its body becomes uncertain by OKS's variance more ..."""
SWING_MOST = 12.0
"""... squared, and after so many no more so: limbs swing to and fro."""
REACH = 3.0
"""Deviations of the forecast within which tracks and people are compared at all."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """K pairs of a track and a person near it.

    Attributes:
        rows, people: (K,) of the track and of the person.
        common: (K, J) bool: the joints that both have.
        off: (K, J, 2) pixels from where joints should be to where they are; of joints in common.
        overlap: (K,) intersection over union of the boxes.
    """

    rows: np.ndarray
    people: np.ndarray
    common: np.ndarray
    off: np.ndarray
    overlap: np.ndarray

    def where(self, kept: np.ndarray) -> Pairs:
        """Those of them; (K,) bool."""
        return Pairs(*(getattr(self, field.name)[kept] for field in fields(self)))


def near_pairs(expected: Forecast, sights: Sights) -> Pairs:
    """The pairs of T tracks and P people worth comparing."""
    xy, found = sights.xy, sights.found
    boxes = boxes_around(xy, found)
    rows, people = np.nonzero(_near(expected, boxes) & found.any(1))
    common = expected.known[rows] & found[people]
    off = np.where(common[..., None], xy[people] - expected.xy[rows], 0)
    return Pairs(rows, people, common, off, _overlap(expected.boxes_xyxy[rows], boxes[people]))


def similarity(expected: Forecast, pairs: Pairs, sigmas: np.ndarray, box_weight: float) -> np.ndarray:
    """How alike each pair is.

    Each joint in common says exp(-d^2 / 2 v), as in OKS, where v is its variance in OKS, more with time, and
    that of the body's place together; the overlap of the boxes counts as `box_weight` joints.

    Returns:
        (K,) float64 in [0, 1].
    """
    spread = 2 * sigmas * (SCALE * expected.sizes)[:, None]
    swing = (np.minimum(expected.ages, SWING_MOST) / SWING_FRAMES) ** 2
    variances = (spread**2 * (SIGHT_NOISE + swing) + expected.spread[:, None] ** 2)[pairs.rows]
    said = np.where(
        pairs.common, np.exp(-np.einsum("kjx,kjx->kj", pairs.off, pairs.off) / (2 * variances)), 0
    ).sum(1)
    total = pairs.common.sum(1) + box_weight
    alike: np.ndarray = (said + box_weight * pairs.overlap) / np.where(total > 0, total, 1)
    return alike


def _near(expected: Forecast, boxes: np.ndarray) -> np.ndarray:
    """(T, P) bool: boxes that meet, or nearly so."""
    margin = (REACH * np.hypot(expected.spread, 0.1 * expected.sizes))[:, None, None]
    low, high = expected.boxes_xyxy[:, None, :2] - margin, expected.boxes_xyxy[:, None, 2:] + margin
    near: np.ndarray = ((low <= boxes[:, 2:]) & (high >= boxes[:, :2])).all(2)
    return near


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(K, 4) and (K, 4) -> (K,) intersection over union; 0 for boxes without area."""
    low, high = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    both = np.maximum(high - low, 0).prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (others[:, 2:] - others[:, :2]).prod(1) - both
    return both / np.where(union > 0, union, 1)
