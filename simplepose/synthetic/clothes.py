"""What drawn people are painted with: skin, hair, and cloth, plain, striped, checked, dotted or printed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

Bgr = tuple[int, int, int]
"""Each 0 to 255, in even light."""

PLAIN = 0.68
"""The share of cloth without a pattern."""

TILE = 32
"""Pixels a side of a pattern that repeats."""

SKIN = ((150, 185, 235), (130, 165, 215), (105, 140, 195), (75, 105, 160), (55, 75, 120), (40, 55, 90))
HAIR = ((25, 25, 30), (30, 40, 60), (45, 70, 110), (90, 140, 190), (60, 80, 140), (150, 150, 155))
DYES = (  # what many clothes are made in; others have any colour
    *((35, 30, 30), (60, 55, 55), (235, 235, 235), (150, 150, 150), (90, 60, 35), (120, 75, 45)),
    *((60, 45, 160), (45, 110, 60), (80, 130, 170), (110, 60, 90), (60, 80, 110), (190, 160, 120)),
)


@dataclass(frozen=True, eq=False)
class Paint:
    """A colour, and where a pattern has it a second one.

    Attributes:
        first, second: the colours.
        pattern: (TILE, TILE) uint8, 255 where the second colour is; None: nowhere.
        repeat: body heights that the pattern covers before it repeats.
    """

    first: Bgr
    second: Bgr = (0, 0, 0)
    pattern: np.ndarray | None = None
    repeat: float = 1.0


def plain(rng: np.random.Generator, colours: tuple[Bgr, ...], spread: float = 0.12) -> Paint:
    """One of these colours, a little lighter or darker."""
    return shaded(Paint(colours[rng.integers(len(colours))]), rng.uniform(1 - spread, 1 + spread))


def shaded(paint: Paint, *factors: float) -> Paint:
    """The colour times a factor, or times one for each of blue, green and red."""
    each = factors * 3 if len(factors) == 1 else factors
    return Paint(_bgr(*(value * factor for value, factor in zip(paint.first, each, strict=True))))


def draw_cloth(rng: np.random.Generator) -> Paint:
    """Cloth for a shirt, trousers or a skirt."""
    first, second = _dye(rng), _dye(rng)
    kind = rng.random()
    if kind < PLAIN:
        return Paint(first)
    return Paint(first, second, _pattern(rng, (kind - PLAIN) / (1 - PLAIN)), float(rng.uniform(0.03, 0.11)))


def spread(pattern: np.ndarray, matrix: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """A pattern repeated over (H, W); `matrix` (2, 3) takes x, y there to the pattern's."""
    nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(pattern, matrix, size_hw[::-1], flags=nearest, borderMode=cv2.BORDER_WRAP)


def _dye(rng: np.random.Generator) -> Bgr:
    if rng.random() < 0.5:
        return plain(rng, DYES, 0.25).first
    return _bgr(*(rng.uniform(20, 245, 3) * rng.uniform(0.4, 1)))


def _pattern(rng: np.random.Generator, kind: float) -> np.ndarray:
    """`kind` is from 0 to 1; rows run across a limb."""
    along = np.arange(TILE)
    stripe = along < TILE * rng.uniform(0.25, 0.6)
    if kind < 0.5:
        rows = np.broadcast_to(stripe[:, None], (TILE, TILE))
        mask = rows if kind < 0.35 else rows.T
    elif kind < 0.7:
        mask = stripe[:, None] ^ stripe
    elif kind < 0.85:
        mask = np.hypot(*np.meshgrid(along - TILE / 2, along - TILE / 2)) < TILE * rng.uniform(0.15, 0.4)
    else:
        mask = cv2.resize(rng.random((8, 8), np.float32), (TILE, TILE), interpolation=cv2.INTER_CUBIC) > 0.55
    return np.ascontiguousarray(mask).astype(np.uint8) * 255


def _bgr(blue: float, green: float, red: float) -> Bgr:
    return min(int(blue), 255), min(int(green), 255), min(int(red), 255)
