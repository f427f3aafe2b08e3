"""Similarity of people and tracks, and the evidence that a person belongs to a track.

Similarity is object keypoint similarity (OKS) that allows for elapsed time, combined with box overlap.
Evidence is a log likelihood ratio: the person is this track, against another person nearby. Unlike
similarities, the evidence of several joints adds up, and it depends on the precision of the forecast: a small
deviation from a precise forecast is evidence against the track; from an imprecise one it means little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simplepose.people import boxes_around
from simplepose.tracking.motion import OKS_SCALE_RATIO, OUTLIER_STDS, Forecast
from simplepose.tracking.tracks import Detections, RowArrays

# Variance between two observations of a joint, in units of OKS's variance. Networks localize no better than
# annotators, both observations have errors, and limbs move in between.
OBSERVATION_VARIANCE_FACTOR = 3.0
# The variance of a joint relative to the body grows by OKS's variance times (age /
# VARIANCE_GROWTH_FRAMES)^2 ...
VARIANCE_GROWTH_FRAMES = 3.0
# ... up to this age in frames: limbs swing back and forth.
MAX_GROWTH_FRAMES = 12.0
# Tracks and people are compared only within this number of the forecast's standard deviations.
GATE_STDS = 3.0


@dataclass(frozen=True, eq=False)
class Pairs(RowArrays):
    """K candidate pairs of a track and a nearby person.

    Attributes:
        track_rows, person_rows: (K,) indices of the track and of the person.
        common: (K, J) bool: the joints that both have.
        offsets: (K, J, 2) pixels from the forecast to the observed position; 0 for joints not in common.
        iou: (K,) intersection over union of the bounding boxes.
    """

    track_rows: np.ndarray
    person_rows: np.ndarray
    common: np.ndarray
    offsets: np.ndarray
    iou: np.ndarray


def find_candidate_pairs(expected: Forecast, detections: Detections) -> Pairs:
    """Find the pairs of T tracks and P people that are near enough to be compared."""
    xy, found = detections.xy, detections.found
    boxes = boxes_around(xy, found)
    track_rows, person_rows = np.nonzero(_boxes_are_near(expected, boxes) & found.any(1))
    common = expected.known[track_rows] & found[person_rows]
    offsets = np.where(common[..., None], xy[person_rows] - expected.xy[track_rows], 0)
    return Pairs(
        track_rows,
        person_rows,
        common,
        offsets,
        _box_iou(expected.boxes_xyxy[track_rows], boxes[person_rows]),
    )


def similarity(expected: Forecast, pairs: Pairs, sigmas: np.ndarray, box_weight: float) -> np.ndarray:
    """Compute the similarity of each pair.

    Each common joint contributes exp(-d^2 / 2 v), as in OKS. The variance v is OKS's variance, which grows
    with time, plus that of the body's position. The box overlap counts as `box_weight` joints.

    Returns:
        (K,) float64 in [0, 1].
    """
    oks_std = 2 * sigmas * (OKS_SCALE_RATIO * expected.sizes)[:, None]
    growth = (np.minimum(expected.ages, MAX_GROWTH_FRAMES) / VARIANCE_GROWTH_FRAMES) ** 2
    variances = (oks_std**2 * (OBSERVATION_VARIANCE_FACTOR + growth) + expected.body_std[:, None] ** 2)[
        pairs.track_rows
    ]
    joint_similarity = np.where(
        pairs.common, np.exp(-np.einsum("kjx,kjx->kj", pairs.offsets, pairs.offsets) / (2 * variances)), 0
    ).sum(1)
    total = pairs.common.sum(1) + box_weight
    similarities: np.ndarray = (joint_similarity + box_weight * pairs.iou) / np.where(total > 0, total, 1)
    return similarities


def _boxes_are_near(expected: Forecast, boxes: np.ndarray) -> np.ndarray:
    """Compute which boxes of tracks and people touch or nearly touch: (T, P) bool."""
    margin = (GATE_STDS * np.hypot(expected.body_std, 0.1 * expected.sizes))[:, None, None]
    low, high = expected.boxes_xyxy[:, None, :2] - margin, expected.boxes_xyxy[:, None, 2:] + margin
    near: np.ndarray = ((low <= boxes[:, 2:]) & (high >= boxes[:, :2])).all(2)
    return near


def _box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute the intersection over union of (K, 4) and (K, 4) boxes: (K,), 0 for boxes without area."""
    low, high = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    intersection = np.maximum(high - low, 0).prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (others[:, 2:] - others[:, :2]).prod(1) - intersection
    iou: np.ndarray = intersection / np.where(union > 0, union, 1)
    return iou


