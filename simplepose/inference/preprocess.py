"""Preprocess an image for the network: resize and pad it, and keep the transform back to its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from simplepose import geometry
from simplepose.config import InferenceSettings

# Heights and widths of the network's input are multiples of this. Less padding is faster.
SIZE_MULTIPLE = 32

# Minimum rows and columns of the network's input, pixels: its coarsest stride.
MIN_INPUT_SIZE = 64

# Larger images, width times height, need many gigabytes.
MAX_IMAGE_PIXELS = 2**30

# Gray value of the padding, at the right and at the bottom.
PADDING_VALUE = 128


@dataclass(frozen=True, eq=False)
class ModelInput:
    """One image, resized and padded at each scale.

    Attributes:
        padded: for each scale (H, W, 3) uint8 BGR; H and W are multiples of SIZE_MULTIPLE.
        sizes: for each scale the rows and columns of the resized image, which starts at the top left.
        base_size: rows and columns of the base image, which is the image resized at scale 1. Maps of all
            scales are resampled to it.
        to_image: (2, 3) float64 matrix from base pixels to image pixels.
    """

    padded: tuple[np.ndarray, ...]
    sizes: tuple[tuple[int, int], ...]
    base_size: tuple[int, int]
    to_image: np.ndarray

    @property
    def shape(self) -> tuple[tuple[int, ...], ...]:
        """Padded shape at each scale; inputs of the same shape can share a batch."""
        return tuple(padded.shape for padded in self.padded)


def check_image(image: object) -> None:
    """Raise ValueError unless the array is an image, (H, W, 3) uint8, of at least one pixel."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(
            f"image: expected an H x W x 3 uint8 array in BGR, as cv2.imread returns it, got {got}"
        )
    if image.size == 0:
        raise ValueError(f"image: expected at least 1 x 1 pixel, got {image.shape}")
    if image.shape[0] * image.shape[1] > MAX_IMAGE_PIXELS:
        raise ValueError(f"image: expected at most {MAX_IMAGE_PIXELS:,} pixels, got {image.shape}")


def preprocess(image: np.ndarray, settings: InferenceSettings) -> ModelInput:
    """Resize (cubic) and pad an image, (H, W, 3) uint8 BGR, at each scale."""
    image_size = (image.shape[0], image.shape[1])
    sizes = tuple(compute_resized_size(image_size, scale, settings) for scale in settings.scales)
    base_size = compute_resized_size(image_size, 1.0, settings)
    padded = tuple(_resize_and_pad(image, size) for size in sizes)
    return ModelInput(padded, sizes, base_size, geometry.resizing(base_size, image_size))


def compute_resized_size(
    image_size: tuple[int, int], scale: float, settings: InferenceSettings
) -> tuple[int, int]:
    """Compute the rows and columns that an image of `image_size` (rows, columns) is resized to."""
    rows, columns = image_size
    side = rows if settings.fit == "height" else max(rows, columns)
    factor = min(scale * settings.height / side, settings.max_height / rows, settings.max_width / columns)
    return max(1, round(rows * factor)), max(1, round(columns * factor))


def _resize_and_pad(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = geometry.padded_size(size, SIZE_MULTIPLE)
    padded = np.empty((max(rows, MIN_INPUT_SIZE), max(columns, MIN_INPUT_SIZE), 3), np.uint8)
    padded[size[0] :] = PADDING_VALUE
    padded[: size[0], size[1] :] = PADDING_VALUE
    inside = padded[: size[0], : size[1]]
    inside[:] = image if image.shape[:2] == size else _resize(image, size)
    return padded


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC)
