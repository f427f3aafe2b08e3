"""Annotations of one picture, written by hand, for the tests of what reads COCO's."""

from pathlib import Path

import cv2
import numpy as np

from simplepose.data import coco, coco_images
from simplepose.data.record import PreparedPicture

JOINTS = 17


def person(box=(2, 2, 40, 40), labelled=JOINTS, area=1600.0, **more) -> dict:
    """An annotation of someone whose outline is the box."""
    x, y, width, height = box
    keypoints = np.zeros((JOINTS, 3))
    keypoints[:labelled] = (x + width / 2, y + height / 2, 2)
    outline = [x, y, x + width, y, x + width, y + height, x, y + height]
    values = {
        "bbox": list(box),
        "keypoints": keypoints.ravel().tolist(),
        "area": area,
        "segmentation": [outline],
    }
    return {**values, "category_id": 1, "iscrowd": 0, **more}


def picture_of(folder: Path, *persons: dict, size_hw=(60, 90)) -> coco.AnnotatedPicture:
    """A grey picture file with these annotations."""
    cv2.imwrite(str(folder / "a.png"), np.full((*size_hw, 3), 128, np.uint8))
    return coco.AnnotatedPicture(7, "a.png", *size_hw, persons)


def prepare(picture: coco.AnnotatedPicture, folder: Path, **options) -> PreparedPicture | None:
    """A picture and its annotations -> what its samples need."""
    return coco_images.prepare_picture(picture, coco.persons_of(picture, JOINTS), [folder], **options)
