"""Augmentation of one training sample in two steps: sample the parameters, then apply them.

Applying is deterministic. One affine matrix transforms the image, both masks and the joints; pasted people
have matrices of their own. A half-body sample frames a person's upper or lower body as others frame the
whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np

from simplepose import geometry
from simplepose.config import AugmentSettings
from simplepose.data.record import Record
from simplepose.data.sample import FILL_BGR, Sample, move_joints, placing, to_cells
from simplepose.data.transforms import occlusion, photometric
from simplepose.data.transforms.occlusion import Paste, Rectangle
from simplepose.data.transforms.photometric import Appearance
from simplepose.skeleton import Skeleton

Half = Literal["upper", "lower"]

LEAST_JOINTS = 3
"""Labelled joints that a half must have to be framed."""

MARGIN, LEAST_SHARE = 1.5, 0.25
"""Framed height: the longer side of the joints' box times this, at least this share of the person's."""


def sample_half_body(rng: np.random.Generator, settings: AugmentSettings) -> Half | None:
    """Decide by chance which half is framed; None: the whole."""
    halved, upper = rng.random() < settings.half_body_probability, rng.random() < 0.5
    if not halved:
        return None
    return "upper" if upper else "lower"


def half_body(record: Record, half: Half, lower_body: tuple[str, ...], skeleton: Skeleton) -> Record:
    """The record with the main person's half as its centre and height.

    Where that half has fewer than 3 labelled joints, the other is framed; where that has too, the whole.

    Args:
        lower_body: a joint whose name contains one of these is of the lower body.
        skeleton: names the joints of `record.keypoints`.
    """
    if not len(record.keypoints):
        return record
    joints = record.keypoints[0]
    labelled = joints[:, 2] > 0
    lower = np.array([any(word in name for word in lower_body) for name in skeleton.annotated], bool)
    first, second = (lower, ~lower) if half == "lower" else (~lower, lower)
    for members in (first & labelled, second & labelled):
        if members.sum() >= LEAST_JOINTS:
            low, high = joints[members, :2].min(0), joints[members, :2].max(0)
            x, y = map(float, (low + high) / 2)
            height = max(MARGIN * float((high - low).max()), LEAST_SHARE * record.height)
            return replace(record, center_xy=(x, y), height=height)
    return record


@dataclass(frozen=True)
class Parameters:
    """One decision: all that chance has a say in.

    Attributes:
        degrees: rotation.
        scale: factor on top of the framing.
        shift_xy: whole pixels of the sample.
        flip: mirror left to right.
        tint: added to hue (of 180), saturation and value (of 255), or None.
        half: of the main person, framed instead of the whole; or None.
        pastes: people of other samples, laid over this one.
        erased: what is painted over then, or None.
        appearance: how all that looks.
    """

    degrees: float = 0.0
    scale: float = 1.0
    shift_xy: tuple[int, int] = (0, 0)
    flip: bool = False
    tint: tuple[int, int, int] | None = None
    half: Half | None = None
    pastes: tuple[Paste, ...] = ()
    erased: Rectangle | None = None
    appearance: Appearance = field(default_factory=Appearance)


def draw(rng: np.random.Generator, settings: AugmentSettings) -> Parameters:
    """Decide by chance how one sample is changed.

    What the published recipe has is drawn first, so that it is the same whatever else is on.
    """
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
        half=sample_half_body(rng, settings),
        pastes=occlusion.sample_pasting(rng, settings),
        erased=occlusion.sample_erasing(rng, settings),
        appearance=photometric.draw(rng, settings),
    )


def affine(record: Record, parameters: Parameters, settings: AugmentSettings) -> np.ndarray:
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
    shifted = target[0] + parameters.shift_xy[0], target[1] + parameters.shift_xy[1]
    return placing(center, parameters.degrees, scale, parameters.flip, shifted)


def _place(extent: float, available: int) -> float:
    """A framed picture's centre on one axis: begun at 0, as inference has it; a longer one is cut evenly."""
    return min(extent, available) / 2 - 0.5


def apply(
    record: Record,
    parameters: Parameters,
    settings: AugmentSettings,
    skeleton: Skeleton,
    stride: int,
    donors: Sequence[Record] = (),
) -> Sample:
    """Carry out a decision on a record.

    Args:
        stride: the maps', sample pixels a cell.
        donors: the record that each of `parameters.pastes` takes its person from.

    Raises:
        ValueError: there are not as many donors as pastes.
    """
    if parameters.half is not None and settings.framing == "person":
        record = half_body(record, parameters.half, settings.lower_body, skeleton)
    matrix = affine(record, parameters, settings)
    rows, columns = geometry.seen(matrix, record.mask_all.shape, settings.size)
    picture, mask_all, mask_miss = (
        part[rows, columns] for part in (record.image, record.mask_all, record.mask_miss)
    )
    onto = geometry.compose(geometry.translation(columns.start, rows.start), matrix)
    image, person_mask = _warp_picture(onto, picture, mask_all, settings.size)
    sample = Sample(
        image=image,
        mask_miss=_warp_mask_miss(onto, mask_miss, settings.size, stride),
        person_mask=_to_cells(person_mask, stride),
        joints=move_joints(matrix, record.keypoints, parameters.flip, skeleton),
    )
    for how, donor in zip(parameters.pastes, donors, strict=True):
        sample = occlusion.paste(sample, donor, how, skeleton)
    if parameters.erased is not None:
        sample = occlusion.erase(sample, parameters.erased, skeleton)
    image = sample.image if parameters.tint is None else tint(sample.image, parameters.tint)
    return replace(sample, image=photometric.apply(image, parameters.appearance))


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


def _warp_picture(
    matrix: np.ndarray, image: np.ndarray, mask_all: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The picture and the mask of people, warped as the four channels that OpenCV is quickest with."""
    four = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
    cv2.insertChannel(mask_all, four, 3)
    warped = geometry.apply_to_image(matrix, four, size, (*FILL_BGR, 0))
    return cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR), cv2.extractChannel(warped, 3)


def _warp_mask_miss(matrix: np.ndarray, mask: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """In most pictures nothing is missing, and nothing is beyond the border."""
    if mask.min() == 255:
        return np.full((size[0] // stride, size[1] // stride), 255, np.uint8)
    return _to_cells(geometry.apply_to_image(matrix, mask, size, 255), stride)


def _to_cells(mask: np.ndarray, stride: int) -> np.ndarray:
    return to_cells(mask, (mask.shape[0] // stride, mask.shape[1] // stride))


def _whole(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))
