"""Painter: composites people and objects over an image, farthest first, and keeps a map of person ids.

People and objects (seats, boxes, posts, tables and balls) are sprites. A sprite is first rendered as a small
map of part numbers: filled hulls at SUPERSAMPLING times its size. Colors, patterns, shading and smooth edges
are then computed once for the whole body.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from simplepose.skeleton import COCO
from simplepose.synthetic import backdrops, bodies, body_parts
from simplepose.synthetic.body_parts import OBJECT, BodyPart, build_solid, build_tube
from simplepose.synthetic.clothes import TILE_SIZE_PX, sample_cloth, tile_pattern
from simplepose.synthetic.figures import HIP_OFFSET, SHOULDER_OFFSET, Figure

# Scale of the maps of part numbers relative to the image, for smooth edges.
SUPERSAMPLING = 2

# OpenCV fills polygons with coordinates in units of 2**-SUBPIXEL_BITS pixels.
SUBPIXEL_BITS = 4

# Added to a part's number where its pattern has the second color; a body has fewer parts.
PATTERN_OFFSET = 128

# Radius of the thickest part from which on a body is shaded at half resolution, image pixels.
LARGE_BODY_RADIUS_PX = 8

# The light level that leaves colors unchanged.
NEUTRAL_LIGHT = 128

_ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_COS, _SIN = np.cos(_ANGLES), np.sin(_ANGLES)
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass(frozen=True, eq=False)
class Light:
    """Lighting of a scene.

    Attributes:
        direction: (3,) unit direction to the light: right, down, toward the viewer.
        ambient: fraction of the light that comes from all sides.
        grain: (H, W) uint8 around NEUTRAL_LIGHT: the roughness of all surfaces.
    """

    direction: np.ndarray
    ambient: float
    grain: np.ndarray


@dataclass(frozen=True, eq=False)
class Sprite:
    """A rendered body, cropped to the (h, w) image pixels that it covers.

    Attributes:
        rows, columns: the window in the image.
        bgra: (h, w, 4) uint8 premultiplied BGR and alpha.
        person_alpha: (h, w) uint8 alpha of the person without objects.
        part_map: (SUPERSAMPLING h, SUPERSAMPLING w) uint8 part numbers: 1 for the first part, 0 for none.
        part_groups: (256,) uint8 index into body_parts.GROUPS for each part number; OBJECT for 0.
    """

    rows: slice
    columns: slice
    bgra: np.ndarray
    person_alpha: np.ndarray
    part_map: np.ndarray
    part_groups: np.ndarray


def render_sprite(
    parts: Sequence[BodyPart], origin_xy: tuple[float, float], size: float, light: Light
) -> Sprite | None:
    """Render parts, farthest first.

    Args:
        parts: in body heights.
        origin_xy: position of their origin, image pixels.
        size: body height, image pixels.
        light: lighting of the image; its grain has the image's size.

    Returns:
        The sprite, or None if it lies outside the image.
    """
    hulls, part_numbers = _outline_hulls(parts, origin_xy, size)
    limits = np.array(light.grain.shape[::-1])
    low = np.clip(np.floor(hulls.min((0, 1))) - 1, 0, limits).astype(int)
    high = np.clip(np.ceil(hulls.max((0, 1))) + 2, 0, limits).astype(int)
    if (low >= high).any():
        return None
    rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
    fine_hulls = np.rint(((hulls - low + 0.5) * SUPERSAMPLING - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)
    part_map = np.zeros((SUPERSAMPLING * (high - low))[::-1], np.uint8)
    for hull, part_number in zip(fine_hulls, part_numbers.tolist(), strict=True):
        cv2.fillConvexPoly(part_map, hull, part_number, shift=SUBPIXEL_BITS)
    shading = _compute_shading(part_map, parts, size, light)
    shading = cv2.multiply(shading, light.grain[rows, columns], scale=1 / NEUTRAL_LIGHT)
    pattern_map = _apply_patterns(part_map, parts, fine_hulls, part_numbers, size)
    colors = _downsample(
        cv2.LUT(pattern_map, _color_table(parts)).view(np.uint8).reshape(*pattern_map.shape, 4)
    )
    lit_bgra = cv2.multiply(
        colors,
        cv2.merge([shading, shading, shading, np.full_like(shading, NEUTRAL_LIGHT)]),
        scale=1 / NEUTRAL_LIGHT,
    )
    groups, person_alpha = _lookup_table([part.group for part in parts], np.uint8), lit_bgra[..., 3]
    if any(part.group == OBJECT for part in parts):
        person_alpha = _downsample(cv2.LUT(part_map, np.where(groups == OBJECT, 0, 255).astype(np.uint8)))
    return Sprite(rows, columns, lit_bgra, person_alpha, part_map, groups)


def _outline_hulls(
    parts: Sequence[BodyPart], origin_xy: tuple[float, float], size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the convex outlines of all parts.

    In each direction, the hull of two ellipses ends at the farthest point of either.

    Returns:
        (S, K, 2) outlines in image pixels, and (S,) their part numbers, 1 for the first part.
    """
    centers = np.concatenate([part.centers for part in parts])[:, :2] * size + origin_xy
    xx, xy, yy = np.concatenate([part.outlines for part in parts]).T[..., None] * size**2
    right, down = xx * _COS + xy * _SIN, xy * _COS + yy * _SIN  # (T, K)
    extent = np.sqrt(np.maximum(right * _COS + down * _SIN, 1e-9))
    x, y = centers[:, :1] + right / extent, centers[:, 1:] + down / extent
    reach_along = centers[:, :1] * _COS + centers[:, 1:] * _SIN + extent
    counts = np.array([len(part.centers) for part in parts])
    part_numbers = np.repeat(np.arange(1, len(parts) + 1), counts)
    is_single = counts[part_numbers - 1] == 1
    first = np.flatnonzero(is_single | np.append(part_numbers[1:] == part_numbers[:-1], False))
    second = first + ~is_single[first]
    nearer = reach_along[first] >= reach_along[second]
    hulls = np.stack([np.where(nearer, axis[first], axis[second]) for axis in (x, y)], 2)
    return hulls, part_numbers[first]


