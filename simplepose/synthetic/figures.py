"""3D joint positions of one synthetic person.

Coordinates: x right, y down, z away from the viewer, in body heights, relative to the center of the hips. A
person at yaw 0 faces the viewer, so that the person's left is the image's right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from simplepose.skeleton import COCO

# Shoulders, elbows, wrists, hips, knees, ankles, the left of each first.
BODY_KEYPOINTS = COCO.annotated[5:]

UPPER_ARM, FOREARM, THIGH, SHIN = 0.165, 0.14, 0.245, 0.245
# Distance of shoulders and hips from the spine, to the side.
SHOULDER_OFFSET, HIP_OFFSET = 0.1, 0.055
# Along the spine from the hips: shoulders with the arm down or raised, and the neck; then the distance from
# the neck to the head's center.
SHOULDER_HEIGHT, RAISED_SHOULDER_HEIGHT, NECK_HEIGHT, NECK_TO_HEAD = 0.285, 0.305, 0.3, 0.105

HEAD_RADII = np.array([0.052, 0.072, 0.064])  # to the side, up, forward
FACE_KEYPOINTS = {  # in COCO's order: from the head's center in units of its radii, to the left, up, forward
    "nose": (0.0, -0.2, 1.1),
    "left_eye": (0.36, 0.08, 0.9),
    "right_eye": (-0.36, 0.08, 0.9),
    "left_ear": (1.0, -0.05, -0.1),
    "right_ear": (-1.0, -0.05, -0.1),
}
# A face keypoint is visible if the z of the unit direction it faces is below this (-1: toward the viewer).
FACE_VISIBILITY_LIMITS = np.array([0.05, 0.05, 0.05, 0.35, 0.35])


@dataclass(frozen=True, eq=False)
class Figure:
    """The 3D pose and proportions of one person.

    Attributes:
        joints: name -> (3,) position of each of BODY_KEYPOINTS.
        trunk: (3, 3) unit rows: the directions to the trunk's left, up along it, and forward.
        head: (3,) the head's center.
        head_axes: (3, 3) as `trunk`, of the head.
        head_size: scale of HEAD_RADII.
        stature: body height relative to an adult's.
        seated: True if a seat is under the hips.
        neck: (3,) base of the neck.
    """

    joints: dict[str, np.ndarray]
    trunk: np.ndarray
    head: np.ndarray
    head_axes: np.ndarray
    head_size: float = 1.0
    stature: float = 1.0
    seated: bool = False

    @cached_property
    def neck(self) -> np.ndarray:
        """(3,) float64 x, y, z of the neck, just above the center of the shoulders."""
        shoulders = (self.joints["left_shoulder"] + self.joints["right_shoulder"]) / 2
        neck: np.ndarray = shoulders + 0.01 * self.trunk[1]
        return neck

    def coco_keypoints(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute COCO's keypoints.

        Returns:
            (17, 3) float64 x, y, z, and (17,) bool, False on the far side of the head.
        """
        face_points = np.array(list(FACE_KEYPOINTS.values()))
        face = self.head + (face_points * HEAD_RADII * self.head_size) @ self.head_axes
        visible = np.ones(len(COCO.annotated), bool)
        visible[: len(FACE_KEYPOINTS)] = face_points @ self.head_axes[
            :, 2
        ] < FACE_VISIBILITY_LIMITS * np.linalg.norm(face_points, axis=1)
        return np.array([*face, *(self.joints[name] for name in BODY_KEYPOINTS)]), visible


def head_rotation(yaw: ArrayLike, pitch: ArrayLike, roll: ArrayLike) -> np.ndarray:
    """Compute the axes of a head that is turned to its left, bowed and tilted to its right.

    Args:
        yaw, pitch, roll: (...) radians.

    Returns:
        (..., 3, 3) rows left, up, forward, in a coordinate frame with the same order of axes.
    """
    (cy, sy), (cn, sn), (cr, sr) = ((np.cos(angle), np.sin(angle)) for angle in (yaw, pitch, roll))
    rows = [
        [cr * cy + sr * sn * sy, sr * cn, sr * sn * cy - cr * sy],
        [cr * sn * sy - sr * cy, cr * cn, cr * sn * cy + sr * sy],
        [cn * sy, -sn, cn * cy],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))
