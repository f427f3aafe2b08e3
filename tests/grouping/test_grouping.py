"""Grouping: equal to the slow implementation, and correct on synthetic people and the reference scenes."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import slow_grouping
import synthetic_maps

from simplepose.config import GroupingSettings
from simplepose.grouping import Settings, group
from simplepose.skeleton import COCO, Skeleton

DOT = Skeleton("dot", ("a",), (), ("a",), (0.1,), ())
CHAIN = Skeleton(
    "chain", tuple("abcd"), (("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")), tuple("badc"), (0.1,) * 4, ()
)
LENIENT = Settings(min_person_keypoints=1, min_person_score=0.0)


def find_peaks(map_: np.ndarray, settings: GroupingSettings = LENIENT) -> np.ndarray:
    """Find the peaks of one map, (P, 3), best first: with one joint and no limbs, each peak is a person."""
    return group(np.ascontiguousarray(map_, np.float32)[None], DOT, settings).keypoints[:, 0]


def load(path: Path) -> ModuleType:
    """Import a module of the reference folder under its own name, because its modules import each other."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Comparison with the slow implementation.


@pytest.mark.parametrize("seed", range(60))
def test_equals_slow_grouping_on_random_maps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    h, w = rng.integers(1, 16, 2)
    maps = rng.uniform(-0.2, 1.1, (CHAIN.channels, h, w)).astype(np.float32)
    maps[CHAIN.keypoint_channels] = np.round(maps[CHAIN.keypoint_channels], seed % 3 + 1)  # plateaus
    maps[rng.uniform(size=maps.shape) < 0.02] = rng.choice([np.nan, np.inf, -np.inf])
    settings = replace(
        LENIENT,
        max_peaks=int(rng.integers(1, 30)),
        max_connections=int(rng.integers(1, 90)),
        limb_samples=int(rng.integers(2, 20)),
        limb_support=float(rng.choice([0.3, 0.5, 0.8, 1.0])),
        max_unassigned_keypoints=int(rng.integers(0, 4)),
        min_unassigned_score=float(rng.choice([0.0, 0.4])),
        unassigned_reach=float(rng.choice([0.0, 0.3, 1.5])),
        score_area_exponent=float(rng.choice([0.0, 0.1, 1.0])),
    )
    slow_grouping.assert_same_people(group(maps, CHAIN, settings), slow_grouping.group(maps, CHAIN, settings))


@pytest.mark.parametrize("hundred", range(5))
def test_equals_slow_grouping_on_synthetic_people(hundred: int) -> None:
    people_found = 0
    for seed in range(100 * hundred, 100 * hundred + 100):
        rng = np.random.default_rng(seed)
        size = (int(rng.integers(20, 60)) * 4, int(rng.integers(20, 90)) * 4)
        people = synthetic_maps.sample_crowd(rng, 1 + seed % 6, size)
        people[rng.uniform(size=people.shape[:2]) < 0.1] = 0
        maps = synthetic_maps.draw_maps(synthetic_maps.clear_outside_joints(people, size), size)
        maps += rng.normal(0, 0.03, maps.shape).astype(np.float32)
        found = group(maps, COCO)
        slow_grouping.assert_same_people(found, slow_grouping.group(maps, COCO, Settings()))
        people_found += len(found)
    assert people_found >= 150


def test_equals_slow_grouping_and_beats_published_rules_on_reference_scenes(shared: Path) -> None:
    scenes, score = (load(shared / "reference" / f"{name}.py") for name in ("scenes", "score"))
    poses = scenes.load_poses()
    truth, found = [], []
    for scene in range(200):
        maps, people = scenes.make_maps(scene, poses)
        answer = group(maps, COCO)
        truth.append(people)
        found.append((answer.keypoints, answer.scores))
        if scene % 9 == 0:
            slow_grouping.assert_same_people(answer, slow_grouping.group(maps, COCO, Settings()))
    assert score.coco_ap(truth, found)[0] >= 0.53  # published implementation: 0.378; this one: 0.542


# Peaks.


def test_gaussian_peak_has_subcell_accuracy_also_at_the_border() -> None:
    for x, y in [(30.0, 22.3), (17.49, 9.5), (0.0, 0.0), (-0.4, 31.4), (63.0, 47.2), (1.5, 40)]:
        ys, xs = np.mgrid[:12, :16] * 4 + 1.5
        map_ = 0.7 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 9**2))
        peaks = find_peaks(map_)
        np.testing.assert_allclose(peaks[:, :2], [[x, y]], atol=1e-3)


