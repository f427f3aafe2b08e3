"""What the ablation puts in place of the grouping's steps does what its row says."""

from __future__ import annotations

import importlib
import math
from types import ModuleType

import drawn_maps
import grouping_twin
import numpy as np
import pytest
from places import ROOT
from scattered import oks

from simplepose.grouping import Settings
from simplepose.skeleton import COCO


@pytest.fixture
def alternatives(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("grouping_alternatives")


def bump(x: float, y: float, size: tuple[int, int]) -> np.ndarray:
    ys, xs = np.mgrid[: size[0], : size[1]]
    return np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 2.25**2))


def test_each_finds_two_people_again(alternatives: ModuleType) -> None:
    size = (160, 240)
    rng = np.random.default_rng(1)
    people = np.stack([drawn_maps.person(rng, 60, 10, 120), drawn_maps.person(rng, 180, 20, 120)])
    maps = drawn_maps.draw(people, size)
    for name, changed in alternatives.ROWS.items():
        found = grouping_twin.group(maps, COCO, Settings(), grouping_twin.Steps(**changed))
        likeness = [max(oks(person, other) for other in found.keypoints) for person in people]
        assert len(found) == 2, name
        assert min(likeness) > 0.9, (name, likeness)


@pytest.mark.parametrize(
    ("place", "error"),
    [("at_the_cell", 0.5), ("parabola", 0.03), ("centroid", 0.3), ("cubic_maximum", 0.1)],
)
@pytest.mark.parametrize(("x", "y"), [(8.3, 6.8), (8.0, 7.0), (7.6, 1.4), (0.2, 12.8)])
def test_a_place_is_near_the_top(
    alternatives: ModuleType, place: str, error: float, x: float, y: float
) -> None:
    inside = 2 <= round(x) < 14 and 2 <= round(y) < 12
    found = getattr(alternatives, place)(bump(x, y, (14, 16)), round(x), round(y))
    assert math.dist(found, (x, y)) <= (error if inside else 1) * math.sqrt(2)


def test_how_limbs_are_read_and_scored(alternatives: ModuleType) -> None:
    map_ = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert alternatives.nearest_cell(map_, 1.4, 0.6) == 5
    assert alternatives.nearest_cell(map_, -0.5, 2.5) == 8
    assert alternatives.always_all(1.0, Settings()) == Settings().limb_samples
    assert alternatives.mean_of_samples([1, 0.5, 0.5, 0.5, 0], Settings()) == pytest.approx(0.5)
    assert alternatives.mean_of_samples([1, 0.5, 0.5, 0, 0], Settings()) == 0


# Two people, A and B: three joints each, peak 0 of each joint A's.
PEAKS = [[(0, 0, 1.0), (9, 0, 1.0)]] * 3
ENDS = [[0, 1], [1, 2], [0, 2]]
RIGHT = {(0, 0), (1, 0), (2, 0)}, {(0, 1), (1, 1), (2, 1)}


def groups(found: list[dict[int, int]]) -> set[frozenset[tuple[int, int]]]:
    return {frozenset(group.items()) for group in found}


@pytest.mark.parametrize("merge", ["best_limb_first", "limb_by_limb"])
def test_clear_limbs_give_the_right_people(alternatives: ModuleType, merge: str) -> None:
    connections = [[(0, 0, 0.9), (1, 1, 0.8), (0, 1, 0.1)]] * 3
    found = getattr(alternatives, merge)(PEAKS, ENDS, connections)
    assert groups(found) == set(map(frozenset, RIGHT))
    alone = getattr(alternatives, merge)(PEAKS, ENDS, [[], [], []])
    assert groups(alone) == {frozenset({(joint, i)}) for joint in range(3) for i in range(2)}


def test_only_votes_outvote_one_strong_false_limb(alternatives: ModuleType) -> None:
    # A limb from A's first joint to B's third is stronger than each of the two true ones to A's third.
    connections = [
        [(0, 0, 0.9), (1, 1, 0.9)],
        [(0, 0, 0.5), (1, 1, 0.5)],
        [(0, 0, 0.5), (0, 1, 0.8), (1, 1, 0.5)],
    ]
    assert groups(grouping_twin.merge_by_votes(PEAKS, ENDS, connections)) == set(map(frozenset, RIGHT))
    assert groups(alternatives.best_limb_first(PEAKS, ENDS, connections)) != set(map(frozenset, RIGHT))


def test_the_fixed_order_lets_a_better_limb_overwrite(alternatives: ModuleType) -> None:
    peaks = [[(0, 0, 1.0)], [(0, 5, 1.0)], [(0, 9, 1.0), (3, 9, 1.0)]]
    for score, kept in ((0.8, 1), (0.2, 0)):
        found = alternatives.limb_by_limb(peaks, ENDS, [[(0, 0, 0.9)], [(0, 0, 0.5)], [(0, 1, score)]])
        assert {0: 0, 1: 0, 2: kept} in found
        assert {2: 1 - kept} in found
