"""Drawn people whose annotations are of other joints than COCO's, each midway between some of COCO's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from drawn_coco import write_drawn_coco
from places import CONFIGS

from simplepose import skeleton
from simplepose.skeleton import COCO, Skeleton

CROWDPOSE = skeleton.load(str(CONFIGS / "skeletons/crowdpose.yaml"))

POLE = Skeleton(
    name="pole",
    joints=("head", "chest", "hips", "knees", "feet"),
    limbs=(("head", "chest"), ("chest", "hips"), ("hips", "knees"), ("knees", "feet"), ("chest", "knees")),
    annotated=("feet", "knees", "hips", "chest", "head"),
    sigmas=(0.089, 0.087, 0.107, 0.079, 0.035),
    mirrored=(),
    bones=(("feet", "knees"), ("knees", "hips"), ("hips", "chest"), ("chest", "head")),
)
"""No joint has a left and a right, and none is a midpoint."""

_MIDDLES = {
    "head": "ear",
    "neck": "shoulder",
    "chest": "shoulder",
    "hips": "hip",
    "knees": "knee",
    "feet": "ankle",
    "left_hand": "left_wrist",
    "right_hand": "right_wrist",
}


def write_drawn(
    folder: Path, joints: tuple[str, ...], pictures: int = 4, named: bool = True
) -> tuple[Path, Path]:
    """As `write_drawn_coco`, with these annotated joints; `named`: by the json too."""
    annotations, images = write_drawn_coco(folder, pictures)
    content = json.loads(annotations.read_text())
    for person in content["annotations"]:
        of_coco = np.array(person["keypoints"]).reshape(-1, 3)
        keypoints = np.array([_midway(of_coco, joint) for joint in joints])
        person["keypoints"] = keypoints.ravel().tolist()
        person["num_keypoints"] = int((keypoints[:, 2] > 0).sum())
    content["categories"] = [{"id": 1, "name": "person", **({"keypoints": list(joints)} if named else {})}]
    annotations.write_text(json.dumps(content))
    return annotations, images


def _midway(keypoints: np.ndarray, joint: str) -> np.ndarray:
    """x, y, v of a joint: labelled where all that it lies between are."""
    name = _MIDDLES.get(joint, joint)
    ends = [name] if name in COCO.annotated else [f"{side}_{name}" for side in ("left", "right")]
    rows = keypoints[[COCO.annotated.index(end) for end in ends]]
    return np.array([*rows[:, :2].mean(0), rows[:, 2].min()]) * rows[:, 2].all()