@pytest.mark.parametrize(
    ("rows", "expected_xy"),
    [
        (["....", ".99.", "...."], [(1.5, 1)]),  # between two equal cells
        (["9999", "9999"], [(1.5, 0.5)]),
        ([".9.9.", ".999."], [(2, 0.6)]),  # one bent plateau
        (["9.9", "...", "9.9"], [(0, 0), (2, 0), (0, 2), (2, 2)]),
        ([".55.", ".569", "...."], [(3, 1)]),  # a plateau with a higher neighbor is not a peak
        (["8"], [(0, 0)]),
        (["8...9"], [(4, 0), (0, 0)]),
        (["0"], []),
    ],
)
def test_plateau_is_one_peak(rows: list[str], expected_xy: list[tuple[float, float]]) -> None:
    map_ = np.array([[0.0 if c == "." else int(c) / 10 for c in row] for row in rows])
    found = (find_peaks(map_)[:, :2] - 1.5) / 4
    assert len(found) == len(expected_xy)
    np.testing.assert_allclose(found, np.reshape(expected_xy, (-1, 2)), atol=1e-5)


def test_best_peaks_are_kept(rng: np.random.Generator) -> None:
    map_ = rng.uniform(0.2, 1, (40, 40))
    all_peaks = find_peaks(map_)
    assert len(all_peaks) > 50
    np.testing.assert_array_equal(find_peaks(map_, replace(LENIENT, max_peaks=7)), all_peaks[:7])


def test_values_below_the_threshold_are_not_peaks() -> None:
    map_ = np.zeros((9, 9))
    map_[2, 2], map_[6, 6] = 0.39, 0.41
    assert len(find_peaks(map_, replace(LENIENT, peak_threshold=0.4))) == 1


# People.


@pytest.mark.parametrize("seed", range(5))
def test_finds_all_synthetic_people(seed: int) -> None:
    rng, size = np.random.default_rng(seed), (320, 600)
    people = np.stack([synthetic_maps.sample_person(rng, x, 20, 260) for x in (70, 190, 410, 520)])
    found = group(synthetic_maps.draw_maps(people, size), COCO)
    assert len(found) == 4
    assert found.found.all()
    order = np.argsort(found.keypoints[:, 0, 0])
    np.testing.assert_allclose(found.keypoints[order, :, :2], people[..., :2], atol=0.3)
    assert ((found.scores > 0.7) & (found.scores <= 1)).all()


def test_separates_two_overlapping_people(rng: np.random.Generator) -> None:
    people = np.stack(
        [synthetic_maps.sample_person(rng, 150, 20, 280), synthetic_maps.sample_person(rng, 195, 35, 260)]
    )
    found = group(synthetic_maps.draw_maps(people, (320, 320)), COCO)
    assert len(found) == 2
    order = np.argsort(found.keypoints[:, 0, 0])
    np.testing.assert_allclose(found.keypoints[order, :, :2], people[..., :2], atol=6)


@pytest.mark.parametrize(("x", "y"), [(10, 40), (310, 40), (160, -35), (160, 200)])
def test_finds_the_visible_part_of_a_cut_person(x: float, y: float) -> None:
    size = (320, 320)
    people = synthetic_maps.clear_outside_joints(
        synthetic_maps.sample_person(np.random.default_rng(1), x, y, 260)[None], size
    )
    assert 5 < (people[..., 2] > 0).sum() < 17
    found = group(synthetic_maps.draw_maps(people, size), COCO)
    np.testing.assert_array_equal(found.found, people[..., 2] > 0)
    np.testing.assert_allclose(found.keypoints[..., :2], people[..., :2], atol=0.3)


@pytest.mark.parametrize("seed", range(5))
def test_mirrored_maps_give_mirrored_people(seed: int) -> None:
    rng, size = np.random.default_rng(seed), (280, 520)
    maps = synthetic_maps.draw_maps(synthetic_maps.sample_crowd(rng, 5, size), size)
    maps += rng.normal(0, 0.02, maps.shape).astype(np.float32)
    mirrored = np.ascontiguousarray(maps[COCO.channel_flip, :, ::-1])
    slow_grouping.assert_same_people(
        group(mirrored, COCO).flipped(size[1], COCO.annotated_flip), group(maps, COCO)
    )


def test_peak_belongs_to_one_person_only() -> None:
    maps = np.zeros((CHAIN.channels, 20, 40), np.float32)
    for limb in (0, 1, 2):
        maps[limb, 10, :] = 1
    for joint, columns in enumerate([(5, 15), (10,), (20, 30), (25,)]):
        maps[len(CHAIN.limbs) + joint, 10, list(columns)] = 0.9
    found = group(maps, CHAIN, LENIENT)
    positions = [tuple(xy) for person in found.keypoints for xy in person[person[:, 2] > 0, :2]]
    assert len(positions) == len(set(positions)) == 6


def remove_limbs_of(maps: np.ndarray, joint: str) -> np.ndarray:
    """Clear the limb maps of a joint."""
    limbs = (COCO.limb_ends == COCO.joints.index(joint)).any(1)
    maps[COCO.limb_channels][limbs] = 0
    return maps