def _compute_shading(
    part_map: np.ndarray, parts: Sequence[BodyPart], size: float, light: Light
) -> np.ndarray:
    """Compute the light on a body whose surfaces are round tubes, from the distance to their outlines.

    Large bodies are shaded at half the image's resolution.

    Returns:
        (h, w) uint8 around NEUTRAL_LIGHT.
    """
    surfaces = [part.surface for part in parts]
    surface_ids = [1 + surfaces.index(surface) for surface in surfaces]
    radii = _surface_radii(parts, surface_ids, size)
    step = SUPERSAMPLING if radii.max() < LARGE_BODY_RADIUS_PX else 2 * SUPERSAMPLING
    small = np.ascontiguousarray(part_map[::step, ::step])
    radius = cv2.LUT(small, _lookup_table(radii * (SUPERSAMPLING / step), np.float32))
    surface = cv2.LUT(small, _lookup_table(surface_ids, np.uint8))
    edges = cv2.morphologyEx(surface, cv2.MORPH_GRADIENT, _CROSS, borderType=cv2.BORDER_REPLICATE)
    inner = cv2.threshold(edges, 0, 1, cv2.THRESH_BINARY_INV)[1]
    depth = cv2.min(cv2.distanceTransform(inner, cv2.DIST_L2, 3) + 0.5, radius)
    height = cv2.blur(cv2.sqrt(depth * (2 * radius - depth)), (3, 3))
    down, right = cv2.Sobel(height, -1, 0, 1, scale=1 / 8), cv2.Sobel(height, -1, 1, 0, scale=1 / 8)
    x, y, toward_viewer = light.direction
    normal_length = cv2.sqrt(right * right + down * down + 1)
    diffuse = np.maximum((toward_viewer - x * right - y * down) / normal_length, 0)
    brightness = 1.15 * NEUTRAL_LIGHT
    shading = cv2.convertScaleAbs(
        diffuse, alpha=brightness * (1 - light.ambient), beta=brightness * light.ambient
    )
    image_size = part_map.shape[1] // SUPERSAMPLING, part_map.shape[0] // SUPERSAMPLING
    downsampled: np.ndarray = cv2.resize(shading, image_size)
    return downsampled


