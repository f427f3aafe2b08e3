"""Poses of synthetic people: random ones, and those of COCO annotations lifted to three dimensions."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from itertools import accumulate, product
from pathlib import Path

import numpy as np

from simplepose import coco_json
from simplepose.skeleton import COCO
from simplepose.synthetic.figures import (
    FACE,
    FACE_SHOWS,
    FOREARM,
    HEAD_RADII,
    HIP,
    NECK,
    NECK_TO_HEAD,
    RAISED,
    SHIN,
    SHOULDER,
    SHOULDERS,
    THIGH,
    UPPER_ARM,
    Figure,
    turned,
)

Range = tuple[float, float]
"""(least, most) degrees."""


@dataclass(frozen=True)
class Arm:
    """Degrees: the upper arm ahead and to the side of hanging down, and how far the forearm goes on so."""

    ahead: Range = (-12, 12)
    aside: Range = (6, 18)
    bend_ahead: Range = (5, 35)
    bend_aside: Range = (-20, 0)


@dataclass(frozen=True)
class Leg:
    """Degrees: the hip ahead, the knee back, the leg to the side."""

    hip: Range = (-5, 6)
    knee: Range = (0, 8)
    aside: Range = (0, 8)


@dataclass(frozen=True)
class Pose:
    """The limits of a pose; which side of the body is the first is left to chance."""

    chance: float
    arms: tuple[Arm, Arm] = (Arm(), Arm())
    legs: tuple[Leg, Leg] = (Leg(), Leg())
    lean: Range = (-6, 12)
    tilt: Range = (-4, 4)  # in the picture's plane
    sits: bool = False


_UP = Arm((0, 10), (115, 168), (-15, 20), (-10, 60))
_OUT = Arm((-10, 20), (60, 105), (0, 30), (-15, 60))
_BENT = Arm((10, 45), (6, 25), (60, 130), (-50, -5))
_ON_HIP = Arm((-25, 0), (32, 52), (0, 25), (-105, -75))
_SWUNG = (Arm((-40, -8), (4, 12), (10, 60)), Arm((8, 45), (4, 12), (15, 70)))
_PUMPED = (Arm((-65, -20), (5, 15), (70, 110)), Arm((10, 50), (5, 15), (70, 110)))
_SIT = Leg((75, 95), (65, 105), (0, 16))
POSES = {
    "standing": Pose(22),
    "walking": Pose(18, _SWUNG, (Leg((12, 32), (0, 15), (0, 4)), Leg((-28, -8), (15, 45), (0, 4)))),
    "running": Pose(
        8, _PUMPED, (Leg((35, 75), (50, 110), (0, 4)), Leg((-35, -10), (40, 110), (0, 4))), (5, 25)
    ),
    "arms up": Pose(6, (_UP, _UP)),
    "an arm up": Pose(7, (_UP, Arm())),
    "arms out": Pose(5, (_OUT, _OUT), (Leg((-10, 15), (0, 20), (5, 20)), Leg((-10, 15), (0, 20), (5, 20)))),
    "arms bent": Pose(7, (_BENT, Arm((-15, 40), (6, 20), (10, 130)))),
    "hands on hips": Pose(4, (_ON_HIP, _ON_HIP)),
    "sitting": Pose(11, (Arm((5, 45), (4, 18), (25, 80)), _BENT), (_SIT, _SIT), (-15, 20), sits=True),
    "crouching": Pose(
        3, (_BENT, Arm((20, 60))), (Leg((85, 120), (95, 135)), Leg((60, 120), (85, 135))), (10, 40)
    ),
    "bending": Pose(3, (Arm((-10, 60)), Arm((-10, 60))), lean=(30, 80)),
    "kicking": Pose(
        3, (_OUT, _SWUNG[0]), (Leg((35, 95), (0, 60), (0, 25)), Leg((-15, 5), (0, 30))), (-20, 10)
    ),
    "lying": Pose(3, (_OUT, Arm()), (Leg((-5, 30), (0, 50)), Leg((-5, 15), (0, 30))), tilt=(70, 110)),
}
_LIMITS = tuple(POSES.values())
_SHARES = tuple(accumulate(pose.chance for pose in _LIMITS))


def draw_figure(rng: np.random.Generator) -> Figure:
    """Somebody in a random pose, seen from a random direction."""
    pose = _LIMITS[np.searchsorted(_SHARES, rng.random() * _SHARES[-1], side="right")]
    axes = _directions(rng, pose)
    first = int(rng.integers(2))
    lean, roll, twist = _radians(rng, pose.lean), np.radians(rng.normal(0, 4)), np.radians(rng.normal(0, 8))
    spine = np.array([np.sin(roll), np.cos(lean) * np.cos(roll), np.sin(lean) * np.cos(roll)])
    across = np.array([np.cos(twist), 0, np.sin(twist)])
    joints = {}
    for side, outward in ((0, 1), (1, -1)):
        name = ("left", "right")[side]
        limbs = (
            _leg(rng, pose.legs[side ^ first], outward),
            _arm(rng, pose.arms[side ^ first], outward, spine, across),
        )
        for limb, parts in zip(
            limbs, (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")), strict=True
        ):
            for part, place in zip(parts, limb @ axes, strict=True):
                joints[f"{name}_{part}"] = place
    trunk = np.array([across, spine, np.cross(across, spine)])
    nod = 0.4 * lean + np.radians(rng.normal(3, 10))
    head_axes = turned(np.radians(rng.normal(0, 25)), nod, np.radians(rng.normal(0, 6)))
    size, stature = rng.uniform(0.94, 1.08), rng.normal(0.97, 0.04)
    if rng.random() < 0.1:  # a child
        size, stature = rng.uniform(1.2, 1.4), rng.uniform(0.5, 0.75)
    towards, away = spine + head_axes[1], NECK_TO_HEAD + 0.06 * (size - 1)
    head = NECK * spine + away * towards / np.sqrt(towards @ towards) + 0.015 * head_axes[2]
    return Figure(joints, trunk @ axes, head @ axes, head_axes @ axes, float(size), float(stature), pose.sits)


def _directions(rng: np.random.Generator, pose: Pose) -> np.ndarray:
    """(3, 3) rows: where left, up and ahead point for somebody turned at random, often seen from above."""
    kind = rng.random()
    yaw = rng.normal(0, 35) if kind < 0.6 else rng.uniform(-180, 180) if kind < 0.85 else rng.normal(180, 25)
    yaw, nod = np.radians(yaw), np.radians(np.clip(rng.normal(6, 8), -15, 35))
    tilt = _radians(rng, pose.tilt) * (-1 if rng.random() < 0.5 else 1)
    cos, sin = np.cos(nod), np.sin(nod)
    left, ahead = (np.cos(yaw), 0, np.sin(yaw)), (np.sin(yaw), 0, -np.cos(yaw))
    above = np.array([(1, 0, 0), (0, cos, sin), (0, -sin, cos)])
    plane = np.array([(np.cos(tilt), np.sin(tilt), 0), (-np.sin(tilt), np.cos(tilt), 0), (0, 0, 1)])
    return np.array([left, (0, -1, 0), ahead]) @ above @ plane


def _leg(rng: np.random.Generator, leg: Leg, outward: int) -> np.ndarray:
    """(3, 3) hip, knee, ankle: to the left, up, ahead."""
    hip, knee, aside = (_radians(rng, limits) for limits in (leg.hip, leg.knee, leg.aside))
    start = np.array([outward * HIP, 0, 0])
    middle = start + THIGH * towards(hip, aside, outward)
    return np.array([start, middle, middle + SHIN * towards(hip - knee, aside / 2, outward)])


def _arm(
    rng: np.random.Generator, arm: Arm, outward: int, spine: np.ndarray, across: np.ndarray
) -> np.ndarray:
    """(3, 3) shoulder, elbow, wrist: to the left, up, ahead."""
    ahead, aside, on, off = (
        _radians(rng, limits) for limits in (arm.ahead, arm.aside, arm.bend_ahead, arm.bend_aside)
    )
    start = (RAISED if aside > 1 else SHOULDERS) * spine + outward * SHOULDER * across
    middle = start + UPPER_ARM * towards(ahead, aside, outward)
    return np.array([start, middle, middle + FOREARM * towards(ahead + on, aside + off, outward)])


def towards(ahead: float, aside: float, outward: int) -> np.ndarray:
    """(3,) left, up, ahead: the direction so far ahead and to the side of straight down."""
    flat = np.cos(aside)
    return np.array([outward * np.sin(aside), -np.cos(ahead) * flat, np.sin(ahead) * flat])


def _radians(rng: np.random.Generator, limits: Range) -> float:
    return float(np.radians(rng.uniform(*limits)))


ROW = {name: row for row, name in enumerate(COCO.annotated)}
TRUNK = [ROW[f"{side}_{part}"] for part in ("shoulder", "hip") for side in ("left", "right")]
"""What must be labelled of a pose."""

LIMBS = {  # (from, to): length in body heights, and whether it bends ahead (1) or back (-1) when it bends
    **{(f"{side}_shoulder", f"{side}_elbow"): (UPPER_ARM, 1) for side in ("left", "right")},
    **{(f"{side}_elbow", f"{side}_wrist"): (FOREARM, 1) for side in ("left", "right")},
    **{(f"{side}_hip", f"{side}_knee"): (THIGH, 1) for side in ("left", "right")},
    **{(f"{side}_knee", f"{side}_ankle"): (SHIN, -1) for side in ("left", "right")},
}
USUAL_HEAD = 4e-4
"""How strongly a head is taken to be of the usual size, body heights squared of its parts' distances."""
LEAST_TRUNK = 3
"""Pixels from shoulders to hips up to which a pose tells too little."""


