"""Grouping: invalid values and arguments, threads, memory, and C++ tests with sanitizers."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cpp_build
import numpy as np
import pytest
import slow_grouping
import synthetic_maps

from simplepose.grouping import Settings, group
from simplepose.skeleton import COCO


@pytest.mark.parametrize("value", [0, 1, -1, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (33, 5)])
def test_constant_maps_have_no_people(value: float, size: tuple[int, int]) -> None:
    found = group(np.full((COCO.channels, *size), value, np.float32), COCO)
    assert found.keypoints.shape == (0, 17, 3)


def test_values_that_are_not_finite_count_as_zero(rng: np.random.Generator) -> None:
    size = (240, 240)
    maps = synthetic_maps.draw_maps(synthetic_maps.sample_person(rng, 100, 10, 200)[None], size)
    expected = group(maps, COCO)
    maps[COCO.limb_channels, 0] = np.nan
    maps[COCO.keypoint_channels, -1, -3:] = [np.inf, -np.inf, np.nan]
    maps[COCO.person_mask_channel :] = np.nan
    assert len(expected) == 1
    slow_grouping.assert_same_people(group(maps, COCO), expected)
    maps[COCO.limb_channels] = np.inf
    assert len(group(maps, COCO)) == 0


def test_maps_of_limbs_and_joints_are_sufficient(rng: np.random.Generator) -> None:
    maps = synthetic_maps.draw_maps(synthetic_maps.sample_person(rng, 100, 10, 200)[None], (240, 240))
    found = group(maps, COCO)
    assert len(found) == 1
    slow_grouping.assert_same_people(group(maps[: COCO.keypoint_channels.stop], COCO), found)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.zeros((50, 8, 8)), "expected a float32 NumPy array, got float64"),
        ([[[0.0]]], "got list"),
        (np.zeros((47, 8, 8), np.float32), r"C >= 48.*got shape \(47, 8, 8\)"),
        (np.zeros((1, 50, 8, 8), np.float32), r"got shape \(1, 50, 8, 8\)"),
        (np.zeros((50, 0, 8), np.float32), r"h >= 1 and w >= 1, got shape"),
        (np.zeros((50, 8, 9), np.float32)[:, :, ::-1], "ascontiguousarray"),
        (np.zeros((8, 8, 50), np.float32).transpose(2, 0, 1), "ascontiguousarray"),
    ],
)
def test_invalid_maps_are_errors(maps: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group(maps, COCO)


@pytest.mark.parametrize(
    "invalid",
    [
        *({"stride": 0.0}, {"peak_threshold": 0.0}, {"peak_threshold": float("nan")}, {"max_peaks": 0}),
        {"peak_threshold": 7e-46},
        *({"limb_samples": 1}, {"limb_support": 0.0}, {"limb_support": 1.1}, {"limb_threshold": -0.1}),
        *({"max_connections": 0}, {"min_person_keypoints": 0}),
    ],
)
def test_invalid_settings_are_errors(invalid: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(invalid))):
        Settings(**invalid)


def test_results_are_the_same_in_threads() -> None:
    size = (240, 480)
    scenes = [
        synthetic_maps.draw_maps(synthetic_maps.sample_crowd(np.random.default_rng(i), 4, size), size)
        for i in range(4)
    ]
    alone = [group(maps, COCO) for maps in scenes]
    with ThreadPoolExecutor(4) as pool:
        concurrent = list(pool.map(lambda i: group(scenes[i % 4], COCO), range(40)))
    for i, result in enumerate(concurrent):
        slow_grouping.assert_same_people(result, alone[i % 4])


def test_group_releases_the_gil(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = rng.uniform(0, 1, (COCO.channels, 48, 64)).astype(np.float32)
    steps: list[int] = []
    counts: list[int] = []

    def work() -> None:
        counts.append(len(steps))
        group(maps, COCO)
        counts.append(len(steps))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # threads switch only when one releases the GIL
    try:
        worker = threading.Thread(target=work)
        worker.start()
        while worker.is_alive():
            steps.append(1)
            time.sleep(1e-4)
    finally:
        sys.setswitchinterval(interval)
    assert counts[1] - counts[0] > 20  # NumPy calls around the kernels release it only a few times


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test_kernels", "all kernels passed"),
        ("fuzz_group", "inputs 0 to 5999 passed"),
        ("test_memory", "only the scratch buffer grows"),
    ],
)
def test_cpp_tests_pass_with_sanitizers(cpp_objects: Path, tmp_path: Path, name: str, message: str) -> None:
    program = cpp_build.build(name, cpp_objects, tmp_path)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert message in done.stdout
