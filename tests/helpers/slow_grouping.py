"""A slow and simple implementation of the grouping, to test the C++ code against.

It has the same rules but independent code: plateaus are labeled over the whole map, and the strength between
two groups is summed from all their connections at every step. Each of the `Steps` is a separate function,
so that benchmarks/grouping_ablation.py can replace it.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simplepose.config import GroupingSettings
from simplepose.people import People
from simplepose.skeleton import Skeleton

LOG_FLOOR = 1e-3


def find_peaks(
    map_: np.ndarray, settings: GroupingSettings, steps: Steps
) -> list[tuple[float, float, float]]:
    """Find the peaks of a map: x, y in cells and score, best first."""
    values = np.where(np.isfinite(map_), map_, 0).astype(np.float64)
    visited, peaks = set(), []
    for y, x in np.argwhere(values >= np.float32(settings.peak_threshold)).tolist():
        if (y, x) in visited:
            continue
        plateau, highest = [(y, x)], True
        visited.add((y, x))
        for cell in plateau:
            for other in neighbors(cell, values.shape):
                highest = highest and values[other] <= values[cell]
                if values[other] == values[cell] and other not in visited:
                    visited.add(other)
                    plateau.append(other)
        if highest:
            places = [steps.place(values, cx, cy) for cy, cx in plateau]
            mean_x, mean_y = (sum(p[axis] for p in places) / len(places) for axis in (0, 1))
            peaks.append((mean_x, mean_y, float(values[y, x])))
    return sorted(peaks, key=lambda peak: -peak[2])[: settings.max_peaks]


def neighbors(cell: tuple[int, int], shape: tuple[int, ...]) -> list[tuple[int, int]]:
    y, x = cell
    around = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    return [(a, b) for a, b in around if 0 <= a < shape[0] and 0 <= b < shape[1]]


def log_parabola(values: np.ndarray, x: int, y: int) -> tuple[float, float]:
    """Refine the position of the peak at cell x, y with parabolas through logarithms."""
    return x + offset(values[y], x), y + offset(values[:, x], y)


def offset(line: np.ndarray, position: int) -> float:
    if len(line) < 3:
        return 0.0
    middle = min(max(position, 1), len(line) - 2)
    floor = LOG_FLOOR * line[position]
    left, center, right = (math.log(max(float(v), floor)) for v in line[middle - 1 : middle + 2])
    bend = left - 2 * center + right
    if bend >= 0:
        return 0.0
    return min(max(middle + 0.5 * (left - right) / bend - position, -0.5), 0.5)


def interpolated(map_: np.ndarray, x: float, y: float) -> float:
    height, width = map_.shape
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = math.floor(x), math.floor(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    a, b = x - left, y - top
    above = float(map_[top, left]) * (1 - a) + float(map_[top, right]) * a
    below = float(map_[bottom, left]) * (1 - a) + float(map_[bottom, right]) * a
    value = above * (1 - b) + below * b
    return value if math.isfinite(value) else 0.0


def one_per_cell(length: float, settings: GroupingSettings) -> int:
    """Return the number of samples of a limb: about one per cell."""
    return min(max(math.floor(length + 0.5) + 1, 2), settings.limb_samples)


def compute_support_quantile(values: list[float], settings: GroupingSettings) -> float:
    """Compute a limb's score from its samples, without its ends and length; 0 if they do not support it."""
    reached = sorted(values, reverse=True)[math.ceil(settings.limb_support * len(values)) - 1]
    return reached if reached > settings.limb_threshold else 0.0


def connect(
    map_: np.ndarray, starts: list, ends: list, settings: GroupingSettings, steps: Steps
) -> list[tuple[int, int, float]]:
    """Find the pairs of peaks that a limb may connect: (start, end, score)."""
    found = []
    for i, (xa, ya, start_score) in enumerate(starts):
        for j, (xb, yb, end_score) in enumerate(ends):
            length = math.sqrt((xb - xa) ** 2 + (yb - ya) ** 2)
            if length == 0:
                continue
            n = steps.samples(length, settings)
            dx, dy = (xb - xa) / (n - 1), (yb - ya) / (n - 1)
            values = [min(steps.read(map_, xa + k * dx, ya + k * dy), 1.0) for k in range(n)]
            score = steps.support(values, settings)
            score *= min(min(start_score, end_score) / settings.confident_peak, 1.0)
            score += min(0.5 * map_.shape[0] / length - 1, 0.0)
            if score > 0:
                found.append((i, j, score))
    return sorted(found, key=lambda c: (-c[2], c[0], c[1]))[: settings.max_connections]


def merge_by_votes(peaks: list, limb_ends: list, connections: list) -> list[dict]:
    """Merge peaks that limbs connect into groups {joint: peak}; single peaks are groups too."""
    numbers = [(joint, i) for joint, of_joint in enumerate(peaks) for i in range(len(of_joint))]
    groups = {n: {joint: i} for n, (joint, i) in enumerate(numbers)}
    home = {peak: n for n, peak in enumerate(numbers)}
    links = list_links(limb_ends, connections)
    while True:
        strength: dict[tuple[int, int], float] = defaultdict(float)
        for start, end, score in links:
            low, high = sorted((home[start], home[end]))
            if not groups[low].keys() & groups[high].keys():
                strength[low, high] += score
        if not strength:
            return list(groups.values())
        low, high = max(strength, key=lambda pair: (strength[pair], -pair[0], -pair[1]))
        for peak in groups[high].items():
            home[peak] = low
        groups[low] |= groups.pop(high)