class PoseFile:
    """The poses of a file, as `figure` of `synthetic.draw_scene`: picked by chance, half of them mirrored.

    Args:
        path: COCO's person_keypoints json; or an .npz whose `keypoints`, or whose only array, are (P, 17, 3)
            x, y, v in pixels, in COCO's order and with COCO's v. Poses without both shoulders and hips, or
            too small to tell anything, are left out.

    Attributes:
        keypoints: (P, 17, 3) float64, those that are left.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of another form, or no pose is left.
    """

    def __init__(self, path: str | Path) -> None:
        keypoints = _read_npz(Path(path)) if str(path).endswith(".npz") else _read_json(path)
        trunk = keypoints[:, TRUNK, :2]
        sides = np.linalg.norm(trunk[:, :2] - trunk[:, 2:], axis=2)
        told = (keypoints[:, TRUNK, 2] > 0).all(1) & (sides > LEAST_TRUNK).all(1)
        self.keypoints = keypoints[told & np.isfinite(keypoints).all((1, 2))]
        if not len(self.keypoints):
            raise ValueError(f"{path}: no pose with both shoulders and hips labelled, large enough to draw")

    def __call__(self, rng: np.random.Generator) -> Figure:
        keypoints = self.keypoints[rng.integers(len(self.keypoints))]
        if rng.random() < 0.5:
            keypoints = keypoints[COCO.annotated_flip] * (-1, 1, 1)
        return lift(keypoints)


