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
FACE = {  # from the head's middle in its radii: to the left, up, ahead
    "nose": (0.0, -0.2, 1.1),
    "left_eye": (0.36, 0.08, 0.9),
    "right_eye": (-0.36, 0.08, 0.9),
    "left_ear": (1.0, -0.05, -0.1),
    "right_ear": (-1.0, -0.05, -0.1),
}
FACE_SHOWS, EARS_SHOW = 0.05, 0.35
"""z of the direction that a part of the head faces: it shows below this (-1: towards the viewer)."""


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

    def on_head(self, at: tuple[float, float, float]) -> tuple[np.ndarray, float]:
        """A point in the head's radii (left, up, ahead) -> (3,) where it lies, z of where it faces."""
        offset = np.array(at)
        facing = offset @ self.head_axes
        return self.head + (offset * HEAD_RADII * self.head_size) @ self.head_axes, float(
            facing[2] / np.sqrt(offset @ offset)
        )

    def annotated(self) -> tuple[np.ndarray, np.ndarray]:
        """COCO's joints: (17, 3) float64 x, y, z, and (17,) bool, False on the far side of the head."""
        joints, shows = np.empty((len(COCO.annotated), 3)), np.ones(len(COCO.annotated), bool)
        for row, name in enumerate(COCO.annotated):
            if name in FACE:
                joints[row], facing = self.on_head(FACE[name])
                shows[row] = facing < (EARS_SHOW if name.endswith("ear") else FACE_SHOWS)
            else:
                joints[row] = self.joints[name]
        return joints, shows


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
