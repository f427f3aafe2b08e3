"""The body of the synthetic people in tests: upright, front view."""

import numpy as np

from simplepose.skeleton import COCO, Skeleton

_LEFT_HALF = {  # x to the person's left (the image's right), y down, origin at the middle of the hips
    "eye": (0.03, -0.55),
    "ear": (0.06, -0.53),
    "shoulder": (0.11, -0.4),
    "elbow": (0.17, -0.2),
    "wrist": (0.18, -0.02),
    "hip": (0.07, 0.0),
    "knee": (0.08, 0.22),
    "ankle": (0.09, 0.45),
}
_MIDDLE = {
    "nose": (0, -0.52),
    "head": (0, -0.57),
    "head_top": (0, -0.57),
    "neck": (0, -0.44),
    "upper_neck": (0, -0.44),
    "thorax": (0, -0.38),
    "pelvis": (0, -0.01),
}
_LEFT_FOOT = {"big_toe": (0.11, 0.5), "small_toe": (0.13, 0.49), "heel": (0.08, 0.48)}
_SIDES = (("left", 1), ("right", -1))
_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
HEAD_TOP_ABOVE_HIPS = 0.57
"""Distance from the hips to the top of the head, in body heights."""
JOINT_SIGMA = 0.012
"""Standard deviation of a joint's position, in body heights; a sixth of it in the face, hands and feet."""


def upright(skeleton: Skeleton = COCO) -> np.ndarray:
    """Return x, y of the annotated joints, (A, 2) float64, in body heights from the middle of the hips."""
    positions = {**_MIDDLE, **_mirror_sides(_LEFT_HALF), **_small_parts()}
    return np.array([positions[name] for name in skeleton.annotated], np.float64)


def sample_body(rng: np.random.Generator, skeleton: Skeleton = COCO) -> np.ndarray:
    """Return `upright` with random offsets of the joints."""
    small = _small_parts()
    spread = np.array([JOINT_SIGMA / 6 if name in small else JOINT_SIGMA for name in skeleton.annotated])
    return upright(skeleton) + rng.normal(0, spread[:, None], (len(spread), 2))


def _mirror_sides(left: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Mirror the left half of a body to get both halves."""
    return {f"{side}_{name}": (sign * x, y) for side, sign in _SIDES for name, (x, y) in left.items()}


def _small_parts() -> dict[str, tuple[float, float]]:
    """Return the whole-body joints beside COCO's: feet, hands and face."""
    face = {f"face_{number}": (x, y) for number, (x, y) in enumerate(_face())}
    return {**_mirror_sides(_LEFT_FOOT), **_mirror_sides(_left_hand()), **face}


def _left_hand() -> dict[str, tuple[float, float]]:
    """Return a hanging hand with the thumb towards the body: five straight fingers from the root."""
    x, y = _LEFT_HALF["wrist"]
    root = np.array([x, y + 0.01])
    positions = {"hand_root": tuple(root)}
    for finger, angle in zip(_FINGERS, np.radians([-40, -15, 0, 15, 30]), strict=True):
        along = np.array([np.sin(angle), np.cos(angle)])
        for joint, distance in enumerate((0.045, 0.065, 0.08, 0.092), 1):
            positions[f"{finger}{joint}"] = tuple(root + distance * along)
    return positions


def _face() -> np.ndarray:
    """Return contour, brows, nose, eyes and mouth, (68, 2), each from the person's right to the left."""
    x, y = _LEFT_HALF["eye"]
    right_brow = _arc((-x, y - 0.02), (0.018, 0.008), 180, 360, 5)
    right_eye = _arc((-x, y), (0.011, 0.005), 180, 540, 7)[:6]
    mirrored = np.array([-1, 1])
    bridge = np.column_stack([np.zeros(4), np.linspace(-0.553, -0.522, 4)])
    nostrils = np.column_stack([np.linspace(-0.014, 0.014, 5), np.full(5, -0.51)])
    mouth = (0, -0.483)
    parts = [
        _arc((0, -0.53), (0.058, 0.075), 180, 0, 17),
        *(right_brow, right_brow[::-1] * mirrored, bridge, nostrils),
        *(right_eye, right_eye[[3, 2, 1, 0, 5, 4]] * mirrored),
        _arc(mouth, (0.022, 0.011), 180, 540, 13)[:12],
        _arc(mouth, (0.015, 0.005), 180, 540, 9)[:8],
    ]
    return np.concatenate(parts)


def _arc(
    middle: tuple[float, float], radii: tuple[float, float], start: float, end: float, count: int
) -> np.ndarray:
    """Return points on an ellipse, (count, 2), between two angles in degrees from +x towards +y."""
    angles = np.radians(np.linspace(start, end, count))
    return np.column_stack([np.cos(angles), np.sin(angles)]) * radii + middle