def lift(keypoints: np.ndarray) -> Figure:
    """A figure whose joints below the head lie, seen along z, as they are labelled.

    Depth is what a limb seems too short by: arms and thighs point ahead, shins back, and what is hidden lies
    behind. Joints that are not labelled are placed straight on. The head is turned as its labelled parts fit
    best, and backwards where none is labelled.

    Args:
        keypoints: (17, 3) x, y, v in pixels of any scale; shoulders and hips are labelled.

    Returns:
        The figure, in body heights from the middle of the hips.
    """
    size, middle = _size(keypoints), keypoints[TRUNK[2:], :2].mean(0)
    flat = {name: (keypoints[row, :2] - middle) / size for name, row in ROW.items() if keypoints[row, 2] > 0}
    hidden = {name for name, row in ROW.items() if keypoints[row, 2] == 1}
    trunk, joints = _trunk(flat, hidden)
    for (start, end), (length, bend) in LIMBS.items():
        if end in flat:
            seen = flat[end] - joints[start][:2]
            deep = np.sqrt(max(0.0, length**2 - seen @ seen))
            sign = 1 if end in hidden else np.sign(bend * trunk[2, 2]) or -1.0
            joints[end] = np.array([*flat[end], joints[start][2] + sign * deep])
        else:
            joints[end] = joints[start] - length * trunk[1]
    head, head_axes, head_size = _head(flat, trunk, joints)
    return Figure(joints, trunk, head, head_axes, head_size)


def _size(keypoints: np.ndarray) -> float:
    """Body height in pixels: what most limbs, which look shorter than they are, call for."""
    spans = [(keypoints[TRUNK[:2], :2].mean(0) - keypoints[TRUNK[2:], :2].mean(0), SHOULDERS)]
    spans.append((keypoints[TRUNK[0], :2] - keypoints[TRUNK[1], :2], 2 * SHOULDER))
    for (start, end), (length, _) in LIMBS.items():
        if min(keypoints[ROW[start], 2], keypoints[ROW[end], 2]) > 0:
            spans.append((keypoints[ROW[end], :2] - keypoints[ROW[start], :2], length))
    return float(np.quantile([np.hypot(*span) / length for span, length in spans], 0.8))


