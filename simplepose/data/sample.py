"""One training sample, and how what a picture shows is laid into it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from simplepose import geometry
from simplepose.skeleton import Skeleton

FILL_BGR = (124, 127, 127)
"""What lies outside the picture, the published mean grey."""


@dataclass(frozen=True, eq=False)
class Sample:
    """What the network learns from, at the size of `AugmentSettings.size`.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        mask_miss: (h, w) uint8 at map size, 255 where the loss counts.
        person_mask: (h, w) uint8 at map size, 255 on people.
        joints: (P, J, 3) float32 x, y in pixels of `image` and COCO's v, main person first.
    """

    image: np.ndarray
    mask_miss: np.ndarray
    person_mask: np.ndarray
    joints: np.ndarray


def placing(
    center_xy: tuple[float, float], degrees: float, scale: float, flip: bool, target_xy: tuple[float, float]
) -> np.ndarray:
    """The (2, 3) float64 matrix that brings a picture's `center_xy` to the sample's `target_xy`."""
    return geometry.compose(
        geometry.translation(-center_xy[0], -center_xy[1]),
        geometry.rotation(degrees),
        geometry.scaling(-scale if flip else scale, scale),
        geometry.translation(*target_xy),
    )


def move_joints(matrix: np.ndarray, keypoints: np.ndarray, flip: bool, skeleton: Skeleton) -> np.ndarray:
    """(P, A, 3) annotated joints of a picture -> (P, J, 3) network joints of the sample, float32."""
    joints = skeleton.to_network(keypoints)
    joints[..., :2] = geometry.apply_to_points(matrix, joints[..., :2])
    joints[joints[..., 2] <= 0] = 0
    return joints[:, skeleton.joint_flip] if flip else joints


def to_cells(mask: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """(H, W) uint8 at the sample's size -> (h, w) uint8 at the maps', each cell the mean of its pixels."""
    return cv2.resize(mask, size_hw[::-1], interpolation=cv2.INTER_AREA)
