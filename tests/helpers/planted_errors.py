"""Annotations, and results with planted errors of one kind."""

import json

import numpy as np

from simplepose.evaluation import coco_eval
from simplepose.skeleton import COCO

SIGMAS, FLIP, NAMES = np.array(COCO.sigmas), np.array(COCO.annotated_flip), COCO.annotated
JOINTS = len(NAMES)

# A standing person in a box of 1 x 2, in COCO's order.
XS = (0.5, 0.54, 0.46, 0.6, 0.4, 0.75, 0.25, 0.9, 0.1, 0.95, 0.05, 0.7, 0.3, 0.72, 0.28, 0.75, 0.25)
YS = (0.15, 0.12, 0.12, 0.15, 0.15, 0.4, 0.4, 0.7, 0.7, 1.0, 1.0, 1.0, 1.0, 1.5, 1.5, 1.95, 1.95)
STANDING = np.stack([XS, YS], 1)


def write_annotations(path):
    """Write annotations of 60 images with two people each, some of them overlapping; read and return them."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for image_id in range(1, 61):
        images.append({"id": image_id, "file_name": f"{image_id}.jpg", "width": 1200, "height": 900})
        for person in range(2):
            size = rng.uniform(90, 300)
            left, top = 50 + person * rng.uniform(150, 500), rng.uniform(10, 200)
            xy = STANDING * size + (left, top)
            keypoints = np.concatenate([xy, np.full((JOINTS, 1), 2)], 1)
            keypoints[rng.random(JOINTS) < 0.15] = 0
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": size * size,
                    "bbox": [left, top, size, 2 * size],
                    "keypoints": keypoints.ravel().tolist(),
                    "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                }
            )
    categories = [{"id": 1, "name": "person", "keypoints": list(NAMES), "skeleton": []}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return coco_eval.read_annotations(path)


def perfect_rows(truth):
    return [
        {
            "image_id": a["image_id"],
            "category_id": 1,
            "keypoints": list(a["keypoints"]),
            "score": 0.5 + a["id"] / 1000,
        }
        for a in truth.anns.values()
    ]


def plant(truth, kind, fraction=0.2):
    """Return rows with one kind of keypoint error, and the (row, joint) of each planted error."""
    rng = np.random.default_rng(1)
    rows, planted = perfect_rows(truth), []
    people = list(truth.anns.values())
    for index, person in enumerate(people):
        own = np.array(person["keypoints"]).reshape(JOINTS, 3)
        other = next(a for a in truth.imgToAnns[person["image_id"]] if a["id"] != person["id"])
        others = np.array(other["keypoints"]).reshape(JOINTS, 3)
        found = own.copy()
        spread = np.sqrt(person["area"]) * 2 * SIGMAS * np.sqrt(2)
        for joint in np.flatnonzero((own[:, 2] > 0) & (rng.random(JOINTS) < fraction)):
            direction = rng.normal(size=2)
            direction /= np.linalg.norm(direction)
            if kind == "jitter":  # a similarity of 0.6
                found[joint, :2] += direction * spread[joint] * np.sqrt(-np.log(0.6))
            elif kind == "inversion" and own[FLIP[joint], 2] > 0 and FLIP[joint] != joint:
                found[joint, :2] = own[FLIP[joint], :2]
            elif kind == "swap" and others[joint, 2] > 0:
                found[joint, :2] = others[joint, :2]
            elif kind == "miss":
                found[joint, :2] += direction * 10 * np.sqrt(person["area"])
            else:
                continue
            planted.append((index, joint))
        rows[index]["keypoints"] = found.ravel().tolist()
    return rows, planted


def mixed_rows(truth, quality=1.0, seed=2):
    """Return rows with errors of all kinds, fewer with a larger quality: noise, flips, misses, background."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in truth.anns.values():
        own = np.array(person["keypoints"], float).reshape(JOINTS, 3)
        if rng.random() < 0.2 / quality or not person["num_keypoints"]:
            continue
        severity = rng.gamma(1.2, 0.5) / quality
        spread = np.sqrt(person["area"]) * 2 * SIGMAS[:, None]
        own[:, :2] += rng.normal(size=(JOINTS, 2)) * spread * severity
        if rng.random() < 0.08 * severity:
            own = own[FLIP]
        far = rng.random(JOINTS) < 0.06 * severity
        own[far, :2] += rng.normal(size=(far.sum(), 2)) * np.sqrt(person["area"]) / 2
        own[own[:, 2] == 0] = 0
        score = float(np.clip(0.95 - 0.3 * severity + rng.normal() * 0.1, 0.05, 1).round(4))
        rows.append(_row(person["image_id"], own, score))
        if rng.random() < 0.1 / quality:
            offset = np.append(rng.normal(size=2) * 300, 0)
            rows.append(_row(person["image_id"], own + offset, score / 2))
    return rows


def _row(image_id, keypoints, score):
    values = keypoints.round(2).ravel().tolist()
    return {"image_id": image_id, "category_id": 1, "keypoints": values, "score": score}
