"""How well people fit tracks: object keypoint similarity that allows for time, and the overlap of boxes."""

from __future__ import annotations

import numpy as np

from simplepose.inference.tracking.motion import SCALE, Forecast, boxes_around

SIGHT_NOISE = 3.0
"""OKS's variance times this is that between two sights of a joint: networks place it no better than
annotators do, both times, and limbs move in between. Of 1.3, 2 and 3, this gave the fewest switches on drawn
films."""
SWING_FRAMES = 3.0
"""In so many frames a joint's place on its body becomes uncertain by OKS's variance more ..."""
SWING_MOST = 12.0
"""... squared, and after so many no more so: limbs swing to and fro."""
REACH = 3.0
"""Deviations of the forecast within which boxes are compared at all."""


def joint_variances(expected: Forecast, sigmas: np.ndarray) -> np.ndarray:
    """(T, J) pixels squared: how far joints may lie from where they should, the body's place given.

    Args:
        expected: of T tracks with J joints.
        sigmas: (J,) the skeleton's; OKS doubles them.
    """
    spread = 2 * sigmas * (SCALE * expected.sizes)[:, None]
    return spread**2 * (SIGHT_NOISE + (np.minimum(expected.ages, SWING_MOST) / SWING_FRAMES) ** 2)


def similarity(
    expected: Forecast, xy: np.ndarray, found: np.ndarray, sigmas: np.ndarray, box_weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """How well each person fits each track.

    Each joint that both have says exp(-d^2 / 2 v), as in OKS, where v is `joint_variances` and that of the
    body's place together; the overlap (intersection over union) of their boxes counts as `box_weight` joints.
    The fewer joints both have, the more the boxes decide.

    Args:
        expected: of T tracks.
        xy, found: (P, J, 2) pixels and (P, J) bool of P people.
        sigmas: (J,).
        box_weight: at least 0.

    Returns:
        (T, P) float64 in [0, 1], and (T, P) float64 how many joints tell so, the boxes' weight among them.
    """
    boxes = boxes_around(xy, found)
    rows, people = np.nonzero(_near(expected, boxes) & found.any(1))
    variances = joint_variances(expected, sigmas) + expected.spread[:, None] ** 2
    common = expected.known[rows] & found[people]
    distances = ((expected.xy[rows] - xy[people]) ** 2).sum(2)
    said = np.where(common, np.exp(-distances / (2 * variances[rows])), 0).sum(1)
    overlap = _overlap(expected.boxes_xyxy[rows], boxes[people])
    total = common.sum(1) + box_weight
    fits, told_by = np.zeros((2, len(expected.xy), len(xy)))
    fits[rows, people] = (said + box_weight * overlap) / np.where(total > 0, total, 1)
    told_by[rows, people] = total
    return fits, told_by


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


OUTLIERS = 0.05
ROOM = 0.15
MASK, CHANGED = 0.35, 0.05
PLACE, ROOMS, ROOM_PLACE, OUT_PLACE = 0.01, 4.0, 0.5, 1e-3


def evidence(
    expected: Forecast, allowed: np.ndarray, xy: np.ndarray, found: np.ndarray, box_weight: float
) -> np.ndarray:
    """(T, P) nats: log-likelihood ratio, of the person being the track to being anybody near."""
    boxes = boxes_around(xy, found)
    rows, people = np.nonzero(_near(expected, boxes) & found.any(1))
    told = np.full(allowed.shape, -np.inf)
    both = expected.known[rows] & found[people]
    sizes = expected.sizes[rows]
    variances, place = expected.variances[rows], expected.spread[rows] ** 2 + (PLACE * sizes) ** 2
    off = xy[people] - expected.xy[rows]
    # the body's shift, robustly
    weights = np.where(both, 1 / variances, 0)
    weights = weights / np.maximum(1, (off**2).sum(2) / (variances + place[:, None]) / 9)
    total = weights.sum(1) + 1 / place
    shift = (weights[..., None] * off).sum(1) / total[:, None]
    rest = ((off - shift[:, None]) ** 2).sum(2)
    room = (ROOM * sizes[:, None]) ** 2 + ROOMS * variances
    joint = np.log((1 - OUTLIERS) * room / variances * np.exp(-rest / (2 * variances)) + OUTLIERS)
    said = np.where(both, joint, 0).sum(1)
    place_alone = place + (ROOM_PLACE * sizes) ** 2
    alone = 1 + place_alone * np.where(both, 1 / room, 0).sum(1)
    said += np.log((1 - OUTLIERS) * alone / (place * total) * np.exp(-(shift**2).sum(1) / (2 * place)) + OUT_PLACE)
    overlap = _overlap(expected.boxes_xyxy[rows], boxes[people])
    said += box_weight * np.log(0.1 + 5 * overlap) / (1 + both.sum(1))
    showing = expected.showing[rows]
    mask = np.where(found[people], np.log(2 * showing), np.log(2 - 2 * showing)).sum(1)
    told[rows, people] = said + np.log(CHANGED + (1 - CHANGED) * np.exp(np.minimum(MASK * mask, 50)))
    return told
