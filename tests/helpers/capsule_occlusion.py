"""Occlusion computed from joints alone, without drawing: nearer bodies are sets of capsules."""

from __future__ import annotations

import numpy as np

from simplepose.skeleton import COCO

_TRUNK, _ARM, _LEG = 0.055, 0.03, 0.042
_CAPSULES = (
    *(("left_shoulder", "left_hip", _TRUNK), ("right_shoulder", "right_hip", _TRUNK)),
    *(("left_shoulder", "right_hip", _TRUNK), ("left_ear", "right_ear", 0.065), ("nose", "left_ear", 0.05)),
    *((f"{side}_shoulder", f"{side}_elbow", _ARM) for side in ("left", "right")),
    *((f"{side}_elbow", f"{side}_wrist", _ARM) for side in ("left", "right")),
    *((f"{side}_hip", f"{side}_knee", _LEG) for side in ("left", "right")),
    *((f"{side}_knee", f"{side}_ankle", _LEG) for side in ("left", "right")),
)
_ENDS = np.array([[COCO.annotated.index(a), COCO.annotated.index(b)] for a, b, _ in _CAPSULES])
_RADII = np.array([radius for _, _, radius in _CAPSULES])


def find_occluded(joints_xy: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Find the joints that nearer people cover.

    Args:
        joints_xy: (P, 17, 2) pixels, in COCO's order, including invisible joints.
        sizes: (P,) height of an adult at each person's position, pixels; the larger is nearer.

    Returns:
        (P, 17) bool.
    """
    low, high = joints_xy.min(1), joints_xy.max(1)
    margin = _RADII.max() * sizes[:, None]
    occluded = np.zeros(joints_xy.shape[:2], bool)
    for nearer in range(len(sizes)):
        is_apart = (low > high[nearer] + margin[nearer]) | (high < low[nearer] - margin[nearer])
        behind = np.flatnonzero((sizes < sizes[nearer]) & ~is_apart.any(1))
        ends = joints_xy[nearer][_ENDS]
        occluded[behind] |= _in_capsules(joints_xy[behind], ends, _RADII * sizes[nearer])
    return occluded


def _in_capsules(points: np.ndarray, ends: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Check which points (..., 2) lie in any capsule with `ends` (S, 2, 2) and `radii` (S,): (...,) bool."""
    axes = ends[:, 1] - ends[:, 0]
    offsets = points[..., None, :] - ends[:, 0]
    fractions = (offsets * axes).sum(-1) / np.maximum((axes**2).sum(-1), 1e-9)
    residuals = offsets - np.clip(fractions, 0, 1)[..., None] * axes
    inside: np.ndarray = ((residuals**2).sum(-1) < radii**2).any(-1)
    return inside
