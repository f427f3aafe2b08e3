"""Photometric augmentation, without geometry: color, blur, JPEG artifacts, grayscale."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from simplepose.config import AugmentSettings


@dataclass(frozen=True)
class PhotometricParams:
    """Sampled parameters; the defaults change nothing.

    Attributes:
        brightness, contrast, saturation: factors.
        hue: offset, in OpenCV's range of 180.
        blur_sigma: of a Gaussian blur, pixels; 0: none.
        jpeg_quality: up to 100; None: not compressed.
        gray: convert to grayscale.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: int = 0
    blur_sigma: float = 0.0
    jpeg_quality: int | None = None
    gray: bool = False


def sample_params(rng: np.random.Generator, settings: AugmentSettings) -> PhotometricParams:
    """Sample the parameters of one sample."""
    jitter: dict[str, float] = {}
    hue = 0
    if rng.random() < settings.jitter_probability:
        jitter["brightness"] = float(rng.uniform(*settings.jitter_brightness))
        jitter["contrast"] = float(rng.uniform(*settings.jitter_contrast))
        jitter["saturation"] = float(rng.uniform(*settings.jitter_saturation))
        hue = _random_int(rng, settings.jitter_hue)
    blur = rng.random() < settings.blur_probability
    jpeg = rng.random() < settings.jpeg_probability
    return PhotometricParams(
        **jitter,
        hue=hue,
        blur_sigma=float(rng.uniform(*settings.blur_sigma)) if blur else 0.0,
        jpeg_quality=_random_int(rng, settings.jpeg_quality) if jpeg else None,
        gray=bool(rng.random() < settings.gray_probability),
    )


def apply(image: np.ndarray, params: PhotometricParams) -> np.ndarray:
    """Apply the parameters, in the order in which a camera would, to a (H, W, 3) uint8 BGR image."""
    image = _jitter_color(image, params)
    if params.blur_sigma > 0:
        image = cv2.GaussianBlur(image, (0, 0), params.blur_sigma)
    if params.jpeg_quality is not None:
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, params.jpeg_quality])[1]
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return _to_gray(image) if params.gray else image  # last: JPEG adds color to a gray image


def _jitter_color(image: np.ndarray, params: PhotometricParams) -> np.ndarray:
    if (params.brightness, params.contrast) != (1, 1):
        mean = params.brightness * cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean()
        table = (params.brightness * np.arange(256) - mean) * params.contrast + mean
        image = cv2.LUT(image, np.rint(table).clip(0, 255).astype(np.uint8))
    if params.saturation != 1:
        image = cv2.addWeighted(image, params.saturation, _to_gray(image), 1 - params.saturation, 0)
    if params.hue:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        table = ((np.arange(256) + params.hue) % 180).astype(np.uint8)
        hsv[..., 0] = cv2.LUT(np.ascontiguousarray(hsv[..., 0]), table)
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    return image


def _to_gray(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def _random_int(rng: np.random.Generator, low_high: tuple[int, int]) -> int:
    return int(rng.integers(low_high[0], low_high[1] + 1))
