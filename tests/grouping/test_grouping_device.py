"""Maps on a device are reduced there, to the people that the kernels find in the maps themselves."""

from __future__ import annotations

from dataclasses import replace

import drawn_maps
import grouping_twin
import numpy as np
import pytest
import torch
from places import CONFIGS
from pretend_device import NAME, PretendDevice
from scattered import draw_people, maps_of
from test_grouping import CHAIN, DOT, LENIENT

from simplepose import skeleton
from simplepose.grouping import Settings, _grouping, group, torch_ops
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton

LEVELS = np.array([0.125, 0.25, 0.5, 0.75, 1.0, 1.5], np.float32)  # few, and exact in half precision
ODD = [np.nan, np.inf, -np.inf, -1.0]


def group_there(
    maps: np.ndarray,
    body: Skeleton = COCO,
    settings: Settings = LENIENT,
    dtype: torch.dtype = torch.float32,
) -> tuple[People, list[int]]:
    """The people in maps on a device that is not there, and the bytes of each copy from it."""
    with PretendDevice() as device:
        found = group(torch.from_numpy(maps).to(dtype).to(NAME), body, settings)
    return found, device.copied_here


def assert_same_there(maps: np.ndarray, body: Skeleton = COCO, settings: Settings = LENIENT) -> People:
    expected = group(maps, body, settings)
    grouping_twin.assert_same(group_there(maps, body, settings)[0], expected)
    return expected


