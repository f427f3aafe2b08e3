"""Poses by chance, within the limits of a body's joints, in the frame of `figures`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from simplepose.synthetic.figures import (
    FOREARM,
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