def _surface_radii(parts: Sequence[BodyPart], surface_ids: Sequence[int], size: float) -> np.ndarray:
    """Compute the radius of each part's surface: the largest of its parts, (len(parts),) image pixels."""
    outlines = np.concatenate([part.outlines for part in parts])
    owner_ids = np.repeat(surface_ids, [len(part.outlines) for part in parts])
    largest = np.zeros(len(parts) + 1)
    np.maximum.at(largest, owner_ids, np.minimum(outlines[:, 0], outlines[:, 2]))
    radii: np.ndarray = np.maximum(0.7, size * np.sqrt(largest[surface_ids]))
    return radii


def _apply_patterns(
    part_map: np.ndarray, parts: Sequence[BodyPart], hulls: np.ndarray, part_numbers: np.ndarray, size: float
) -> np.ndarray:
    """Add PATTERN_OFFSET to part numbers where the part's pattern has the second color."""
    pattern_map: np.ndarray = part_map.copy()
    starts = np.searchsorted(part_numbers, np.arange(1, len(parts) + 2)).tolist()
    lows = np.maximum(hulls.min(1) >> SUBPIXEL_BITS, 0)
    highs = np.minimum((hulls.max(1) >> SUBPIXEL_BITS) + 2, part_map.shape[::-1])
    for number, part in enumerate(parts, 1):
        pattern = part.paint.pattern
        if pattern is None:
            continue
        first, end = starts[number - 1 : number + 1]
        left, top = lows[first:end].min(0).tolist()
        right, bottom = highs[first:end].max(0).tolist()
        if left < right and top < bottom:
            matrix = _pattern_transform(part, size, lows[first] - (left, top))
            second = tile_pattern(pattern & PATTERN_OFFSET, matrix, (bottom - top, right - left))
            window = slice(top, bottom), slice(left, right)
            pattern_map[window] |= cv2.bitwise_and(second, cv2.inRange(part_map[window], number, number))
    return pattern_map


def _pattern_transform(part: BodyPart, size: float, start: np.ndarray) -> np.ndarray:
    """Compute the (2, 3) matrix from supersampled pixels to pattern pixels.

    The pattern's rows lie across the part, from `start` on.
    """
    length = float(np.hypot(*part.pattern_axis))
    x, y = part.pattern_axis / length if length > 1e-6 else (0.0, 1.0)
    matrix = (
        TILE_SIZE_PX / (part.paint.pattern_period * size * SUPERSAMPLING) * np.array([[y, -x, 0], [x, y, 0]])
    )
    matrix[:, 2] = -matrix[:, :2] @ start
    return matrix


def _color_table(parts: Sequence[BodyPart]) -> np.ndarray:
    """Build the color of each part number: (256,) int32, the four bytes of BGR and 255; 0 for no part."""
    table = np.zeros((256, 4), np.uint8)
    for number, part in enumerate(parts, 1):
        table[number] = *part.paint.color, 255
        table[number + PATTERN_OFFSET] = *part.paint.pattern_color, 255
    return table.view(np.int32)[:, 0]


def _lookup_table(values: Iterable[float], dtype: type) -> np.ndarray:
    """Build a table of a value for each part number: (256,); 0 for no part."""
    given: np.ndarray = np.array([0, *values], dtype)
    return np.append(given, np.zeros(256 - len(given), dtype))


def _downsample(fine: np.ndarray) -> np.ndarray:
    size = fine.shape[1] // SUPERSAMPLING, fine.shape[0] // SUPERSAMPLING
    return cv2.resize(fine, size, interpolation=cv2.INTER_AREA)


_UPRIGHT_AXES = np.diag([1.0, -1.0, -1.0])


def build_seat(rng: np.random.Generator, ground: float) -> BodyPart:
    """Build a seat from under the hips to the ground (y, body heights)."""
    half = rng.uniform(0.09, 0.16)
    return _build_block(rng, (0, 0.075), (0, max(ground - 0.03, 0.08)), half, 0.12)


