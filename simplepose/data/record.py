"""Images with their annotated people, before augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simplepose.image_io import MAX_PIXELS, ImageError, decode

# The main person of an image without people.
NO_PERSON = -1

# Framed height of an image without people, as a fraction of the image's height: the published framing then
# fills the crop with the image.
EMPTY_IMAGE_HEIGHT_RATIO = 0.6

# Bounds of a record's coordinates and people; beyond them, augmentation and targets cannot be computed.
MAX_COORDINATE = 1e6
MIN_BOX_HEIGHT = 0.1
MAX_PEOPLE = 1000


class Issue(NamedTuple):
    """An issue that was found while an image was prepared.

    Attributes:
        image_id: of the image.
        kind: the same text for all issues of a kind, to count by.
        detail: more information, may be empty.
    """

    image_id: int
    kind: str
    detail: str = ""


class UnusableImageError(ValueError):
    """An image cannot give a sample.

    Attributes:
        reason: the kind of fault, the same text for all faults of a kind, to count by.
        detail: more information.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, eq=False)
class Record:
    """One training sample before augmentation, at the size of its image.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        mask_miss: (H, W) uint8, 255 where the loss counts, 0 where it must not.
        mask_all: (H, W) uint8, 255 on people, 0 elsewhere.
        keypoints: (P, A, 3) float32 x, y, v in image pixels, v as COCO's (0 not labeled, 1 occluded,
            2 visible), main person first. It excludes people without a labeled keypoint. P is 0 in an image
            without people.
        center_xy: the center of the main person's box, or of an image without people; image pixels.
        height: the height of the main person's box, or 0.6 of the height of an image without people; image
            pixels, above 0.
        image_id: COCO's id of the image.
        width: the width of the main person's box, or 0.6 of the width of an image without people; image
            pixels. 0 if the file does not have it (the published layout).
    """

    image: np.ndarray
    mask_miss: np.ndarray
    mask_all: np.ndarray
    keypoints: np.ndarray
    center_xy: tuple[float, float]
    height: float
    image_id: int
    width: float = 0.0


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """One image and the labels of all its training samples.

    Attributes:
        image_id, file_name: as in the annotations.
        encoded: the bytes of the image file (JPEG, PNG, ...), unchanged.
        image: (H, W, 3) uint8 BGR, decoded from `encoded`.
        mask_miss, mask_all: (H, W) uint8, as in `Record`.
        keypoints: (P, A, 3) float32, as in `Record`, in the order of the annotations.
        boxes_xywh: (P, 4) float64: left, top, width, height, image pixels.
        main_persons: rows of `keypoints`, or NO_PERSON; each gives one sample.
    """

    image_id: int
    file_name: str
    encoded: bytes
    image: np.ndarray
    mask_miss: np.ndarray
    mask_all: np.ndarray
    keypoints: np.ndarray
    boxes_xywh: np.ndarray
    main_persons: tuple[int, ...]

    def record(self, main_person: int) -> Record:
        """Build the record of one main person."""
        masks = (self.mask_miss, self.mask_all)
        return build_record(self.image_id, self.image, masks, self.keypoints, self.boxes_xywh, main_person)


def build_record(
    image_id: int,
    image: np.ndarray,
    masks: tuple[np.ndarray, np.ndarray],
    keypoints: np.ndarray,
    boxes_xywh: np.ndarray,
    main_person: int,
) -> Record:
    """Build the record of one main person.

    Args:
        masks: mask_miss, mask_all; the other arguments are as in `PreparedImage`.

    Raises:
        IndexError: no person has that row.
    """
    if main_person == NO_PERSON:
        rows, columns = image.shape[:2]
        center_xy = ((columns - 1) / 2, (rows - 1) / 2)
        width, height = EMPTY_IMAGE_HEIGHT_RATIO * columns, EMPTY_IMAGE_HEIGHT_RATIO * rows
    else:
        x, y, width, height = map(float, boxes_xywh[main_person])
        center_xy = (x + width / 2, y + height / 2)
        others = [person for person in range(len(keypoints)) if person != main_person]
        keypoints = keypoints[[main_person, *others]]
    return Record(image, *masks, keypoints, center_xy, height, image_id, width)


def check_record(record: Record, num_joints: int) -> None:
    """Check that a record read from a file can be augmented and drawn.

    Raises:
        ValueError: the sizes of image and masks differ, there are too many people, or a coordinate is NaN,
            infinite or far outside of any image.
    """
    size = record.image.shape[:2]
    if record.image.shape != (*size, 3) or 0 in size or record.image.dtype != np.uint8:
        raise ValueError(f"expected an image of H x W x 3 bytes, got {record.image.shape}")
    for mask in (record.mask_miss, record.mask_all):
        if mask.shape != size or mask.dtype != np.uint8:
            raise ValueError(f"expected masks of the image's size {size}, got {mask.shape}")
    if record.keypoints.shape[1:] != (num_joints, 3) or len(record.keypoints) > MAX_PEOPLE:
        raise ValueError(
            f"expected at most {MAX_PEOPLE} people of {num_joints} keypoints, got {record.keypoints.shape}"
        )
    if not (np.abs(record.keypoints) <= MAX_COORDINATE).all():
        raise ValueError("a keypoint is NaN, infinite or far outside of the image")
    x, y = record.center_xy
    if not (max(abs(x), abs(y)) <= MAX_COORDINATE and MIN_BOX_HEIGHT <= record.height <= MAX_COORDINATE):
        raise ValueError("the main person's box is NaN, infinite, without height or far outside of the image")


def decode_image(
    encoded: bytes | np.ndarray, validated: bool = False, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decode the bytes of an image file to (H, W, 3) uint8 BGR, in the stored orientation.

    Args:
        encoded: the bytes of the file.
        validated: these bytes were decoded before, so they are not checked for truncation again.
        max_pixels: limit of width times height.

    Raises:
        UnusableImageError: the bytes are not an image within the pixel limit, or end too early.
    """
    try:
        return decode(encoded, upright=False, validated=validated, max_pixels=max_pixels)
    except ImageError as error:
        raise UnusableImageError(error.kind, str(error)) from error
