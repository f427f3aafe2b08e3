"""What stands among drawn people, and hides them: seats, boxes, posts, tables and balls."""

from __future__ import annotations

import numpy as np

from simplepose.data.drawn.clothes import draw_cloth
from simplepose.data.drawn.parts import THING, Part, solid, tube

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
