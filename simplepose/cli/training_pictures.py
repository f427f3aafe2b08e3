"""The picture that a run shows of a sample now and then: what should be found in it, and what is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simplepose import grouping
from simplepose.config import Settings
from simplepose.skeleton import Skeleton
from simplepose.visual import maps


def drawer(
    settings: Settings, skeleton: Skeleton
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """A function for the training loop, which is handed what rooms above it do.

    Returns:
        (H, W, 3) uint8 BGR input of the network, (C, h, w) float target maps, (C, h, w) float maps that
        the network gave -> `visual.maps.comparison` with the people that grouping finds in the latter.
    """

    def draw(image: np.ndarray, target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        people = grouping.group(np.ascontiguousarray(predicted, np.float32), skeleton, settings.grouping)
        return maps.comparison(image, target, predicted, people, settings.targets.stride, skeleton)

    return draw
