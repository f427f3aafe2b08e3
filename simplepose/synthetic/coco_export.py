"""Synthetic scenes as training samples, and as a dataset in COCO's format."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from simplepose.data import coco
from simplepose.data.coco_images import combine_masks
from simplepose.data.record import Record
from simplepose.people import PERSON_CATEGORY_ID
from simplepose.skeleton import COCO
from simplepose.synthetic.scenes import Scene
from simplepose.utils import atomic
from simplepose.utils.files import check_output_file, create_folder

# The file and the folder that `write_coco` writes.
ANNOTATIONS_FILE, IMAGES_FOLDER = "person_keypoints.json", "images"

JPEG_QUALITY = 95
# Decimals of keypoint coordinates in the JSON file, as in COCO.
KEYPOINT_DECIMALS = 2


def build_records(scene: Scene, image_id: int = 0) -> list[Record]:
    """Build the training samples of a scene, one for each main person.

    They equal those of a scene that was written, prepared and read. `augment.apply` turns each into a
    `Sample`.
    """
    labeled_counts, boxes = (scene.keypoints[..., 2] > 0).sum(1), _boxes_xywh(scene)
    eligible = (labeled_counts >= coco.MIN_MAIN_PERSON_KEYPOINTS) & (
        scene.masks.sum((1, 2)) >= coco.MIN_MAIN_PERSON_AREA_PX
    )
    min_distances = coco.MIN_MAIN_PERSON_DISTANCE_RATIO * boxes[:, 2:].max(1, initial=0)
    labeled_mask, unlabeled_mask = (
        scene.masks[labeled_counts > 0].any(0),
        scene.masks[labeled_counts == 0].any(0),
    )
    mask_miss, mask_all = combine_masks(labeled_mask, unlabeled_mask, np.zeros_like(labeled_mask))
    records = []
    for person in coco.select_main_persons(boxes, eligible, min_distances):
        others = [other for other in np.flatnonzero(labeled_counts).tolist() if other != person]
        x, y, width, height = map(float, boxes[person])
        records.append(
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
    return records


def build_annotations(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """Build COCO's annotations of the people visible in a scene, with ids from `first_id` on."""
    annotations: list[dict[str, Any]] = []
    for keypoints, mask, box in zip(scene.keypoints, scene.masks, _boxes_xywh(scene), strict=True):
        if not mask.any():
            continue
        rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        annotations.append(
            {
                "id": first_id + len(annotations),
                "image_id": image_id,
                "category_id": PERSON_CATEGORY_ID,
                "iscrowd": 0,
                "keypoints": keypoints.astype(np.float64).round(KEYPOINT_DECIMALS).ravel().tolist(),
                "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                "area": int(mask.sum()),
                "bbox": box.tolist(),
                "segmentation": {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")},
            }
        )
    return annotations


def create_output(folder: Path) -> Path:
    """Create the folders of a COCO dataset; return the path of its JSON file.

    Raises:
        OSError: a folder cannot be created, or the path of the JSON file is no regular file; names it.
    """
    create_folder(folder / IMAGES_FOLDER)
    target = folder / ANNOTATIONS_FILE
    check_output_file(target)
    return target


def write_coco(folder: str | Path, scenes: Iterable[Scene]) -> Path:
    """Write scenes as a COCO dataset: JPEG images in a folder, and one JSON file with all people.

    Args:
        folder: created if necessary. An existing JSON file is deleted first, and the new one is written last
            and atomically, so that it never describes images of another run.
        scenes: the images, numbered from 1.

    Returns:
        The path of the JSON file.
    """
    folder = Path(folder)
    target = create_output(folder)
    target.unlink(missing_ok=True)
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, 1):
        name, (height, width) = f"{number:012d}.jpg", scene.instance_map.shape
        encoded = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        atomic.write_bytes(folder / IMAGES_FOLDER / name, encoded.tobytes(), fsync=False)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        people += build_annotations(scene, number, len(people) + 1)
    category = {"id": PERSON_CATEGORY_ID, "name": "person", "supercategory": "person"}
    category |= {"keypoints": list(COCO.annotated), "skeleton": (COCO.bone_ends + 1).tolist()}
    content = {"info": {"description": "drawn people"}, "images": images, "annotations": people}
    atomic.write_bytes(target, json.dumps({**content, "categories": [category]}).encode())
    return target


def _boxes_xywh(scene: Scene) -> np.ndarray:
    """Compute (P, 4) float64 COCO boxes (left, top, width, height).

    A pixel is 1 wide. The box of an invisible person is 0.
    """
    boxes = scene.boxes_xyxy.astype(np.float64)
    is_visible = np.array([mask.any() for mask in scene.masks], bool)
    boxes[is_visible, 2:] += 1 - boxes[is_visible, :2]
    return boxes
