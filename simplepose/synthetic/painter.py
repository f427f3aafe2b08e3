"""An image that is filled with people and things, the farthest first, and which person each pixel shows.

Things (seats, boxes, posts, tables and balls) stand among the people and occlude them.
"""

from __future__ import annotations

import cv2
import numpy as np

from simplepose.skeleton import COCO
from simplepose.synthetic import backdrops, bodies, body_parts
from simplepose.synthetic.body_parts import THING, Part, solid, tube
from simplepose.synthetic.clothes import draw_cloth
from simplepose.synthetic.cutout import FINE, CutOut, Light, cut_out
from simplepose.synthetic.figures import HIP, SHOULDER, Figure

_AXES = np.diag([1.0, -1.0, -1.0])


def seat(rng: np.random.Generator, ground: float) -> Part:
    """What somebody sits on, from under the hips to the ground (y, body heights)."""
    half = rng.uniform(0.09, 0.16)
    return _block(rng, (0, 0.075), (0, max(ground - 0.03, 0.08)), half, 0.12)


def draw_thing(rng: np.random.Generator) -> list[Part]:
    """Something that stands at the origin, in body heights, farthest part first."""
    kind, tall, half = rng.random(), rng.uniform(0.2, 0.6), rng.uniform(0.06, 0.25)
    if kind < 0.35:
        return [_block(rng, (0, -tall), (0, -0.02), half, 0)]
    paint = draw_cloth(rng)
    if kind < 0.6:
        points = [np.array([0, -tall * 3, 0]), np.zeros(3)]
        return [tube(THING, "thing", paint, points, (half / 8, half / 8))]
    if kind < 0.75:
        return [tube(THING, "thing", paint, [np.array([0, -half / 2, 0])], (half / 2,))]
    ends = [np.array([side * half, -tall, 0]) for side in (-1, 1)]
    legs = [tube(THING, f"leg {end[0]}", paint, [end, end * (1, 0, 0)], (0.012, 0.012)) for end in ends]
    return [*legs, tube(THING, "board", draw_cloth(rng), ends, (0.02, 0.02), along=_AXES[0])]


def _block(
    rng: np.random.Generator, top: tuple[float, float], foot: tuple[float, float], half: float, depth: float
) -> Part:
    centres = [np.array([*place, depth]) for place in (top, foot)]
    return solid(THING, "thing", draw_cloth(rng), centres, [(half, 0.025, 0.0)] * 2, _AXES)


OWN_GROUP = np.array(
    [body_parts.HEAD] * 5
    + [body_parts.LEFT_ARM, body_parts.RIGHT_ARM] * 3
    + [body_parts.LEFT_LEG, body_parts.RIGHT_LEG] * 3,
)
"""(17,) of COCO's joints: the group of parts that shows it."""

TRUNK_ROWS = (
    (COCO.annotated.index("left_shoulder"), SHOULDER),
    (COCO.annotated.index("left_hip"), HIP),
)
"""Joints that the torso shows too: the left one's row, before the right one's, and how far out it is."""

SHADOW = 100
"""Of 255: what the ground loses under somebody's feet."""


