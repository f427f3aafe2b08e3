"""Paints the parts of one body as a cut-out: what of it stands where, in which colour and light.

A small picture of part numbers is filled with hulls, twice as large as the cut-out; all that is done for
each pixel (colours, patterns, light, smooth edges) is then done once for the whole body.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from simplepose.synthetic.body_parts import THING, Part
from simplepose.synthetic.clothes import TILE, spread

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
