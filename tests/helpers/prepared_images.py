"""Prepared images for files of training samples, and a comparison of records."""

from pathlib import Path

import cv2
import numpy as np
from synthetic_coco import write_synthetic_coco

from simplepose.data.coco import parse_persons, read_annotations
from simplepose.data.coco_images import prepare_image
from simplepose.data.hdf5.writer import FileHeader
from simplepose.data.record import NO_PERSON, PreparedImage, Record
from simplepose.skeleton import COCO

STORES = ("compressed", "raw")


def assert_records_equal(one: Record, other: Record) -> None:
    """Assert that two records are equal."""
    for name in ("image", "mask_miss", "mask_all", "keypoints"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype, name
        assert np.array_equal(a, b), name
    assert (one.center_xy, one.height, one.image_id) == (other.center_xy, other.height, other.image_id)


def header(store: str = "compressed", joints=COCO.annotated) -> FileHeader:
    return FileHeader(joints, "x.json", store)


def image_without_people(image_id: int = 5) -> PreparedImage:
    """A PNG image without people, of odd size."""
    image = np.random.default_rng(image_id).integers(0, 256, (7, 13, 3), np.uint8)
    encoded = cv2.imencode(".png", image)[1].tobytes()
    masks = np.full((7, 13), 255, np.uint8), np.zeros((7, 13), np.uint8)
    people = np.zeros((0, len(COCO.annotated), 3), np.float32), np.zeros((0, 4))
    return PreparedImage(image_id, "empty.png", encoded, image, *masks, *people, (NO_PERSON,))


def write_and_prepare(folder: Path) -> list[PreparedImage]:
    """Six synthetic images, then one without people."""
    annotations, images = write_synthetic_coco(folder, num_images=6)
    listed = read_annotations(annotations)
    prepared = [prepare_image(p, parse_persons(p, len(COCO.annotated)), [images]) for p in listed]
    prepared[1].mask_miss[3:9, 5:60] = 0
    return [*prepared, image_without_people(99)]


def all_records(images: list[PreparedImage]) -> list[Record]:
    """The records of all samples of these images, in order."""
    return [image.record(main) for image in images for main in image.main_persons]
