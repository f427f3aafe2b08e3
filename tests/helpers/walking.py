"""Walking people: their paths and the swing of their limbs, in the coordinates of `figures`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simplepose.synthetic.figures import (
    FOREARM,
    HIP_OFFSET,
    NECK_HEIGHT,
    NECK_TO_HEAD,
    SHIN,
    SHOULDER_HEIGHT,
    SHOULDER_OFFSET,
    THIGH,
    UPPER_ARM,
    Figure,
    head_rotation,
)
from simplepose.synthetic.poses import limb_direction

# Length of two steps, body heights.
STRIDE_LENGTH = 0.8
# Maximum rotation of a body per frame, radians.
MAX_TURN_RAD = 0.2
# Fraction of the difference to the desired velocity that is corrected per frame.
VELOCITY_GAIN = 0.12
# Distance from the goal at which a person chooses another one or rests, body heights.
GOAL_RADIUS = 0.4


@dataclass(frozen=True)
class Walker:
    """Characteristics of one walker.

    Attributes:
        stature, head_size: as in `Figure`.
        swing: amplitude of the hips at full speed, radians.
        bend: bend of the elbows, radians.
        speed: full speed, body heights per frame.
    """

    stature: float
    head_size: float
    swing: float
    bend: float
    speed: float

    def figure(self, phase: float, effort: float, yaw: float) -> Figure:
        """Build the walker's pose at one moment.

        Args:
            phase: phase of the stride in radians; 2 pi is two steps.
            effort: fraction of the full speed; 0 stands still.
            yaw: radians; 0 faces the viewer, pi / 2 walks to the image's right.
        """
        cos, sin = np.cos(yaw), np.sin(yaw)
        axes = np.array([(cos, 0, sin), (0, -1, 0), (sin, 0, -cos)])
        joints = {}
        for side, side_sign, limb_phase in (("left", 1, phase), ("right", -1, phase + np.pi)):
            leg, arm = (
                self._leg(side_sign, limb_phase, effort),
                self._arm(side_sign, limb_phase + np.pi, effort),
            )
            for names, limb in ((("hip", "knee", "ankle"), leg), (("shoulder", "elbow", "wrist"), arm)):
                joints.update({f"{side}_{name}": at for name, at in zip(names, limb @ axes, strict=True)})
        lean = 0.08 * effort
        spine = np.array([0, np.cos(lean), np.sin(lean)])
        trunk = np.array([(1, 0, 0), spine, np.cross((1, 0, 0), spine)])
        head_axes = head_rotation(0.15 * np.sin(phase / 3), 0.05, 0)
        head = (NECK_HEIGHT + NECK_TO_HEAD + 0.06 * (self.head_size - 1)) * spine + 0.015 * head_axes[2]
        return Figure(joints, trunk @ axes, head @ axes, head_axes @ axes, self.head_size, self.stature)

    def _leg(self, side_sign: int, phase: float, effort: float) -> np.ndarray:
        """Build hip, knee, ankle (3, 3): left, up, forward; the knee bends while the leg swings forward."""
        hip = effort * self.swing * np.sin(phase)
        knee = 0.05 + effort * 0.8 * max(0.0, np.cos(phase))
        start = np.array([side_sign * HIP_OFFSET, 0, 0])
        middle = start + THIGH * limb_direction(hip, 0.03, side_sign)
        return np.array([start, middle, middle + SHIN * limb_direction(hip - knee, 0.02, side_sign)])

    def _arm(self, side_sign: int, phase: float, effort: float) -> np.ndarray:
        """Build shoulder, elbow, wrist (3, 3): left, up, forward."""
        forward = effort * self.swing * np.sin(phase)
        start = np.array([side_sign * SHOULDER_OFFSET, SHOULDER_HEIGHT, 0])
        middle = start + UPPER_ARM * limb_direction(forward, 0.15, side_sign)
        return np.array(
            [start, middle, middle + FOREARM * limb_direction(forward + self.bend, 0.05, side_sign)]
        )


def sample_walker(rng: np.random.Generator) -> Walker:
    """Sample a walker with a realistic speed at 25 frames per second."""
    return Walker(
        stature=float(rng.normal(0.97, 0.05)),
        head_size=float(rng.uniform(0.94, 1.08)),
        swing=float(np.radians(rng.uniform(18, 30))),
        bend=float(np.radians(rng.uniform(8, 50))),
        speed=float(rng.uniform(0.018, 0.034)),
    )


@dataclass(frozen=True)
class Ground:
    """The flat ground in front of the camera; a position is (to the right, away) in body heights.

    Attributes:
        size_hw: height and width of the image.
        horizon: row of the horizon.
        eye_level: height of the camera, body heights.
        nearest, farthest: height of an adult in pixels at the nearest and farthest walking distance.
    """

    size_hw: tuple[int, int]
    horizon: float
    eye_level: float
    nearest: float
    farthest: float

    def sample_position(self, rng: np.random.Generator) -> np.ndarray:
        """Sample a position (2,) in the camera's view."""
        height, width = self.size_hw
        away = rng.uniform(height / self.nearest, height / self.farthest)
        return np.array([rng.uniform(-0.45, 0.45) * width / height * away, away])

    def project(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project positions (..., 2) to feet (..., 2) and the height of an adult (...,), in pixels."""
        height, width = self.size_hw
        sizes = height / positions[..., 1]
        x, y = (width - 1) / 2 + positions[..., 0] * sizes, self.horizon + self.eye_level * sizes
        return np.stack([x, y], -1), sizes


@dataclass(frozen=True, eq=False)
class Walk:
    """The path of one walker over F frames.

    Attributes:
        positions: (F, 2) on the ground.
        phases, efforts, yaws: (F,) arguments of `Walker.figure`.
    """

    positions: np.ndarray
    phases: np.ndarray
    efforts: np.ndarray
    yaws: np.ndarray


def sample_walk(rng: np.random.Generator, walker: Walker, ground: Ground, frames: int) -> Walk:
    """Sample a walk between random goals on the ground, with rests at some of them."""
    position, goal, velocity, yaw, phase = (
        ground.sample_position(rng),
        ground.sample_position(rng),
        np.zeros(2),
        0.0,
        0.0,
    )
    rest_frames, states = 0, []
    for _ in range(frames):
        to_goal = goal - position
        if np.hypot(*to_goal) < GOAL_RADIUS:
            goal, rest_frames = (
                ground.sample_position(rng),
                int(rng.integers(5, 30)) if rng.random() < 0.3 else 0,
            )
        desired_velocity = (
            to_goal / max(float(np.hypot(*to_goal)), GOAL_RADIUS) * walker.speed * (rest_frames == 0)
        )
        rest_frames = max(0, rest_frames - 1)
        velocity = velocity + VELOCITY_GAIN * (desired_velocity - velocity)
        position, speed = position + velocity, float(np.hypot(*velocity))
        if speed > walker.speed / 10:
            yaw += _clip_turn(float(np.arctan2(velocity[0], -velocity[1])) - yaw)
        phase += 2 * np.pi * speed / STRIDE_LENGTH
        states.append((*position, phase, min(1.0, speed / walker.speed), yaw))
    columns = np.array(states).reshape(frames, 5)
    return Walk(columns[:, :2], columns[:, 2], columns[:, 3], columns[:, 4])


def _clip_turn(turn: float) -> float:
    """Limit a desired rotation in radians to MAX_TURN_RAD, in the shorter direction."""
    shortest = (turn + np.pi) % (2 * np.pi) - np.pi
    return min(max(shortest, -MAX_TURN_RAD), MAX_TURN_RAD)
