"""A training sample, and the transform from an image and its joints to it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from simplepose import geometry
from simplepose.skeleton import Skeleton

# Color outside the image: the published mean gray.
FILL_BGR = (124, 127, 127)


@dataclass(frozen=True, eq=False)
class Sample:
    """One network input with its labels, at the size of `AugmentSettings.size`.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        mask_miss: (h, w) uint8 at the size of the maps, 255 where the loss counts.
        person_mask: (h, w) uint8 at the size of the maps, 255 on people.
        joints: (P, J, 3) float32 x, y in pixels of `image` and COCO's v, main person first.
    """

    image: np.ndarray
    mask_miss: np.ndarray
    person_mask: np.ndarray
    joints: np.ndarray


def placement_matrix(
    center_xy: tuple[float, float], degrees: float, scale: float, flip: bool, target_xy: tuple[float, float]
) -> np.ndarray:
    """Return the (2, 3) float64 matrix that maps `center_xy` of an image to `target_xy` of the sample."""
    return geometry.compose(
        geometry.translation(-center_xy[0], -center_xy[1]),
        geometry.rotation(degrees),
        geometry.scaling(-scale if flip else scale, scale),
        geometry.translation(*target_xy),
    )


def transform_joints(matrix: np.ndarray, keypoints: np.ndarray, flip: bool, skeleton: Skeleton) -> np.ndarray:
    """Convert (P, A, 3) annotated joints in an image to (P, J, 3) float32 network joints in the sample."""
    joints = skeleton.to_network(keypoints)
    joints[..., :2] = geometry.apply_to_points(matrix, joints[..., :2])
    joints[joints[..., 2] <= 0] = 0
    return joints[:, skeleton.joint_flip] if flip else joints


def downsample_mask(mask: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """Downsample a (H, W) uint8 mask to (h, w), the size of the maps; each cell is the mean of its pixels."""
    return cv2.resize(mask, size_hw[::-1], interpolation=cv2.INTER_AREA)
