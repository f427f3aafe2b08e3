"""Handmade annotations of one image, for tests of the COCO reader."""

import struct
from pathlib import Path

import cv2
import numpy as np

from simplepose.data import coco, coco_images
from simplepose.data.record import PreparedImage

JOINTS = 17


def person(box=(2, 2, 40, 40), num_labeled=JOINTS, area=1600.0, **more) -> dict:
    """An annotation of a person whose outline is the box."""
    x, y, width, height = box
    keypoints = np.zeros((JOINTS, 3))
    keypoints[:num_labeled] = (x + width / 2, y + height / 2, 2)
    outline = [x, y, x + width, y, x + width, y + height, x, y + height]
    values = {
        "bbox": list(box),
        "keypoints": keypoints.ravel().tolist(),
        "area": area,
        "segmentation": [outline],
    }
    return {**values, "category_id": 1, "iscrowd": 0, **more}


def write_annotated_image(folder: Path, *persons: dict, size_hw=(60, 90)) -> coco.AnnotatedImage:
    """Write a gray image file; return it with these annotations."""
    cv2.imwrite(str(folder / "a.png"), np.full((*size_hw, 3), 128, np.uint8))
    return coco.AnnotatedImage(7, "a.png", *size_hw, persons)


def write_rotated_jpeg(folder: Path) -> Path:
    """Write a JPEG of 90 x 60 pixels, left half white, that EXIF rotates to 60 x 90; return its path."""
    image = np.zeros((60, 90, 3), np.uint8)
    image[:, :45] = 255
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    path = folder / "rotated.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    return path


def prepare(image: coco.AnnotatedImage, folder: Path, **options) -> PreparedImage | None:
    """Prepare an annotated image of `folder`."""
    return coco_images.prepare_image(image, coco.parse_persons(image, JOINTS), [folder], **options)