def _trunk(flat: dict[str, np.ndarray], hidden: set[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The trunk's axes (3, 3), and where shoulders and hips lie; the nose tells which shoulder is nearer."""
    across = (flat["left_shoulder"] - flat["right_shoulder"]) / 2
    up = (flat["left_shoulder"] + flat["right_shoulder"]) / 2
    deep = np.sqrt(max(0.0, SHOULDER**2 - across @ across))
    face = [flat[name] for name in FACE if name in flat]
    ears = [flat[name] for name in ("left_ear", "right_ear") if name in flat]
    sideways = np.array([-up[1], up[0]])  # to the right of somebody upright
    if "nose" in flat and len(face) > 1:
        looks = flat["nose"] - np.mean(ears or face, axis=0)
        deep *= np.sign(looks @ sideways) or 1.0
    elif "left_shoulder" not in hidden and "right_shoulder" in hidden:
        deep = -deep
    left = np.array([*across, deep])
    left /= max(float(np.linalg.norm(left)), 1e-6)
    spine = np.array([*up, -np.sqrt(max(0.0, SHOULDERS**2 - up @ up)) / 2])
    spine = spine - (spine @ left) * left
    spine /= max(float(np.linalg.norm(spine)), 1e-6)
    joints = {}
    for part, far, shift in (("shoulder", deep, SHOULDERS * spine[2]), ("hip", deep * 0.55, 0.0)):
        for side, sign in (("left", 1), ("right", -1)):
            joints[f"{side}_{part}"] = np.array([*flat[f"{side}_{part}"], shift + sign * far])
    return np.array([left, spine, np.cross(left, spine)]), joints


def _head(
    flat: dict[str, np.ndarray], trunk: np.ndarray, joints: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, float]:
    """The head's middle, axes and size: of many ways to turn, what fits its labelled parts best."""
    neck = (joints["left_shoulder"] + joints["right_shoulder"]) / 2
    labelled = np.array([name in flat for name in FACE])
    rest = neck + (NECK_TO_HEAD + 0.015) * trunk[1]
    upright = np.array([-trunk[1, 1], trunk[1, 0]]), np.array([trunk[1, 0], trunk[1, 1]])
    scale = max(float(np.hypot(*upright[1])), 1e-6)
    frame = np.array([[*(upright[0] / scale), 0], [*(upright[1] / scale), 0], [0, 0, -1.0]])
    if not labelled.any():
        return rest, turned(np.pi, 0, 0) @ frame, 1.0
    turns = np.radians(list(product(range(-180, 180, 15), (-20, 5, 30), (-60, -40, -20, 0, 20, 40, 60))))
    axes = turned(*turns.T) @ frame
    at = np.array(list(FACE.values()))
    places = (at * HEAD_RADII) @ axes  # (T, 5, 3)
    facing = (at @ axes)[..., 2] / np.linalg.norm(at, axis=1)
    given = np.array([flat[name] for name in FACE if name in flat])
    apart, model = given - given.mean(0), places[:, labelled, :2]
    model_apart = model - model.mean(1, keepdims=True)
    sizes = (model_apart * apart).sum((1, 2)) + USUAL_HEAD
    sizes = np.clip(sizes / ((model_apart**2).sum((1, 2)) + USUAL_HEAD), 0.7, 1.6)
    middles = given.mean(0) - sizes[:, None] * model.mean(1)
    misfit = ((apart - sizes[:, None, None] * model_apart) ** 2).sum((1, 2))
    misfit += 0.05 * ((middles - rest[:2]) ** 2).sum(1) + 2e-4 * (turns[:, 1:] ** 2).sum(1)
    misfit += 4e-4 * ((facing < FACE_SHOWS) != labelled).sum(1)
    best = misfit.argmin()
    return np.array([*middles[best], rest[2]]), axes[best], float(sizes[best])


def _read_json(path: str | Path) -> np.ndarray:
    expected = "COCO's person_keypoints_*.json or an .npz of (P, 17, 3) keypoints is expected"
    content = coco_json.read(path, expected, annotated=True)
    rows = [person["keypoints"] for person in coco_json.persons(content) if person.get("keypoints")]
    try:
        return np.array(rows, np.float64).reshape(len(rows), len(COCO.annotated), 3)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: keypoints that are no 17 x (x, y, v) ({error}); {expected}") from error


def _read_npz(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(
            f"no poses at {path}; COCO's json or an .npz of (P, 17, 3) keypoints is expected"
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            name = "keypoints" if "keypoints" in arrays else arrays.files[0] if len(arrays.files) == 1 else ""
            keypoints = arrays[name].astype(np.float64) if name else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: no .npz of numbers ({error})") from error
    if keypoints is None or keypoints.ndim != 3 or keypoints.shape[1:] != (len(COCO.annotated), 3):
        raise ValueError(f"{path}: an array `keypoints` of (P, 17, 3) expected: x, y in pixels and COCO's v")
    return keypoints
