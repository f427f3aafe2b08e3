"""The grouping's reference rules: same results as the published implementation, valid results on any maps."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import synthetic_maps
from test_grouping import CHAIN, DOT, load

from simplepose.grouping import Settings, group
from simplepose.skeleton import COCO

REFERENCE = Settings(rules="reference")


def similarity(expected: np.ndarray, found: np.ndarray) -> float:
    """Compute COCO's OKS of two people (17, 3) over the expected one's joints, with the area of their box."""
    labeled = expected[:, 2] > 0
    xy = expected[labeled, :2]
    area = np.prod(np.maximum(np.ptp(xy, axis=0), 1))
    squared = ((found[labeled, :2] - xy) ** 2).sum(1)
    near = np.exp(-squared / (8 * np.array(COCO.sigmas)[labeled] ** 2 * area))
    return float((near * (found[labeled, 2] > 0)).mean())


def count_matches(expected: np.ndarray, found: np.ndarray, min_similarity: float) -> int:
    """Count people that match one to one, the most similar first."""
    similarities = np.array([[similarity(a, b) for b in found] for a in expected])
    count = 0
    while similarities.size and similarities.max() >= min_similarity:
        row, column = np.unravel_index(similarities.argmax(), similarities.shape)
        similarities[row], similarities[:, column] = -1, -1
        count += 1
    return count


def test_results_equal_the_published_implementation(shared: Path) -> None:
    scenes, score = (load(shared / "reference" / f"{name}.py") for name in ("scenes", "score"))
    with np.load(shared / "reference" / "expected.npz") as file:
        people_count, all_people = file["people_count"], file["keypoints"]
    expected = np.split(all_people, np.cumsum(people_count)[:-1])
    poses = scenes.load_poses()
    truth, found, matched = [], [], 0
    for scene in range(200):
        maps, people = scenes.make_maps(scene, poses)
        answer = group(maps, COCO, REFERENCE)
        truth.append(people)
        found.append((answer.keypoints, answer.scores))
        matched += count_matches(expected[scene], answer.keypoints, 0.9)
    # Measured: AP 0.385, matched 98.8 %. The published code crops the padding from the upsampled maps, so its
    # bottom border is 32 pixels higher; without the padded rows it is 0.377 and 99.6 %.
    assert score.coco_ap(truth, found)[0] == pytest.approx(0.378, abs=0.01)
    assert matched >= 0.95 * len(all_people)


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (33, 5)])
def test_constant_maps_have_no_people(value: float, size: tuple[int, int]) -> None:
    found = group(np.full((COCO.channels, *size), value, np.float32), COCO, REFERENCE)
    assert found.keypoints.shape == (0, 17, 3)


def test_all_pixels_of_a_plateau_are_peaks_and_the_best_are_kept() -> None:
    one_cell = np.ones((1, 1, 1), np.float32)
    lenient = replace(REFERENCE, min_person_keypoints=1, min_person_score=0.0)
    assert len(group(one_cell, DOT, lenient)) == 0  # a joint without limbs is not a person (published rule)
    ring = np.ones((CHAIN.channels, 1, 1), np.float32)
    assert len(group(ring, CHAIN, lenient)) == 16
    assert 0 < len(group(ring, CHAIN, replace(lenient, max_peaks=3))) <= 3


def test_values_that_are_not_finite_count_as_zero(rng: np.random.Generator) -> None:
    maps = synthetic_maps.draw_maps(synthetic_maps.sample_person(rng, 100, 10, 200)[None], (240, 240))
    maps[: COCO.keypoint_channels.stop, -1] = 0
    expected = group(maps, COCO, REFERENCE)
    maps[: COCO.keypoint_channels.stop, -1, :3] = [np.inf, -np.inf, np.nan]
    maps[COCO.person_mask_channel :] = np.nan
    found = group(maps, COCO, REFERENCE)
    assert len(expected) == 1
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("seed", range(20))
def test_random_maps_give_valid_results(seed: int) -> None:
    rng = np.random.default_rng(seed)
    h, w = rng.integers(1, 12, 2)
    maps = rng.uniform(-1, 1.1, (CHAIN.channels, h, w)).astype(np.float32)
    maps[rng.uniform(size=maps.shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf, 1e38])
    found = group(maps, CHAIN, replace(REFERENCE, max_peaks=30, min_person_score=0.0))
    assert np.isfinite(found.keypoints).all()
    assert np.isfinite(found.scores).all()
    assert (np.diff(found.scores) <= 0).all()
    x, y = found.keypoints[..., 0], found.keypoints[..., 1]
    assert ((x >= 0) & (x <= 4 * w - 1) & (y >= 0) & (y <= 4 * h - 1)).all()


@pytest.mark.parametrize("seed", range(3))
def test_finds_all_synthetic_people(seed: int) -> None:
    rng = np.random.default_rng(seed)
    people = np.stack([synthetic_maps.sample_person(rng, x, 20, 260) for x in (70, 220, 370, 520)])
    found = group(synthetic_maps.draw_maps(people, (320, 600)), COCO, REFERENCE)
    assert len(found) == 4
    order = np.argsort(found.keypoints[:, 0, 0])
    np.testing.assert_allclose(found.keypoints[order, :, :2], people[..., :2], atol=1.5)
    assert ((found.scores > 0.9) & (found.scores < 1)).all()  # 1 - 1 / (18 joints + 30 limbs)


def test_peak_is_refined_on_the_upsampled_map_with_swapped_axes() -> None:
    maps = np.zeros((CHAIN.channels, 16, 32), np.float32)
    maps[0] = 1  # the limb from a to b
    ys, xs = np.mgrid[:16, :32] * 4 + 1.5
    tops = [(30.4, 20.3), (90.8, 33.6)]
    for channel, (x, y) in zip(maps[CHAIN.keypoint_channels], tops, strict=False):
        channel[:] = 0.8 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 9**2))
    (person,) = group(maps, CHAIN, REFERENCE).keypoints[:, [CHAIN.annotated.index(j) for j in "ab"]]
    for found, channel in zip(person, maps[CHAIN.keypoint_channels], strict=False):
        upsampled = cv2.resize(channel, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
        row, column = np.unravel_index(upsampled.argmax(), upsampled.shape)
        box, offsets = upsampled[row - 2 : row + 3, column - 2 : column + 3], np.arange(-2, 3)
        across, down = (box.sum(axis) @ offsets / box.sum() for axis in (0, 1))
        assert abs(across - down) > 1e-3
        np.testing.assert_allclose(found, [column + down, row + across, box.mean()], atol=1e-4)
