"""What training samples are made of: one picture with its people, and one sample of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simplepose.image_io import decode

NOBODY = -1
"""The main person of a picture that shows nobody."""

EMPTY_HEIGHT = 0.6
"""Such a sample's height as a share of its picture's: the published framing then fills the crop with it."""


class Remark(NamedTuple):
    """What was found about a picture while it was prepared.

    Attributes:
        image_id: the picture's.
        kind: the same words for all of a kind, to count by.
        detail: more of it, may be empty.
    """

    image_id: int
    kind: str
    detail: str = ""


class PictureFault(ValueError):
    """A picture that no sample can be made of.

    Attributes:
        reason: the kind of fault, the same words for all of a kind, to count by.
        detail: more of it.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, eq=False)
class Record:
    """One training sample, everything at picture size.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        mask_miss: (H, W) uint8, 255 where the loss counts, 0 where it must not.
        mask_all: (H, W) uint8, 255 on people, 0 elsewhere.
        keypoints: (P, A, 3) float32 x, y, v in picture pixels, v as COCO's (0 not labelled, 1 hidden,
            2 visible), main person first. People without a labelled keypoint are not in it. P is 0 in a
            picture of nobody.
        center_xy: the centre of the main person's box, or of a picture of nobody; picture pixels.
        height: the height of the main person's box, or 0.6 of that of a picture of nobody; picture pixels,
            above 0.
        image_id: COCO's id of the picture.
    """

    image: np.ndarray
    mask_miss: np.ndarray
    mask_all: np.ndarray
    keypoints: np.ndarray
    center_xy: tuple[float, float]
    height: float
    image_id: int


@dataclass(frozen=True, eq=False)
class PreparedPicture:
    """One picture and all that its training samples need.

    Attributes:
        image_id, file_name: as the annotations name the picture.
        encoded: the picture file's bytes (JPEG, PNG, ...), as they are.
        image: (H, W, 3) uint8 BGR, what they decode to.
        mask_miss, mask_all: (H, W) uint8, as in `Record`.
        keypoints: (P, A, 3) float32, as in `Record`, in the order of the annotations.
        boxes_xywh: (P, 4) float64: left, top, width, height, picture pixels.
        main_persons: rows of `keypoints`, or NOBODY; each gives one sample.
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
        """The sample of one main person."""
        masks = (self.mask_miss, self.mask_all)
        return make_record(self.image_id, self.image, masks, self.keypoints, self.boxes_xywh, main_person)


def make_record(
    image_id: int,
    image: np.ndarray,
    masks: tuple[np.ndarray, np.ndarray],
    keypoints: np.ndarray,
    boxes_xywh: np.ndarray,
    main_person: int,
) -> Record:
    """The sample of one main person; arguments as in `PreparedPicture`, `masks`: mask_miss, mask_all.

    Raises:
        IndexError: nobody has that row.
    """
    if main_person == NOBODY:
        rows, columns = image.shape[:2]
        center_xy, height = ((columns - 1) / 2, (rows - 1) / 2), EMPTY_HEIGHT * rows
    else:
        x, y, width, height = map(float, boxes_xywh[main_person])
        center_xy = (x + width / 2, y + height / 2)
        others = [person for person in range(len(keypoints)) if person != main_person]
        keypoints = keypoints[[main_person, *others]]
    return Record(image, *masks, keypoints, center_xy, height, image_id)


def decode_picture(encoded: bytes | np.ndarray, known: bool = False) -> np.ndarray:
    """A picture file's bytes -> (H, W, 3) uint8 BGR in the stored orientation; `known` as in `decode`.

    Raises:
        PictureFault: the bytes are no picture, or end too early.
    """
    image = decode(encoded, upright=False, known=known)
    if image is None:
        raise PictureFault("picture damaged", f"{len(encoded)} bytes that are no picture, or end too early")
    return image