# Fraction of joints at an arbitrary nearby position: guessed, or another person's.
OUTLIER_JOINT_SHARE = 0.05
# Fraction of bodies whose motion the forecast does not cover.
OUTLIER_BODY_SHARE = 1e-3
# Standard deviation of another person's joints from the track's forecast with both bodies aligned, body
# sizes.
OTHER_JOINT_STD = 0.15
# The variance of another person's joints is increased by this multiple of the forecast's variance.
MIN_VARIANCE_RATIO = 4.0
# Standard deviation of the position of another person nearby, body sizes.
OTHER_BODY_STD = 0.5
# Standard deviation of a body's position that the forecast does not model, body sizes.
EXTRA_BODY_STD = 0.01
# Weight of the evidence of found and missing joints: joints appear and disappear together.
VISIBILITY_WEIGHT = 0.5
# Fraction of observations with a sudden occlusion or appearance, where the found joints carry no
# information.
UNMODELED_SHARE = 0.01
# Odds of boxes without overlap, and the increase of the odds for identical boxes.
MIN_BOX_ODDS, BOX_ODDS_GAIN = 0.1, 5.0


def evidence(expected: Forecast, pairs: Pairs, found: np.ndarray, box_weight: float) -> np.ndarray:
    """Compute the evidence for each pair.

    Args:
        expected: forecast of T tracks.
        pairs: K pairs.
        found: (P, J) bool, the found joints of the people.
        box_weight: weight of the box overlap for a pair without common joints; it decreases with their
            number.

    Returns:
        (K,) float64 log likelihood ratios; positive values support the pair.
    """
    boxes = box_weight * np.log(MIN_BOX_ODDS + BOX_ODDS_GAIN * pairs.iou) / (1 + pairs.common.sum(1))
    visibility = _visibility_evidence(expected.detection_rates[pairs.track_rows], found[pairs.person_rows])
    evidence: np.ndarray = _position_evidence(expected, pairs) + visibility + boxes
    return evidence


def _position_evidence(expected: Forecast, pairs: Pairs) -> np.ndarray:
    """Compute the evidence of the positions of the body and of each joint relative to it: (K,).

    Each is the ratio of a Gaussian to a wider one, with outliers.
    """
    sizes, variances = expected.sizes[pairs.track_rows], expected.joint_variances[pairs.track_rows]
    body_variance = expected.body_std[pairs.track_rows] ** 2 + (EXTRA_BODY_STD * sizes) ** 2
    distances = np.einsum("kjx,kjx->kj", pairs.offsets, pairs.offsets) / (variances + body_variance[:, None])
    weights = np.where(pairs.common, 1 / (variances * np.maximum(1, distances / OUTLIER_STDS**2)), 0)
    total = weights.sum(1) + 1 / body_variance
    body_shift = np.einsum("kj,kjx->kx", weights, pairs.offsets) / total[:, None]
    other_variances = (OTHER_JOINT_STD * sizes[:, None]) ** 2 + MIN_VARIANCE_RATIO * variances
    residuals = pairs.offsets - body_shift[:, None]
    joint_distances = np.einsum("kjx,kjx->kj", residuals, residuals)
    joint_evidence = np.log(
        (1 - OUTLIER_JOINT_SHARE) * other_variances / variances * np.exp(-joint_distances / (2 * variances))
        + OUTLIER_JOINT_SHARE
    )
    other_spread = 1 + (body_variance + (OTHER_BODY_STD * sizes) ** 2) * np.where(
        pairs.common, 1 / other_variances, 0
    ).sum(1)
    body_ratio = (
        other_spread / (body_variance * total) * np.exp(-(body_shift**2).sum(1) / (2 * body_variance))
    )
    body_evidence = np.log((1 - OUTLIER_BODY_SHARE) * body_ratio + OUTLIER_BODY_SHARE)
    evidence: np.ndarray = body_evidence + np.where(pairs.common, joint_evidence, 0).sum(1)
    return evidence


def _visibility_evidence(detection_rates: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Compute the evidence of found and missing joints.

    Args:
        detection_rates: (K, J) how often each joint was found recently.
        found: (K, J) bool.

    Returns:
        (K,) log likelihood ratios.
    """
    odds = VISIBILITY_WEIGHT * np.log(2 * np.where(found, detection_rates, 1 - detection_rates)).sum(1)
    log_ratio: np.ndarray = np.log(UNMODELED_SHARE + (1 - UNMODELED_SHARE) * np.exp(odds))
    return log_ratio
