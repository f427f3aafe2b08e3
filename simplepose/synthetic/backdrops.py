"""What drawn people stand before: a drawn place, or pictures from a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from simplepose.image_io import decode
from simplepose.synthetic.clothes import draw_cloth, spread

Backdrop = Callable[[np.random.Generator, tuple[int, int], float], np.ndarray]
"""(generator, (height, width), y of the horizon) -> (H, W, 3) uint8 BGR."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
COARSE = 8
"""Pixels a cell of what changes slowly."""
STANDARD_DEVIATION = 256 / 12**0.5
"""Of bytes that are all equally likely."""


def draw_backdrop(rng: np.random.Generator, size_hw: tuple[int, int], horizon: float) -> np.ndarray:
    """A wall or sky over ground, with texture, and things that stand or hang about."""
    picture = _sky_and_ground(rng, size_hw, horizon)
    for _ in range(rng.integers(1, 12)):
        _draw_thing(rng, picture, horizon)
    blur = (1, 2, 4)[rng.integers(3)]
    if blur > 1 and min(size_hw) >= blur:
        picture = _soft(picture, blur)
    return cv2.multiply(picture, _texture(rng, size_hw), scale=1 / 128)


class PictureFolder:
    """A backdrop from the pictures of a folder and those below it, each cut at random.

    They must show nobody: people in them would be learned as background.

    Args:
        folder: of JPEG, PNG, BMP or WebP files.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no picture.
    """

    def __init__(self, folder: str | Path) -> None:
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"no folder of backgrounds at {folder}")
        found = (path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
        self.paths = sorted(path for path in found if path.is_file())
        if not self.paths:
            raise ValueError(f"{folder}: no background there; files of {', '.join(SUFFIXES)} expected")

    def __call__(self, rng: np.random.Generator, size_hw: tuple[int, int], horizon: float) -> np.ndarray:
        """As `Backdrop`. Raises ValueError where a file is no picture, or cut off."""
        path = self.paths[rng.integers(len(self.paths))]
        picture = decode(path.read_bytes(), upright=True)
        if picture is None:
            raise ValueError(f"{path}: damaged, or no picture; mend it or take it out of the folder")
        height, width = size_hw
        fits = min(picture.shape[0] / height, picture.shape[1] / width)
        share = fits * rng.uniform(0.6, 1)
        cut = max(1, int(height * share)), max(1, int(width * share))
        top, left = (
            int(rng.integers(whole - part + 1)) for whole, part in zip(picture.shape, cut, strict=False)
        )
        part = picture[top : top + cut[0], left : left + cut[1]]
        if rng.random() < 0.5:
            part = part[:, ::-1]
        kind = cv2.INTER_AREA if share > 1 else cv2.INTER_LINEAR
        return cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=kind)


def _sky_and_ground(rng: np.random.Generator, size_hw: tuple[int, int], horizon: float) -> np.ndarray:
    height, width = size_hw
    sky, low, near, far = rng.uniform(40, 220, (4, 1)) + rng.normal(0, 18, (4, 3))
    down = np.arange(height)[:, None]
    above = sky + (low - sky) * np.clip(down / max(horizon, 1), 0, 1)
    ground = far + (near - far) * np.clip((down - horizon) / max(height - horizon, 1), 0, 1)
    column = np.clip(np.where(down < horizon, above, ground), 0, 255).astype(np.uint8)[:, None]
    return cv2.resize(column, (width, height), interpolation=cv2.INTER_NEAREST)


def _draw_thing(rng: np.random.Generator, picture: np.ndarray, horizon: float) -> None:
    """A box, plain or patterned, a ball or a bar; they stand near the horizon or hang."""
    height, width = picture.shape[:2]
    kind, x, foot = rng.random(), rng.uniform(0, width), horizon + height * rng.uniform(-0.3, 0.2)
    w, h = width * np.exp(rng.uniform(-4, -1.2)), height * np.exp(rng.uniform(-3, -0.6))
    paint = draw_cloth(rng)
    if kind < 0.5:
        left, top, right, low = (int(max(side, 0)) for side in (x - w / 2, foot - h, x + w / 2 + 1, foot + 1))
        box = picture[top:low, left:right]
        box[:] = paint.first
        if paint.pattern is not None and box.size:
            shown = spread(paint.pattern, np.eye(2, 3) * rng.uniform(0.2, 2), box.shape[:2])
            box[shown > 0] = paint.second
    elif kind < 0.75:
        middle, half = (int(x), int(foot - h / 2)), (int(w / 2), int(h / 2))
        cv2.ellipse(picture, middle, half, rng.uniform(-20, 20), 0, 360, paint.first, cv2.FILLED, cv2.LINE_AA)
    else:
        end = int(x + rng.normal(0, 0.3) * h), int(foot - h)
        cv2.line(
            picture,
            (int(x), int(foot)),
            end,
            paint.first,
            max(1, int(w * rng.uniform(0.05, 0.5))),
            cv2.LINE_AA,
        )


def _texture(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 about 128: noise of three sizes."""
    height, width = size_hw
    total = np.zeros((height // COARSE + 2, width // COARSE + 2), np.float32)
    for cell in (1, 6):
        grid = rng.standard_normal((total.shape[0] // cell + 2, total.shape[1] // cell + 2), np.float32)
        total += cv2.resize(grid, total.shape[::-1], interpolation=cv2.INTER_CUBIC)
    smooth = cv2.convertScaleAbs(total, alpha=rng.uniform(1, 7), beta=128)
    fine = draw_noise(rng, size_hw, rng.uniform(1, 9))
    coarse = cv2.resize(smooth, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.cvtColor(cv2.addWeighted(coarse, 1, fine, 1, -128), cv2.COLOR_GRAY2BGR)


def draw_noise(rng: np.random.Generator, shape: tuple[int, ...], spread: float) -> np.ndarray:
    """uint8 of this shape: noise about 128 with this standard deviation, of its own in each pixel."""
    even = np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8).reshape(shape)
    share = spread / STANDARD_DEVIATION
    return cv2.convertScaleAbs(even, alpha=share, beta=128 - 127.5 * share)


def _soft(picture: np.ndarray, blur: int) -> np.ndarray:
    """Out of focus by about so many pixels: a smaller copy, enlarged."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width // blur, height // blur), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
