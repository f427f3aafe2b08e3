"""Figures in the poses of a file: joints that were labelled in pictures, given a depth and a body."""

from __future__ import annotations

import zipfile
from itertools import product
from pathlib import Path

import numpy as np

from simplepose import coco_json
from simplepose.skeleton import COCO
from simplepose.synthetic.figures import (
    FACE,
    FACE_SHOWS,
    FOREARM,
    HEAD_RADII,
    NECK_TO_HEAD,
    SHIN,
    SHOULDER,
    SHOULDERS,
    THIGH,
    UPPER_ARM,
    Figure,
    turned,
)

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
