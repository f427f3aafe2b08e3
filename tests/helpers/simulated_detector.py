"""Simulated detections of an imperfect network: noise, missing joints, missed people and false people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simplepose.people import People
from simplepose.skeleton import COCO


@dataclass(frozen=True)
class DetectorErrors:
    """Rates of errors; with the defaults, the visible joints are found exactly.

    Attributes:
        noise: standard deviation of a joint, in units of its COCO deviation at the person's size.
        missed_joints: probability that a visible joint is not found.
        guessed_joints: probability that a hidden joint is found, with three times the noise.
        missed_people: probability that a person is not found.
        min_joints: people with fewer found joints are dropped.
        false_people: mean number of false people per frame.
    """

    noise: float = 0.0
    missed_joints: float = 0.0
    guessed_joints: float = 0.0
    missed_people: float = 0.0
    min_joints: int = 2
    false_people: float = 0.0


# Errors of a good network on frames of some difficulty.
TYPICAL_ERRORS = DetectorErrors(
    noise=0.45, missed_joints=0.08, guessed_joints=0.15, missed_people=0.05, min_joints=3, false_people=0.3
)


def simulate_detections(
    rng: np.random.Generator,
    keypoints: np.ndarray,
    areas: np.ndarray,
    size_hw: tuple[int, int],
    errors: DetectorErrors,
) -> tuple[People, np.ndarray]:
    """Simulate the people found in one frame, in random order.

    Args:
        rng: samples the errors.
        keypoints: (P, 17, 3) x, y, v: v 0 invisible, 1 hidden, 2 visible.
        areas: (P,) area of each person, pixels^2.
        size_hw: size of the image, for the positions of false people.
        errors: rates of errors.

    Returns:
        Q people without ids, and (Q,) int64 index of each row's person in `keypoints`, or -1 for a false
        person.
    """
    v = keypoints[..., 2]
    probability = np.where(v == 2, 1 - errors.missed_joints, np.where(v == 1, errors.guessed_joints, 0))
    found = rng.random(v.shape) < probability
    joint_std = 2 * np.array(COCO.sigmas) * np.sqrt(areas)[:, None]  # where OKS falls to exp(-1/2)
    noise = rng.normal(0, errors.noise, (*v.shape, 2)) * np.where(v == 1, 3, 1)[..., None]
    detected = np.zeros(keypoints.shape)
    detected[..., :2] = keypoints[..., :2] + noise * joint_std[..., None]
    detected[..., 2] = rng.uniform(0.5, 0.95, v.shape) * np.where(v == 1, 0.5, 1)
    detected[~found] = 0
    kept = (found.sum(1) >= max(1, errors.min_joints)) & (rng.random(len(detected)) >= errors.missed_people)
    false = _false_people(rng, keypoints, size_hw, rng.poisson(errors.false_people))
    all_people = np.concatenate([detected[kept], false])
    person_indices = np.concatenate([np.flatnonzero(kept), np.full(len(false), -1)])
    order = rng.permutation(len(all_people))
    return People(all_people[order], all_people[order, :, 2].mean(1)), person_indices[order]


def _false_people(
    rng: np.random.Generator, keypoints: np.ndarray, size_hw: tuple[int, int], count: int
) -> np.ndarray:
    """Create `count` parts of existing poses at other positions, with lower scores: (count, 17, 3)."""
    false = np.zeros((count if len(keypoints) else 0, keypoints.shape[1], 3))
    for person in false:
        model = keypoints[rng.integers(len(keypoints))]
        middle = model[:, :2].mean(0)
        person[:, :2] = model[:, :2] - middle + rng.random(2) * size_hw[::-1]
        person[:, 2] = rng.uniform(0.2, 0.6, len(person))
        person[rng.random(len(person)) < rng.uniform(0.2, 0.8)] = 0
    return false
