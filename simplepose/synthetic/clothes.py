"""Colors of synthetic people: skin, hair, and plain, striped, checked, dotted or printed cloth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

# Blue, green and red in neutral light, each 0 to 255.
Bgr = tuple[int, int, int]

# Probability of cloth without a pattern.
PLAIN_CLOTH_PROBABILITY = 0.68

# Side of the square pattern tile, pixels.
TILE_SIZE_PX = 32

SKIN_COLORS = ((150, 185, 235), (130, 165, 215), (105, 140, 195), (75, 105, 160), (55, 75, 120), (40, 55, 90))
HAIR_COLORS = ((25, 25, 30), (30, 40, 60), (45, 70, 110), (90, 140, 190), (60, 80, 140), (150, 150, 155))
COMMON_CLOTH_COLORS = (  # half of all clothes; the others have any color
    *((35, 30, 30), (60, 55, 55), (235, 235, 235), (150, 150, 150), (90, 60, 35), (120, 75, 45)),
    *((60, 45, 160), (45, 110, 60), (80, 130, 170), (110, 60, 90), (60, 80, 110), (190, 160, 120)),
)


@dataclass(frozen=True, eq=False)
class Paint:
    """A color, and a second color where a pattern has it.

    Attributes:
        color, pattern_color: BGR.
        pattern: (TILE_SIZE_PX, TILE_SIZE_PX) uint8, 255 where the pattern color is; None for a plain color.
        pattern_period: body heights after which the pattern repeats.
    """

    color: Bgr
    pattern_color: Bgr = (0, 0, 0)
    pattern: np.ndarray | None = None
    pattern_period: float = 1.0


def sample_plain(rng: np.random.Generator, colors: tuple[Bgr, ...], spread: float = 0.12) -> Paint:
    """Sample one of these colors and vary its brightness by up to `spread`."""
    return scale_color(Paint(colors[rng.integers(len(colors))]), rng.uniform(1 - spread, 1 + spread))


def scale_color(paint: Paint, *factors: float) -> Paint:
    """Multiply the color by one factor, or by one for each of blue, green and red."""
    each = factors * 3 if len(factors) == 1 else factors
    return Paint(_bgr(*(value * factor for value, factor in zip(paint.color, each, strict=True))))


def sample_cloth(rng: np.random.Generator) -> Paint:
    """Sample the cloth of a shirt, trousers or a skirt."""
    first, second = _sample_color(rng), _sample_color(rng)
    kind = rng.random()
    if kind < PLAIN_CLOTH_PROBABILITY:
        return Paint(first)
    return Paint(
        first,
        second,
        _sample_pattern(rng, (kind - PLAIN_CLOTH_PROBABILITY) / (1 - PLAIN_CLOTH_PROBABILITY)),
        float(rng.uniform(0.03, 0.11)),
    )


def tile_pattern(pattern: np.ndarray, matrix: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Repeat a pattern over (H, W); `matrix` (2, 3) maps x, y there to the pattern's pixels."""
    nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(pattern, matrix, size_hw[::-1], flags=nearest, borderMode=cv2.BORDER_WRAP)


def _sample_color(rng: np.random.Generator) -> Bgr:
    if rng.random() < 0.5:
        return sample_plain(rng, COMMON_CLOTH_COLORS, 0.25).color
    return _bgr(*(rng.uniform(20, 245, 3) * rng.uniform(0.4, 1)))


def _sample_pattern(rng: np.random.Generator, kind: float) -> np.ndarray:
    """Draw a pattern of the type that `kind` in [0, 1] selects; its rows run across a limb."""
    along = np.arange(TILE_SIZE_PX)
    stripe = along < TILE_SIZE_PX * rng.uniform(0.25, 0.6)
    if kind < 0.5:
        rows = np.broadcast_to(stripe[:, None], (TILE_SIZE_PX, TILE_SIZE_PX))
        mask = rows if kind < 0.35 else rows.T
    elif kind < 0.7:
        mask = stripe[:, None] ^ stripe
    elif kind < 0.85:
        mask = np.hypot(
            *np.meshgrid(along - TILE_SIZE_PX / 2, along - TILE_SIZE_PX / 2)
        ) < TILE_SIZE_PX * rng.uniform(0.15, 0.4)
    else:
        mask = (
            cv2.resize(
                rng.random((8, 8), np.float32), (TILE_SIZE_PX, TILE_SIZE_PX), interpolation=cv2.INTER_CUBIC
            )
            > 0.55
        )
    return np.ascontiguousarray(mask).astype(np.uint8) * 255


def _bgr(blue: float, green: float, red: float) -> Bgr:
    return min(int(blue), 255), min(int(green), 255), min(int(red), 255)
