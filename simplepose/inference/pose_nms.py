"""Parametric pose non-maximum suppression: merge the poses that several boxes gave for one person.

After Fang, Xie, Tai and Lu, "RMPE: Regional Multi-person Pose Estimation", ICCV 2017 (arXiv:1612.00137),
section 3.3. Two poses are equal if their keypoints are close, weighted by score (equation 8), or if enough
keypoints match. The best pose of each group remains; its keypoints become averages over the group.
"""

from __future__ import annotations

import numpy as np

from simplepose.config import TopDownSettings
from simplepose.people import People, boxes_around


def suppress(people: People, settings: TopDownSettings) -> People:
    """Merge equal poses.

    Args:
        people: with unmerged poses.
        settings: the `nms_` settings, and `min_keypoint_score`: lower keypoints do not count as equal.

    Returns:
        The merged people, best first.
    """
    order = np.argsort(-people.scores, kind="stable")
    keypoints, scores = people.keypoints[order].astype(np.float64), people.scores[order]
    merged, kept = [], []
    free = np.ones(len(order), bool)
    for best in range(len(order)):
        if not free[best]:
            continue
        radius = settings.nms_radius * _longer_side(keypoints[best])
        equal = free & _are_equal(keypoints[best], keypoints, radius, settings)
        equal[best] = True
        merged.append(_merge(keypoints[best], keypoints[equal], radius))
        kept.append(best)
        free &= ~equal
    if not kept:
        return People.empty(people.keypoints.shape[1])
    return People(np.stack(merged), scores[kept])


def _are_equal(
    best: np.ndarray, keypoints: np.ndarray, radius: float, settings: TopDownSettings
) -> np.ndarray:
    """Compare a pose (J, 3) with poses (P, J, 3); return (P,) bool.

    Distances are in units of `radius`, so that people of all sizes are treated alike.
    """
    distance = np.hypot(*(keypoints[..., :2] - best[:, :2]).transpose(2, 0, 1)) / max(radius, 1e-6)
    counted = np.minimum(keypoints[..., 2], best[:, 2]) >= settings.min_keypoint_score
    near = (distance <= 1) & counted
    weights = np.tanh(keypoints[..., 2] / settings.nms_score_scale) * np.tanh(
        best[:, 2] / settings.nms_score_scale
    )
    similarity = (weights * near).sum(1)
    similarity += settings.nms_distance_weight * (
        np.exp(-distance / settings.nms_distance_scale) * counted
    ).sum(1)
    enough = near.sum(1) >= np.minimum(settings.nms_min_matches, np.maximum(counted.sum(1), 1))
    equal: np.ndarray = (similarity > settings.nms_max_similarity) | enough
    return equal


def _merge(best: np.ndarray, group: np.ndarray, radius: float) -> np.ndarray:
    """Average the keypoints of a group (P, J, 3) near those of its best pose (J, 3), weighted by score."""
    distance = np.hypot(*(group[..., :2] - best[:, :2]).transpose(2, 0, 1))
    weights = np.where(distance <= radius, group[..., 2], 0)
    total = weights.sum(0)
    mean = (group * weights[..., None]).sum(0) / np.maximum(total, 1e-12)[:, None]
    return np.where(total[:, None] > 0, mean, best)


def _longer_side(keypoints: np.ndarray) -> float:
    left, top, right, bottom = boxes_around(keypoints[None, :, :2], keypoints[None, :, 2] > 0)[0]
    return float(max(right - left, bottom - top))
