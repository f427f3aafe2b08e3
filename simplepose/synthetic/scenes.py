"""Drawn scenes: people before a background, with keypoints, boxes and masks that are exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from simplepose.synthetic import backdrops, poses
from simplepose.synthetic.backdrops import Backdrop
from simplepose.synthetic.figures import Figure
from simplepose.synthetic.painter import Painter

PICTURE_SHARE = (0.06, 1.4)
"""(least, most) body height of a grown-up as a share of the picture's height."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn picture and the truth about it.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        keypoints: (P, 17, 3) float32 x, y, v as COCO has them: 0, 0, 0 outside the picture, on the far side
            of the head, or of someone quite covered; else v 1 hidden or 2 visible. Farthest person first.
        owners: (H, W) int16 whom each pixel shows: 1 for the first person; 0 for nobody.
    """

    image: np.ndarray
    keypoints: np.ndarray
    owners: np.ndarray

    @cached_property
    def masks(self) -> np.ndarray:
        """(P, H, W) bool, the pixels that show each person."""
        people = np.arange(1, len(self.keypoints) + 1, dtype=np.int16)
        return self.owners == people[:, None, None]

    @cached_property
    def boxes_xyxy(self) -> np.ndarray:
        """(P, 4) float32 first and last column and row that show each person; 0 where none does."""
        boxes = np.zeros((len(self.keypoints), 4), np.float32)
        for box, mask in zip(boxes, self.masks, strict=True):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            if len(rows):
                box[:] = columns[0], rows[0], columns[-1], rows[-1]
        return boxes


def draw_scene(
    rng: np.random.Generator,
    size_hw: tuple[int, int],
    people: int,
    figure: Callable[[np.random.Generator], Figure] = poses.draw_figure,
    backdrop: Backdrop = backdrops.draw_backdrop,
) -> Scene:
    """Draw so many people; the same state of the generator gives the same scene.

    Args:
        rng: decides all.
        size_hw: height and width of the picture, at least 1.
        people: how many, 0 too.
        figure: whom; `given_poses.PoseFile` draws those of a file.
        backdrop: before what; `backdrops.PictureFolder` takes the pictures of a folder.
    """
    height, width = size_hw
    horizon, eye_level = height * rng.uniform(0.1, 0.5), rng.uniform(0.7, 1.2)
    painter = Painter(rng, np.ascontiguousarray(backdrop(rng, size_hw, horizon)))
    taken = np.zeros(0)
    for size in _draw_sizes(rng, height, people):
        foot_y = horizon + eye_level * size
        if rng.random() < 0.1:
            painter.paint_thing((rng.uniform(0, width), foot_y), size)
        tries = rng.uniform(0.05, 0.95, rng.integers(1, 12)) * width
        gaps = np.abs(tries[:, None] - taken).min(1, initial=width)
        taken = np.append(taken, tries[gaps.argmax()])  # people keep apart while there is room
        painter.paint_person(figure(rng), (taken[-1], foot_y), size)
    if rng.random() < 0.1:
        painter.paint_thing((rng.uniform(0, width), height * rng.uniform(0.8, 1.2)), height)
    return Scene(_photograph(rng, painter.image), painter.keypoints(), painter.owners)


def _draw_sizes(rng: np.random.Generator, height: int, people: int) -> np.ndarray:
    """(P,) body heights of grown-ups in pixels, the farthest first."""
    least, most = np.log(PICTURE_SHARE)
    largest = rng.uniform(least + 1.2, most)
    smallest = max(least, largest + np.log(rng.uniform(0.12, 0.9)))
    return height * np.exp(np.sort(rng.uniform(smallest, largest, people)))


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The picture as a camera takes it: exposure, colour cast, blur and grain."""
    if rng.random() < 0.7:
        steps = np.arange(256)[:, None] / 255
        curve = (
            255
            * rng.normal(1, 0.12, 3).clip(0.5, 1.5)
            * rng.uniform(0.75, 1.1)
            * steps ** rng.uniform(0.7, 1.4)
        )
        image = cv2.LUT(image, np.clip(curve + rng.uniform(0, 25), 0, 255).astype(np.uint8)[:, None])
    scale = max(image.shape[:2]) / 512
    sigma = rng.uniform(1, 2.5) * scale if rng.random() < 0.12 else rng.uniform(0.3, 0.8)
    image = cv2.GaussianBlur(image, (3, 3) if sigma < 1 else (0, 0), sigma)
    grain = backdrops.draw_noise(rng, image.shape[:2], rng.uniform(0.5, 6))
    return cv2.addWeighted(image, 1, cv2.cvtColor(grain, cv2.COLOR_GRAY2BGR), 1, -128)
