"""Synthetic scenes: people in front of a background, with exact keypoints, boxes and masks."""

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

# (min, max) body height of an adult as a fraction of the image's height.
BODY_HEIGHT_RANGE = (0.06, 1.4)


@dataclass(frozen=True, eq=False)
class Scene:
    """A synthetic image and its ground truth.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        keypoints: (P, 17, 3) float32 x, y, v as in COCO: 0, 0, 0 outside the image, on the far side of the
            head, or of a fully covered person; else v 1 hidden or 2 visible. Farthest person first.
        instance_map: (H, W) int16 person shown at each pixel: 1 for the first person; 0 for none.
    """

    image: np.ndarray
    keypoints: np.ndarray
    instance_map: np.ndarray

    @cached_property
    def masks(self) -> np.ndarray:
        """(P, H, W) bool, the visible pixels of each person."""
        people = np.arange(1, len(self.keypoints) + 1, dtype=np.int16)
        masks: np.ndarray = self.instance_map == people[:, None, None]
        return masks

    @cached_property
    def boxes_xyxy(self) -> np.ndarray:
        """(P, 4) float32 first and last visible column and row of each person; 0 for an invisible person."""
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
    figure: Callable[[np.random.Generator], Figure] = poses.sample_figure,
    backdrop: Backdrop = backdrops.draw_backdrop,
) -> Scene:
    """Draw a scene; the same state of the generator gives the same scene.

    Args:
        rng: the only source of randomness.
        size_hw: height and width of the image, at least 1.
        people: number of people, >= 0.
        figure: samples the pose of a person; `poses.PoseFile` takes those of a file.
        backdrop: draws the background; `backdrops.BackgroundFolder` takes the images of a folder.
    """
    height, width = size_hw
    horizon, eye_level = height * rng.uniform(0.1, 0.5), rng.uniform(0.7, 1.2)
    painter = Painter(rng, np.ascontiguousarray(backdrop(rng, size_hw, horizon)))
    used_x = np.zeros(0)
    for size in _sample_body_heights(rng, height, people):
        foot_y = horizon + eye_level * size
        if rng.random() < 0.1:
            painter.paint_object((rng.uniform(0, width), foot_y), size)
        candidates = rng.uniform(0.05, 0.95, rng.integers(1, 12)) * width
        gaps = np.abs(candidates[:, None] - used_x).min(1, initial=width)
        used_x = np.append(used_x, candidates[gaps.argmax()])  # people keep apart if there is room
        painter.paint_person(figure(rng), (used_x[-1], foot_y), size)
    if rng.random() < 0.1:
        painter.paint_object((rng.uniform(0, width), height * rng.uniform(0.8, 1.2)), height)
    return Scene(_simulate_camera(rng, painter.image), painter.keypoints(), painter.instance_map)


def _sample_body_heights(rng: np.random.Generator, height: int, people: int) -> np.ndarray:
    """Sample body heights of adults in pixels, farthest first: (P,)."""
    least, most = np.log(BODY_HEIGHT_RANGE)
    largest = rng.uniform(least + 1.2, most)
    smallest = max(least, largest + np.log(rng.uniform(0.12, 0.9)))
    return height * np.exp(np.sort(rng.uniform(smallest, largest, people)))


def _simulate_camera(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Apply camera effects: exposure, color cast, blur and grain."""
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
