"""Who hides whom, from joints alone: nearer bodies as rounded sticks, without drawing a pixel."""

from __future__ import annotations

import numpy as np

from simplepose.skeleton import COCO

_TRUNK, _ARM, _LEG = 0.055, 0.03, 0.042
_STICKS = (
    *(("left_shoulder", "left_hip", _TRUNK), ("right_shoulder", "right_hip", _TRUNK)),
    *(("left_shoulder", "right_hip", _TRUNK), ("left_ear", "right_ear", 0.065), ("nose", "left_ear", 0.05)),
    *((f"{side}_shoulder", f"{side}_elbow", _ARM) for side in ("left", "right")),
    *((f"{side}_elbow", f"{side}_wrist", _ARM) for side in ("left", "right")),
    *((f"{side}_hip", f"{side}_knee", _LEG) for side in ("left", "right")),
    *((f"{side}_knee", f"{side}_ankle", _LEG) for side in ("left", "right")),
)
_ENDS = np.array([[COCO.annotated.index(a), COCO.annotated.index(b)] for a, b, _ in _STICKS])
_RADII = np.array([radius for _, _, radius in _STICKS])


def hidden(joints_xy: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Which joints nearer people cover.

    Args:
        joints_xy: (P, 17, 2) pixels, in COCO's order, also those that do not show.
        sizes: (P,) a grown-up's height in pixels where each one stands; the larger is nearer.

    Returns:
        (P, 17) bool.
    """
    low, high = joints_xy.min(1), joints_xy.max(1)
    margin = _RADII.max() * sizes[:, None]
    covered = np.zeros(joints_xy.shape[:2], bool)
    for nearer in range(len(sizes)):
        beside = (low > high[nearer] + margin[nearer]) | (high < low[nearer] - margin[nearer])
        behind = np.flatnonzero((sizes < sizes[nearer]) & ~beside.any(1))
        ends = joints_xy[nearer][_ENDS]
        covered[behind] |= _on_sticks(joints_xy[behind], ends, _RADII * sizes[nearer])
    return covered


def _on_sticks(points: np.ndarray, ends: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Points (..., 2), sticks (S, 2, 2) and their radii (S,) -> (...,) bool: on one of them."""
    along = ends[:, 1] - ends[:, 0]
    out = points[..., None, :] - ends[:, 0]
    share = (out * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-9)
    apart = out - np.clip(share, 0, 1)[..., None] * along
    on: np.ndarray = ((apart**2).sum(-1) < radii**2).any(-1)
    return on
