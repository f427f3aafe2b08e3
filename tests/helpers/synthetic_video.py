"""Drawn films: people who walk to and fro, cross and hide each other, and the truth about each frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import walking
from hiding import hidden

from simplepose.skeleton import COCO
from simplepose.synthetic import backdrops, bodies, body_parts
from simplepose.synthetic.figures import Figure
from simplepose.synthetic.painter import Painter
from simplepose.synthetic.scenes import Scene


@dataclass(frozen=True, eq=False)
class Shot:
    """The truth about one frame of a film, of all its people, in the order of their ids.

    Attributes:
        keypoints: (P, 17, 3) float32 x, y, v: v 0 outside the picture or on the far side of the head, 1
            hidden by somebody nearer, 2 visible; x and y are true whatever v is.
        ids: (P,) int64, from 0.
        areas: (P,) float32 pixels squared that a body so tall covers, for object keypoint similarity.
    """

    keypoints: np.ndarray
    ids: np.ndarray
    areas: np.ndarray


AREA = 0.16
"""Of a body's height squared: what it covers, standing."""
SOLE = 0.05
"""Body heights from the lower ankle to the ground."""


class Film:
    """A film of a fixed camera; frames may be asked for in any order.

    Args:
        seed: decides all.
        people: how many, 0 too.
        frames: how long it is.
        size_hw: height and width of the pictures.
    """

    def __init__(self, seed: int, people: int, frames: int, size_hw: tuple[int, int] = (480, 640)) -> None:
        rng, height = np.random.default_rng(seed), size_hw[0]
        self.seed, self.people, self.frames, self.size_hw = seed, people, frames, size_hw
        self.ground = walking.Ground(size_hw, height * 0.25, 0.9, height * 0.75, height * 0.35)
        self._walkers = [walking.draw_walker(rng) for _ in range(people)]
        self._walks = [walking.draw_walk(rng, walker, self.ground, frames) for walker in self._walkers]

    def __len__(self) -> int:
        return self.frames

    def shot(self, number: int) -> Shot:
        """The truth about frame `number`, without drawing it: nearer bodies hide as sticks do."""
        hips_xy, sizes = self._hips(number)
        xy = np.zeros((self.people, len(COCO.annotated), 2))
        shows = np.zeros(xy.shape[:2], bool)
        for person, figure in enumerate(self._figures(number)):
            joints, shows[person] = figure.annotated()
            xy[person] = joints[:, :2] * sizes[person] * figure.stature + hips_xy[person]
        last = np.array(self.size_hw[::-1]) - 1
        inside = ((xy >= 0) & (xy <= last)).all(2)
        v = np.where(shows & inside, 2 - hidden(xy, sizes), 0)
        keypoints = np.concatenate([xy, v[..., None]], 2).astype(np.float32)
        tall = sizes * [walker.stature for walker in self._walkers]
        return Shot(keypoints, np.arange(self.people), (AREA * tall**2).astype(np.float32))

    def draw(self, number: int) -> tuple[Scene, np.ndarray]:
        """Frame `number` drawn, and (P,) int64 the ids of the scene's people (farthest first)."""
        hips_xy, sizes = self._hips(number)
        figures = self._figures(number)
        painter = Painter(np.random.default_rng(self.seed), self._backdrop.copy())
        order = np.argsort(sizes, kind="stable")
        for person in order:
            figure, size, (x, y) = figures[person], float(sizes[person]), hips_xy[person]
            ground = body_parts.lowest(bodies.draw_body(self._look(person), figure))
            foot_xy = float(x), float(y + size * figure.stature * ground)
            painter.paint_person(figure, foot_xy, size, self._look(person))
        return Scene(painter.image, painter.keypoints(), painter.owners), order

    def _look(self, person: int) -> np.random.Generator:
        """What decides on somebody's body and clothes, the same in each frame."""
        return np.random.default_rng((self.seed, int(person)))

    @cached_property
    def _backdrop(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        return np.ascontiguousarray(backdrops.draw_backdrop(rng, self.size_hw, self.ground.horizon))

    def _hips(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(P, 2) the middle of the hips and (P,) a grown-up's height there, pixels."""
        if not 0 <= number < self.frames:
            raise ValueError(f"a frame from 0 to {self.frames - 1} expected, got {number}")
        places = np.array([walk.places[number] for walk in self._walks]).reshape(-1, 2)
        feet_xy, sizes = self.ground.seen(places)
        for person, figure in enumerate(self._figures(number)):
            sole = max(at[1] for at in figure.joints.values()) + SOLE
            feet_xy[person, 1] -= sizes[person] * figure.stature * sole
        return feet_xy, sizes

    def _figures(self, number: int) -> list[Figure]:
        return [
            walker.figure(walk.phases[number], walk.efforts[number], walk.yaws[number])
            for walker, walk in zip(self._walkers, self._walks, strict=True)
        ]
