"""Where the joints of one drawn person lie, in three dimensions: a body without flesh.

x right, y down, z away from the viewer, in body heights, from the middle of the hips. Somebody at yaw 0
faces the viewer; its left is then the picture's right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from simplepose.skeleton import COCO

BELOW_HEAD = COCO.annotated[5:]
"""Shoulders, elbows, wrists, hips, knees, ankles, the left of each first."""

UPPER_ARM, FOREARM, THIGH, SHIN = 0.165, 0.14, 0.245, 0.245
SHOULDER, HIP = 0.1, 0.055
"""To the side of the spine."""
SHOULDERS, RAISED, NECK, NECK_TO_HEAD = 0.285, 0.305, 0.3, 0.105
"""Along the spine: shoulders whose arm hangs or is raised, the neck; and from there the head's middle."""

HEAD_RADII = np.array([0.052, 0.072, 0.064])  # to the side, up, ahead
FACE = {  # in COCO's order: from the head's middle in its radii, to the left, up, ahead
    "nose": (0.0, -0.2, 1.1),
    "left_eye": (0.36, 0.08, 0.9),
    "right_eye": (-0.36, 0.08, 0.9),
    "left_ear": (1.0, -0.05, -0.1),
    "right_ear": (-1.0, -0.05, -0.1),
}
FACE_SHOWS = np.array([0.05, 0.05, 0.05, 0.35, 0.35])
"""Of each of FACE: it shows where it faces a direction whose z is below this (-1: towards the viewer)."""


@dataclass(frozen=True, eq=False)
class Figure:
    """A body without flesh.

    Attributes:
        joints: name -> (3,) of each of BELOW_HEAD.
        trunk: (3, 3) unit rows: the directions to the trunk's left, up along it, and ahead.
        head: (3,) the head's middle.
        head_axes: (3, 3) as `trunk`, of the head.
        head_size: times HEAD_RADII.
        stature: times the height of a grown-up.
        sits: on a seat under the hips.
        neck: (3,) where the neck begins.
    """

    joints: dict[str, np.ndarray]
    trunk: np.ndarray
    head: np.ndarray
    head_axes: np.ndarray
    head_size: float = 1.0
    stature: float = 1.0
    sits: bool = False

    @cached_property
    def neck(self) -> np.ndarray:
        shoulders = (self.joints["left_shoulder"] + self.joints["right_shoulder"]) / 2
        neck: np.ndarray = shoulders + 0.01 * self.trunk[1]
        return neck

    def annotated(self) -> tuple[np.ndarray, np.ndarray]:
        """COCO's joints: (17, 3) float64 x, y, z, and (17,) bool, False on the far side of the head."""
        at = np.array(list(FACE.values()))
        face = self.head + (at * HEAD_RADII * self.head_size) @ self.head_axes
        shows = np.ones(len(COCO.annotated), bool)
        shows[: len(FACE)] = at @ self.head_axes[:, 2] < FACE_SHOWS * np.linalg.norm(at, axis=1)
        return np.array([*face, *(self.joints[name] for name in BELOW_HEAD)]), shows


def turned(yaw: ArrayLike, nod: ArrayLike, roll: ArrayLike) -> np.ndarray:
    """Rows left, up, ahead of a head that is turned to its left, bowed and tilted to its right, in a frame so
    ordered: (..., 3, 3) for radians (...)."""
    (cy, sy), (cn, sn), (cr, sr) = ((np.cos(angle), np.sin(angle)) for angle in (yaw, nod, roll))
    rows = [
        [cr * cy + sr * sn * sy, sr * cn, sr * sn * cy - cr * sy],
        [cr * sn * sy - sr * cy, cr * cn, cr * sn * cy + sr * sy],
        [cn * sy, -sn, cn * cy],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))
