"""Grouping of maps on a GPU: same people as on the CPU, and few bytes copied."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import slow_grouping
import synthetic_maps
import torch
from fake_device import DEVICE, FakeDevice
from random_people import draw_target_maps, sample_people
from repo_paths import CONFIGS
from test_grouping import CHAIN, DOT, LENIENT

from simplepose import skeleton
from simplepose.grouping import Settings, _grouping, group, torch_ops
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton

LEVELS = np.array([0.125, 0.25, 0.5, 0.75, 1.0, 1.5], np.float32)  # exact in half precision
INVALID_VALUES = [np.nan, np.inf, -np.inf, -1.0]


def group_on_device(
    maps: np.ndarray,
    body: Skeleton = COCO,
    settings: Settings = LENIENT,
    dtype: torch.dtype = torch.float32,
) -> tuple[People, list[int]]:
    """Group maps on the fake device; return the people and the bytes of each copy from it."""
    with FakeDevice() as device:
        found = group(torch.from_numpy(maps).to(dtype).to(DEVICE), body, settings)
    return found, device.copied_bytes


def check_device_equals_cpu(maps: np.ndarray, body: Skeleton = COCO, settings: Settings = LENIENT) -> People:
    expected = group(maps, body, settings)
    slow_grouping.assert_same_people(group_on_device(maps, body, settings)[0], expected)
    return expected


def draw_patches(rng: np.random.Generator, size_hw: tuple[int, int], channels: int = 3) -> np.ndarray:
    """Draw empty maps (channels, h, w) with patches of few levels, many of them cut by the border."""
    maps = np.zeros((channels, *size_hw), np.float32)
    for channel in maps:
        for _ in range(max(1, channel.size // 250)):
            y, x = rng.integers(-2, np.array(size_hw))
            patch = channel[max(y, 0) : y + rng.integers(3, 7), max(x, 0) : x + rng.integers(3, 7)]
            patch[:] = rng.choice(LEVELS[: rng.integers(1, len(LEVELS) + 1)], patch.shape)
            patch[rng.uniform(size=patch.shape) < 0.05] = rng.choice(INVALID_VALUES)
    return maps


# Peaks.


@pytest.mark.parametrize("size", [(40, 40), (33, 70), (1, 400), (400, 1), (2, 300), (3, 500), (5, 120)])
def test_peaks_equal_the_cpp_kernels(size: tuple[int, int]) -> None:
    reduced, several = 0, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        maps = draw_patches(rng, size)
        settings = replace(LENIENT, peak_threshold=float(rng.choice([0.1, 0.25, 0.3])))
        settings = replace(settings, max_peaks=int(rng.choice([2, 5, 256])))
        expected, counts = _grouping.find_peaks(maps, settings)
        with FakeDevice() as device:
            found, found_counts = torch_ops.find_peaks(torch.from_numpy(maps).to(DEVICE), settings)
        np.testing.assert_array_equal(found_counts, counts)
        np.testing.assert_array_equal(found, expected)
        assert device.copied_bytes[0] <= maps.nbytes
        reduced += device.copied_bytes[0] < maps.nbytes
        several += counts.max() > 1
    assert reduced >= 30
    assert several >= 30


@pytest.mark.parametrize(
    "rows",
    [
        *(["........", ".99.....", "........"], ["99999999"] * 3, [".9.9....", ".999....", "........"]),
        [".55.....", ".569....", "........"],  # a plateau with a higher neighbor
        ["5555555.", "......59", "........"],  # a higher neighbor far from the first cell
        ["5......5", "59....55", "........"],
        ["5.......", ".5......", "..6.....", "...7....", "....8...", ".....9.."],  # a long slope
        ["555.....", "5.5.....", "555....."],  # a ring
        ["9.9.9.9.", ".9.9.9.9", "9.9.9.9."],
    ],
)
def test_plateaus_are_single_peaks(rows: list[str]) -> None:
    cells = np.array([[0.0 if c == "." else int(c) / 10 for c in row] for row in rows], np.float32)
    map_ = np.zeros((30, 40), np.float32)  # large enough that copying only peaks is cheaper
    for y, x in [(0, 0), (10, 20), (30 - len(rows), 32)]:
        map_[y : y + len(rows), x : x + 8] = cells
    assert len(check_device_equals_cpu(map_[None], DOT)) >= 3


def test_values_of_one_joint_do_not_affect_another() -> None:
    maps = np.zeros((2, 40, 40), np.float32)
    maps[0, [11, 13], [13, 11]] = 1  # beside the other joint's slope
    maps[1, range(10, 16), range(10, 16)] = [0.5, 0.5, 0.6, 0.7, 0.8, 0.9]
    with FakeDevice() as device:
        _, counts = torch_ops.find_peaks(torch.from_numpy(maps).to(DEVICE), LENIENT)
    assert device.copied_bytes[0] < maps.nbytes
    assert counts.tolist() == [2, 1]


def test_best_peaks_are_kept_and_ties_keep_the_first(rng: np.random.Generator) -> None:
    map_ = np.zeros((60, 60), np.float32)
    map_[1::6, 1::6] = rng.choice(LEVELS[2:], (10, 10))
    all_people = check_device_equals_cpu(map_[None], DOT)
    assert len(all_people) == 100
    for max_peaks in (1, 7, 40, 100):
        best = check_device_equals_cpu(map_[None], DOT, replace(LENIENT, max_peaks=max_peaks))
        np.testing.assert_array_equal(best.keypoints, all_people.keypoints[:max_peaks])


# People.


@pytest.mark.parametrize("part", range(3))
def test_synthetic_people_equal_the_cpu(part: int) -> None:
    people_found = 0
    for seed in range(10 * part, 10 * part + 10):
        rng = np.random.default_rng(seed)
        size = (int(rng.integers(20, 80)) * 4, int(rng.integers(20, 90)) * 4)
        maps = synthetic_maps.draw_maps(
            synthetic_maps.clear_outside_joints(synthetic_maps.sample_crowd(rng, 1 + seed % 6, size), size),
            size,
        )
        maps += rng.normal(0, 0.03, maps.shape).astype(np.float32)
        people_found += len(check_device_equals_cpu(maps, COCO, Settings()))
    assert people_found >= 15


@pytest.mark.parametrize("name", ["mpii", "crowdpose"])
def test_people_of_other_skeletons_equal_the_cpu(name: str, rng: np.random.Generator) -> None:
    body = skeleton.load(str(CONFIGS / f"skeletons/{name}.yaml"))
    maps = draw_target_maps(sample_people(rng, (320, 448), 8, body), (320, 448), body)
    assert len(check_device_equals_cpu(maps, body, Settings())) == 8


@pytest.mark.parametrize("seed", range(40))
def test_random_maps_and_settings_equal_the_cpu(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.uniform(-0.2, 1.1, (CHAIN.channels, *rng.integers(1, 26, 2))).astype(np.float32)
    maps[CHAIN.keypoint_channels] = np.round(maps[CHAIN.keypoint_channels], seed % 3 + 1)
    maps[rng.uniform(size=maps.shape) < 0.02] = rng.choice(INVALID_VALUES)
    settings = replace(
        LENIENT,
        max_peaks=int(rng.integers(1, 40)),
        max_connections=int(rng.integers(1, 90)),
        confident_peak=float(rng.choice([0.3, 0.5, 0.9])),
        limb_samples=int(rng.integers(2, 20)) if seed % 4 else 1000,
        limb_threshold=float(rng.choice([0.0, 0.1, 0.4, 1.0])),
        limb_support=float(rng.choice([1e-3, 0.3, 0.5, 0.8, 1.0])),
        score_area_exponent=float(rng.choice([0.0, 0.1])),
    )
    check_device_equals_cpu(maps, CHAIN, settings)


@pytest.mark.parametrize("samples", [1, 100, 1500, 10**9])
def test_step_size_does_not_change_the_people(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, samples: int
) -> None:
    maps = rng.uniform(0.2, 1, (CHAIN.channels, 20, 30)).astype(np.float32)
    settings = replace(LENIENT, max_peaks=8, max_connections=15)
    monkeypatch.setattr(torch_ops, "MAX_SAMPLES_PER_STEP", samples)
    assert len(check_device_equals_cpu(maps, CHAIN, settings)) >= 8


def test_limb_values_above_one_count_as_one() -> None:
    maps = np.zeros((CHAIN.channels, 20, 30), np.float32)
    for joint, column in enumerate((3, 10, 17, 24)):
        maps[CHAIN.keypoint_channels][joint, 10, column] = 0.9
    maps[CHAIN.limb_channels, 10] = 1
    expected = check_device_equals_cpu(maps, CHAIN)
    maps[CHAIN.limb_channels, 10] = 7
    brighter = check_device_equals_cpu(maps, CHAIN)
    assert len(expected) == 1
    np.testing.assert_array_equal(brighter.scores, expected.scores)


@pytest.mark.parametrize(("ends", "longest"), [(1.0, 10**6), (0.45, 100), (0.25, 20)])
def test_largest_limb_length_depends_on_end_scores(ends: float, longest: int) -> None:
    for length in (10, 19, 21, 99, 101, 250):  # confidence is ends / 0.5, penalty 10 / length - 1
        maps = np.zeros((CHAIN.channels, 20, 260), np.float32)
        maps[CHAIN.keypoint_channels][[0, 1], 10, [2, 2 + length]] = ends
        maps[0] = 1
        assert len(check_device_equals_cpu(maps, CHAIN)) == (1 if length < longest else 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_equals_its_float32_copy(dtype: torch.dtype) -> None:
    tied = 0
    for seed in range(8):
        rng, size = np.random.default_rng(seed), (280, 400)
        maps = synthetic_maps.draw_maps(
            synthetic_maps.clear_outside_joints(synthetic_maps.sample_crowd(rng, 4, size), size), size
        )
        maps += rng.normal(0, 0.02, maps.shape).astype(np.float32)
        rounded = torch.from_numpy(maps).to(dtype).float().numpy()
        found, copied = group_on_device(maps, COCO, Settings(), dtype)
        slow_grouping.assert_same_people(found, group(rounded, COCO, Settings()))
        assert sum(copied) < 0.02 * maps.nbytes
        ring = np.maximum(rounded[..., 1:], rounded[..., :-1])
        tied += ((rounded[..., 1:] == rounded[..., :-1]) & (ring >= 0.1)).any()
    assert tied == 8


@pytest.mark.parametrize("value", [0, 1, -1, 3e38, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (3, 500), (64, 96)])
def test_constant_maps_equal_the_cpu(value: float, size: tuple[int, int]) -> None:
    maps = np.full((COCO.channels, *size), value, np.float32)
    check_device_equals_cpu(maps)
    check_device_equals_cpu(maps, COCO, Settings())


def test_no_people_and_no_limbs() -> None:
    assert len(check_device_equals_cpu(np.zeros((COCO.channels, 30, 40), np.float32))) == 0
    map_ = np.zeros((1, 20, 20), np.float32)
    assert len(check_device_equals_cpu(map_, DOT)) == 0
    map_[0, 0, 19] = 1
    assert len(check_device_equals_cpu(map_, DOT)) == 1


# Copies from the device.


def test_few_bytes_are_copied(rng: np.random.Generator) -> None:
    size = (512, 640)
    maps = draw_target_maps(sample_people(rng, size, 12), size)
    found, copied = group_on_device(maps, COCO, Settings())
    assert len(found) == 12
    assert len(copied) == 2  # the peaks' neighborhoods; the connections
    assert sum(copied) < 0.01 * maps.nbytes


def test_peaks_copy_at_most_the_heatmaps(rng: np.random.Generator) -> None:
    for maps in (np.ones((5, 40, 50), np.float32), rng.uniform(0, 1, (5, 40, 50)).astype(np.float32)):
        with FakeDevice() as device:
            torch_ops.find_peaks(torch.from_numpy(maps).to(DEVICE), LENIENT)
        assert device.copied_bytes == [maps.nbytes]


def test_reference_rules_copy_the_maps(rng: np.random.Generator) -> None:
    size, settings = (240, 320), Settings(rules="reference")
    maps = synthetic_maps.draw_maps(synthetic_maps.sample_crowd(rng, 3, size), size)
    found, copied = group_on_device(maps, COCO, settings)
    assert copied == [maps.nbytes]
    slow_grouping.assert_same_people(found, group(maps, COCO, settings))
