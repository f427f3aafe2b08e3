"""Poses of synthetic people: random ones, and COCO annotations lifted to 3D."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from itertools import accumulate, product
from pathlib import Path

import numpy as np

from simplepose import coco_json
from simplepose.skeleton import COCO
from simplepose.synthetic.figures import (
    FACE_KEYPOINTS,
    FACE_VISIBILITY_LIMITS,
    FOREARM,
    HEAD_RADII,
    HIP_OFFSET,
    NECK_HEIGHT,
    NECK_TO_HEAD,
    RAISED_SHOULDER_HEIGHT,
    SHIN,
    SHOULDER_HEIGHT,
    SHOULDER_OFFSET,
    THIGH,
    UPPER_ARM,
    Figure,
    head_rotation,
)

# (min, max) degrees.
AngleRange = tuple[float, float]


@dataclass(frozen=True)
class ArmLimits:
    """Ranges of arm angles, in degrees.

    Attributes:
        forward, sideways: the upper arm, from hanging down.
        bend_forward, bend_sideways: the forearm, relative to the upper arm.
    """

    forward: AngleRange = (-12, 12)
    sideways: AngleRange = (6, 18)
    bend_forward: AngleRange = (5, 35)
    bend_sideways: AngleRange = (-20, 0)


@dataclass(frozen=True)
class LegLimits:
    """Ranges of leg angles, in degrees: hip forward, knee backward, leg to the side."""

    hip: AngleRange = (-5, 6)
    knee: AngleRange = (0, 8)
    sideways: AngleRange = (0, 8)


@dataclass(frozen=True)
class PoseLimits:
    """Ranges of a pose, and its relative frequency `weight`; left and right are assigned at random."""

    weight: float
    arms: tuple[ArmLimits, ArmLimits] = (ArmLimits(), ArmLimits())
    legs: tuple[LegLimits, LegLimits] = (LegLimits(), LegLimits())
    lean: AngleRange = (-6, 12)
    tilt: AngleRange = (-4, 4)  # in the image plane
    seated: bool = False


_UP = ArmLimits((0, 10), (115, 168), (-15, 20), (-10, 60))
_OUT = ArmLimits((-10, 20), (60, 105), (0, 30), (-15, 60))
_BENT = ArmLimits((10, 45), (6, 25), (60, 130), (-50, -5))
_ON_HIP = ArmLimits((-25, 0), (32, 52), (0, 25), (-105, -75))
_SWUNG = (ArmLimits((-40, -8), (4, 12), (10, 60)), ArmLimits((8, 45), (4, 12), (15, 70)))
_PUMPED = (ArmLimits((-65, -20), (5, 15), (70, 110)), ArmLimits((10, 50), (5, 15), (70, 110)))
_SIT = LegLimits((75, 95), (65, 105), (0, 16))
POSES = {
    "standing": PoseLimits(22),
    "walking": PoseLimits(
        18, _SWUNG, (LegLimits((12, 32), (0, 15), (0, 4)), LegLimits((-28, -8), (15, 45), (0, 4)))
    ),
    "running": PoseLimits(
        8,
        _PUMPED,
        (LegLimits((35, 75), (50, 110), (0, 4)), LegLimits((-35, -10), (40, 110), (0, 4))),
        (5, 25),
    ),
    "arms up": PoseLimits(6, (_UP, _UP)),
    "an arm up": PoseLimits(7, (_UP, ArmLimits())),
    "arms out": PoseLimits(
        5, (_OUT, _OUT), (LegLimits((-10, 15), (0, 20), (5, 20)), LegLimits((-10, 15), (0, 20), (5, 20)))
    ),
    "arms bent": PoseLimits(7, (_BENT, ArmLimits((-15, 40), (6, 20), (10, 130)))),
    "hands on hips": PoseLimits(4, (_ON_HIP, _ON_HIP)),
    "sitting": PoseLimits(
        11, (ArmLimits((5, 45), (4, 18), (25, 80)), _BENT), (_SIT, _SIT), (-15, 20), seated=True
    ),
    "crouching": PoseLimits(
        3,
        (_BENT, ArmLimits((20, 60))),
        (LegLimits((85, 120), (95, 135)), LegLimits((60, 120), (85, 135))),
        (10, 40),
    ),
    "bending": PoseLimits(3, (ArmLimits((-10, 60)), ArmLimits((-10, 60))), lean=(30, 80)),
    "kicking": PoseLimits(
        3, (_OUT, _SWUNG[0]), (LegLimits((35, 95), (0, 60), (0, 25)), LegLimits((-15, 5), (0, 30))), (-20, 10)
    ),
    "lying": PoseLimits(
        3, (_OUT, ArmLimits()), (LegLimits((-5, 30), (0, 50)), LegLimits((-5, 15), (0, 30))), tilt=(70, 110)
    ),
}
_POSE_LIMITS = tuple(POSES.values())
_CUMULATIVE_WEIGHTS = tuple(accumulate(pose.weight for pose in _POSE_LIMITS))


def sample_figure(rng: np.random.Generator) -> Figure:
    """Sample a person in a random pose, seen from a random direction."""
    pose = _POSE_LIMITS[
        np.searchsorted(_CUMULATIVE_WEIGHTS, rng.random() * _CUMULATIVE_WEIGHTS[-1], side="right")
    ]
    axes = _sample_axes(rng, pose)
    first = int(rng.integers(2))
    lean, roll, twist = (
        _sample_radians(rng, pose.lean),
        np.radians(rng.normal(0, 4)),
        np.radians(rng.normal(0, 8)),
    )
    spine = np.array([np.sin(roll), np.cos(lean) * np.cos(roll), np.sin(lean) * np.cos(roll)])
    across = np.array([np.cos(twist), 0, np.sin(twist)])
    joints = {}
    for side, side_sign in ((0, 1), (1, -1)):
        name = ("left", "right")[side]
        limbs = (
            _sample_leg(rng, pose.legs[side ^ first], side_sign),
            _sample_arm(rng, pose.arms[side ^ first], side_sign, spine, across),
        )
        for limb, parts in zip(
            limbs, (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")), strict=True
        ):
            for part, position in zip(parts, limb @ axes, strict=True):
                joints[f"{name}_{part}"] = position
    trunk = np.array([across, spine, np.cross(across, spine)])
    pitch = 0.4 * lean + np.radians(rng.normal(3, 10))
    head_axes = head_rotation(np.radians(rng.normal(0, 25)), pitch, np.radians(rng.normal(0, 6)))
    size, stature = rng.uniform(0.94, 1.08), rng.normal(0.97, 0.04)
    if rng.random() < 0.1:  # a child
        size, stature = rng.uniform(1.2, 1.4), rng.uniform(0.5, 0.75)
    head_direction, head_distance = spine + head_axes[1], NECK_TO_HEAD + 0.06 * (size - 1)
    head = (
        NECK_HEIGHT * spine
        + head_distance * head_direction / np.sqrt(head_direction @ head_direction)
        + 0.015 * head_axes[2]
    )
    return Figure(
        joints, trunk @ axes, head @ axes, head_axes @ axes, float(size), float(stature), pose.seated
    )


def _sample_axes(rng: np.random.Generator, pose: PoseLimits) -> np.ndarray:
    """Sample the direction of a person, often seen from above: (3, 3) rows left, up, forward."""
    choice = rng.random()
    yaw = (
        rng.normal(0, 35)
        if choice < 0.6
        else rng.uniform(-180, 180)
        if choice < 0.85
        else rng.normal(180, 25)
    )
    yaw, pitch = np.radians(yaw), np.radians(np.clip(rng.normal(6, 8), -15, 35))
    tilt = _sample_radians(rng, pose.tilt) * (-1 if rng.random() < 0.5 else 1)
    cos, sin = np.cos(pitch), np.sin(pitch)
    left, forward = (np.cos(yaw), 0, np.sin(yaw)), (np.sin(yaw), 0, -np.cos(yaw))
    pitch_rotation = np.array([(1, 0, 0), (0, cos, sin), (0, -sin, cos)])
    tilt_rotation = np.array([(np.cos(tilt), np.sin(tilt), 0), (-np.sin(tilt), np.cos(tilt), 0), (0, 0, 1)])
    rotation: np.ndarray = np.array([left, (0, -1, 0), forward]) @ pitch_rotation @ tilt_rotation
    return rotation


def _sample_leg(rng: np.random.Generator, leg: LegLimits, side_sign: int) -> np.ndarray:
    """Sample hip, knee, ankle: (3, 3) to the left, up, forward."""
    hip, knee, sideways = (_sample_radians(rng, limits) for limits in (leg.hip, leg.knee, leg.sideways))
    start = np.array([side_sign * HIP_OFFSET, 0, 0])
    middle = start + THIGH * limb_direction(hip, sideways, side_sign)
    return np.array([start, middle, middle + SHIN * limb_direction(hip - knee, sideways / 2, side_sign)])


def _sample_arm(
    rng: np.random.Generator, arm: ArmLimits, side_sign: int, spine: np.ndarray, across: np.ndarray
) -> np.ndarray:
    """Sample shoulder, elbow, wrist: (3, 3) to the left, up, forward."""
    forward, sideways, bend_forward, bend_sideways = (
        _sample_radians(rng, limits)
        for limits in (arm.forward, arm.sideways, arm.bend_forward, arm.bend_sideways)
    )
    start = (
        RAISED_SHOULDER_HEIGHT if sideways > 1 else SHOULDER_HEIGHT
    ) * spine + side_sign * SHOULDER_OFFSET * across
    middle = start + UPPER_ARM * limb_direction(forward, sideways, side_sign)
    return np.array(
        [
            start,
            middle,
            middle + FOREARM * limb_direction(forward + bend_forward, sideways + bend_sideways, side_sign),
        ]
    )


def limb_direction(forward: float, sideways: float, side_sign: int) -> np.ndarray:
    """Compute the direction at these angles from straight down: (3,) left, up, forward."""
    horizontal_scale = np.cos(sideways)
    return np.array(
        [
            side_sign * np.sin(sideways),
            -np.cos(forward) * horizontal_scale,
            np.sin(forward) * horizontal_scale,
        ]
    )


def _sample_radians(rng: np.random.Generator, limits: AngleRange) -> float:
    return float(np.radians(rng.uniform(*limits)))


KEYPOINT_INDEX = {name: row for row, name in enumerate(COCO.annotated)}
# Keypoints that must be labeled in a pose.
TRUNK_KEYPOINTS = [
    KEYPOINT_INDEX[f"{side}_{part}"] for part in ("shoulder", "hip") for side in ("left", "right")
]

LIMBS = {  # (from, to): length in body heights, and whether it bends forward (1) or backward (-1)
    **{(f"{side}_shoulder", f"{side}_elbow"): (UPPER_ARM, 1) for side in ("left", "right")},
    **{(f"{side}_elbow", f"{side}_wrist"): (FOREARM, 1) for side in ("left", "right")},
    **{(f"{side}_hip", f"{side}_knee"): (THIGH, 1) for side in ("left", "right")},
    **{(f"{side}_knee", f"{side}_ankle"): (SHIN, -1) for side in ("left", "right")},
}
# Weight of the standard head size in the fit, body heights^2 of the keypoints' distances.
HEAD_SIZE_PRIOR = 4e-4
# Pixels between shoulder and hip; a smaller pose is too imprecise.
MIN_TRUNK_PX = 3


class PoseFile:
    """The poses of a file, as `figure` of `draw_scene`: selected at random, half of them mirrored.

    Args:
        path: COCO's person_keypoints JSON file; or an .npz file whose `keypoints`, or whose only array, are
            (P, 17, 3) x, y, v in pixels, in COCO's order and with COCO's v. Poses without both shoulders and
            hips, or too small, are skipped.

    Attributes:
        keypoints: (P, 17, 3) float64, the remaining poses.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it has another format, or no pose remains.
    """

    def __init__(self, path: str | Path) -> None:
        keypoints = _read_npz(Path(path)) if str(path).endswith(".npz") else _read_json(path)
        trunk = keypoints[:, TRUNK_KEYPOINTS, :2]
        trunk_lengths = np.linalg.norm(trunk[:, :2] - trunk[:, 2:], axis=2)
        is_usable = (keypoints[:, TRUNK_KEYPOINTS, 2] > 0).all(1) & (trunk_lengths > MIN_TRUNK_PX).all(1)
        self.keypoints = keypoints[is_usable & np.isfinite(keypoints).all((1, 2))]
        if not len(self.keypoints):
            raise ValueError(f"{path}: no pose with both shoulders and hips labeled and large enough to draw")

    def __call__(self, rng: np.random.Generator) -> Figure:
        """Sample a labeled pose, mirrored half of the time, and lift it to 3D."""
        keypoints = self.keypoints[rng.integers(len(self.keypoints))]
        if rng.random() < 0.5:
            keypoints = keypoints[COCO.annotated_flip] * (-1, 1, 1)
        return lift_to_3d(keypoints)


def lift_to_3d(keypoints: np.ndarray) -> Figure:
    """Lift a labeled pose to 3D.

    The joints below the head project to their labeled positions. The depth of a limb follows from its
    foreshortening: arms and thighs point forward, shins backward, and hidden joints lie behind. Unlabeled
    joints continue the limb straight down. The head is rotated to fit its labeled keypoints best, and away
    from the viewer if none is labeled.

    Args:
        keypoints: (17, 3) x, y, v in pixels of any scale; shoulders and hips are labeled.

    Returns:
        The figure, in body heights from the center of the hips.
    """
    size, hip_center = _body_height_px(keypoints), keypoints[TRUNK_KEYPOINTS[2:], :2].mean(0)
    labeled_xy = {
        name: (keypoints[row, :2] - hip_center) / size
        for name, row in KEYPOINT_INDEX.items()
        if keypoints[row, 2] > 0
    }
    hidden = {name for name, row in KEYPOINT_INDEX.items() if keypoints[row, 2] == 1}
    trunk, joints = _estimate_trunk(labeled_xy, hidden)
    for (start, end), (length, bend) in LIMBS.items():
        if end in labeled_xy:
            offset_xy = labeled_xy[end] - joints[start][:2]
            depth = np.sqrt(max(0.0, length**2 - offset_xy @ offset_xy))
            sign = 1 if end in hidden else np.sign(bend * trunk[2, 2]) or -1.0
            joints[end] = np.array([*labeled_xy[end], joints[start][2] + sign * depth])
        else:
            joints[end] = joints[start] - length * trunk[1]
    head, head_axes, head_size = _fit_head(labeled_xy, trunk, joints)
    return Figure(joints, trunk, head, head_axes, head_size)


def _body_height_px(keypoints: np.ndarray) -> float:
    """Estimate the body height in pixels from limb lengths, most of which are foreshortened."""
    spans = [
        (
            keypoints[TRUNK_KEYPOINTS[:2], :2].mean(0) - keypoints[TRUNK_KEYPOINTS[2:], :2].mean(0),
            SHOULDER_HEIGHT,
        )
    ]
    spans.append((keypoints[TRUNK_KEYPOINTS[0], :2] - keypoints[TRUNK_KEYPOINTS[1], :2], 2 * SHOULDER_OFFSET))
    for (start, end), (length, _) in LIMBS.items():
        if min(keypoints[KEYPOINT_INDEX[start], 2], keypoints[KEYPOINT_INDEX[end], 2]) > 0:
            spans.append((keypoints[KEYPOINT_INDEX[end], :2] - keypoints[KEYPOINT_INDEX[start], :2], length))
    return float(np.quantile([np.hypot(*span) / length for span, length in spans], 0.8))


def _estimate_trunk(
    labeled_xy: dict[str, np.ndarray], hidden: set[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Compute the trunk's axes (3, 3) and the positions of shoulders and hips.

    The nose decides which shoulder is nearer.
    """
    across = (labeled_xy["left_shoulder"] - labeled_xy["right_shoulder"]) / 2
    up = (labeled_xy["left_shoulder"] + labeled_xy["right_shoulder"]) / 2
    depth = np.sqrt(max(0.0, SHOULDER_OFFSET**2 - across @ across))
    face = [labeled_xy[name] for name in FACE_KEYPOINTS if name in labeled_xy]
    ears = [labeled_xy[name] for name in ("left_ear", "right_ear") if name in labeled_xy]
    sideways = np.array([-up[1], up[0]])  # to the right of an upright person
    if "nose" in labeled_xy and len(face) > 1:
        face_direction = labeled_xy["nose"] - np.mean(ears or face, axis=0)
        depth *= np.sign(face_direction @ sideways) or 1.0
    elif "left_shoulder" not in hidden and "right_shoulder" in hidden:
        depth = -depth
    left = np.array([*across, depth])
    left /= max(float(np.linalg.norm(left)), 1e-6)
    spine = np.array([*up, -np.sqrt(max(0.0, SHOULDER_HEIGHT**2 - up @ up)) / 2])
    spine = spine - (spine @ left) * left
    spine /= max(float(np.linalg.norm(spine)), 1e-6)
    joints = {}
    for part, depth_scale, shift in (
        ("shoulder", depth, SHOULDER_HEIGHT * spine[2]),
        ("hip", depth * 0.55, 0.0),
    ):
        for side, sign in (("left", 1), ("right", -1)):
            joints[f"{side}_{part}"] = np.array([*labeled_xy[f"{side}_{part}"], shift + sign * depth_scale])
    return np.array([left, spine, np.cross(left, spine)]), joints


