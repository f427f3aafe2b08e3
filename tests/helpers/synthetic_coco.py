"""Synthetic people in COCO's format: small images and a `person_keypoints` json for tests."""

import json
from pathlib import Path

import cv2
import numpy as np
from stick_body import upright

from simplepose.skeleton import COCO

SIZES_HW = ((240, 320), (320, 240), (256, 256), (200, 360))


def write_synthetic_coco(folder: Path, num_images: int = 4, seed: int = 0) -> tuple[Path, Path]:
    """Write `folder`/person_keypoints.json and `folder`/images/*.jpg.

    Every image shows one to three stick figures; each joint and each bone has its own color. The first figure
    is complete and visible. Of the others, some joints are occluded, and those outside the image are not
    labeled.

    Returns:
        The json and the folder of images.
    """
    rng = np.random.default_rng(seed)
    images_dir = folder / "images"
    images_dir.mkdir(parents=True)
    images, annotations = [], []
    for image_id in range(1, num_images + 1):
        size_hw = SIZES_HW[image_id % len(SIZES_HW)]
        image = np.full((*size_hw, 3), rng.integers(90, 160, 3), np.uint8)
        for person in range(int(rng.integers(1, 4))):
            joints = _joints(rng, size_hw, complete=person == 0)
            _draw(image, joints)
            annotations.append(_annotation(joints, size_hw, len(annotations) + 1, image_id))
        name = f"{image_id:012d}.jpg"
        cv2.imwrite(str(images_dir / name), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        images.append({"id": image_id, "file_name": name, "height": size_hw[0], "width": size_hw[1]})
    category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(COCO.annotated)}
    category["skeleton"] = (COCO.bone_ends + 1).tolist()
    content = {"info": {"description": "drawn people"}, "images": images, "annotations": annotations}
    path = folder / "person_keypoints.json"
    path.write_text(json.dumps({**content, "categories": [category]}))
    return path, images_dir


def _joints(rng: np.random.Generator, size_hw: tuple[int, int], complete: bool) -> np.ndarray:
    """(17, 3) x, y, v of one person; all visible and inside if `complete`."""
    height, width = size_hw
    body = height * (rng.uniform(0.6, 0.8) if complete else rng.uniform(0.4, 0.9))
    margin = 0.25 * body if complete else 0
    center_xy = rng.uniform(margin, width - margin), height * 0.55
    joints = np.zeros((len(COCO.annotated), 3))
    joints[:, :2] = center_xy + body * (upright() + rng.uniform(-0.015, 0.015, (len(joints), 2)))
    joints[:, 2] = 2 if complete else rng.choice([1, 2], len(joints), p=[0.2, 0.8])
    inside = (joints[:, :2] >= 0).all(1) & (joints[:, 0] <= width - 1) & (joints[:, 1] <= height - 1)
    return joints.round(2) * (inside | complete)[:, None]


def _draw(image: np.ndarray, joints: np.ndarray) -> None:
    """Draw the labeled bones, then the labeled joints."""
    thickness = max(2, len(image) // 60)
    points = joints[:, :2].round().astype(int).tolist()
    for number, (a, b) in enumerate(COCO.bone_ends):
        if joints[a, 2] and joints[b, 2]:
            cv2.line(image, points[a], points[b], _color(number, len(COCO.bone_ends), 160), thickness)
    for row, point in enumerate(points):
        if joints[row, 2]:
            cv2.circle(image, point, thickness, _color(row, len(points), 255), -1)


def _color(number: int, count: int, value: int) -> list[int]:
    """BGR color with a hue of its own."""
    hsv = np.array([[[180 * number // count, 255, value]]], np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].tolist()


def _annotation(joints: np.ndarray, size_hw: tuple[int, int], number: int, image_id: int) -> dict:
    """One entry of `annotations`: the outline is the convex hull of the labeled joints."""
    labeled = joints[joints[:, 2] > 0, :2]
    hull = cv2.convexHull(labeled.astype(np.float32)).reshape(-1, 2) if len(labeled) else np.zeros((0, 2))
    low, high = (hull.min(0), hull.max(0)) if len(hull) else (np.zeros(2), np.ones(2))
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": joints.ravel().tolist(),
        "num_keypoints": len(labeled),
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": float(cv2.contourArea(hull)) if len(hull) >= 3 else 1.0,
        "segmentation": [hull.ravel().tolist()] if len(hull) >= 3 else [],
    }
