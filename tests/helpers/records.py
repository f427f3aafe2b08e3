"""Handmade records: images of which every pixel is known."""

import numpy as np

from simplepose.data.record import Record
from simplepose.skeleton import COCO

SHOULDERS = COCO.annotated.index("left_shoulder"), COCO.annotated.index("right_shoulder")
NECK = COCO.joints.index("neck")


def blank_record(size_hw=(240, 320), people=0, **changes):
    """A black image in which the loss counts everywhere; P people without labeled joints, empty masks."""
    parts = {
        "image": np.zeros((*size_hw, 3), np.uint8),
        "mask_miss": np.full(size_hw, 255, np.uint8),
        "mask_all": np.zeros(size_hw, np.uint8),
        "keypoints": np.zeros((people, len(COCO.annotated), 3), np.float32),
        "center_xy": ((size_hw[1] - 1) / 2, (size_hw[0] - 1) / 2),
        "height": max(1.0, 0.6 * size_hw[0]),
        "image_id": 1,
    }
    return Record(**{**parts, **changes})


def record_of_discs(size_hw=(240, 320), centers_xy=((160, 120),), radius=30):
    """People as discs of gray value 200, each with five visible joints; the first is the main person."""
    record = blank_record(size_hw, len(centers_xy), center_xy=centers_xy[0], height=2.0 * radius + 1)
    ys, xs = np.mgrid[: size_hw[0], : size_hw[1]]
    for keypoints, (x, y) in zip(record.keypoints, centers_xy, strict=True):
        disc = np.hypot(xs - x, ys - y) <= radius
        record.image[disc], record.mask_all[disc] = 200, 255
        offset = radius // 2
        points = [(x, y), (x - offset, y), (x + offset, y), (x, y - offset), (x, y + offset)]
        keypoints[: len(points)] = [(*point, 2) for point in points]
    return record