@pytest.mark.parametrize("joint", ["left_wrist", "right_ankle", "nose"])
def test_keypoint_without_limbs_is_assigned_to_the_nearest_person(
    rng: np.random.Generator, joint: str
) -> None:
    people = np.stack([synthetic_maps.sample_person(rng, x, 20, 260) for x in (100, 300)])
    maps = remove_limbs_of(synthetic_maps.draw_maps(people, (320, 420)), joint)
    found = group(maps, COCO)
    order = np.argsort(found.keypoints[:, 5, 0])
    assert found.found.all()
    np.testing.assert_allclose(found.keypoints[order, :, :2], people[..., :2], atol=0.3)
    number = COCO.annotated.index(joint)
    for settings in (
        Settings(max_unassigned_keypoints=0),
        Settings(unassigned_reach=0.01),
        Settings(min_unassigned_score=1.1),
    ):
        assert not group(maps, COCO, settings).found[:, number].any()


def test_duplicate_or_distant_keypoints_are_not_assigned(rng: np.random.Generator) -> None:
    person = synthetic_maps.sample_person(rng, 100, 20, 200)
    other = np.zeros_like(person)
    wrist = COCO.annotated.index("left_wrist")
    for distance, missing in ((15, False), (400, True)):  # duplicate; own wrist missing, distant one
        visible = person.copy()
        visible[wrist, 2] = 0 if missing else 2
        other[wrist] = (*(person[wrist, :2] + (distance, 0)), 2)
        maps = synthetic_maps.draw_maps(np.stack([visible, other]), (260, 600))
        found = group(maps, COCO)
        assert len(found) == 1
        np.testing.assert_array_equal(found.found[0], visible[:, 2] > 0)
        np.testing.assert_allclose(found.keypoints[0, :, :2], visible[:, :2] * (visible[:, 2:] > 0), atol=0.5)


def test_only_small_groups_are_assigned(rng: np.random.Generator) -> None:
    upper, lower = (synthetic_maps.sample_person(rng, 100, 20, 200) for _ in range(2))
    legs = [
        COCO.annotated.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("knee", "ankle")
    ]
    upper[legs] = 0
    lower[[joint for joint in range(17) if joint not in legs]] = 0
    maps = synthetic_maps.draw_maps(np.stack([upper, lower]), (260, 260))
    assert (
        len(group(maps, COCO, Settings(max_unassigned_keypoints=2))) == 1
    )  # the lower legs are two joints each
    assert len(group(maps, COCO, Settings(max_unassigned_keypoints=1))) == 3


def test_weak_and_small_people_are_removed(rng: np.random.Generator) -> None:
    maps = synthetic_maps.draw_maps(
        synthetic_maps.sample_person(rng, 100, 10, 200)[None], (240, 240)
    ) * np.float32(0.3)
    assert len(group(maps, COCO)) == 1
    assert len(group(maps, COCO, Settings(min_person_score=2.0))) == 0
    assert len(group(maps, COCO, Settings(min_person_keypoints=19))) == 0


def test_stride_scales_positions(rng: np.random.Generator) -> None:
    maps = synthetic_maps.draw_maps(synthetic_maps.sample_person(rng, 100, 10, 200)[None], (240, 240))
    fine, coarse = group(maps, COCO, Settings(stride=1)), group(maps, COCO, Settings(stride=8))
    np.testing.assert_allclose(coarse.keypoints[..., :2], fine.keypoints[..., :2] * 8 + 3.5, atol=1e-3)


# Weighting of scores by area.


def test_score_area_exponent_weights_scores_by_the_box_area_and_sorts_again() -> None:
    rng, size = np.random.default_rng(0), (320, 480)
    small, large = (
        synthetic_maps.sample_person(rng, 70, 20, 90),
        synthetic_maps.sample_person(rng, 300, 20, 280),
    )
    maps = synthetic_maps.draw_maps(np.stack([small, large]), size)
    maps[:, :, 40:] *= 0.9  # the large person is on the right: its score is lower, before the weighting
    plain, weighted = group(maps, COCO), group(maps, COCO, Settings(score_area_exponent=0.5))
    assert len(plain) == len(weighted) == 2
    assert np.argmax(plain.boxes_xyxy[:, 3]) == 1
    np.testing.assert_array_equal(weighted.keypoints, plain.keypoints[::-1])
    boxes = weighted.boxes_xyxy
    areas = np.prod(boxes[:, 2:] - boxes[:, :2] + 4, axis=1)
    np.testing.assert_allclose(
        weighted.scores, plain.scores[::-1] * np.sqrt(areas / (size[0] * size[1])), rtol=1e-6
    )


def test_score_area_exponent_keeps_no_people() -> None:
    maps = np.zeros((COCO.channels, 1, 3), np.float32)
    assert len(group(maps, COCO, Settings(score_area_exponent=0.1))) == 0
