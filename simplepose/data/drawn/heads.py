"""The parts of a drawn head: skull and jaw, hair, a beard or a hat, and the face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simplepose.data.drawn.clothes import Paint, draw_cloth, shaded
from simplepose.data.drawn.figures import HEAD_RADII, Figure
from simplepose.data.drawn.parts import HEAD, Part, Vector, scaled, silhouettes, tube


class Feature(NamedTuple):
    """An ellipsoid: its middle and radii, in the head's (left, up, ahead), paint, and `back` of `solid`."""

    at: Vector
    radii: Vector
    paint: Paint
    back: float


def draw_head(
    rng: np.random.Generator, figure: Figure, skin: Paint, hair: Paint, long_hair: bool
) -> list[Part]:
    """A head; what is on its far side lies behind the skull."""
    top = hair if long_hair or rng.random() < 0.93 else skin
    brow, front = rng.uniform(-0.24, -0.06), rng.uniform(0.3, 0.42)
    features = [
        Feature((0, -0.3, 0.12), (0.86, 0.74, 0.8), skin, 0),
        Feature((0, 0.1, -0.1), (1.08, 1.02, 1.04), top, -0.002),
        Feature((0, brow, front), (0.88, 0.86, 1.04 - front), skin, -0.006),
        *_face(skin, hair),
    ]
    if not long_hair and rng.random() < 0.2:
        features.append(Feature((0, -0.6, 0.42), (0.72, 0.36, 0.52), hair, -0.008))
    if rng.random() < 0.15:
        hat = draw_cloth(rng)
        features.append(Feature((0, 0.5, -0.05), (1.14, 0.62, 1.14), hat, -0.03))
        features.append(Feature((0, 0.42, 0.7), (0.9, 0.1, 0.75), hat, -0.031))
    parts = _on_head(figure, features)
    return [*parts, _long_hair(rng, figure, hair)] if long_hair else parts


def _long_hair(rng: np.random.Generator, figure: Figure, hair: Paint) -> Part:
    """From the back of the head down; behind the trunk, if the face is towards the viewer."""
    start = figure.head - 0.3 * HEAD_RADII[2] * figure.head_size * figure.head_axes[2]
    end = figure.neck * rng.uniform(0.75, 1.02) - 0.045 * figure.trunk[2]
    trunk, own = 0.5 * figure.neck[2], (start[2] + end[2]) / 2
    back = max(0.0, trunk + 0.03 - own) if figure.head_axes[2, 2] < 0.3 else 0.0
    return tube(HEAD, "hair", hair, [start, end], scaled((0.064, 0.05), figure.head_size), back)


def _face(skin: Paint, hair: Paint) -> list[Feature]:
    """Eyes, brows, ears, nose and mouth."""
    white, dark, lips = Paint((225, 225, 225)), Paint((30, 30, 30)), shaded(skin, 0.75, 0.6, 0.9)
    brow, ear, bridge, tip = shaded(hair, 0.6), shaded(skin, 0.9), shaded(skin, 1.08), shaded(skin, 0.8)
    features = [
        Feature((0, -0.1, 0.98), (0.13, 0.22, 0.12), bridge, -0.012),
        Feature((0, -0.22, 1.06), (0.2, 0.09, 0.12), tip, -0.013),
        Feature((0, -0.55, 0.83), (0.34, 0.07, 0.1), lips, -0.012),
    ]
    for side in (-1, 1):
        features += [
            Feature((0.36 * side, 0.08, 0.88), (0.23, 0.09, 0.1), white, -0.011),
            Feature((0.36 * side, 0.08, 0.93), (0.11, 0.09, 0.05), dark, -0.012),
            Feature((0.38 * side, 0.28, 0.86), (0.27, 0.05, 0.1), brow, -0.011),
            Feature((side, -0.05, -0.1), (0.14, 0.26, 0.24), ear, -0.006),
        ]
    return features


def _on_head(figure: Figure, features: Sequence[Feature]) -> list[Part]:
    scale = HEAD_RADII * figure.head_size
    centres = figure.head + (np.array([feature.at for feature in features]) * scale) @ figure.head_axes
    shapes = silhouettes(np.array([feature.radii for feature in features]) * scale, figure.head_axes)
    up = figure.head_axes[1, :2]
    return [
        Part(centre, shape, float(centre[0, 2]) + feature.back, HEAD, "head", feature.paint, up)
        for centre, shape, feature in zip(centres[:, None], shapes[:, None], features, strict=True)
    ]
