"""What an imperfect network finds of people whose joints are known: noise, gaps, misses and false people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simplepose.people import People
from simplepose.skeleton import COCO


@dataclass(frozen=True)
class Faults:
    """How much goes wrong; the defaults find the visible joints exactly.

    Attributes:
        noise: deviation of a joint, of its own COCO spread at the person's size.
        missed_joints: chance that a visible joint is not found.
        guessed_joints: chance that a hidden joint is found, three times as noisy.
        missed_people: chance that somebody is not found.
        least_joints: somebody with fewer is not found.
        false_people: of them in a frame, on average.
    """

    noise: float = 0.0
    missed_joints: float = 0.0
    guessed_joints: float = 0.0
    missed_people: float = 0.0
    least_joints: int = 2
    false_people: float = 0.0


USUAL = Faults(
    noise=0.45, missed_joints=0.08, guessed_joints=0.15, missed_people=0.05, least_joints=3, false_people=0.3
)
"""Faults of a network that does well, in frames that are not easy."""


def find(
    rng: np.random.Generator,
    keypoints: np.ndarray,
    areas: np.ndarray,
    size_hw: tuple[int, int],
    faults: Faults,
) -> tuple[People, np.ndarray]:
    """The people found in one frame, in random order.

    Args:
        rng: decides what goes wrong.
        keypoints: (P, 17, 3) x, y, v: 0 not to be seen, 1 hidden, 2 visible.
        areas: (P,) pixels squared that each covers.
        size_hw: of the picture, where false people are found.
        faults: how much goes wrong.

    Returns:
        Q people without ids, and (Q,) int64 whom each row shows: a row of `keypoints`, or -1.
    """
    v = keypoints[..., 2]
    chance = np.where(v == 2, 1 - faults.missed_joints, np.where(v == 1, faults.guessed_joints, 0))
    found = rng.random(v.shape) < chance
    spread = 2 * np.array(COCO.sigmas) * np.sqrt(areas)[:, None]  # where OKS falls to exp(-1/2)
    noise = rng.normal(0, faults.noise, (*v.shape, 2)) * np.where(v == 1, 3, 1)[..., None]
    told = np.zeros(keypoints.shape)
    told[..., :2] = keypoints[..., :2] + noise * spread[..., None]
    told[..., 2] = rng.uniform(0.5, 0.95, v.shape) * np.where(v == 1, 0.5, 1)
    told[~found] = 0
    kept = (found.sum(1) >= max(1, faults.least_joints)) & (rng.random(len(told)) >= faults.missed_people)
    false = _false_people(rng, keypoints, size_hw, rng.poisson(faults.false_people))
    everyone = np.concatenate([told[kept], false])
    who = np.concatenate([np.flatnonzero(kept), np.full(len(false), -1)])
    order = rng.permutation(len(everyone))
    return People(everyone[order], everyone[order, :, 2].mean(1)), who[order]


def _false_people(
    rng: np.random.Generator, keypoints: np.ndarray, size_hw: tuple[int, int], count: int
) -> np.ndarray:
    """(count, 17, 3): parts of somebody's pose at another place, fainter than true people."""
    false = np.zeros((count if len(keypoints) else 0, keypoints.shape[1], 3))
    for person in false:
        model = keypoints[rng.integers(len(keypoints))]
        middle = model[:, :2].mean(0)
        person[:, :2] = model[:, :2] - middle + rng.random(2) * size_hw[::-1]
        person[:, 2] = rng.uniform(0.2, 0.6, len(person))
        person[rng.random(len(person)) < rng.uniform(0.2, 0.8)] = 0
    return false
