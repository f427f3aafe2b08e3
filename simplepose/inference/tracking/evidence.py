"""What speaks for a person being a track, rather than somebody else who is near: logarithms of likelihoods.

Unlike a similarity, evidence of many joints adds up, and how sure the forecast is counts: a pose a little
beside a sharp forecast speaks against it, and next to a vague one it says little either way.
"""

from __future__ import annotations

import numpy as np

from simplepose.inference.tracking.motion import OUTLYING, Forecast
from simplepose.inference.tracking.similarity import Pairs

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
