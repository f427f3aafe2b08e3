"""The body of every drawn person in the tests: upright, seen from the front."""

import numpy as np

from simplepose.skeleton import COCO

_LEFT_HALF = {  # x to the person's left, which is the picture's right, y down; from the middle of the hips
    "nose": (0, -0.52),
    "eye": (0.03, -0.55),
    "ear": (0.06, -0.53),
    "shoulder": (0.11, -0.4),
    "elbow": (0.17, -0.2),
    "wrist": (0.18, -0.02),
    "hip": (0.07, 0.0),
    "knee": (0.08, 0.22),
    "ankle": (0.09, 0.45),
}
ABOVE_HIPS = 0.57
"""From the hips to the top of the head, body heights."""


def upright() -> np.ndarray:
    """(17, 2) float64: x, y of the annotated joints in body heights, from the middle of the hips."""
    left = np.array([_LEFT_HALF[name.split("_")[-1]] for name in COCO.annotated])
    sides = [-1 if name.startswith("right") else 1 for name in COCO.annotated]
    return left * np.column_stack([sides, np.ones(len(sides))])
