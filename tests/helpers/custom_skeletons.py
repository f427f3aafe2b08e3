"""Synthetic people with other annotated joints than COCO, each the midpoint of some of COCO's joints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from repo_paths import CONFIGS
from synthetic_coco import write_synthetic_coco

from simplepose import skeleton
from simplepose.skeleton import COCO, Skeleton

CROWDPOSE = skeleton.load(str(CONFIGS / "skeletons/crowdpose.yaml"))

# Its joints have no left and right, and none is a midpoint.
POLE = Skeleton(
    name="pole",
    joints=("head", "chest", "hips", "knees", "feet"),
    limbs=(("head", "chest"), ("chest", "hips"), ("hips", "knees"), ("knees", "feet"), ("chest", "knees")),
    annotated=("feet", "knees", "hips", "chest", "head"),
    sigmas=(0.089, 0.087, 0.107, 0.079, 0.035),
    mirrored=(),
    bones=(("feet", "knees"), ("knees", "hips"), ("hips", "chest"), ("chest", "head")),
)

_MIDPOINT_OF = {
    "head": "ear",
    "neck": "shoulder",
    "chest": "shoulder",
    "hips": "hip",
    "knees": "knee",
    "feet": "ankle",
    "left_hand": "left_wrist",
    "right_hand": "right_wrist",
}


def write_coco_with_joints(
    folder: Path, joints: tuple[str, ...], num_images: int = 4, named: bool = True
) -> tuple[Path, Path]:
    """As `write_synthetic_coco`, with these annotated joints; `named`: the json lists their names."""
    annotations, images = write_synthetic_coco(folder, num_images)
    content = json.loads(annotations.read_text())
    for person in content["annotations"]:
        coco_keypoints = np.array(person["keypoints"]).reshape(-1, 3)
        keypoints = np.array([_midpoint(coco_keypoints, joint) for joint in joints])
        person["keypoints"] = keypoints.ravel().tolist()
        person["num_keypoints"] = int((keypoints[:, 2] > 0).sum())
    content["categories"] = [{"id": 1, "name": "person", **({"keypoints": list(joints)} if named else {})}]
    annotations.write_text(json.dumps(content))
    return annotations, images


def _midpoint(keypoints: np.ndarray, joint: str) -> np.ndarray:
    """x, y, v of a joint: labeled if all joints that it is the midpoint of are labeled."""
    name = _MIDPOINT_OF.get(joint, joint)
    ends = [name] if name in COCO.annotated else [f"{side}_{name}" for side in ("left", "right")]
    rows = keypoints[[COCO.annotated.index(end) for end in ends]]
    return np.array([*rows[:, :2].mean(0), rows[:, 2].min()]) * rows[:, 2].all()