def build_object(rng: np.random.Generator) -> list[BodyPart]:
    """Build an object that stands at the origin, in body heights, farthest part first."""
    kind, tall, half = rng.random(), rng.uniform(0.2, 0.6), rng.uniform(0.06, 0.25)
    if kind < 0.35:
        return [_build_block(rng, (0, -tall), (0, -0.02), half, 0)]
    paint = sample_cloth(rng)
    if kind < 0.6:
        points = [np.array([0, -tall * 3, 0]), np.zeros(3)]
        return [build_tube(OBJECT, "object", paint, points, (half / 8, half / 8))]
    if kind < 0.75:
        return [build_tube(OBJECT, "object", paint, [np.array([0, -half / 2, 0])], (half / 2,))]
    ends = [np.array([side * half, -tall, 0]) for side in (-1, 1)]
    legs = [
        build_tube(OBJECT, f"leg {end[0]}", paint, [end, end * (1, 0, 0)], (0.012, 0.012)) for end in ends
    ]
    return [
        *legs,
        build_tube(OBJECT, "board", sample_cloth(rng), ends, (0.02, 0.02), pattern_axis=_UPRIGHT_AXES[0]),
    ]


def _build_block(
    rng: np.random.Generator, top: tuple[float, float], foot: tuple[float, float], half: float, depth: float
) -> BodyPart:
    centers = [np.array([*position, depth]) for position in (top, foot)]
    return build_solid(OBJECT, "object", sample_cloth(rng), centers, [(half, 0.025, 0.0)] * 2, _UPRIGHT_AXES)


# (17,) group of parts that shows each of COCO's keypoints.
KEYPOINT_GROUPS = np.array(
    [body_parts.HEAD] * 5
    + [body_parts.LEFT_ARM, body_parts.RIGHT_ARM] * 3
    + [body_parts.LEFT_LEG, body_parts.RIGHT_LEG] * 3,
)

# Keypoints that the torso shows too: the row of the left one, followed by the right one's, and their offset
# from the spine.
TORSO_KEYPOINTS = (
    (COCO.annotated.index("left_shoulder"), SHOULDER_OFFSET),
    (COCO.annotated.index("left_hip"), HIP_OFFSET),
)

# Darkening of the ground under a person's feet, of 255.
SHADOW_STRENGTH = 100


