"""Synthetic maps of standing people for the grouping's tests: Gaussians on joints, bands along limbs."""

from __future__ import annotations

import numpy as np
from stick_body import HEAD_TOP_ABOVE_HIPS, upright

from simplepose.skeleton import COCO, Skeleton

STRIDE = 4


def sample_person(rng: np.random.Generator, x: float, y: float, height: float) -> np.ndarray:
    """Sample a person whose top of the head is near x, y: (17, 3) x, y in pixels and v."""
    xy = upright() + np.array([0, HEAD_TOP_ABOVE_HIPS]) + rng.normal(0, 0.012, (17, 2))
    angle = rng.uniform(-0.2, 0.2)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([xy @ rotation.T * height + (x, y), np.full(17, 2)])


def sample_crowd(rng: np.random.Generator, count: int, size_hw: tuple[int, int]) -> np.ndarray:
    """Sample people (count, 17, 3) in a row, some of them overlapping or cut by the border."""
    height, width = size_hw
    heads = (np.arange(count) + rng.uniform(0.2, 0.8, count)) * width / count
    return np.stack(
        [
            sample_person(rng, x, rng.uniform(-0.1, 0.4) * height, height * rng.uniform(0.4, 0.9))
            for x in heads
        ]
    )


def clear_outside_joints(people: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Set joints outside the image to 0, 0, v = 0."""
    height, width = size_hw
    x, y = people[..., 0], people[..., 1]
    is_inside = (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)
    return np.where(is_inside[..., None], people, 0)


def draw_maps(people: np.ndarray, size_hw: tuple[int, int], skeleton: Skeleton = COCO) -> np.ndarray:
    """Draw maps (C, h, w) float32 of stride 4 of people (P, A, 3); keypoint sigma 9, limb sigma 7 pixels."""
    rows, columns = (np.arange(side // STRIDE) * STRIDE + STRIDE / 2 - 0.5 for side in size_hw)
    ys, xs = np.meshgrid(rows, columns, indexing="ij")
    maps = np.zeros((skeleton.channels, *ys.shape))
    for joints in skeleton.to_network(people).astype(np.float64):
        for number, (x, y, v) in enumerate(joints):
            channel = maps[skeleton.keypoint_channels][number]
            if v > 0:
                np.maximum(channel, np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 9**2)), out=channel)
        for number, (a, b) in enumerate(skeleton.limb_ends):
            if min(joints[a, 2], joints[b, 2]) > 0:
                channel = maps[skeleton.limb_channels][number]
                np.maximum(channel, _band(joints[a, :2], joints[b, :2], xs, ys), out=channel)
    return maps.astype(np.float32)


def _band(a: np.ndarray, b: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Draw a band: 1 on the segment from a to b, a Gaussian of the distance to it elsewhere."""
    along = b - a
    fraction = np.clip(((xs - a[0]) * along[0] + (ys - a[1]) * along[1]) / max(along @ along, 1e-9), 0, 1)
    squared = (xs - a[0] - fraction * along[0]) ** 2 + (ys - a[1] - fraction * along[1]) ** 2
    return np.exp(-squared / (2 * 7**2))
