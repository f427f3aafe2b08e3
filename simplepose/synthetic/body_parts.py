"""What drawn people and things are made of: chains of ellipsoids, in body heights, seen along z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simplepose.synthetic.clothes import Paint

GROUPS = ("thing", "head", "torso", "left_arm", "right_arm", "left_leg", "right_leg")
THING, HEAD, TORSO, LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG = range(len(GROUPS))
"""What a part belongs to; a thing is not of the person."""

Vector = Sequence[float]


@dataclass(frozen=True, eq=False)
class Part:
    """Something to paint: a chain of ellipsoids, each two neighbours joined by their hull.

    Attributes:
        centres: (N, 3) body heights.
        shapes: (N, 3) the silhouette of each ellipsoid, as xx, xy, yy of the symmetric matrix M whose
            outline is centre + M^(1/2) (cos, sin); body heights squared.
        depth: larger is farther.
        group: an index of GROUPS.
        surface: parts of one surface are shaded as one round body.
        paint: in even light.
        along: (2,) which way in the picture a pattern's rows follow each other.
    """

    centres: np.ndarray
    shapes: np.ndarray
    depth: float
    group: int
    surface: str
    paint: Paint
    along: np.ndarray


def tube(
    group: int,
    surface: str,
    paint: Paint,
    points: Sequence[np.ndarray],
    radii: Vector,
    back: float = 0,
    along: np.ndarray | None = None,
) -> Part:
    """A limb through (3,) points with a radius at each; `back` moves it away from the viewer."""
    centres, squares = np.array(points), np.square(radii)
    shapes = np.zeros_like(centres)
    shapes[:, 0] = shapes[:, 2] = squares
    along = (centres[-1] - centres[0] if along is None else along)[:2]
    return Part(centres, shapes, _depth(centres) + back, group, surface, paint, along)


def solid(
    group: int,
    surface: str,
    paint: Paint,
    centres: Sequence[np.ndarray],
    radii: Sequence[Vector],
    axes: np.ndarray,
    back: float = 0,
) -> Part:
    """A chain of ellipsoids with (3,) radii along the rows of `axes` (3, 3): left, up, ahead."""
    middles, shapes = np.array(centres), silhouettes(np.array(radii), axes)
    return Part(middles, shapes, _depth(middles) + back, group, surface, paint, axes[1, :2])


def silhouettes(radii: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """`shapes` of `Part` for (N, 3) radii along the rows of `axes` (3, 3)."""
    x, y = axes[:, 0], axes[:, 1]
    products: np.ndarray = (radii * radii) @ np.array([x * x, x * y, y * y]).T
    return products


def lowest(parts: Sequence[Part]) -> float:
    """y of the ground that they stand on, body heights."""
    y = np.concatenate([part.centres for part in parts])[:, 1]
    reach = np.concatenate([part.shapes for part in parts])[:, 2]
    return float((y + np.sqrt(reach)).max())


def scaled(radii: Vector, factor: float) -> tuple[float, ...]:
    """Each radius times a factor."""
    return tuple(radius * factor for radius in radii)


def _depth(centres: np.ndarray) -> float:
    return float(centres[:, 2].sum()) / len(centres)
