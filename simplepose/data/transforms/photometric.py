"""How a picture looks, with nothing moved: colour, blur, noise, JPEG artefacts, grey."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from simplepose.config import AugmentSettings


@dataclass(frozen=True)
class Appearance:
    """One decision; the defaults change nothing.

    Attributes:
        brightness, contrast, saturation: factors.
        hue: added, of 180.
        blur_sigma: pixels of a Gaussian blur; 0: none.
        motion: pixels of length, and degrees from x to y, of a motion blur; length 0: none.
        noise: deviation of 255, and the seed of its generator; deviation 0: none.
        jpeg_quality: of 100; None: not compressed.
        grey: of no colour.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: int = 0
    blur_sigma: float = 0.0
    motion: tuple[float, float] = (0.0, 0.0)
    noise: tuple[float, int] = (0.0, 0)
    jpeg_quality: int | None = None
    grey: bool = False


def draw(rng: np.random.Generator, settings: AugmentSettings) -> Appearance:
    """Decide by chance how one sample looks."""
    jitter: dict[str, float] = {}
    hue = 0
    if rng.random() < settings.jitter_probability:
        for name in ("brightness", "contrast", "saturation"):
            jitter[name] = float(rng.uniform(*getattr(settings, f"jitter_{name}")))
        hue = _whole(rng, settings.jitter_hue)
    blurred, moved = (
        rng.random() < settings.blur_probability,
        rng.random() < settings.motion_blur_probability,
    )
    noisy, compressed = rng.random() < settings.noise_probability, rng.random() < settings.jpeg_probability
    return Appearance(
        **jitter,
        hue=hue,
        blur_sigma=float(rng.uniform(*settings.blur_sigma)) if blurred else 0.0,
        motion=(float(rng.uniform(*settings.motion_blur_length)), float(rng.uniform(0, 180)))
        if moved
        else (0.0, 0.0),
        noise=(float(rng.uniform(*settings.noise_sigma)), int(rng.integers(2**32))) if noisy else (0.0, 0),
        jpeg_quality=_whole(rng, settings.jpeg_quality) if compressed else None,
        grey=bool(rng.random() < settings.grey_probability),
    )


def apply(image: np.ndarray, how: Appearance) -> np.ndarray:
    """Carry out a decision, in the order in which a camera would, on a (H, W, 3) uint8 BGR picture."""
    image = _jitter(image, how)
    if how.blur_sigma > 0:
        image = cv2.GaussianBlur(image, (0, 0), how.blur_sigma)
    if how.motion[0] > 0:
        image = cv2.filter2D(image, -1, _line(*how.motion), borderType=cv2.BORDER_REPLICATE)
    if how.noise[0] > 0:
        sigma, seed = how.noise
        grain = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
        image = cv2.add(image, sigma * grain, dtype=cv2.CV_8U)
    if how.jpeg_quality is not None:
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, how.jpeg_quality])[1]
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return _grey(image) if how.grey else image  # last: noise and JPEG colour a grey picture


def _jitter(image: np.ndarray, how: Appearance) -> np.ndarray:
    if (how.brightness, how.contrast) != (1, 1):
        mean = how.brightness * cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean()
        table = (how.brightness * np.arange(256) - mean) * how.contrast + mean
        image = cv2.LUT(image, np.rint(table).clip(0, 255).astype(np.uint8))
    if how.saturation != 1:
        image = cv2.addWeighted(image, how.saturation, _grey(image), 1 - how.saturation, 0)
    if how.hue:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        table = ((np.arange(256) + how.hue) % 180).astype(np.uint8)
        hsv[..., 0] = cv2.LUT(np.ascontiguousarray(hsv[..., 0]), table)
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    return image


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def _line(length: float, degrees: float) -> np.ndarray:
    """A kernel of a line through its middle, so that nothing moves; its weights' sum is 1."""
    reach = int(np.ceil(length / 2))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    along, across = np.abs(x * cos + y * sin), np.abs(y * cos - x * sin)
    weights = (1 - across).clip(0) * (length / 2 + 0.5 - along).clip(0, 1)
    return weights / weights.sum()


def _whole(rng: np.random.Generator, low_high: tuple[int, int]) -> int:
    return int(rng.integers(low_high[0], low_high[1] + 1))
