"""Geometry of synthetic people and objects: chains of ellipsoids, in body heights, projected along z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simplepose.synthetic.clothes import Paint

# What a part belongs to: an object, or a region of a person.
GROUPS = ("object", "head", "torso", "left_arm", "right_arm", "left_leg", "right_leg")
OBJECT, HEAD, TORSO, LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG = range(len(GROUPS))

Vector = Sequence[float]


@dataclass(frozen=True, eq=False)
class BodyPart:
    """A chain of ellipsoids to paint; two neighbors are joined by their convex hull.

    Attributes:
        centers: (N, 3) body heights.
        outlines: (N, 3) outline of each ellipsoid in the image, as xx, xy, yy of the symmetric matrix M: the
            outline is center + M^(1/2) (cos, sin); body heights^2.
        depth: larger is farther.
        group: an index into GROUPS.
        surface: parts with the same surface are shaded as one round body.
        paint: color and pattern in neutral light.
        pattern_axis: (2,) direction in the image in which the pattern's rows follow each other.
    """

    centers: np.ndarray
    outlines: np.ndarray
    depth: float
    group: int
    surface: str
    paint: Paint
    pattern_axis: np.ndarray


def build_tube(
    group: int,
    surface: str,
    paint: Paint,
    points: Sequence[np.ndarray],
    radii: Vector,
    depth_offset: float = 0,
    pattern_axis: np.ndarray | None = None,
) -> BodyPart:
    """Build a limb through (3,) points with one radius each; `depth_offset` moves it away from the viewer."""
    centers, squared_radii = np.array(points), np.square(radii)
    outlines = np.zeros_like(centers)
    outlines[:, 0] = outlines[:, 2] = squared_radii
    pattern_axis = (centers[-1] - centers[0] if pattern_axis is None else pattern_axis)[:2]
    return BodyPart(centers, outlines, _depth(centers) + depth_offset, group, surface, paint, pattern_axis)


def build_solid(
    group: int,
    surface: str,
    paint: Paint,
    centers: Sequence[np.ndarray],
    radii: Sequence[Vector],
    axes: np.ndarray,
    depth_offset: float = 0,
) -> BodyPart:
    """Build a chain of ellipsoids with (3,) radii along the rows of `axes` (3, 3): left, up, forward."""
    center_array, outlines = np.array(centers), project_ellipsoids(np.array(radii), axes)
    return BodyPart(
        center_array, outlines, _depth(center_array) + depth_offset, group, surface, paint, axes[1, :2]
    )


def project_ellipsoids(radii: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Compute `BodyPart.outlines` of ellipsoids with (N, 3) radii along the rows of `axes` (3, 3)."""
    x, y = axes[:, 0], axes[:, 1]
    products: np.ndarray = (radii * radii) @ np.array([x * x, x * y, y * y]).T
    return products


def ground_y(parts: Sequence[BodyPart]) -> float:
    """Compute the lowest y of the parts, which is the ground they stand on, in body heights."""
    y = np.concatenate([part.centers for part in parts])[:, 1]
    reach = np.concatenate([part.outlines for part in parts])[:, 2]
    return float((y + np.sqrt(reach)).max())


def scale_radii(radii: Vector, factor: float) -> tuple[float, ...]:
    """Multiply each radius by a factor."""
    return tuple(radius * factor for radius in radii)


def _depth(centers: np.ndarray) -> float:
    return float(centers[:, 2].sum()) / len(centers)
