"""How similar people and tracks are, and the evidence that a person belongs to a track.

Similarity is object keypoint similarity that allows for elapsed time, and box overlap. Evidence is a log
likelihood ratio: that a person is this track rather than another person nearby. Unlike a similarity, evidence
of several joints adds up, and the precision of the forecast counts: a pose slightly off a precise forecast is
evidence against the track, and next to an imprecise one it says little.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from simplepose.people import boxes_around
from simplepose.tracking.motion import OUTLYING, SCALE, Forecast
from simplepose.tracking.tracks import Sights

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


ELSEWHERE = 0.05
"""Share of joints that are placed anywhere near: guessed, or another's."""
ASTRAY = 1e-3
"""Share of bodies whose motion the forecast does not cover."""
JOINT_ROOM = 0.15
"""Body sizes: deviation of somebody else's joints from where the track's should be, the bodies in line ..."""
VAGUE = 4.0
"""... whose variance is at least so many times the forecast's."""
BODY_ROOM = 0.5
"""Body sizes: deviation of the place of somebody else who is near."""
PLACE_SPREAD = 0.01
"""Body sizes: deviation of a body's place that the forecast does not know of."""
TOGETHER = 0.5
"""What of the evidence of a joint found or not found counts: joints come and go together."""
UNCOVERED = 0.01
"""Share of sights at which somebody hides or appears at once, so that what was found tells nothing."""
BOX_LEAST, BOX_MOST = 0.1, 5.0
"""Odds that boxes give that do not meet, and besides those that are the same."""


def evidence(expected: Forecast, pairs: Pairs, found: np.ndarray, box_weight: float) -> np.ndarray:
    """What speaks for each pair.

    Args:
        expected: of T tracks.
        pairs: K of them.
        found: (P, J) bool, of the people.
        box_weight: of the boxes' overlap, where no joint is in common; they count less the more are.

    Returns:
        (K,) float64: the logarithm of the likelihood ratio; above 0 speaks for the pair.
    """
    boxes = box_weight * np.log(BOX_LEAST + BOX_MOST * pairs.overlap) / (1 + pairs.common.sum(1))
    return (
        _of_places(expected, pairs)
        + _of_what_shows(expected.showing[pairs.rows], found[pairs.people])
        + boxes
    )


def _of_places(expected: Forecast, pairs: Pairs) -> np.ndarray:
    """(K,) of where the body is, and of each joint on it: a Gaussian beside a wider one, and outliers."""
    sizes, variances = expected.sizes[pairs.rows], expected.variances[pairs.rows]
    place = expected.spread[pairs.rows] ** 2 + (PLACE_SPREAD * sizes) ** 2
    far = np.einsum("kjx,kjx->kj", pairs.off, pairs.off) / (variances + place[:, None])
    weights = np.where(pairs.common, 1 / (variances * np.maximum(1, far / OUTLYING**2)), 0)
    total = weights.sum(1) + 1 / place
    shift = np.einsum("kj,kjx->kx", weights, pairs.off) / total[:, None]
    room = (JOINT_ROOM * sizes[:, None]) ** 2 + VAGUE * variances
    rest = pairs.off - shift[:, None]
    off = np.einsum("kjx,kjx->kj", rest, rest)
    joints = np.log((1 - ELSEWHERE) * room / variances * np.exp(-off / (2 * variances)) + ELSEWHERE)
    wide = 1 + (place + (BODY_ROOM * sizes) ** 2) * np.where(pairs.common, 1 / room, 0).sum(1)
    ratio = wide / (place * total) * np.exp(-(shift**2).sum(1) / (2 * place))
    body: np.ndarray = np.log((1 - ASTRAY) * ratio + ASTRAY)
    return body + np.where(pairs.common, joints, 0).sum(1)


def _of_what_shows(showing: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(K,) of which joints were found, of those that were of late: (K, J) shares and (K, J) bool."""
    odds = TOGETHER * np.log(2 * np.where(found, showing, 1 - showing)).sum(1)
    told: np.ndarray = np.log(UNCOVERED + (1 - UNCOVERED) * np.exp(odds))
    return told