def blobs(rng: np.random.Generator, size_hw: tuple[int, int], channels: int = 3) -> np.ndarray:
    """(channels, h, w) empty maps but for patches of few levels, many of them cut by the border."""
    maps = np.zeros((channels, *size_hw), np.float32)
    for channel in maps:
        for _ in range(max(1, channel.size // 250)):
            y, x = rng.integers(-2, np.array(size_hw))
            patch = channel[max(y, 0) : y + rng.integers(3, 7), max(x, 0) : x + rng.integers(3, 7)]
            patch[:] = rng.choice(LEVELS[: rng.integers(1, len(LEVELS) + 1)], patch.shape)
            patch[rng.uniform(size=patch.shape) < 0.05] = rng.choice(ODD)
    return maps


# Peaks.


@pytest.mark.parametrize("size", [(40, 40), (33, 70), (1, 400), (400, 1), (2, 300), (3, 500), (5, 120)])
def test_peaks_are_those_of_the_kernels(size: tuple[int, int]) -> None:
    reduced, several = 0, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        maps = blobs(rng, size)
        settings = replace(LENIENT, peak_threshold=float(rng.choice([0.1, 0.25, 0.3])))
        settings = replace(settings, max_peaks=int(rng.choice([2, 5, 256])))
        expected, counts = _grouping.peaks_of_maps(maps, settings)
        with PretendDevice() as device:
            found, found_counts = torch_ops.find_peaks(torch.from_numpy(maps).to(NAME), settings)
        np.testing.assert_array_equal(found_counts, counts)
        np.testing.assert_array_equal(found, expected)
        assert device.copied_here[0] <= maps.nbytes
        reduced += device.copied_here[0] < maps.nbytes
        several += counts.max() > 1
    assert reduced >= 30
    assert several >= 30


@pytest.mark.parametrize(
    "rows",
    [
        *(["........", ".99.....", "........"], ["99999999"] * 3, [".9.9....", ".999....", "........"]),
        [".55.....", ".569....", "........"],  # a plateau that leads up
        ["5555555.", "......59", "........"],  # up, but far from where it begins
        ["5......5", "59....55", "........"],
        ["5.......", ".5......", "..6.....", "...7....", "....8...", ".....9.."],  # up a long slope
        ["555.....", "5.5.....", "555....."],  # a ring
        ["9.9.9.9.", ".9.9.9.9", "9.9.9.9."],
    ],
)
def test_plateaus_are_joined(rows: list[str]) -> None:
    cells = np.array([[0.0 if c == "." else int(c) / 10 for c in row] for row in rows], np.float32)
    map_ = np.zeros((30, 40), np.float32)  # large enough for its peaks to be the smaller thing to copy
    for y, x in [(0, 0), (10, 20), (30 - len(rows), 32)]:
        map_[y : y + len(rows), x : x + 8] = cells
    assert len(assert_same_there(map_[None], DOT)) >= 3


def test_what_is_known_of_one_joint_is_not_taken_for_another() -> None:
    maps = np.zeros((2, 40, 40), np.float32)
    maps[0, [11, 13], [13, 11]] = 1  # beside where the other's plateau leads up
    maps[1, range(10, 16), range(10, 16)] = [0.5, 0.5, 0.6, 0.7, 0.8, 0.9]
    with PretendDevice() as device:
        _, counts = torch_ops.find_peaks(torch.from_numpy(maps).to(NAME), LENIENT)
    assert device.copied_here[0] < maps.nbytes
    assert counts.tolist() == [2, 1]


def test_the_best_peaks_are_kept_and_of_equals_the_first(rng: np.random.Generator) -> None:
    map_ = np.zeros((60, 60), np.float32)
    map_[1::6, 1::6] = rng.choice(LEVELS[2:], (10, 10))
    everyone = assert_same_there(map_[None], DOT)
    assert len(everyone) == 100
    for most in (1, 7, 40, 100):
        best = assert_same_there(map_[None], DOT, replace(LENIENT, max_peaks=most))
        np.testing.assert_array_equal(best.keypoints, everyone.keypoints[:most])


# People.


@pytest.mark.parametrize("part", range(3))
def test_drawn_people_are_the_same(part: int) -> None:
    people_found = 0
    for seed in range(10 * part, 10 * part + 10):
        rng = np.random.default_rng(seed)
        size = (int(rng.integers(20, 80)) * 4, int(rng.integers(20, 90)) * 4)
        maps = drawn_maps.draw(drawn_maps.inside(drawn_maps.crowd(rng, 1 + seed % 6, size), size), size)
        maps += rng.normal(0, 0.03, maps.shape).astype(np.float32)
        people_found += len(assert_same_there(maps, COCO, Settings()))
    assert people_found >= 15


@pytest.mark.parametrize("name", ["mpii", "crowdpose"])
def test_people_of_other_skeletons_are_the_same(name: str, rng: np.random.Generator) -> None:
    body = skeleton.load(str(CONFIGS / f"skeletons/{name}.yaml"))
    maps = maps_of(draw_people(rng, (320, 448), 8, body), (320, 448), body)
    assert len(assert_same_there(maps, body, Settings())) == 8


@pytest.mark.parametrize("seed", range(40))
def test_random_maps_and_settings_give_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.uniform(-0.2, 1.1, (CHAIN.channels, *rng.integers(1, 26, 2))).astype(np.float32)
    maps[CHAIN.keypoint_channels] = np.round(maps[CHAIN.keypoint_channels], seed % 3 + 1)
    maps[rng.uniform(size=maps.shape) < 0.02] = rng.choice(ODD)
    settings = replace(
        LENIENT,
        max_peaks=int(rng.integers(1, 40)),
        max_connections=int(rng.integers(1, 90)),
        sure_peak=float(rng.choice([0.3, 0.5, 0.9])),
        limb_samples=int(rng.integers(2, 20)) if seed % 4 else 10**9,
        limb_threshold=float(rng.choice([0.0, 0.1, 0.4, 1.0])),
        limb_support=float(rng.choice([1e-3, 0.3, 0.5, 0.8, 1.0])),
    )
    assert_same_there(maps, CHAIN, settings)


@pytest.mark.parametrize("samples", [1, 100, 1500, 10**9])
def test_it_does_not_matter_how_much_is_sampled_at_once(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, samples: int
) -> None:
    maps = rng.uniform(0.2, 1, (CHAIN.channels, 20, 30)).astype(np.float32)
    settings = replace(LENIENT, max_peaks=8, max_connections=15)
    monkeypatch.setattr(torch_ops, "SAMPLES", samples)
    assert len(assert_same_there(maps, CHAIN, settings)) >= 8


def test_limbs_as_bright_as_one_and_brighter_count_alike() -> None:
    maps = np.zeros((CHAIN.channels, 20, 30), np.float32)
    for joint, column in enumerate((3, 10, 17, 24)):
        maps[CHAIN.keypoint_channels][joint, 10, column] = 0.9
    maps[CHAIN.limb_channels, 10] = 1
    expected = assert_same_there(maps, CHAIN)
    maps[CHAIN.limb_channels, 10] = 7
    brighter = assert_same_there(maps, CHAIN)
    assert len(expected) == 1
    np.testing.assert_array_equal(brighter.scores, expected.scores)


@pytest.mark.parametrize(("ends", "longest"), [(1.0, 10**6), (0.45, 100), (0.25, 20)])
def test_a_limb_reaches_as_far_as_its_ends_are_sure(ends: float, longest: int) -> None:
    for length in (10, 19, 21, 99, 101, 250):  # sureness ends / 0.5, and from length 10 on 10 / length - 1
        maps = np.zeros((CHAIN.channels, 20, 260), np.float32)
        maps[CHAIN.keypoint_channels][[0, 1], 10, [2, 2 + length]] = ends
        maps[0] = 1
        assert len(assert_same_there(maps, CHAIN)) == (1 if length < longest else 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_counts_as_its_float32_copy(dtype: torch.dtype) -> None:
    tied = 0
    for seed in range(8):
        rng, size = np.random.default_rng(seed), (280, 400)
        maps = drawn_maps.draw(drawn_maps.inside(drawn_maps.crowd(rng, 4, size), size), size)
        maps += rng.normal(0, 0.02, maps.shape).astype(np.float32)
        rounded = torch.from_numpy(maps).to(dtype).float().numpy()
        found, copied = group_there(maps, COCO, Settings(), dtype)
        grouping_twin.assert_same(found, group(rounded, COCO, Settings()))
        assert sum(copied) < 0.02 * maps.nbytes
        ring = np.maximum(rounded[..., 1:], rounded[..., :-1])
        tied += ((rounded[..., 1:] == rounded[..., :-1]) & (ring >= 0.1)).any()
    assert tied == 8


@pytest.mark.parametrize("value", [0, 1, -1, 3e38, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (3, 500), (64, 96)])
def test_flat_maps_give_the_same(value: float, size: tuple[int, int]) -> None:
    maps = np.full((COCO.channels, *size), value, np.float32)
    assert_same_there(maps)
    assert_same_there(maps, COCO, Settings())


def test_nobody_and_no_limbs() -> None:
    assert len(assert_same_there(np.zeros((COCO.channels, 30, 40), np.float32))) == 0
    map_ = np.zeros((1, 20, 20), np.float32)
    assert len(assert_same_there(map_, DOT)) == 0
    map_[0, 0, 19] = 1
    assert len(assert_same_there(map_, DOT)) == 1


# What is copied.


def test_little_is_copied(rng: np.random.Generator) -> None:
    size = (512, 640)
    maps = maps_of(draw_people(rng, size, 12), size)
    found, copied = group_there(maps, COCO, Settings())
    assert len(found) == 12
    assert len(copied) == 2  # the peaks' surroundings; the connections
    assert sum(copied) < 0.01 * maps.nbytes


def test_never_more_than_the_keypoint_maps_is_copied_for_peaks(rng: np.random.Generator) -> None:
    for maps in (np.ones((5, 40, 50), np.float32), rng.uniform(0, 1, (5, 40, 50)).astype(np.float32)):
        with PretendDevice() as device:
            torch_ops.find_peaks(torch.from_numpy(maps).to(NAME), LENIENT)
        assert device.copied_here == [maps.nbytes]


def test_the_reference_rules_have_the_maps_copied(rng: np.random.Generator) -> None:
    size, settings = (240, 320), Settings(rules="reference")
    maps = drawn_maps.draw(drawn_maps.crowd(rng, 3, size), size)
    found, copied = group_there(maps, COCO, settings)
    assert copied == [maps.nbytes]
    grouping_twin.assert_same(found, group(maps, COCO, settings))