class Painter:
    """Paints people and objects on an image and keeps the map of person ids.

    Args:
        rng: samples light, bodies, clothes and objects.
        image: (H, W, 3) uint8 BGR, modified in place.

    Attributes:
        image: the image.
        instance_map: (H, W) int16, as in `scenes.Scene`.
    """

    def __init__(self, rng: np.random.Generator, image: np.ndarray) -> None:
        self.image = image
        self.instance_map = np.zeros(image.shape[:2], np.int16)
        self._rng = rng
        self._joints: list[np.ndarray] = []
        self._windows: list[tuple[slice, slice]] = []
        direction = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-1, -0.2), rng.uniform(0.5, 1)])
        grain = backdrops.draw_noise(rng, self.instance_map.shape, rng.uniform(1, 5))
        self._light = Light(direction / np.linalg.norm(direction), rng.uniform(0.4, 0.8), grain)

    def paint_person(
        self,
        figure: Figure,
        foot_xy: tuple[float, float],
        size: float,
        appearance_rng: np.random.Generator | None = None,
    ) -> None:
        """Paint a person who stands at `foot_xy`.

        Args:
            figure: the pose.
            foot_xy: pixels.
            size: height of an adult there, pixels.
            appearance_rng: samples body, clothes and shadow, to give a person the same look in several
                images.
        """
        rng = appearance_rng or self._rng
        body, size = bodies.build_body(rng, figure), size * figure.stature
        ground = body_parts.ground_y(body)
        if figure.seated:
            body = sorted([*body, build_seat(rng, ground)], key=lambda part: -part.depth)
        origin_xy = foot_xy[0], foot_xy[1] - size * ground
        self._paint_shadow(rng, foot_xy, size)
        sprite = render_sprite(body, origin_xy, size, self._light)
        joints, visible = figure.coco_keypoints()
        unoccluded = np.zeros(len(joints), bool)
        window = slice(0), slice(0)
        if sprite is not None:
            self._composite(sprite, len(self._joints) + 1)
            unoccluded, window = (
                _unoccluded_by_self(sprite, joints, origin_xy, size),
                (sprite.rows, sprite.columns),
            )
        self._windows.append(window)
        xy = joints[:, :2] * size + origin_xy
        self._joints.append(np.column_stack([xy, visible * (1 + unoccluded)]))

    def paint_object(self, foot_xy: tuple[float, float], size: float) -> None:
        """Paint a random object that stands at `foot_xy` among people of this height in pixels."""
        sprite = render_sprite(build_object(self._rng), foot_xy, size, self._light)
        if sprite is not None:
            self._paint_shadow(self._rng, foot_xy, size / 2)
            self._composite(sprite, 0)

    def keypoints(self) -> np.ndarray:
        """Compute the keypoints of all painted people: (P, 17, 3) float32, as in `scenes.Scene`."""
        joints = np.array(self._joints).reshape(-1, len(COCO.annotated), 3)
        last = np.array(self.instance_map.shape[::-1]) - 1
        inside = ((joints[..., :2] >= 0) & (joints[..., :2] <= last)).all(2)
        people = np.arange(1, len(joints) + 1)
        windows = zip(people, self._windows, strict=True)
        is_shown = np.array([(self.instance_map[window] == person).any() for person, window in windows], bool)
        x, y = np.rint(joints[..., :2].clip(0, last)).astype(int).transpose(2, 0, 1)
        is_occluded = self.instance_map[y, x] != people[:, None]
        joints[..., 2] -= (joints[..., 2] == 2) & is_occluded
        joints[~inside | ~is_shown[:, None] | (joints[..., 2] == 0)] = 0
        return joints.astype(np.float32)

    def _composite(self, sprite: Sprite, person: int) -> None:
        """Composite a sprite over the image; `person` is 0 for an object."""
        window = sprite.rows, sprite.columns
        behind = cv2.cvtColor(cv2.bitwise_not(sprite.bgra[..., 3]), cv2.COLOR_GRAY2BGR)
        rest = cv2.multiply(self.image[window], behind, scale=1 / 255)
        self.image[window] = cv2.add(rest, cv2.cvtColor(sprite.bgra, cv2.COLOR_BGRA2BGR))
        person_map = self.instance_map[window]
        person_map[sprite.bgra[..., 3] > 127] = 0
        if person:
            person_map[sprite.person_alpha > 127] = person

    def _paint_shadow(self, rng: np.random.Generator, foot_xy: tuple[float, float], size: float) -> None:
        """Darken the ground smoothly."""
        limits = self.instance_map.shape[::-1]
        half_xy = size * rng.uniform(0.8, 1.3) * np.array([0.22, 0.035])
        left, top = np.clip(np.floor(foot_xy - half_xy), 0, limits).astype(int)
        right, low = np.clip(np.ceil(foot_xy + half_xy), 0, limits).astype(int)
        if left >= right or top >= low:
            return
        x = (np.arange(left, right) - foot_xy[0]) / half_xy[0]
        y = (np.arange(top, low) - foot_xy[1]) / half_xy[1]
        darkness = np.maximum(1 - np.add.outer(y * y, x * x), 0)
        light = cv2.bitwise_not(cv2.convertScaleAbs(darkness, alpha=SHADOW_STRENGTH))
        window = slice(top, low), slice(left, right)
        light = cv2.cvtColor(light, cv2.COLOR_GRAY2BGR)
        self.image[window] = cv2.multiply(self.image[window], light, scale=1 / 255)


def _unoccluded_by_self(
    sprite: Sprite, joints: np.ndarray, origin_xy: tuple[float, float], size: float
) -> np.ndarray:
    """Find the keypoints that no other part of the body or its seat covers: (17,) bool."""
    xy = joints[:, :2] * size + origin_xy - (sprite.columns.start, sprite.rows.start)
    x, y = np.rint((xy + 0.5) * SUPERSAMPLING - 0.5).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < sprite.part_map.shape[1]) & (y < sprite.part_map.shape[0])
    groups = np.where(inside, sprite.part_groups[sprite.part_map[y * inside, x * inside]], body_parts.OBJECT)
    on_torso = (groups == body_parts.TORSO) & _in_front_of_torso(joints)
    visible: np.ndarray = (groups == KEYPOINT_GROUPS) | on_torso
    return visible


def _in_front_of_torso(joints: np.ndarray) -> np.ndarray:
    """Find shoulders and hips that are not on the far side of the torso: (17,) bool."""
    is_in_front = np.zeros(len(joints), bool)
    for left, half in TORSO_KEYPOINTS:
        middle = joints[left : left + 2, 2].mean()
        is_in_front[left : left + 2] = joints[left : left + 2, 2] < middle + 0.65 * half
    return is_in_front
