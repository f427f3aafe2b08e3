"""What training samples are made of: one picture with its people, and one sample of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simplepose.decoding import decode


class PictureFault(ValueError):
    """A picture that no sample can be made of.

    Attributes:
        reason: the kind of fault, the same words for all of a kind, to count by.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Record:
    """One training sample, everything at picture size.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        mask_miss: (H, W) uint8, 255 where the loss counts, 0 where it must not.
        mask_all: (H, W) uint8, 255 on people, 0 elsewhere.
        keypoints: (P, A, 3) float32 x, y, v in picture pixels, v as COCO's (0 not labelled, 1 hidden,
            2 visible), main person first. People without a labelled keypoint are not in it.
        center_xy: the centre of the main person's box, picture pixels.
        height: the height of the main person's box, picture pixels, above 0.
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
        mask_miss, mask_all: (H, W) uint8, as in `Record`.
        keypoints: (P, A, 3) float32, as in `Record`, in the order of the annotations.
        boxes_xywh: (P, 4) float64: left, top, width, height, picture pixels.
        main_persons: rows of `keypoints`; each gives one sample.
    """

    image_id: int
    file_name: str
    encoded: bytes
    mask_miss: np.ndarray
    mask_all: np.ndarray
    keypoints: np.ndarray
    boxes_xywh: np.ndarray
    main_persons: tuple[int, ...]

    def record(self, main_person: int) -> Record:
        """The sample of one main person. Raises PictureFault where the picture cannot be decoded."""
        others = [person for person in range(len(self.keypoints)) if person != main_person]
        x, y, width, height = map(float, self.boxes_xywh[main_person])
        return Record(
            image=decode_picture(self.encoded),
            mask_miss=self.mask_miss,
            mask_all=self.mask_all,
            keypoints=self.keypoints[[main_person, *others]],
            center_xy=(x + width / 2, y + height / 2),
            height=height,
            image_id=self.image_id,
        )


def decode_picture(encoded: bytes) -> np.ndarray:
    """A picture file's bytes -> (H, W, 3) uint8 BGR in the stored orientation.

    Raises:
        PictureFault: the bytes are no picture, or end too early.
    """
    image = decode(encoded, upright=False)
    if image is None:
        raise PictureFault("picture damaged", f"{len(encoded)} bytes that are no picture, or end too early")
    return image
