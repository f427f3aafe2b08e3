"""Alternative steps of the grouping in plain Python, compared by grouping_ablation.py.

Each function replaces a step of tests/helpers/slow_grouping.py (a field of its `Steps`), with the same
arguments and return value. They exist to be compared by AP only; the C++ has none of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from simplepose.config import GroupingSettings

# Position of the peak whose highest cell is x, y.


def peak_cell(values: np.ndarray, x: int, y: int) -> tuple[float, float]:
    """Return the cell itself, without refinement."""
    return x, y


def parabola(values: np.ndarray, x: int, y: int) -> tuple[float, float]:
    """Find the vertex of a parabola through three cells along each axis; ours uses their logarithms."""
    return x + _top(values[y], x), y + _top(values[:, x], y)


def _top(line: np.ndarray, position: int) -> float:
    if len(line) < 3:
        return 0.0
    middle = min(max(position, 1), len(line) - 2)
    left, center, right = line[middle - 1 : middle + 2].tolist()
    bend = left - 2 * center + right
    return min(max(middle + 0.5 * (left - right) / bend - position, -0.5), 0.5) if bend < 0 else 0.0


def centroid(values: np.ndarray, x: int, y: int) -> tuple[float, float]:
    """Compute the centroid of the 5 x 5 cells around the peak, weighted by their values.

    The published code does this on pixels of enlarged maps, and with its axes exchanged.
    """
    rows, columns = (slice(max(place - 2, 0), place + 3) for place in (y, x))
    weights = np.maximum(values[rows, columns], 0)
    ys, xs = np.mgrid[rows, columns][:, : weights.shape[0], : weights.shape[1]]
    return float((weights * xs).sum() / weights.sum()), float((weights * ys).sum() / weights.sum())


def cubic_maximum(values: np.ndarray, x: int, y: int, steps: int = 32) -> tuple[float, float]:
    """Find the highest of 33 x 33 points around the cell, interpolated like cv2.INTER_CUBIC (a = -0.75)."""
    offsets, taps = np.linspace(-0.5, 0.5, steps + 1), np.arange(-2, 3)
    weights = _cubic(np.abs(taps - offsets[:, None]))
    rows, columns = (np.clip(p + taps, 0, n - 1) for p, n in zip((y, x), values.shape, strict=True))
    fine = weights @ values[np.ix_(rows, columns)] @ weights.T
    down, across = np.unravel_index(fine.argmax(), fine.shape)
    return x + float(offsets[across]), y + float(offsets[down])


def _cubic(distance: np.ndarray, a: float = -0.75) -> np.ndarray:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


# Reading a limb map between two peaks.


def nearest_cell(map_: np.ndarray, x: float, y: float) -> float:
    """Read the nearest cell; ours interpolates between four."""
    row, column = (round(min(max(p, 0), n - 1)) for p, n in zip((y, x), map_.shape, strict=True))
    return float(map_[row, column])


def constant_sample_count(length: float, settings: GroupingSettings) -> int:
    """Use the same number of samples on short and long limbs."""
    return settings.limb_samples


def mean_of_samples(values: list[float], settings: GroupingSettings) -> float:
    """Compute the mean of the samples, as published; ours is the value that most samples reach."""
    supporting = sum(value > settings.limb_threshold for value in values)
    return statistics.fmean(values) if supporting >= settings.limb_support * len(values) else 0.0


# Score of a person from the scores of joints and limbs. It decides the order of people, which affects AP.
# The published 1 - 1 / sum has no row: it gives the same order as ours.


def mean_of_joints(joints: list[float], limbs: list[float], whole: int) -> float:
    return statistics.fmean(joints)


def joint_count(joints: list[float], limbs: list[float], whole: int) -> float:
    return len(joints)


def sum_per_joint(joints: list[float], limbs: list[float], whole: int) -> float:
    """Compute the value that the published code compares with its threshold."""
    return (sum(joints) + sum(limbs)) / len(joints)


def mean_of_limbs(joints: list[float], limbs: list[float], whole: int) -> float:
    return statistics.fmean(limbs) if limbs else 0.0


def sum_of_limbs(joints: list[float], limbs: list[float], whole: int) -> float:
    return sum(limbs)


# Merging of peaks into groups, {joint: peak}.

Groups = list[dict[int, int]]


def merge_best_limb_first(peaks: list, limb_ends: list, connections: list) -> Groups:
    """Merge groups by the best connection first, unless both contain the same joint; without sums."""
    group_of = {(joint, i): {joint: i} for joint, of_joint in enumerate(peaks) for i in range(len(of_joint))}
    links = [
        (score, (a, i), (b, j))
        for (a, b), found in zip(limb_ends, connections, strict=True)
        for i, j, score in found
    ]
    for _, start, end in sorted(links, key=lambda link: -link[0]):
        group, other = group_of[start], group_of[end]
        if not group.keys() & other.keys():
            group.update(other)
            group_of.update((peak, group) for peak in other.items())
    return list({id(group): group for group in group_of.values()}.values())


def merge_limb_by_limb(peaks: list, limb_ends: list, connections: list) -> Groups:
    """Merge limb by limb in the skeleton's order, each peak in one connection a limb; better ones overwrite.

    As published, except that either end may add to a person, and without the rule on lengths.
    """
    people: list[
        dict[int, tuple[int, float]]
    ] = []  # joint: its peak, and the score of the limb that added it
    for (a, b), found in zip(limb_ends, connections, strict=True):
        for i, j, score in _select_exclusive(found):
            ends = {a: (i, score), b: (j, score)}
            owners = [
                p for p in people if any(joint in p and p[joint][0] == ends[joint][0] for joint in ends)
            ]
            if not owners:
                people.append(ends)
            elif len(owners) == 1:
                _overwrite(owners[0], ends)
            elif _can_merge(*owners, score):
                owners[0].update(owners[1])
                people.remove(owners[1])
    assigned = {(joint, i) for person in people for joint, (i, _) in person.items()}
    numbers = [(joint, i) for joint, of_joint in enumerate(peaks) for i in range(len(of_joint))]
    groups = [{joint: i for joint, (i, _) in person.items()} for person in people]
    return groups + [{joint: i} for joint, i in numbers if (joint, i) not in assigned]


def _select_exclusive(found: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    kept: list[tuple[int, int, float]] = []
    for i, j, score in found:
        if all(i != start and j != end for start, end, _ in kept):
            kept.append((i, j, score))
    return kept


def _overwrite(person: dict[int, tuple[int, float]], ends: dict[int, tuple[int, float]]) -> None:
    for joint, new in ends.items():
        if joint not in person or person[joint][1] < new[1]:
            person[joint] = new


def _can_merge(one: dict, other: dict, score: float) -> bool:
    weakest = min(assigned for _, assigned in (*one.values(), *other.values()))
    return not one.keys() & other.keys() and score >= 0.7 * weakest


def leave_unassigned(groups: Groups, peaks: list, settings: GroupingSettings) -> Groups:
    """Keep joints without limbs unassigned."""
    return groups


# One row of the table each: the steps that differ from ours.
ROWS: dict[str, dict[str, Callable[..., Any]]] = {
    "peaks at their cells": {"place": peak_cell},
    "peaks by a parabola of values": {"place": parabola},
    "peaks by the centroid of 5 x 5": {"place": centroid},
    "peaks by cubic interpolation": {"place": cubic_maximum},
    "limbs read at the nearest cell": {"read": nearest_cell},
    "20 samples on every limb": {"samples": constant_sample_count},
    "limb score: mean of samples": {"support": mean_of_samples},
    "person score: mean of joints": {"score": mean_of_joints},
    "person score: number of joints": {"score": joint_count},
    "person score: sum / its joints": {"score": sum_per_joint},
    "person score: mean of limbs": {"score": mean_of_limbs},
    "person score: sum of limbs": {"score": sum_of_limbs},
    "limb by limb, overwriting": {"merge": merge_limb_by_limb},
    "limb by limb, no unassigned joints": {"merge": merge_limb_by_limb, "gather": leave_unassigned},
    "best limb first, no votes": {"merge": merge_best_limb_first},
    "best limb first, no unassigned joints": {"merge": merge_best_limb_first, "gather": leave_unassigned},
}
