"""Other ways to do a step of the grouping, in plain Python: what grouping_ablation.py puts in place of ours.

Each function stands for a step of tests/grouping_twin.py (its `Steps`), and takes and gives what that one
does. They are here to be compared, on AP alone; the C++ has none of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from simplepose.config import GroupingSettings

# Where the top lies that is highest at cell x, y.


def at_the_cell(values: np.ndarray, x: int, y: int) -> tuple[float, float]:
    """Unrefined."""
    return x, y


def parabola(values: np.ndarray, x: int, y: int) -> tuple[float, float]:
    """The top of a parabola through three cells along each axis; ours goes through their logarithms."""
    return x + _top(values[y], x), y + _top(values[:, x], y)


def _top(line: np.ndarray, position: int) -> float:
    if len(line) < 3:
        return 0.0
    middle = min(max(position, 1), len(line) - 2)
    left, centre, right = line[middle - 1 : middle + 2].tolist()
    bend = left - 2 * centre + right
    return min(max(middle + 0.5 * (left - right) / bend - position, -0.5), 0.5) if bend < 0 else 0.0


def centroid(values: np.ndarray, x: int, y: int) -> tuple[float, float]:
    """The mean place of the 5 x 5 cells around, weighted with their values.

    Published, but there on pixels of enlarged maps, and with its axes exchanged.
    """
    rows, columns = (slice(max(place - 2, 0), place + 3) for place in (y, x))
    weights = np.maximum(values[rows, columns], 0)
    ys, xs = np.mgrid[rows, columns][:, : weights.shape[0], : weights.shape[1]]
    return float((weights * xs).sum() / weights.sum()), float((weights * ys).sum() / weights.sum())


def cubic_maximum(values: np.ndarray, x: int, y: int, steps: int = 32) -> tuple[float, float]:
    """The highest of 33 x 33 points about the cell, interpolated as OpenCV enlarges (cubic, a = -0.75)."""
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


# How a limb map is read between two peaks.


def nearest_cell(map_: np.ndarray, x: float, y: float) -> float:
    """Ours interpolates between four."""
    row, column = (round(min(max(p, 0), n - 1)) for p, n in zip((y, x), map_.shape, strict=True))
    return float(map_[row, column])


def always_all(length: float, settings: GroupingSettings) -> int:
    """As many samples on a short limb as on a long one."""
    return settings.limb_samples


def mean_of_samples(values: list[float], settings: GroupingSettings) -> float:
    """Published; ours is the value that most samples reach."""
    supporting = sum(value > settings.limb_threshold for value in values)
    return statistics.fmean(values) if supporting >= settings.limb_support * len(values) else 0.0


# A person's score, of the scores of joints and limbs; it decides the order of people, and with it AP.
# The published 1 - 1 / sum has no row: it orders people as ours does.


def mean_of_joints(joints: list[float], limbs: list[float], whole: int) -> float:
    return statistics.fmean(joints)


def joint_count(joints: list[float], limbs: list[float], whole: int) -> float:
    return len(joints)


def sum_by_joints(joints: list[float], limbs: list[float], whole: int) -> float:
    """What the published code compares with its threshold."""
    return (sum(joints) + sum(limbs)) / len(joints)


def mean_of_limbs(joints: list[float], limbs: list[float], whole: int) -> float:
    return statistics.fmean(limbs) if limbs else 0.0


def sum_of_limbs(joints: list[float], limbs: list[float], whole: int) -> float:
    return sum(limbs)


# How peaks become groups, {joint: peak}.

Groups = list[dict[int, int]]


def best_limb_first(peaks: list, limb_ends: list, connections: list) -> Groups:
    """The best connection of all joins two groups, if no joint is in both, then the next best; no sums."""
    home = {(joint, i): {joint: i} for joint, of_joint in enumerate(peaks) for i in range(len(of_joint))}
    links = [
        (score, (a, i), (b, j))
        for (a, b), found in zip(limb_ends, connections, strict=True)
        for i, j, score in found
    ]
    for _, start, end in sorted(links, key=lambda link: -link[0]):
        group, other = home[start], home[end]
        if not group.keys() & other.keys():
            group.update(other)
            home.update((peak, group) for peak in other.items())
    return list({id(group): group for group in home.values()}.values())


def limb_by_limb(peaks: list, limb_ends: list, connections: list) -> Groups:
    """Limb after limb in the skeleton's order, each peak in one connection of a limb; the better overwrites.

    As published, but that a person is given either end, and without the rule on lengths.
    """
    people: list[
        dict[int, tuple[int, float]]
    ] = []  # joint: its peak, and the score of the limb that brought it
    for (a, b), found in zip(limb_ends, connections, strict=True):
        for i, j, score in _each_peak_once(found):
            ends = {a: (i, score), b: (j, score)}
            held_by = [
                p for p in people if any(joint in p and p[joint][0] == ends[joint][0] for joint in ends)
            ]
            if not held_by:
                people.append(ends)
            elif len(held_by) == 1:
                _overwrite(held_by[0], ends)
            elif _may_join(*held_by, score):
                held_by[0].update(held_by[1])
                people.remove(held_by[1])
    held = {(joint, i) for person in people for joint, (i, _) in person.items()}
    numbers = [(joint, i) for joint, of_joint in enumerate(peaks) for i in range(len(of_joint))]
    groups = [{joint: i for joint, (i, _) in person.items()} for person in people]
    return groups + [{joint: i} for joint, i in numbers if (joint, i) not in held]


def _each_peak_once(found: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    kept: list[tuple[int, int, float]] = []
    for i, j, score in found:
        if all(i != start and j != end for start, end, _ in kept):
            kept.append((i, j, score))
    return kept


def _overwrite(person: dict[int, tuple[int, float]], ends: dict[int, tuple[int, float]]) -> None:
    for joint, new in ends.items():
        if joint not in person or person[joint][1] < new[1]:
            person[joint] = new


def _may_join(one: dict, other: dict, score: float) -> bool:
    weakest = min(held for _, held in (*one.values(), *other.values()))
    return not one.keys() & other.keys() and score >= 0.7 * weakest


def leave_loose(groups: Groups, peaks: list, settings: GroupingSettings) -> Groups:
    """No joint without limbs is given to anybody."""
    return groups


# A row of the table each: the steps that differ from ours.
ROWS: dict[str, dict[str, Callable[..., Any]]] = {
    "peaks at their cells": {"place": at_the_cell},
    "peaks by a parabola of values": {"place": parabola},
    "peaks by the centroid of 5 x 5": {"place": centroid},
    "peaks by cubic interpolation": {"place": cubic_maximum},
    "limbs read at the nearest cell": {"read": nearest_cell},
    "20 samples on every limb": {"samples": always_all},
    "limb score: mean of samples": {"support": mean_of_samples},
    "person score: mean of joints": {"score": mean_of_joints},
    "person score: number of joints": {"score": joint_count},
    "person score: sum / its joints": {"score": sum_by_joints},
    "person score: mean of limbs": {"score": mean_of_limbs},
    "person score: sum of limbs": {"score": sum_of_limbs},
    "limb by limb, overwriting": {"merge": limb_by_limb},
    "limb by limb, no loose joints": {"merge": limb_by_limb, "gather": leave_loose},
    "best limb first, no votes": {"merge": best_limb_first},
    "best limb first, no loose joints": {"merge": best_limb_first, "gather": leave_loose},
}
