"""Drawn scenes as training samples, and as a data set in COCO's format."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from simplepose.data import coco
from simplepose.data.coco_images import make_masks
from simplepose.data.record import Record
from simplepose.people import PERSON_CATEGORY
from simplepose.skeleton import COCO
from simplepose.synthetic.scenes import Scene
from simplepose.utils import atomic

ANNOTATIONS, IMAGES = "person_keypoints.json", "images"
"""What `write_coco` writes into its folder: a file and a folder."""

JPEG_QUALITY = 95
DECIMALS = 2
"""Of a keypoint's pixels in the json, as COCO has them."""


def records(scene: Scene, image_id: int = 0) -> list[Record]:
    """The training samples of a scene, as if it had been written, prepared and read: one a main person.

    `augment.apply` makes each a `Sample`.
    """
    labelled, boxes = (scene.keypoints[..., 2] > 0).sum(1), _boxes_xywh(scene)
    eligible = (labelled >= coco.MAIN_PERSON_KEYPOINTS) & (scene.masks.sum((1, 2)) >= coco.MAIN_PERSON_AREA)
    reach = coco.MAIN_PERSON_DISTANCE * boxes[:, 2:].max(1, initial=0)
    known, unknown = scene.masks[labelled > 0].any(0), scene.masks[labelled == 0].any(0)
    mask_miss, mask_all = make_masks(known, unknown, np.zeros_like(known))
    found = []
    for person in coco.choose_main_persons(boxes, eligible, reach):
        others = [other for other in np.flatnonzero(labelled).tolist() if other != person]
        x, y, width, height = map(float, boxes[person])
        found.append(
            Record(
                image=scene.image,
                mask_miss=mask_miss,
                mask_all=mask_all,
                keypoints=scene.keypoints[[person, *others]],
                center_xy=(x + width / 2, y + height / 2),
                height=height,
                image_id=image_id,
            )
        )
    return found


def describe(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """COCO's annotations of the people that a scene shows, numbered from `first_id` on."""
    made: list[dict[str, Any]] = []
    for keypoints, mask, box in zip(scene.keypoints, scene.masks, _boxes_xywh(scene), strict=True):
        if not mask.any():
            continue
        runs = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        made.append(
            {
                "id": first_id + len(made),
                "image_id": image_id,
                "category_id": PERSON_CATEGORY,
                "iscrowd": 0,
                "keypoints": keypoints.astype(np.float64).round(DECIMALS).ravel().tolist(),
                "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                "area": int(mask.sum()),
                "bbox": box.tolist(),
                "segmentation": {"size": list(mask.shape), "counts": runs["counts"].decode("ascii")},
            }
        )
    return made


def write_coco(folder: str | Path, scenes: Iterable[Scene]) -> Path:
    """Write scenes as COCO's data sets lie on disk: pictures (JPEG) in a folder, and one json of all people.

    Args:
        folder: made if need be. Its json is written last and whole; an earlier one goes first, so that none
            lies beside other pictures than its own.
        scenes: the pictures, numbered from 1.

    Returns:
        The json's path.
    """
    folder = Path(folder)
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    target = folder / ANNOTATIONS
    target.unlink(missing_ok=True)
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, 1):
        name, (height, width) = f"{number:012d}.jpg", scene.owners.shape
        encoded = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        (folder / IMAGES / name).write_bytes(encoded.tobytes())
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        people += describe(scene, number, len(people) + 1)
    category = {"id": PERSON_CATEGORY, "name": "person", "supercategory": "person"}
    category |= {"keypoints": list(COCO.annotated), "skeleton": (COCO.bone_ends + 1).tolist()}
    content = {"info": {"description": "drawn people"}, "images": images, "annotations": people}
    atomic.write_bytes(target, json.dumps({**content, "categories": [category]}).encode())
    return target


def _boxes_xywh(scene: Scene) -> np.ndarray:
    """(P, 4) float64 left, top, width, height as COCO has them: a pixel is 1 wide; 0 of the unseen."""
    boxes = scene.boxes_xyxy.astype(np.float64)
    seen = np.array([mask.any() for mask in scene.masks], bool)
    boxes[seen, 2:] += 1 - boxes[seen, :2]
    return boxes
