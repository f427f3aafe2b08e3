"""Backgrounds of synthetic people: drawn ones, or images from a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from simplepose import image_io
from simplepose.image_formats import IMAGE_EXTENSIONS
from simplepose.synthetic.clothes import sample_cloth, tile_pattern

# (generator, (height, width), y of the horizon in pixels) -> (H, W, 3) uint8 BGR.
Backdrop = Callable[[np.random.Generator, tuple[int, int], float], np.ndarray]

# Size of a cell of the coarse noise, pixels.
COARSE_CELL_PX = 8
# Standard deviation of bytes that are uniformly distributed.
UNIFORM_BYTE_STD = 256 / 12**0.5


def draw_backdrop(rng: np.random.Generator, size_hw: tuple[int, int], horizon: float) -> np.ndarray:
    """Draw a wall or sky above the ground, with texture and with objects that stand or hang."""
    image = _draw_sky_and_ground(rng, size_hw, horizon)
    for _ in range(rng.integers(1, 12)):
        _draw_object(rng, image, horizon)
    blur = (1, 2, 4)[rng.integers(3)]
    if blur > 1 and min(size_hw) >= blur:
        image = _defocus(image, blur)
    return cv2.multiply(image, _draw_texture(rng, size_hw), scale=1 / 128)


class BackgroundFolder:
    """A backdrop from the images of a folder and its subfolders, cropped at random.

    The images must contain no people: they would be learned as background.

    Args:
        folder: path of a folder with images, which are recognized by extension or content. Names that start
            with a dot are ignored.

    Attributes:
        paths: the images.
        others: files that are not images, and are not used.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the folder contains no image.
    """

    def __init__(self, folder: str | Path) -> None:
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"{folder}: folder of background images not found")
        self.paths: list[Path] = []
        self.others: list[Path] = []
        for path in sorted(Path(folder).rglob("*")):
            if any(part.startswith(".") for part in path.relative_to(folder).parts):
                continue
            if image_io.is_image_file(path):
                self.paths.append(path)
            elif not path.is_dir():
                self.others.append(path)
        if not self.paths:
            raise ValueError(
                f"{folder}: no background image found; expected files of type {', '.join(IMAGE_EXTENSIONS)}"
            )

    def __call__(self, rng: np.random.Generator, size_hw: tuple[int, int], horizon: float) -> np.ndarray:
        """Crop a random image, see `Backdrop`.

        Raises:
            ValueError: the file is truncated, not an image, or above the pixel limit.
        """
        path = self.paths[rng.integers(len(self.paths))]
        try:
            image = image_io.decode(image_io.read_bytes(path), upright=True)
        except image_io.ImageError as error:
            raise ValueError(f"{path}: {error}; replace it or remove it from the folder") from error
        height, width = size_hw
        max_scale = min(image.shape[0] / height, image.shape[1] / width)
        scale = max_scale * rng.uniform(0.6, 1)
        crop_hw = max(1, int(height * scale)), max(1, int(width * scale))
        top, left = (
            int(rng.integers(whole - crop + 1)) for whole, crop in zip(image.shape, crop_hw, strict=False)
        )
        crop = image[top : top + crop_hw[0], left : left + crop_hw[1]]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        interpolation = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
        return cv2.resize(np.ascontiguousarray(crop), (width, height), interpolation=interpolation)


def _draw_sky_and_ground(rng: np.random.Generator, size_hw: tuple[int, int], horizon: float) -> np.ndarray:
    height, width = size_hw
    sky, low, near, far = rng.uniform(40, 220, (4, 1)) + rng.normal(0, 18, (4, 3))
    down = np.arange(height)[:, None]
    above = sky + (low - sky) * np.clip(down / max(horizon, 1), 0, 1)
    ground = far + (near - far) * np.clip((down - horizon) / max(height - horizon, 1), 0, 1)
    column = np.clip(np.where(down < horizon, above, ground), 0, 255).astype(np.uint8)[:, None]
    image: np.ndarray = cv2.resize(column, (width, height), interpolation=cv2.INTER_NEAREST)
    return image


def _draw_object(rng: np.random.Generator, image: np.ndarray, horizon: float) -> None:
    """Draw a plain or patterned box, a ball or a bar; objects stand near the horizon or hang."""
    height, width = image.shape[:2]
    kind, x, foot = rng.random(), rng.uniform(0, width), horizon + height * rng.uniform(-0.3, 0.2)
    w, h = width * np.exp(rng.uniform(-4, -1.2)), height * np.exp(rng.uniform(-3, -0.6))
    paint = sample_cloth(rng)
    if kind < 0.5:
        left, top, right, low = (int(max(side, 0)) for side in (x - w / 2, foot - h, x + w / 2 + 1, foot + 1))
        box = image[top:low, left:right]
        box[:] = paint.color
        if paint.pattern is not None and box.size:
            pattern_mask = tile_pattern(paint.pattern, np.eye(2, 3) * rng.uniform(0.2, 2), box.shape[:2])
            box[pattern_mask > 0] = paint.pattern_color
    elif kind < 0.75:
        center, half = (int(x), int(foot - h / 2)), (int(w / 2), int(h / 2))
        cv2.ellipse(image, center, half, rng.uniform(-20, 20), 0, 360, paint.color, cv2.FILLED, cv2.LINE_AA)
    else:
        end = int(x + rng.normal(0, 0.3) * h), int(foot - h)
        cv2.line(
            image,
            (int(x), int(foot)),
            end,
            paint.color,
            max(1, int(w * rng.uniform(0.05, 0.5))),
            cv2.LINE_AA,
        )


def _draw_texture(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """Draw noise of three scales around 128: (H, W, 3) uint8."""
    height, width = size_hw
    total = np.zeros((height // COARSE_CELL_PX + 2, width // COARSE_CELL_PX + 2), np.float32)
    for cell in (1, 6):
        grid = rng.standard_normal((total.shape[0] // cell + 2, total.shape[1] // cell + 2), np.float32)
        total += cv2.resize(grid, total.shape[::-1], interpolation=cv2.INTER_CUBIC)
    smooth = cv2.convertScaleAbs(total, alpha=rng.uniform(1, 7), beta=128)
    fine = draw_noise(rng, size_hw, rng.uniform(1, 9))
    coarse = cv2.resize(smooth, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.cvtColor(cv2.addWeighted(coarse, 1, fine, 1, -128), cv2.COLOR_GRAY2BGR)


def draw_noise(rng: np.random.Generator, shape: tuple[int, ...], std: float) -> np.ndarray:
    """Draw noise around 128 with the given standard deviation, independent in each pixel: uint8."""
    even = np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8).reshape(shape)
    share = std / UNIFORM_BYTE_STD
    return cv2.convertScaleAbs(even, alpha=share, beta=128 - 127.5 * share)


def _defocus(image: np.ndarray, blur: int) -> np.ndarray:
    """Blur an image by about `blur` pixels: reduce it and enlarge it again."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // blur, height // blur), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
