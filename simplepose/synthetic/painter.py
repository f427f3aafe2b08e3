"""An image that is filled with people and things, the farthest first, and which person each pixel shows.

People and things (seats, boxes, posts, tables and balls) are cut-outs. A cut-out is painted into a small
image of part numbers, filled with hulls at twice its size; colors, patterns, light and smooth edges are
then computed once for the whole body.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from simplepose.skeleton import COCO
from simplepose.synthetic import backdrops, bodies, body_parts
from simplepose.synthetic.body_parts import THING, Part, solid, tube
from simplepose.synthetic.clothes import TILE, draw_cloth, spread
from simplepose.synthetic.figures import HIP, SHOULDER, Figure

FINE = 2
"""Part numbers are painted so many times larger than the picture: smooth edges."""

SUBPIXEL = 4
"""OpenCV fills polygons at 1 / 2**SUBPIXEL of a pixel."""

SECOND = 128
"""Added to a part's number where its pattern has the second colour; a body has fewer parts."""

LARGE = 8
"""Half the thickness of a large body's thickest part, picture pixels."""

EVEN = 128
"""The light that leaves colours as they are."""

_TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_COS, _SIN = np.cos(_TURN), np.sin(_TURN)
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass(frozen=True, eq=False)
class Light:
    """How a scene is lit.

    Attributes:
        towards: (3,) unit direction to the light: right, down, towards the viewer.
        shade: share of the light that comes from all sides.
        grain: (H, W) uint8 about EVEN: how rough all surfaces are.
    """

    towards: np.ndarray
    shade: float
    grain: np.ndarray


@dataclass(frozen=True, eq=False)
class CutOut:
    """A body, cut to the (h, w) pixels of the picture that it reaches.

    Attributes:
        rows, columns: the window of the picture.
        colours: (h, w, 4) uint8 BGR, times the share of the pixel that is covered, and that share of 255.
        person: (h, w) uint8: the share of 255 that the person covers, things left out.
        parts: (FINE h, FINE w) uint8: 1 for the first part that was painted, 0 where none stands.
        groups: (256,) uint8 index of bodies.GROUPS of each number in `parts`; THING of 0.
    """

    rows: slice
    columns: slice
    colours: np.ndarray
    person: np.ndarray
    parts: np.ndarray
    groups: np.ndarray


def cut_out(
    parts: Sequence[Part], origin_xy: tuple[float, float], size: float, light: Light
) -> CutOut | None:
    """Paint parts, farthest first; None where the picture shows nothing of them.

    Args:
        parts: in body heights.
        origin_xy: where their origin lies, picture pixels.
        size: body height, picture pixels.
        light: of the picture, whose size its grain has.
    """
    hulls, owners = _hulls(parts, origin_xy, size)
    limits = np.array(light.grain.shape[::-1])
    low = np.clip(np.floor(hulls.min((0, 1))) - 1, 0, limits).astype(int)
    high = np.clip(np.ceil(hulls.max((0, 1))) + 2, 0, limits).astype(int)
    if (low >= high).any():
        return None
    rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
    fine = np.rint(((hulls - low + 0.5) * FINE - 0.5) * 2**SUBPIXEL).astype(np.int32)
    numbers = np.zeros((FINE * (high - low))[::-1], np.uint8)
    for hull, owner in zip(fine, owners.tolist(), strict=True):
        cv2.fillConvexPoly(numbers, hull, owner, shift=SUBPIXEL)
    shine = _shine(numbers, parts, size, light)
    shine = cv2.multiply(shine, light.grain[rows, columns], scale=1 / EVEN)
    woven = _weave(numbers, parts, fine, owners, size)
    colours = _halved(cv2.LUT(woven, _colours(parts)).view(np.uint8).reshape(*woven.shape, 4))
    lit = cv2.multiply(colours, cv2.merge([shine, shine, shine, np.full_like(shine, EVEN)]), scale=1 / EVEN)
    groups, person = _table([part.group for part in parts], np.uint8), lit[..., 3]
    if any(part.group == THING for part in parts):
        person = _halved(cv2.LUT(numbers, np.where(groups == THING, 0, 255).astype(np.uint8)))
    return CutOut(rows, columns, lit, person, numbers, groups)


def _hulls(
    parts: Sequence[Part], origin_xy: tuple[float, float], size: float
) -> tuple[np.ndarray, np.ndarray]:
    """(S, K, 2) convex outlines, picture pixels, and (S,) whose they are: 1 for the first part.

    A hull of two ellipses has, in each direction, the farther one's farthest point.
    """
    centres = np.concatenate([part.centres for part in parts])[:, :2] * size + origin_xy
    xx, xy, yy = np.concatenate([part.shapes for part in parts]).T[..., None] * size**2
    right, down = xx * _COS + xy * _SIN, xy * _COS + yy * _SIN  # (T, K)
    reach = np.sqrt(np.maximum(right * _COS + down * _SIN, 1e-9))
    x, y = centres[:, :1] + right / reach, centres[:, 1:] + down / reach
    far = centres[:, :1] * _COS + centres[:, 1:] * _SIN + reach
    counts = np.array([len(part.centres) for part in parts])
    owners = np.repeat(np.arange(1, len(parts) + 1), counts)
    alone = counts[owners - 1] == 1
    first = np.flatnonzero(alone | np.append(owners[1:] == owners[:-1], False))
    second = first + ~alone[first]
    nearer = far[first] >= far[second]
    hulls = np.stack([np.where(nearer, axis[first], axis[second]) for axis in (x, y)], 2)
    return hulls, owners[first]


