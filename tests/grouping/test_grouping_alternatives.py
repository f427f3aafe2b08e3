"""The alternative steps of the grouping's ablation work as described."""

from __future__ import annotations

import importlib
import math
from types import ModuleType

import numpy as np
import pytest
import slow_grouping
import synthetic_maps
from random_people import oks
from repo_paths import ROOT

from simplepose.grouping import Settings
from simplepose.skeleton import COCO


@pytest.fixture
def alternatives(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("grouping_alternatives")


def draw_gaussian(x: float, y: float, size: tuple[int, int]) -> np.ndarray:
    ys, xs = np.mgrid[: size[0], : size[1]]
    return np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 2.25**2))


def test_all_alternatives_find_two_people(alternatives: ModuleType) -> None:
    size = (160, 240)
    rng = np.random.default_rng(1)
    people = np.stack(
        [synthetic_maps.sample_person(rng, 60, 10, 120), synthetic_maps.sample_person(rng, 180, 20, 120)]
    )
    maps = synthetic_maps.draw_maps(people, size)
    for name, changed in alternatives.ROWS.items():
        found = slow_grouping.group(maps, COCO, Settings(), slow_grouping.Steps(**changed))
        similarities = [max(oks(person, other) for other in found.keypoints) for person in people]
        assert len(found) == 2, name
        assert min(similarities) > 0.9, (name, similarities)


@pytest.mark.parametrize(
    ("place", "error"),
    [("peak_cell", 0.5), ("parabola", 0.03), ("centroid", 0.3), ("cubic_maximum", 0.1)],
)
@pytest.mark.parametrize(("x", "y"), [(8.3, 6.8), (8.0, 7.0), (7.6, 1.4), (0.2, 12.8)])
def test_refined_position_is_near_the_peak(
    alternatives: ModuleType, place: str, error: float, x: float, y: float
) -> None:
    inside = 2 <= round(x) < 14 and 2 <= round(y) < 12
    found = getattr(alternatives, place)(draw_gaussian(x, y, (14, 16)), round(x), round(y))
    assert math.dist(found, (x, y)) <= (error if inside else 1) * math.sqrt(2)


def test_limb_sampling_and_scoring(alternatives: ModuleType) -> None:
    map_ = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert alternatives.nearest_cell(map_, 1.4, 0.6) == 5
    assert alternatives.nearest_cell(map_, -0.5, 2.5) == 8
    assert alternatives.constant_sample_count(1.0, Settings()) == Settings().limb_samples
    assert alternatives.mean_of_samples([1, 0.5, 0.5, 0.5, 0], Settings()) == pytest.approx(0.5)
    assert alternatives.mean_of_samples([1, 0.5, 0.5, 0, 0], Settings()) == 0


# Two people, A and B, with three joints each: peak 0 of each joint is A's.
PEAKS = [[(0, 0, 1.0), (9, 0, 1.0)]] * 3
ENDS = [[0, 1], [1, 2], [0, 2]]
TRUE_PEOPLE = {(0, 0), (1, 0), (2, 0)}, {(0, 1), (1, 1), (2, 1)}


def as_sets(found: list[dict[int, int]]) -> set[frozenset[tuple[int, int]]]:
    return {frozenset(group.items()) for group in found}


@pytest.mark.parametrize("merge", ["merge_best_limb_first", "merge_limb_by_limb"])
def test_strong_limbs_give_the_correct_people(alternatives: ModuleType, merge: str) -> None:
    connections = [[(0, 0, 0.9), (1, 1, 0.8), (0, 1, 0.1)]] * 3
    found = getattr(alternatives, merge)(PEAKS, ENDS, connections)
    assert as_sets(found) == set(map(frozenset, TRUE_PEOPLE))
    unconnected = getattr(alternatives, merge)(PEAKS, ENDS, [[], [], []])
    assert as_sets(unconnected) == {frozenset({(joint, i)}) for joint in range(3) for i in range(2)}


def test_only_voting_rejects_one_strong_false_limb(alternatives: ModuleType) -> None:
    # A false limb from A's first joint to B's third is stronger than each of the two true limbs to A's third.
    connections = [
        [(0, 0, 0.9), (1, 1, 0.9)],
        [(0, 0, 0.5), (1, 1, 0.5)],
        [(0, 0, 0.5), (0, 1, 0.8), (1, 1, 0.5)],
    ]
    assert as_sets(slow_grouping.merge_by_votes(PEAKS, ENDS, connections)) == set(map(frozenset, TRUE_PEOPLE))
    assert as_sets(alternatives.merge_best_limb_first(PEAKS, ENDS, connections)) != set(
        map(frozenset, TRUE_PEOPLE)
    )


def test_stronger_limb_overwrites_in_fixed_order(alternatives: ModuleType) -> None:
    peaks = [[(0, 0, 1.0)], [(0, 5, 1.0)], [(0, 9, 1.0), (3, 9, 1.0)]]
    for score, kept in ((0.8, 1), (0.2, 0)):
        found = alternatives.merge_limb_by_limb(peaks, ENDS, [[(0, 0, 0.9)], [(0, 0, 0.5)], [(0, 1, score)]])
        assert {0: 0, 1: 0, 2: kept} in found
        assert {2: 1 - kept} in found
