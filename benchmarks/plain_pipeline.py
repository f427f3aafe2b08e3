"""The steps of `data.transforms.augment` in plain NumPy, for comparison in `benchmarks/data.py`."""

from __future__ import annotations

import numpy as np

from simplepose import geometry
from simplepose.config import Settings
from simplepose.data.record import Record
from simplepose.data.transforms import augment
from simplepose.data.transforms.augment import FILL_BGR, AugmentParams, Sample
from simplepose.skeleton import Skeleton


def sample(record: Record, parameters: AugmentParams, settings: Settings, skeleton: Skeleton) -> Sample:
    """Make the sample of a record, equal to that of `augment.apply` up to rounding."""
    matrix = augment.affine_matrix(record, parameters, settings.augment)
    size, stride = settings.augment.size, settings.targets.stride
    image = warp(record.image, matrix, size, FILL_BGR)
    masks = (warp(m[..., None], matrix, size, (fill,)) for m, fill in _masks(record))
    mask_miss, person_mask = (reduce(mask[..., 0], stride) for mask in masks)
    if parameters.tint is not None:
        image = tint(image, parameters.tint)
    joints = skeleton.to_network(record.keypoints)
    joints[..., :2] = geometry.apply_to_points(matrix, joints[..., :2])
    joints[joints[..., 2] <= 0] = 0
    joints = joints[:, skeleton.joint_flip] if parameters.flip else joints
    return Sample(*(np.rint(part).astype(np.uint8) for part in (image, mask_miss, person_mask)), joints)


def _masks(record: Record) -> tuple[tuple[np.ndarray, int], tuple[np.ndarray, int]]:
    return (record.mask_miss, 255), (record.mask_all, 0)


def warp(source: np.ndarray, matrix: np.ndarray, size: tuple[int, int], fill: tuple[int, ...]) -> np.ndarray:
    """Warp (H, W, C) uint8 to (*size, C) float32 with bilinear interpolation."""
    height, width = source.shape[:2]
    rows, columns = np.mgrid[: size[0], : size[1]]
    back = geometry.inverse(matrix).astype(np.float32)
    x = np.clip(back[0, 0] * columns + back[0, 1] * rows + back[0, 2], -1, width).astype(np.float32)
    y = np.clip(back[1, 0] * columns + back[1, 1] * rows + back[1, 2], -1, height).astype(np.float32)
    bordered = np.empty((height + 3, width + 3, source.shape[2]), np.float32)
    bordered[:] = fill
    bordered[1:-2, 1:-2] = source
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, below = (x - left)[..., None], (y - top)[..., None]
    left, top = left + 1, top + 1
    upper = bordered[top, left] * (1 - right) + bordered[top, left + 1] * right
    lower = bordered[top + 1, left] * (1 - right) + bordered[top + 1, left + 1] * right
    return upper * (1 - below) + lower * below


def reduce(mask: np.ndarray, stride: int) -> np.ndarray:
    """Downsample (H, W) to (H / stride, W / stride), the mean of each cell."""
    rows, columns = mask.shape
    return mask.reshape(rows // stride, stride, columns // stride, stride).mean((1, 3))


def tint(image: np.ndarray, change: tuple[int, int, int]) -> np.ndarray:
    """Change hue (of 180), saturation and value (of 255) of a (H, W, 3) BGR image from 0 to 255."""
    blue, green, red = (image[..., channel] for channel in range(3))
    value, minimum = image.max(-1), image.min(-1)
    spread = np.maximum(value - minimum, 1e-6)
    hue = np.where(value == red, (green - blue) / spread, 0)
    hue = np.where((value == green) & (value != red), 2 + (blue - red) / spread, hue)
    hue = np.where((value == blue) & (value != red) & (value != green), 4 + (red - green) / spread, hue)
    hue = np.clip(30 * (hue % 6) + change[0], 0, 179) / 30
    saturation = np.clip(255 * (value - minimum) / np.maximum(value, 1e-6) + change[1], 0, 255) / 255
    value = np.clip(value + change[2], 0, 255)
    turned = (np.array([1, 3, 5]) + hue[..., None]) % 6  # blue, green, red
    share = np.clip(np.minimum(turned, 4 - turned), 0, 1)
    return value[..., None] * (1 - saturation[..., None] * share)
