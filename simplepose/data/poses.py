"""Where the joints of one drawn person lie, in three dimensions: a pose within the limits of a body's joints.

x right, y down, z away from the viewer, in body heights, from the middle of the hips. At yaw 0 a person
faces the viewer; its left is then the picture's right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simplepose.skeleton import COCO

UPRIGHT = ((-5, 6), (0, 8))
SIT = ((75, 92), (70, 100), (5, 45), (4, 15), (30, 80))
POSES = (  # for one side and the other: (least, most) degrees of hip, knee, arm ahead, arm sideways, elbow
    ((*UPRIGHT, (-12, 12), (6, 18), (5, 35)), (*UPRIGHT, (-12, 12), (6, 18), (5, 35))),
    (((12, 30), (0, 15), (-35, -8), (4, 10), (10, 50)), ((-25, -8), (15, 45), (8, 40), (4, 10), (15, 60))),
    ((*UPRIGHT, (0, 10), (115, 165), (0, 60)), (*UPRIGHT, (0, 10), (115, 165), (0, 60))),
    ((*UPRIGHT, (0, 10), (85, 160), (10, 90)), (*UPRIGHT, (-15, 15), (6, 25), (5, 60))),
    ((*UPRIGHT, (10, 40), (6, 20), (70, 130)), (*UPRIGHT, (-15, 40), (6, 20), (10, 130))),
    (SIT, SIT),
)
SITTING = len(POSES) - 1
HEAD_RADII = np.array([0.052, 0.072, 0.064])  # to the side, up, ahead
ON_HEAD = {  # from the head's middle in its radii: to the left, up, ahead
    "nose": (0, -0.2, 1.1),
    "left_eye": (0.36, 0.08, 0.9),
    "right_eye": (-0.36, 0.08, 0.9),
    "left_ear": (1, -0.05, -0.1),
    "right_ear": (-1, -0.05, -0.1),
}

FACE_SHOWS, EARS_SHOW = 0.05, 0.35
"""z of the direction that a part of the head faces: it shows below this (-1: towards the viewer)."""

Points = dict[str, np.ndarray]
"""Name -> (3,)."""


def axes(yaw: float) -> tuple[np.ndarray, np.ndarray]:
    """The directions to the left and ahead of someone turned so."""
    return np.array([np.cos(yaw), 0, np.sin(yaw)]), np.array([np.sin(yaw), 0, -np.cos(yaw)])


def draw_points(rng: np.random.Generator, pose: int, yaw: float) -> Points:
    """Where the joints below the head lie, and the neck, the head's middle, hands and toes."""
    left, ahead = axes(yaw)
    down = np.array([0.0, 1, 0])
    lean, roll = np.radians(rng.normal(4, 6)), np.radians(rng.normal(0, 4))
    spine = -down * np.cos(lean) + ahead * np.sin(lean) + left * np.sin(roll)
    points = {"hips": np.zeros(3), "neck": spine * 0.3, "head": spine * 0.405 + ahead * 0.015}
    sides = POSES[pose][:: rng.choice([-1, 1])]
    for side, sign, ranges in zip(("left", "right"), (1, -1), sides, strict=True):
        hip, knee, forward, sideways, elbow = np.radians([rng.uniform(*limits) for limits in ranges])
        spread = np.radians(rng.uniform(0, 8))

        def towards(turn: float, rise: float, outward: np.ndarray = sign * left) -> np.ndarray:
            return (down * np.cos(turn) + ahead * np.sin(turn)) * np.cos(rise) + outward * np.sin(rise)

        raised = sideways > 1
        fore = (forward, sideways + elbow) if raised else (forward + elbow, sideways - rng.uniform(0, 0.4))
        points[f"{side}_hip"] = sign * left * 0.055
        points[f"{side}_knee"] = points[f"{side}_hip"] + 0.245 * towards(hip, spread)
        points[f"{side}_ankle"] = points[f"{side}_knee"] + 0.245 * towards(hip - knee, spread / 2)
        points[f"{side}_toe"] = points[f"{side}_ankle"] + 0.03 * down + 0.08 * (ahead + 0.3 * sign * left)
        points[f"{side}_shoulder"] = spine * (0.305 if raised else 0.285) + sign * left * 0.1
        points[f"{side}_elbow"] = points[f"{side}_shoulder"] + 0.165 * towards(forward, sideways)
        points[f"{side}_wrist"] = points[f"{side}_elbow"] + 0.14 * towards(*fore)
        points[f"{side}_hand"] = points[f"{side}_wrist"] + 0.065 * towards(*fore)
    return points


def on_head(at: Sequence[float], middle: np.ndarray, yaw: float) -> tuple[np.ndarray, np.ndarray]:
    """A point given in the head's radii (left, up, ahead) -> (3,) where it lies, (3,) where it faces."""
    left, ahead = axes(yaw)
    frame = np.array([left, (0, -1, 0), ahead])
    return middle + (np.array(at) * HEAD_RADII) @ frame, np.array(at) @ frame / np.linalg.norm(at)


def annotated(points: Points, head_yaw: float) -> np.ndarray:
    """(17, 3) float64 x, y of COCO's joints, and 1, or 0 for a joint on the far side of the head."""
    return np.array([_joint(name, points, head_yaw) for name in COCO.annotated])


def _joint(name: str, points: Points, head_yaw: float) -> tuple[float, float, int]:
    """x, y and 1; 0 for a joint on the far side of the head."""
    if name not in ON_HEAD:
        return points[name][0], points[name][1], 1
    place, normal = on_head(ON_HEAD[name], points["head"], head_yaw)
    return place[0], place[1], int(normal[2] < (EARS_SHOW if name.endswith("ear") else FACE_SHOWS))
