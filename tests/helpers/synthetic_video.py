"""Synthetic videos with ground truth: people who walk around, cross and occlude each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import walking
from capsule_occlusion import find_occluded

from simplepose.skeleton import COCO
from simplepose.synthetic import backdrops, bodies, body_parts
from simplepose.synthetic.figures import Figure
from simplepose.synthetic.painter import Painter
from simplepose.synthetic.scenes import Scene


@dataclass(frozen=True, eq=False)
class FrameTruth:
    """Ground truth of one frame of a video, for all people in the order of their ids.

    Attributes:
        keypoints: (P, 17, 3) float32 x, y, v: v 0 outside the image or on the far side of the head, 1 hidden
            by a nearer person, 2 visible; x and y are correct for any v.
        ids: (P,) int64, from 0.
        areas: (P,) float32 area of a body of this height, pixels^2, for object keypoint similarity.
    """

    keypoints: np.ndarray
    ids: np.ndarray
    areas: np.ndarray


# Area of a standing body, in units of its height squared.
BODY_AREA_RATIO = 0.16
# Distance from the lower ankle to the ground, body heights.
SOLE_OFFSET = 0.05


class SyntheticVideo:
    """A video of a static camera, with random access to its frames.

    Args:
        seed: the only source of randomness.
        people: number of people, >= 0.
        frames: number of frames.
        size_hw: height and width of the images.
    """

    def __init__(self, seed: int, people: int, frames: int, size_hw: tuple[int, int] = (480, 640)) -> None:
        rng, height = np.random.default_rng(seed), size_hw[0]
        self.seed, self.people, self.frames, self.size_hw = seed, people, frames, size_hw
        self.ground = walking.Ground(size_hw, height * 0.25, 0.9, height * 0.75, height * 0.35)
        self._walkers = [walking.sample_walker(rng) for _ in range(people)]
        self._walks = [walking.sample_walk(rng, walker, self.ground, frames) for walker in self._walkers]

    def __len__(self) -> int:
        return self.frames

    def truth(self, frame_index: int) -> FrameTruth:
        """Compute the ground truth of a frame without drawing it; occlusion is that of capsules."""
        hips_xy, sizes = self._project_hips(frame_index)
        xy = np.zeros((self.people, len(COCO.annotated), 2))
        visible = np.zeros(xy.shape[:2], bool)
        for person, figure in enumerate(self._figures(frame_index)):
            joints, visible[person] = figure.coco_keypoints()
            xy[person] = joints[:, :2] * sizes[person] * figure.stature + hips_xy[person]
        max_xy = np.array(self.size_hw[::-1]) - 1
        inside = ((xy >= 0) & (xy <= max_xy)).all(2)
        v = np.where(visible & inside, 2 - find_occluded(xy, sizes), 0)
        keypoints = np.concatenate([xy, v[..., None]], 2).astype(np.float32)
        heights = sizes * [walker.stature for walker in self._walkers]
        return FrameTruth(
            keypoints, np.arange(self.people), (BODY_AREA_RATIO * heights**2).astype(np.float32)
        )

    def draw(self, frame_index: int) -> tuple[Scene, np.ndarray]:
        """Draw a frame.

        Returns:
            The scene, farthest person first, and (P,) int64 the ids of its people.
        """
        hips_xy, sizes = self._project_hips(frame_index)
        figures = self._figures(frame_index)
        painter = Painter(np.random.default_rng(self.seed), self._backdrop.copy())
        order = np.argsort(sizes, kind="stable")
        for person in order:
            figure, size, (x, y) = figures[person], float(sizes[person]), hips_xy[person]
            ground = body_parts.ground_y(bodies.build_body(self._appearance_rng(person), figure))
            foot_xy = float(x), float(y + size * figure.stature * ground)
            painter.paint_person(figure, foot_xy, size, self._appearance_rng(person))
        return Scene(painter.image, painter.keypoints(), painter.instance_map), order

    def _appearance_rng(self, person: int) -> np.random.Generator:
        """Create the generator of a person's body and clothes, the same in each frame."""
        return np.random.default_rng((self.seed, int(person)))

    @cached_property
    def _backdrop(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        return np.ascontiguousarray(backdrops.draw_backdrop(rng, self.size_hw, self.ground.horizon))

    def _project_hips(self, frame_index: int) -> tuple[np.ndarray, np.ndarray]:
        """Compute the center of the hips (P, 2) and the height of an adult there (P,), in pixels."""
        if not 0 <= frame_index < self.frames:
            raise ValueError(f"expected a frame from 0 to {self.frames - 1}, got {frame_index}")
        positions = np.array([walk.positions[frame_index] for walk in self._walks]).reshape(-1, 2)
        feet_xy, sizes = self.ground.project(positions)
        for person, figure in enumerate(self._figures(frame_index)):
            sole_y = max(joint[1] for joint in figure.joints.values()) + SOLE_OFFSET
            feet_xy[person, 1] -= sizes[person] * figure.stature * sole_y
        return feet_xy, sizes

    def _figures(self, frame_index: int) -> list[Figure]:
        return [
            walker.figure(walk.phases[frame_index], walk.efforts[frame_index], walk.yaws[frame_index])
            for walker, walk in zip(self._walkers, self._walks, strict=True)
        ]