def _shine(numbers: np.ndarray, parts: Sequence[Part], size: float, light: Light) -> np.ndarray:
    """(h, w) uint8 about EVEN: the light on bodies as round as tubes, by the distance to their outline.

    Of large bodies it is found at half the picture's size.
    """
    surfaces = [part.surface for part in parts]
    kinds = [1 + surfaces.index(surface) for surface in surfaces]
    radii = _radii(parts, kinds, size)
    step = FINE if radii.max() < LARGE else 2 * FINE
    small = np.ascontiguousarray(numbers[::step, ::step])
    radius = cv2.LUT(small, _table(radii * (FINE / step), np.float32))
    surface = cv2.LUT(small, _table(kinds, np.uint8))
    edges = cv2.morphologyEx(surface, cv2.MORPH_GRADIENT, _CROSS, borderType=cv2.BORDER_REPLICATE)
    inner = cv2.threshold(edges, 0, 1, cv2.THRESH_BINARY_INV)[1]
    inward = cv2.min(cv2.distanceTransform(inner, cv2.DIST_L2, 3) + 0.5, radius)
    height = cv2.blur(cv2.sqrt(inward * (2 * radius - inward)), (3, 3))
    down, right = cv2.Sobel(height, -1, 0, 1, scale=1 / 8), cv2.Sobel(height, -1, 1, 0, scale=1 / 8)
    x, y, near = light.towards
    steep = cv2.sqrt(right * right + down * down + 1)
    lit = np.maximum((near - x * right - y * down) / steep, 0)
    bright = 1.15 * EVEN
    shine = cv2.convertScaleAbs(lit, alpha=bright * (1 - light.shade), beta=bright * light.shade)
    return cv2.resize(shine, (numbers.shape[1] // FINE, numbers.shape[0] // FINE))


def _radii(parts: Sequence[Part], kinds: Sequence[int], size: float) -> np.ndarray:
    """(len(parts),) half the thickness of each part's surface: the largest of its parts', picture pixels."""
    shapes = np.concatenate([part.shapes for part in parts])
    owners = np.repeat(kinds, [len(part.shapes) for part in parts])
    largest = np.zeros(len(parts) + 1)
    np.maximum.at(largest, owners, np.minimum(shapes[:, 0], shapes[:, 2]))
    radii: np.ndarray = np.maximum(0.7, size * np.sqrt(largest[kinds]))
    return radii


def _weave(
    numbers: np.ndarray, parts: Sequence[Part], hulls: np.ndarray, owners: np.ndarray, size: float
) -> np.ndarray:
    """The part numbers, with SECOND added where a part's pattern has the second colour."""
    woven = numbers.copy()
    starts = np.searchsorted(owners, np.arange(1, len(parts) + 2)).tolist()
    lows = np.maximum(hulls.min(1) >> SUBPIXEL, 0)
    highs = np.minimum((hulls.max(1) >> SUBPIXEL) + 2, numbers.shape[::-1])
    for number, part in enumerate(parts, 1):
        pattern = part.paint.pattern
        if pattern is None:
            continue
        first, end = starts[number - 1 : number + 1]
        left, top = lows[first:end].min(0).tolist()
        right, bottom = highs[first:end].max(0).tolist()
        if left < right and top < bottom:
            matrix = _across(part, size, lows[first] - (left, top))
            second = spread(pattern & SECOND, matrix, (bottom - top, right - left))
            window = slice(top, bottom), slice(left, right)
            woven[window] |= cv2.bitwise_and(second, cv2.inRange(numbers[window], number, number))
    return woven


def _across(part: Part, size: float, start: np.ndarray) -> np.ndarray:
    """(2, 3) from fine pixels to those of the part's pattern, whose rows lie across it from `start` on."""
    length = float(np.hypot(*part.along))
    x, y = part.along / length if length > 1e-6 else (0.0, 1.0)
    matrix = TILE / (part.paint.repeat * size * FINE) * np.array([[y, -x, 0], [x, y, 0]])
    matrix[:, 2] = -matrix[:, :2] @ start
    return matrix


def _colours(parts: Sequence[Part]) -> np.ndarray:
    """(256,) int32: the four bytes of BGR and 255 that each number is painted with; 0 where nothing is."""
    table = np.zeros((256, 4), np.uint8)
    for number, part in enumerate(parts, 1):
        table[number] = *part.paint.first, 255
        table[number + SECOND] = *part.paint.second, 255
    return table.view(np.int32)[:, 0]


def _table(values: Iterable[float], dtype: type) -> np.ndarray:
    """(256,) a value for each part's number; 0 for nothing."""
    given: np.ndarray = np.array([0, *values], dtype)
    return np.append(given, np.zeros(256 - len(given), dtype))


def _halved(fine: np.ndarray) -> np.ndarray:
    size = fine.shape[1] // FINE, fine.shape[0] // FINE
    return cv2.resize(fine, size, interpolation=cv2.INTER_AREA)


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
