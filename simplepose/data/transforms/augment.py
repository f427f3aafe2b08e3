"""Augmentation of one training sample in two steps: sample the parameters, then apply them.

Applying is deterministic. One affine matrix transforms the image, both masks and the joints; pasted people
have matrices of their own. Half-body augmentation frames the upper or the lower body of a person instead of
the whole.
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
from simplepose.data.sample import FILL_BGR, Sample, downsample_mask, placement_matrix, transform_joints
from simplepose.data.transforms import occlusion, photometric
from simplepose.data.transforms.occlusion import EraseRectangle, PasteParams
from simplepose.data.transforms.photometric import PhotometricParams
from simplepose.skeleton import Skeleton

BodyHalf = Literal["upper", "lower"]

# A half is framed only if it has this many labeled joints.
MIN_HALF_BODY_JOINTS = 3

# Framed height of a half: the longer side of its joints' box times the margin, but at least this fraction of
# the person's height.
HALF_BODY_MARGIN, MIN_HALF_BODY_HEIGHT_RATIO = 1.5, 0.25


def sample_half_body(rng: np.random.Generator, settings: AugmentSettings) -> BodyHalf | None:
    """Sample which half is framed; None: the whole body."""
    use_half, upper = rng.random() < settings.half_body_probability, rng.random() < 0.5
    if not use_half:
        return None
    return "upper" if upper else "lower"


def frame_half_body(
    record: Record, half: BodyHalf, lower_body: tuple[str, ...], skeleton: Skeleton
) -> Record:
    """Set the center and size of a record to those of the main person's upper or lower body.

    If that half has fewer than 3 labeled joints, the other half is framed; if both have, the whole body.

    Args:
        lower_body: a joint whose name contains one of these words is of the lower body.
        skeleton: names the joints of `record.keypoints`.
    """
    if not len(record.keypoints):
        return record
    joints = record.keypoints[0]
    labeled = joints[:, 2] > 0
    lower = np.array([any(word in name for word in lower_body) for name in skeleton.annotated], bool)
    first, second = (lower, ~lower) if half == "lower" else (~lower, lower)
    for members in (first & labeled, second & labeled):
        if members.sum() >= MIN_HALF_BODY_JOINTS:
            low, high = joints[members, :2].min(0), joints[members, :2].max(0)
            x, y = map(float, (low + high) / 2)
            min_height = MIN_HALF_BODY_HEIGHT_RATIO * record.height
            height = max(HALF_BODY_MARGIN * float((high - low).max()), min_height)
            width = min(height, record.width)
            return replace(record, center_xy=(x, y), height=height, width=width)
    return record


@dataclass(frozen=True)
class AugmentParams:
    """Sampled parameters of one sample; the defaults only frame it.

    Attributes:
        degrees: rotation.
        scale: factor on top of the framing.
        shift_xy: whole pixels of the sample.
        flip: mirror left to right.
        tint: added to hue (of 180), saturation and value (of 255), or None.
        half: of the main person, framed instead of the whole body; or None.
        pastes: people of other samples, pasted onto this one.
        erase: rectangle that is painted over afterwards, or None.
        photometric: applied last.
    """

    degrees: float = 0.0
    scale: float = 1.0
    shift_xy: tuple[int, int] = (0, 0)
    flip: bool = False
    tint: tuple[int, int, int] | None = None
    half: BodyHalf | None = None
    pastes: tuple[PasteParams, ...] = ()
    erase: EraseRectangle | None = None
    photometric: PhotometricParams = field(default_factory=PhotometricParams)


def sample_params(rng: np.random.Generator, settings: AugmentSettings) -> AugmentParams:
    """Sample the parameters of one sample.

    The parameters of the published recipe are sampled first, so the other settings do not change them.
    """
    use_scale = rng.random() < settings.scale_probability
    use_tint = rng.random() < settings.tint_probability
    return AugmentParams(
        degrees=float(rng.uniform(-settings.rotation, settings.rotation)),
        scale=float(rng.uniform(*settings.scale)) if use_scale else 1.0,
        shift_xy=(
            _random_int(rng, -settings.shift, settings.shift),
            _random_int(rng, -settings.shift, settings.shift),
        ),
        flip=bool(rng.random() < settings.flip_probability),
        tint=(
            _random_int(rng, *settings.hue),
            _random_int(rng, *settings.saturation),
            _random_int(rng, *settings.value),
        )
        if use_tint
        else None,
        half=sample_half_body(rng, settings),
        pastes=occlusion.sample_pastes(rng, settings),
        erase=occlusion.sample_erase(rng, settings),
        photometric=photometric.sample_params(rng, settings),
    )


def affine_matrix(record: Record, params: AugmentParams, settings: AugmentSettings) -> np.ndarray:
    """Return the (2, 3) float64 matrix from image pixels to sample pixels."""
    height, width = settings.size
    target = (width / 2 - 0.5, height / 2 - 0.5)
    if settings.framing == "person":
        center = record.center_xy
        scale = settings.person_height * (height - 1) / record.height * params.scale
    elif settings.framing == "crop":
        center = record.center_xy
        box = (record.width, record.height)
        scale = geometry.crop_scale(box, settings.size, settings.person_height) * params.scale
    else:
        rows, columns = record.image.shape[:2]
        center = ((columns - 1) / 2, (rows - 1) / 2)
        scale = height / rows * params.scale
        target = (_framed_center(columns * scale, width), _framed_center(rows * scale, height))
    shifted = target[0] + params.shift_xy[0], target[1] + params.shift_xy[1]
    return placement_matrix(center, params.degrees, scale, params.flip, shifted)


def _framed_center(extent: float, available: int) -> float:
    """Return the center of a framed image on one axis.

    The image starts at 0, as at inference; an image longer than the sample is cropped evenly.
    """
    return min(extent, available) / 2 - 0.5


def apply(
    record: Record,
    params: AugmentParams,
    settings: AugmentSettings,
    skeleton: Skeleton,
    stride: int,
    donors: Sequence[Record] = (),
) -> Sample:
    """Apply sampled parameters to a record.

    Args:
        stride: of the maps, sample pixels in a cell.
        donors: for each of `params.pastes`, the record whose main person is pasted.

    Raises:
        ValueError: the numbers of donors and pastes differ.
    """
    if params.half is not None and settings.framing != "image":
        record = frame_half_body(record, params.half, settings.lower_body, skeleton)
    matrix = affine_matrix(record, params, settings)
    rows, columns = geometry.source_region(matrix, record.mask_all.shape, settings.size)
    image, mask_all, mask_miss = (
        part[rows, columns] for part in (record.image, record.mask_all, record.mask_miss)
    )
    from_region = geometry.compose(geometry.translation(columns.start, rows.start), matrix)
    image, person_mask = _warp_image(from_region, image, mask_all, settings.size)
    sample = Sample(
        image=image,
        mask_miss=_warp_mask_miss(from_region, mask_miss, settings.size, stride),
        person_mask=_downsample(person_mask, stride),
        joints=transform_joints(matrix, record.keypoints, params.flip, skeleton),
    )
    for paste, donor in zip(params.pastes, donors, strict=True):
        sample = occlusion.paste(sample, donor, paste, skeleton)
    if params.erase is not None:
        sample = occlusion.erase(sample, params.erase, skeleton)
    image = sample.image if params.tint is None else tint(sample.image, params.tint)
    return replace(sample, image=photometric.apply(image, params.photometric))


def tint(image: np.ndarray, hue_saturation_value: tuple[int, int, int]) -> np.ndarray:
    """Add to hue (of 180), saturation and value (of 255) of a (H, W, 3) uint8 BGR image, clipped."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    rows = hsv.reshape(len(hsv), -1)
    change, highest = np.array(hue_saturation_value), np.array([179, 255, 255])
    up, down = np.maximum(change, 0), np.maximum(-change, 0)
    steps = (np.minimum, highest - up), (np.add, up), (np.maximum, down), (np.subtract, down)
    for step, values in steps:  # in this order no byte overflows
        step(rows, np.tile(values.astype(np.uint8), image.shape[1]), out=rows)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR, dst=hsv)


def _warp_image(
    matrix: np.ndarray, image: np.ndarray, mask_all: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Warp the image and the person mask together, as four channels: OpenCV is fastest with four."""
    bgra = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
    cv2.insertChannel(mask_all, bgra, 3)
    warped = geometry.apply_to_image(matrix, bgra, size, (*FILL_BGR, 0))
    return cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR), cv2.extractChannel(warped, 3)


def _warp_mask_miss(matrix: np.ndarray, mask: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """Warp mask_miss. Most masks are all 255, as is the area outside the image; these are not warped."""
    if mask.min() == 255:
        return np.full((size[0] // stride, size[1] // stride), 255, np.uint8)
    return _downsample(geometry.apply_to_image(matrix, mask, size, 255), stride)


def _downsample(mask: np.ndarray, stride: int) -> np.ndarray:
    return downsample_mask(mask, (mask.shape[0] // stride, mask.shape[1] // stride))


def _random_int(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))
