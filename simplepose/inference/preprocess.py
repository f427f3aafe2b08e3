"""A picture as the network takes it: resized, padded, and the way back to its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from simplepose import geometry
from simplepose.config import InferenceSettings

MULTIPLE = 32
"""The network takes heights and widths that are multiples of this; less padding is less work."""

LEAST = 64
"""Rows and columns of the network's input at least: its coarsest stride."""

PADDING = 128
"""Grey that a picture is padded with, right and below."""


@dataclass(frozen=True, eq=False)
class Framed:
    """One picture, made ready for the network.

    Attributes:
        padded: for each scale (H, W, 3) uint8 BGR, sides multiples of MULTIPLE.
        sizes: for each scale rows and columns of the resized picture in it, which begins at the top left.
        frame: rows and columns of the picture resized at scale 1, which maps are brought to.
        to_picture: (2, 3) float64 matrix from frame pixels to picture pixels.
    """

    padded: tuple[np.ndarray, ...]
    sizes: tuple[tuple[int, int], ...]
    frame: tuple[int, int]
    to_picture: np.ndarray

    @property
    def shape(self) -> tuple[tuple[int, ...], ...]:
        """The same for pictures that can go through the network together."""
        return tuple(padded.shape for padded in self.padded)


def framed(image: np.ndarray, settings: InferenceSettings) -> Framed:
    """Resize (cubic) and pad a picture, (H, W, 3) uint8 BGR, at each scale."""
    picture = (image.shape[0], image.shape[1])
    sizes = tuple(resized_size(picture, scale, settings) for scale in settings.scales)
    frame = resized_size(picture, 1.0, settings)
    padded = tuple(_resized_and_padded(image, size) for size in sizes)
    return Framed(padded, sizes, frame, geometry.resizing(frame, picture))


def resized_size(picture: tuple[int, int], scale: float, settings: InferenceSettings) -> tuple[int, int]:
    """Rows and columns that a picture of so many is resized to."""
    rows, columns = picture
    side = rows if settings.fit == "height" else max(rows, columns)
    factor = min(scale * settings.height / side, settings.max_height / rows, settings.max_width / columns)
    return max(1, round(rows * factor)), max(1, round(columns * factor))


def _resized_and_padded(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = geometry.padded_size(size, MULTIPLE)
    padded = np.empty((max(rows, LEAST), max(columns, LEAST), 3), np.uint8)
    padded[size[0] :] = PADDING
    padded[: size[0], size[1] :] = PADDING
    inside = padded[: size[0], : size[1]]
    inside[:] = image if image.shape[:2] == size else _resized(image, size)
    return padded


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC)
