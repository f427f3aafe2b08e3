"""Affine maps of the plane, for pictures, masks and points alike.

Pixel centres lie at integer coordinates: pixel (0, 0) covers [-0.5, 0.5) in x and y.
A matrix is (2, 3) float64 and takes source pixels x, y to target pixels.
"""

from __future__ import annotations

import cv2
import numpy as np


def compose(*matrices: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix that applies `matrices` from the first to the last."""
    total = np.eye(3)
    for matrix in matrices:
        total = np.vstack([matrix, (0, 0, 1)]) @ total
    return total[:2]


def translation(x: float, y: float) -> np.ndarray:
    """The (2, 3) matrix that moves by x, y pixels."""
    return np.array([[1, 0, x], [0, 1, y]], np.float64)


def scaling(x: float, y: float) -> np.ndarray:
    """The (2, 3) matrix that stretches about the origin; a negative factor mirrors."""
    return np.array([[x, 0, 0], [0, y, 0]], np.float64)


def rotation(degrees: float) -> np.ndarray:
    """The (2, 3) matrix that turns about the origin: x' = x cos a + y sin a, y' = y cos a - x sin a."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, sin, 0], [-sin, cos, 0]], np.float64)


def resizing(source_hw: tuple[int, int], target_hw: tuple[int, int]) -> np.ndarray:
    """The (2, 3) matrix of a resize between two sizes, as OpenCV's `resize` places pixels."""
    y, x = target_hw[0] / source_hw[0], target_hw[1] / source_hw[1]
    return np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5]], np.float64)


def inverse(matrix: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix that undoes `matrix`. Raises numpy.linalg.LinAlgError where none does."""
    return np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]


def apply_to_points(matrix: np.ndarray, points_xy: np.ndarray) -> np.ndarray:
    """(..., 2) points -> (..., 2) float64 points."""
    return np.asarray(points_xy, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def apply_to_image(
    matrix: np.ndarray, image: np.ndarray, size_hw: tuple[int, int], fill: tuple[int, ...] | int
) -> np.ndarray:
    """Warp `image` (H, W[, C]) to `size_hw`, bilinearly; `fill` is what lies outside it."""
    border = fill if isinstance(fill, tuple) else (fill,)
    return cv2.warpAffine(
        image,
        matrix,
        size_hw[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=border,
    )


def seen(matrix: np.ndarray, source_hw: tuple[int, int], size_hw: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a source that `apply_to_image` can have any use for; at least one of each."""
    height, width = size_hw
    back = inverse(matrix)
    middle = apply_to_points(back, np.array([width - 1, height - 1]) / 2)
    reach = np.abs(back[:, :2]) @ (np.array([width + 1, height + 1]) / 2)
    lows, highs = np.floor(middle - reach).astype(int) - 1, np.ceil(middle + reach).astype(int) + 2
    columns, rows = (
        slice(max(0, min(low, side - 1)), max(1, min(high, side)))
        for low, high, side in zip(lows.tolist(), highs.tolist(), source_hw[::-1], strict=True)
    )
    return rows, columns


def padded_size(size_hw: tuple[int, int], multiple: int) -> tuple[int, int]:
    """The smallest height and width, multiples of `multiple`, that hold `size_hw`."""
    height, width = (-(-side // multiple) * multiple for side in size_hw)
    return height, width