def list_links(limb_ends: list, connections: list) -> list[tuple[tuple[int, int], tuple[int, int], float]]:
    """List all limbs' connections as ((joint, peak), (joint, peak), score)."""
    each = zip(limb_ends, connections, strict=True)
    return [((a, i), (b, j), score) for (a, b), found in each for i, j, score in found]


def mean_of_all(joint_scores: list[float], limb_scores: list[float], total: int) -> float:
    """Compute a person's score; `total` is the skeleton's number of joints and limbs."""
    return (sum(joint_scores) + sum(limb_scores)) / total


def assemble(
    peaks: list, limb_ends: list, connections: list, settings: GroupingSettings, steps: Steps
) -> list[tuple[dict, float]]:
    """Assemble people, best first, as ({joint: peak}, score)."""
    links, people = list_links(limb_ends, connections), []
    for members in steps.gather(steps.merge(peaks, limb_ends, connections), peaks, settings):
        joints = [peaks[joint][i][2] for joint, i in sorted(members.items())]
        limbs = [score for (a, i), (b, j), score in links if members.get(a) == i and members.get(b) == j]
        enough = sum(joints) + sum(limbs) >= settings.min_person_score * len(joints)
        if len(joints) >= settings.min_person_keypoints and enough:
            people.append((members, steps.score(joints, limbs, len(peaks) + len(limb_ends))))
    return sorted(people, key=lambda person: -person[1])


def weight_by_area(
    people: list[tuple[dict, float]], peaks: list, map_area: int, settings: GroupingSettings
) -> list[tuple[dict, float]]:
    """Multiply scores by (box area / map area) ** `score_area_exponent`; one joint has the area of a cell."""
    weighted = []
    for members, score in people:
        xy = np.array([peaks[joint][i][:2] for joint, i in members.items()])
        ratio = min(float(np.prod(np.ptp(xy, axis=0) + 1)) / map_area, 1.0)
        weighted.append((members, score * ratio**settings.score_area_exponent))
    return sorted(weighted, key=lambda person: -person[1])


def gather(groups: list[dict], peaks: list, settings: GroupingSettings) -> list[dict]:
    """Attach small groups to the nearest larger group that lacks their joints."""
    places = [np.array([peaks[joint][i][:2] for joint, i in sorted(g.items())]) for g in groups]
    scores = [[peaks[joint][i][2] for joint, i in sorted(g.items())] for g in groups]
    attachments = []
    for small_group, person in itertools.permutations(range(len(groups)), 2):
        diagonal = math.hypot(*np.ptp(places[person], axis=0))
        small = len(groups[small_group]) <= settings.max_unassigned_keypoints and len(
            groups[small_group]
        ) < len(groups[person])
        small &= sum(scores[small_group]) / len(scores[small_group]) >= settings.min_unassigned_score
        if small and diagonal > 0 and settings.unassigned_reach > 0:
            gap = np.hypot(*(places[small_group][:, None] - places[person][None]).transpose(2, 0, 1)).min()
            if gap <= settings.unassigned_reach * diagonal:
                attachments.append((gap / diagonal, small_group, person))
    attached: set[int] = set()
    for _, small_group, person in sorted(attachments):
        if not {small_group, person} & attached and not groups[small_group].keys() & groups[person].keys():
            groups[person] |= groups[small_group]
            attached.add(small_group)
    return [g for number, g in enumerate(groups) if number not in attached]


@dataclass(frozen=True)
class Steps:
    """The functions of the steps; the defaults are those of the C++ code."""

    place: Callable = log_parabola
    samples: Callable = one_per_cell
    read: Callable = interpolated
    support: Callable = compute_support_quantile
    merge: Callable = merge_by_votes
    gather: Callable = gather
    score: Callable = mean_of_all


OURS = Steps()


def group(maps: np.ndarray, skeleton: Skeleton, settings: GroupingSettings, steps: Steps = OURS) -> People:
    """Find people in maps, as `simplepose.grouping.group` does."""
    keypoint_maps, limb_maps = maps[skeleton.keypoint_channels], maps[skeleton.limb_channels]
    peaks = [find_peaks(m, settings, steps) for m in keypoint_maps]
    connections = [
        connect(m, peaks[a], peaks[b], settings, steps)
        for m, (a, b) in zip(limb_maps, skeleton.limb_ends, strict=True)
    ]
    people = assemble(peaks, skeleton.limb_ends.tolist(), connections, settings, steps)
    people = weight_by_area(people, peaks, maps.shape[1] * maps.shape[2], settings)
    keypoints = np.zeros((len(people), len(peaks), 3))
    for person, (members, _) in zip(keypoints, people, strict=True):
        for joint, index in members.items():
            x, y, score = peaks[joint][index]
            center = settings.stride / 2 - 0.5
            person[joint] = x * settings.stride + center, y * settings.stride + center, min(score, 1)
    return People(skeleton.to_annotated(keypoints), np.array([score for _, score in people]))


def assert_same_people(found: People, expected: People) -> None:
    """Assert the same people and keypoints, with positions equal to 1e-4 pixels."""
    assert found.keypoints.shape == expected.keypoints.shape
    np.testing.assert_array_equal(found.found, expected.found)
    np.testing.assert_allclose(found.keypoints, expected.keypoints, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-5)
