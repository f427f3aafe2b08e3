"""Augmentation in two halves: `draw` decides by chance, `apply` carries out, always the same.

One affine matrix moves the picture, both masks and the joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from simplepose import geometry
from simplepose.config import Augment
from simplepose.data.record import Record
from simplepose.skeleton import Skeleton

FILL_BGR = (124, 127, 127)
"""What lies outside the picture, the published mean grey."""


@dataclass(frozen=True)
class Parameters:
    """One decision: all that chance has a say in.

    Attributes:
        degrees: rotation.
        scale: factor on top of the framing.
        shift_xy: whole pixels of the sample.
        flip: mirror left to right.
        tint: added to hue (of 180), saturation and value (of 255), or None.
    """

    degrees: float = 0.0
    scale: float = 1.0
    shift_xy: tuple[int, int] = (0, 0)
    flip: bool = False
    tint: tuple[int, int, int] | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """What the network learns from, at the size of `Augment.size`.

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


def draw(rng: np.random.Generator, settings: Augment) -> Parameters:
    """Decide by chance how one sample is changed."""
    scaled = rng.random() < settings.scale_probability
    tinted = rng.random() < settings.tint_probability
    return Parameters(
        degrees=float(rng.uniform(-settings.rotation, settings.rotation)),
        scale=float(rng.uniform(*settings.scale)) if scaled else 1.0,
        shift_xy=(_whole(rng, -settings.shift, settings.shift), _whole(rng, -settings.shift, settings.shift)),
        flip=bool(rng.random() < settings.flip_probability),
        tint=(_whole(rng, *settings.hue), _whole(rng, *settings.saturation), _whole(rng, *settings.value))
        if tinted
        else None,
    )


def affine(record: Record, parameters: Parameters, settings: Augment) -> np.ndarray:
    """The (2, 3) float64 matrix from picture pixels to sample pixels."""
    height, width = settings.size
    target = (width / 2 - 0.5, height / 2 - 0.5)
    if settings.framing == "person":
        center = record.center_xy
        scale = settings.person_height * (height - 1) / record.height * parameters.scale
    else:
        rows, columns = record.image.shape[:2]
        center = ((columns - 1) / 2, (rows - 1) / 2)
        scale = height / rows * parameters.scale
        target = (_place(columns * scale, width), _place(rows * scale, height))
    return geometry.compose(
        geometry.translation(-center[0], -center[1]),
        geometry.rotation(parameters.degrees),
        geometry.scaling(-scale if parameters.flip else scale, scale),
        geometry.translation(target[0] + parameters.shift_xy[0], target[1] + parameters.shift_xy[1]),
    )


def _place(extent: float, available: int) -> float:
    """A framed picture's centre on one axis: begun at 0, as inference has it; a longer one is cut evenly."""
    return min(extent, available) / 2 - 0.5


def apply(
    record: Record, parameters: Parameters, settings: Augment, skeleton: Skeleton, stride: int
) -> Sample:
    """Carry out a decision on a record; `stride` is the maps', sample pixels a cell."""
    matrix = affine(record, parameters, settings)
    image, person_mask = _warp_picture(matrix, record, settings.size)
    if parameters.tint is not None:
        image = tint(image, parameters.tint)
    return Sample(
        image=image,
        mask_miss=_warp_mask_miss(matrix, record.mask_miss, settings.size, stride),
        person_mask=_reduced(person_mask, stride),
        joints=_move_joints(matrix, record.keypoints, parameters.flip, skeleton),
    )


def tint(image: np.ndarray, hue_saturation_value: tuple[int, int, int]) -> np.ndarray:
    """Add to hue (of 180), saturation and value (of 255) of a (H, W, 3) uint8 BGR picture, clipped."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    rows = hsv.reshape(len(hsv), -1)
    change, highest = np.array(hue_saturation_value), np.array([179, 255, 255])
    up, down = np.maximum(change, 0), np.maximum(-change, 0)
    steps = (np.minimum, highest - up), (np.add, up), (np.maximum, down), (np.subtract, down)
    for step, values in steps:  # in this order no byte overflows
        step(rows, np.tile(values.astype(np.uint8), image.shape[1]), out=rows)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR, dst=hsv)


def _warp_picture(matrix: np.ndarray, record: Record, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The picture and the mask of people, warped as the four channels that OpenCV is quickest with."""
    four = cv2.cvtColor(record.image, cv2.COLOR_BGR2BGRA)
    cv2.insertChannel(record.mask_all, four, 3)
    warped = geometry.apply_to_image(matrix, four, size, (*FILL_BGR, 0))
    return cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR), cv2.extractChannel(warped, 3)


def _warp_mask_miss(matrix: np.ndarray, mask: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """In most pictures nothing is missing, and nothing is beyond the border."""
    if mask.min() == 255:
        return np.full((size[0] // stride, size[1] // stride), 255, np.uint8)
    return _reduced(geometry.apply_to_image(matrix, mask, size, 255), stride)


def _reduced(mask: np.ndarray, stride: int) -> np.ndarray:
    """A mask of a sample's size, reduced to the maps' by area."""
    height, width = mask.shape
    return cv2.resize(mask, (width // stride, height // stride), interpolation=cv2.INTER_AREA)


def _move_joints(matrix: np.ndarray, keypoints: np.ndarray, flip: bool, skeleton: Skeleton) -> np.ndarray:
    joints = skeleton.to_network(keypoints)
    joints[..., :2] = geometry.apply_to_points(matrix, joints[..., :2])
    joints[joints[..., 2] <= 0] = 0
    return joints[:, skeleton.joint_flip] if flip else joints


def _whole(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))