class Painter:
    """The picture and its owners.

    Args:
        rng: decides on light, bodies, clothes and things.
        image: (H, W, 3) uint8 BGR, painted over.

    Attributes:
        image: the picture.
        owners: (H, W) int16, as in `synthetic.Scene`.
    """

    def __init__(self, rng: np.random.Generator, image: np.ndarray) -> None:
        self.image = image
        self.owners = np.zeros(image.shape[:2], np.int16)
        self._rng = rng
        self._joints: list[np.ndarray] = []
        self._windows: list[tuple[slice, slice]] = []
        towards = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-1, -0.2), rng.uniform(0.5, 1)])
        grain = backdrops.draw_noise(rng, self.owners.shape, rng.uniform(1, 5))
        self._light = Light(towards / np.linalg.norm(towards), rng.uniform(0.4, 0.8), grain)

    def paint_person(
        self,
        figure: Figure,
        foot_xy: tuple[float, float],
        size: float,
        look: np.random.Generator | None = None,
    ) -> None:
        """Paint somebody who stands there; `size` is a grown-up's height in pixels; `look` decides on body,
        clothes and shadow, so that somebody looks alike in several pictures."""
        rng = look or self._rng
        body, size = bodies.draw_body(rng, figure), size * figure.stature
        ground = body_parts.lowest(body)
        if figure.sits:
            body = sorted([*body, seat(rng, ground)], key=lambda part: -part.depth)
        origin_xy = foot_xy[0], foot_xy[1] - size * ground
        self._paint_shadow(rng, foot_xy, size)
        person = cut_out(body, origin_xy, size, self._light)
        joints, shows = figure.annotated()
        free = np.zeros(len(joints), bool)
        window = slice(0), slice(0)
        if person is not None:
            self._lay(person, len(self._joints) + 1)
            free, window = _uncovered(person, joints, origin_xy, size), (person.rows, person.columns)
        self._windows.append(window)
        xy = joints[:, :2] * size + origin_xy
        self._joints.append(np.column_stack([xy, shows * (1 + free)]))

    def paint_thing(self, foot_xy: tuple[float, float], size: float) -> None:
        """Paint something that stands there among people of that height."""
        thing = cut_out(draw_thing(self._rng), foot_xy, size, self._light)
        if thing is not None:
            self._paint_shadow(self._rng, foot_xy, size / 2)
            self._lay(thing, 0)

    def keypoints(self) -> np.ndarray:
        """(P, 17, 3) float32, as in `Scene`."""
        joints = np.array(self._joints).reshape(-1, len(COCO.annotated), 3)
        last = np.array(self.owners.shape[::-1]) - 1
        inside = ((joints[..., :2] >= 0) & (joints[..., :2] <= last)).all(2)
        people = np.arange(1, len(joints) + 1)
        windows = zip(people, self._windows, strict=True)
        seen = np.array([(self.owners[window] == person).any() for person, window in windows], bool)
        x, y = np.rint(joints[..., :2].clip(0, last)).astype(int).transpose(2, 0, 1)
        covered = self.owners[y, x] != people[:, None]
        joints[..., 2] -= (joints[..., 2] == 2) & covered
        joints[~inside | ~seen[:, None] | (joints[..., 2] == 0)] = 0
        return joints.astype(np.float32)

    def _lay(self, cut: CutOut, owner: int) -> None:
        """Lay a cut-out over the picture."""
        window = cut.rows, cut.columns
        behind = cv2.cvtColor(cv2.bitwise_not(cut.colours[..., 3]), cv2.COLOR_GRAY2BGR)
        rest = cv2.multiply(self.image[window], behind, scale=1 / 255)
        self.image[window] = cv2.add(rest, cv2.cvtColor(cut.colours, cv2.COLOR_BGRA2BGR))
        owners = self.owners[window]
        owners[cut.colours[..., 3] > 127] = 0
        if owner:
            owners[cut.person > 127] = owner

    def _paint_shadow(self, rng: np.random.Generator, foot_xy: tuple[float, float], size: float) -> None:
        """Darken the ground softly."""
        limits = self.owners.shape[::-1]
        half_xy = size * rng.uniform(0.8, 1.3) * np.array([0.22, 0.035])
        left, top = np.clip(np.floor(foot_xy - half_xy), 0, limits).astype(int)
        right, low = np.clip(np.ceil(foot_xy + half_xy), 0, limits).astype(int)
        if left >= right or top >= low:
            return
        x = (np.arange(left, right) - foot_xy[0]) / half_xy[0]
        y = (np.arange(top, low) - foot_xy[1]) / half_xy[1]
        depth = np.maximum(1 - np.add.outer(y * y, x * x), 0)
        rest = cv2.bitwise_not(cv2.convertScaleAbs(depth, alpha=SHADOW))
        window = slice(top, low), slice(left, right)
        rest = cv2.cvtColor(rest, cv2.COLOR_GRAY2BGR)
        self.image[window] = cv2.multiply(self.image[window], rest, scale=1 / 255)


def _uncovered(cut: CutOut, joints: np.ndarray, origin_xy: tuple[float, float], size: float) -> np.ndarray:
    """(17,) bool: no other part of the body, nor its seat, stands before the joint."""
    xy = joints[:, :2] * size + origin_xy - (cut.columns.start, cut.rows.start)
    x, y = np.rint((xy + 0.5) * FINE - 0.5).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < cut.parts.shape[1]) & (y < cut.parts.shape[0])
    groups = np.where(inside, cut.groups[cut.parts[y * inside, x * inside]], body_parts.THING)
    return (groups == OWN_GROUP) | ((groups == body_parts.TORSO) & _before_torso(joints))


def _before_torso(joints: np.ndarray) -> np.ndarray:
    """(17,) bool: shoulders and hips that are not on the far side of a body seen from the side."""
    free = np.zeros(len(joints), bool)
    for left, half in TRUNK_ROWS:
        middle = joints[left : left + 2, 2].mean()
        free[left : left + 2] = joints[left : left + 2, 2] < middle + 0.65 * half
    return free