def _fit_head(
    labeled_xy: dict[str, np.ndarray], trunk: np.ndarray, joints: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Compute the head's center, axes and size: of many rotations, the best fit to its labeled keypoints."""
    neck = (joints["left_shoulder"] + joints["right_shoulder"]) / 2
    labeled = np.array([name in labeled_xy for name in FACE_KEYPOINTS])
    rest = neck + (NECK_TO_HEAD + 0.015) * trunk[1]
    upright = np.array([-trunk[1, 1], trunk[1, 0]]), np.array([trunk[1, 0], trunk[1, 1]])
    scale = max(float(np.hypot(*upright[1])), 1e-6)
    base_axes = np.array([[*(upright[0] / scale), 0], [*(upright[1] / scale), 0], [0, 0, -1.0]])
    if not labeled.any():
        return rest, head_rotation(np.pi, 0, 0) @ base_axes, 1.0
    angles = np.radians(list(product(range(-180, 180, 15), (-20, 5, 30), (-60, -40, -20, 0, 20, 40, 60))))
    axes = head_rotation(*angles.T) @ base_axes
    face_points = np.array(list(FACE_KEYPOINTS.values()))
    face_positions = (face_points * HEAD_RADII) @ axes  # (T, 5, 3)
    facing = (face_points @ axes)[..., 2] / np.linalg.norm(face_points, axis=1)
    given_xy = np.array([labeled_xy[name] for name in FACE_KEYPOINTS if name in labeled_xy])
    given_offsets, model_xy = given_xy - given_xy.mean(0), face_positions[:, labeled, :2]
    model_offsets = model_xy - model_xy.mean(1, keepdims=True)
    sizes = (model_offsets * given_offsets).sum((1, 2)) + HEAD_SIZE_PRIOR
    sizes = np.clip(sizes / ((model_offsets**2).sum((1, 2)) + HEAD_SIZE_PRIOR), 0.7, 1.6)
    head_centers = given_xy.mean(0) - sizes[:, None] * model_xy.mean(1)
    misfit = ((given_offsets - sizes[:, None, None] * model_offsets) ** 2).sum((1, 2))
    misfit += 0.05 * ((head_centers - rest[:2]) ** 2).sum(1) + 2e-4 * (angles[:, 1:] ** 2).sum(1)
    misfit += 4e-4 * ((facing < FACE_VISIBILITY_LIMITS) != labeled).sum(1)
    best = misfit.argmin()
    return np.array([*head_centers[best], rest[2]]), axes[best], float(sizes[best])


def _read_json(path: str | Path) -> np.ndarray:
    expected = "expected COCO's person_keypoints_*.json or an .npz file of (P, 17, 3) keypoints"
    file = coco_json.read(path, expected, COCO.annotated)
    people = [person for persons in file.people.values() for person in persons]
    rows = [person["keypoints"] for person in people if person.get("keypoints")]  # no boxes are needed
    try:
        return np.array(rows, np.float64).reshape(len(rows), len(COCO.annotated), 3)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: keypoints are not 17 x (x, y, v) ({error}); {expected}") from error


# Largest pose table: two million people.
MAX_NPZ_BYTES = 2**30


def _read_npz(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: file not found; expected COCO's JSON file or an .npz file of (P, 17, 3) keypoints"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_NPZ_BYTES:
            raise ValueError(f"expected at most {MAX_NPZ_BYTES:,} bytes of arrays, got {size:,}")
        with np.load(path, allow_pickle=False) as arrays:
            name = "keypoints" if "keypoints" in arrays else arrays.files[0] if len(arrays.files) == 1 else ""
            keypoints: np.ndarray | None = arrays[name].astype(np.float64) if name else None
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: not an .npz file of numbers ({error})") from error
    if keypoints is None or keypoints.ndim != 3 or keypoints.shape[1:] != (len(COCO.annotated), 3):
        raise ValueError(
            f"{path}: expected an array `keypoints` of shape (P, 17, 3): x, y in pixels and COCO's v"
        )
    return keypoints
