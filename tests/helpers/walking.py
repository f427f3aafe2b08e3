"""People who walk: where they go, frame by frame, and how their limbs swing, in the frame of `figures`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simplepose.synthetic.figures import (
    FOREARM,
    HIP,
    NECK,
    NECK_TO_HEAD,
    SHIN,
    SHOULDER,
    SHOULDERS,
    THIGH,
    UPPER_ARM,
    Figure,
    turned,
)
from simplepose.synthetic.poses import towards

STRIDE = 0.8
"""Body heights that two steps take."""
MOST_TURN = 0.2
"""Radians that a body turns in a frame."""
HASTE = 0.12
"""Share by which somebody nears, in a frame, the speed and direction that they want."""
NEAR = 0.4
"""Body heights from a goal at which somebody sets out for another one, or stays a while."""


@dataclass(frozen=True)
class Walker:
    """What sets one walker apart.

    Attributes:
        stature, head_size: as a `Figure`'s.
        swing: radians that hips go ahead and back at full speed.
        bend: radians that elbows are bent.
        speed: body heights a frame.
    """

    stature: float
    head_size: float
    swing: float
    bend: float
    speed: float

    def figure(self, phase: float, effort: float, yaw: float) -> Figure:
        """The walker at one moment.

        Args:
            phase: radians of the stride; 2 pi is two steps.
            effort: share of the full speed; 0 stands.
            yaw: radians; 0 faces the viewer, pi / 2 walks to the picture's right.
        """
        cos, sin = np.cos(yaw), np.sin(yaw)
        axes = np.array([(cos, 0, sin), (0, -1, 0), (sin, 0, -cos)])
        joints = {}
        for side, outward, beat in (("left", 1, phase), ("right", -1, phase + np.pi)):
            leg, arm = self._leg(outward, beat, effort), self._arm(outward, beat + np.pi, effort)
            for names, limb in ((("hip", "knee", "ankle"), leg), (("shoulder", "elbow", "wrist"), arm)):
                joints.update({f"{side}_{name}": at for name, at in zip(names, limb @ axes, strict=True)})
        lean = 0.08 * effort
        spine = np.array([0, np.cos(lean), np.sin(lean)])
        trunk = np.array([(1, 0, 0), spine, np.cross((1, 0, 0), spine)])
        head_axes = turned(0.15 * np.sin(phase / 3), 0.05, 0)
        head = (NECK + NECK_TO_HEAD + 0.06 * (self.head_size - 1)) * spine + 0.015 * head_axes[2]
        return Figure(joints, trunk @ axes, head @ axes, head_axes @ axes, self.head_size, self.stature)

    def _leg(self, outward: int, beat: float, effort: float) -> np.ndarray:
        """(3, 3) hip, knee, ankle: to the left, up, ahead; the knee bends while the leg swings ahead."""
        hip = effort * self.swing * np.sin(beat)
        knee = 0.05 + effort * 0.8 * max(0.0, np.cos(beat))
        start = np.array([outward * HIP, 0, 0])
        middle = start + THIGH * towards(hip, 0.03, outward)
        return np.array([start, middle, middle + SHIN * towards(hip - knee, 0.02, outward)])

    def _arm(self, outward: int, beat: float, effort: float) -> np.ndarray:
        """(3, 3) shoulder, elbow, wrist: to the left, up, ahead."""
        ahead = effort * self.swing * np.sin(beat)
        start = np.array([outward * SHOULDER, SHOULDERS, 0])
        middle = start + UPPER_ARM * towards(ahead, 0.15, outward)
        return np.array([start, middle, middle + FOREARM * towards(ahead + self.bend, 0.05, outward)])


def draw_walker(rng: np.random.Generator) -> Walker:
    """Somebody at random, who at 25 frames a second walks as people do."""
    return Walker(
        stature=float(rng.normal(0.97, 0.05)),
        head_size=float(rng.uniform(0.94, 1.08)),
        swing=float(np.radians(rng.uniform(18, 30))),
        bend=float(np.radians(rng.uniform(8, 50))),
        speed=float(rng.uniform(0.018, 0.034)),
    )


@dataclass(frozen=True)
class Ground:
    """The flat ground before the camera, where a place is (to the right, away) in body heights.

    Attributes:
        size_hw: of the picture.
        horizon: its row.
        eye_level: the camera's height in body heights.
        nearest, farthest: size of a grown-up in pixels where people walk nearest and farthest.
    """

    size_hw: tuple[int, int]
    horizon: float
    eye_level: float
    nearest: float
    farthest: float

    def draw_place(self, rng: np.random.Generator) -> np.ndarray:
        """(2,) a place that the camera sees."""
        height, width = self.size_hw
        away = rng.uniform(height / self.nearest, height / self.farthest)
        return np.array([rng.uniform(-0.45, 0.45) * width / height * away, away])

    def seen(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places (..., 2) -> (..., 2) where feet stand in the picture, and (...,) a grown-up's pixels."""
        height, width = self.size_hw
        sizes = height / places[..., 1]
        x, y = (width - 1) / 2 + places[..., 0] * sizes, self.horizon + self.eye_level * sizes
        return np.stack([x, y], -1), sizes


@dataclass(frozen=True, eq=False)
class Walk:
    """One walker's way over F frames.

    Attributes:
        places: (F, 2) on the ground.
        phases, efforts, yaws: (F,) as `Walker.figure` takes them.
    """

    places: np.ndarray
    phases: np.ndarray
    efforts: np.ndarray
    yaws: np.ndarray


def draw_walk(rng: np.random.Generator, walker: Walker, ground: Ground, frames: int) -> Walk:
    """From goal to goal on the ground, with a rest at some of them."""
    place, goal, velocity, yaw, phase = ground.draw_place(rng), ground.draw_place(rng), np.zeros(2), 0.0, 0.0
    rest, told = 0, []
    for _ in range(frames):
        away = goal - place
        if np.hypot(*away) < NEAR:
            goal, rest = ground.draw_place(rng), int(rng.integers(5, 30)) if rng.random() < 0.3 else 0
        wanted = away / max(float(np.hypot(*away)), NEAR) * walker.speed * (rest == 0)
        rest = max(0, rest - 1)
        velocity = velocity + HASTE * (wanted - velocity)
        place, pace = place + velocity, float(np.hypot(*velocity))
        if pace > walker.speed / 10:
            yaw += _turn(float(np.arctan2(velocity[0], -velocity[1])) - yaw)
        phase += 2 * np.pi * pace / STRIDE
        told.append((*place, phase, min(1.0, pace / walker.speed), yaw))
    columns = np.array(told).reshape(frames, 5)
    return Walk(columns[:, :2], columns[:, 2], columns[:, 3], columns[:, 4])


def _turn(wanted: float) -> float:
    """What a body turns in a frame that wants to turn by so many radians."""
    short = (wanted + np.pi) % (2 * np.pi) - np.pi
    return min(max(short, -MOST_TURN), MOST_TURN)
