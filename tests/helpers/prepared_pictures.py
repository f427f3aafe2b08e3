"""Prepared pictures to write files of training samples from, and how to compare what is read."""

from pathlib import Path

import cv2
import numpy as np
from drawn_coco import write_drawn_coco

from simplepose.data.coco import persons_of, read_annotations
from simplepose.data.coco_images import prepare_picture
from simplepose.data.hdf5.writer import Header
from simplepose.data.record import NOBODY, PreparedPicture, Record
from simplepose.skeleton import COCO

STORES = ("compressed", "raw")


def assert_same(one: Record, other: Record) -> None:
    """Two records hold the same."""
    for name in ("image", "mask_miss", "mask_all", "keypoints"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype, name
        assert np.array_equal(a, b), name
    assert (one.center_xy, one.height, one.image_id) == (other.center_xy, other.height, other.image_id)


def header(store: str = "compressed", joints=COCO.annotated) -> Header:
    return Header(joints, "x.json", store)


def empty_picture(image_id: int = 5) -> PreparedPicture:
    """A picture of nobody, of odd size, as PNG."""
    image = np.random.default_rng(image_id).integers(0, 256, (7, 13, 3), np.uint8)
    encoded = cv2.imencode(".png", image)[1].tobytes()
    masks = np.full((7, 13), 255, np.uint8), np.zeros((7, 13), np.uint8)
    people = np.zeros((0, len(COCO.annotated), 3), np.float32), np.zeros((0, 4))
    return PreparedPicture(image_id, "empty.png", encoded, image, *masks, *people, (NOBODY,))


def write_and_prepare(folder: Path) -> list[PreparedPicture]:
    """Six drawn pictures, then one of nobody."""
    annotations, images = write_drawn_coco(folder, pictures=6)
    listed = read_annotations(annotations)
    prepared = [prepare_picture(p, persons_of(p, len(COCO.annotated)), [images]) for p in listed]
    prepared[1].mask_miss[3:9, 5:60] = 0
    return [*prepared, empty_picture(99)]


def records_of(pictures: list[PreparedPicture]) -> list[Record]:
    """All their samples, in order."""
    return [picture.record(main) for picture in pictures for main in picture.main_persons]
