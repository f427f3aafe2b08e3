"""Affine transforms for images, masks and points.

Pixel centers are at integer coordinates: pixel (0, 0) covers [-0.5, 0.5) in x and y.
A matrix is (2, 3) float64 and maps source pixels x, y to target pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

# Smallest side of a box, pixels; a shorter side counts as this, so that the scale of its crop is finite.
MIN_BOX_SIDE = 1.0


def compose(*matrices: np.ndarray) -> np.ndarray:
    """Return the (2, 3) matrix that applies `matrices` from the first to the last."""
    total = np.eye(3)
    for matrix in matrices:
        total = np.vstack([matrix, (0, 0, 1)]) @ total
    return total[:2]


def translation(x: float, y: float) -> np.ndarray:
    """Return the (2, 3) matrix that translates by x, y pixels."""
    return np.array([[1, 0, x], [0, 1, y]], np.float64)


def scaling(x: float, y: float) -> np.ndarray:
    """Return the (2, 3) matrix that scales about the origin; a negative factor mirrors."""
    return np.array([[x, 0, 0], [0, y, 0]], np.float64)


def rotation(degrees: float) -> np.ndarray:
    """Return the (2, 3) matrix that rotates about the origin.

    With the angle a: x' = x cos a + y sin a, y' = y cos a - x sin a.
    """
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, sin, 0], [-sin, cos, 0]], np.float64)


def resizing(source_hw: tuple[int, int], target_hw: tuple[int, int]) -> np.ndarray:
    """Return the (2, 3) matrix of a resize between two sizes, with OpenCV's `resize` pixel alignment."""
    y, x = target_hw[0] / source_hw[0], target_hw[1] / source_hw[1]
    return np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5]], np.float64)


def crop_scale(box_wh: tuple[float, float], size_hw: tuple[int, int], fraction: float) -> float:
    """Return the scale at which a box is the largest one that fits into `fraction` of a crop."""
    width, height = (max(side, MIN_BOX_SIDE) for side in box_wh)
    return fraction * min(size_hw[1] / width, size_hw[0] / height)


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Return the (2, 3) inverse of a matrix. Raises numpy.linalg.LinAlgError if it is singular."""
    return np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]


def apply_to_points(matrix: np.ndarray, points_xy: np.ndarray) -> np.ndarray:
    """Transform (..., 2) points to (..., 2) float64 points."""
    transformed: np.ndarray = np.asarray(points_xy, np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return transformed


def apply_to_image(
    matrix: np.ndarray, image: np.ndarray, size_hw: tuple[int, int], fill: tuple[int, ...] | int
) -> np.ndarray:
    """Warp an (H, W[, C]) image to `size_hw` with bilinear interpolation; `fill` is the border value."""
    border = fill if isinstance(fill, tuple) else (fill,)
    return cv2.warpAffine(
        image,
        matrix,
        size_hw[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=border,
    )


def source_region(
    matrix: np.ndarray, source_hw: tuple[int, int], size_hw: tuple[int, int]
) -> tuple[slice, slice]:
    """Return the rows and columns of a source image that `apply_to_image` can read; at least one of each."""
    height, width = size_hw
    back = inverse(matrix)
    center = apply_to_points(back, np.array([width - 1, height - 1]) / 2)
    half_extent = np.abs(back[:, :2]) @ (np.array([width + 1, height + 1]) / 2)
    lows = np.floor(center - half_extent).astype(int) - 1
    highs = np.ceil(center + half_extent).astype(int) + 2
    columns, rows = (
        slice(max(0, min(low, side - 1)), max(1, min(high, side)))
        for low, high, side in zip(lows.tolist(), highs.tolist(), source_hw[::-1], strict=True)
    )
    return rows, columns


def padded_size(size_hw: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Round a height and width up to multiples of `multiple`."""
    height, width = (-(-side // multiple) * multiple for side in size_hw)
    return height, width
