"""Photometric augmentation, without geometry: color, blur, noise, JPEG artifacts, grayscale."""

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
        motion_blur: length in pixels, and direction in degrees from x to y; length 0: none.
        noise: standard deviation in gray levels of 255, and the seed of the generator; deviation 0: none.
        jpeg_quality: up to 100; None: not compressed.
        gray: convert to grayscale.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: int = 0
    blur_sigma: float = 0.0
    motion_blur: tuple[float, float] = (0.0, 0.0)
    noise: tuple[float, int] = (0.0, 0)
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
    motion_blur = rng.random() < settings.motion_blur_probability
    noise, jpeg = rng.random() < settings.noise_probability, rng.random() < settings.jpeg_probability
    return PhotometricParams(
        **jitter,
        hue=hue,
        blur_sigma=float(rng.uniform(*settings.blur_sigma)) if blur else 0.0,
        motion_blur=(float(rng.uniform(*settings.motion_blur_length)), float(rng.uniform(0, 180)))
        if motion_blur
        else (0.0, 0.0),
        noise=(float(rng.uniform(*settings.noise_sigma)), int(rng.integers(2**32))) if noise else (0.0, 0),
        jpeg_quality=_random_int(rng, settings.jpeg_quality) if jpeg else None,
        gray=bool(rng.random() < settings.gray_probability),
    )


def apply(image: np.ndarray, params: PhotometricParams) -> np.ndarray:
    """Apply the parameters, in the order in which a camera would, to a (H, W, 3) uint8 BGR image."""
    image = _jitter_color(image, params)
    if params.blur_sigma > 0:
        image = cv2.GaussianBlur(image, (0, 0), params.blur_sigma)
    if params.motion_blur[0] > 0:
        kernel = _motion_blur_kernel(*params.motion_blur)
        image = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    if params.noise[0] > 0:
        sigma, seed = params.noise
        noise = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
        image = cv2.add(image, sigma * noise, dtype=cv2.CV_8U)
    if params.jpeg_quality is not None:
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, params.jpeg_quality])[1]
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return _to_gray(image) if params.gray else image  # last: noise and JPEG add color to a gray image


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


def _motion_blur_kernel(length: float, degrees: float) -> np.ndarray:
    """Build a line through the kernel's center, so that it does not shift the image; the weights sum to 1."""
    radius = int(np.ceil(length / 2))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    along, across = np.abs(x * cos + y * sin), np.abs(y * cos - x * sin)
    weights: np.ndarray = (1 - across).clip(0) * (length / 2 + 0.5 - along).clip(0, 1)
    kernel: np.ndarray = weights / weights.sum()
    return kernel


def _random_int(rng: np.random.Generator, low_high: tuple[int, int]) -> int:
    return int(rng.integers(low_high[0], low_high[1] + 1))
