"""The C++ bindings: every invalid argument is a ValueError, also under sanitizers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cpp_build
import fuzz_bindings
import numpy as np
import pytest
from fuzz_bindings import LIMB_ENDS, misalign
from repo_paths import ROOT
from test_grouping import LENIENT

from simplepose.grouping import Settings, _grouping

MAPS = np.zeros((3, 4, 5), np.float32)
CALLS: dict[str, dict[str, Any]] = {
    "group": {"limb_maps": MAPS, "keypoint_maps": MAPS, "limb_ends": LIMB_ENDS, "settings": LENIENT},
    "find_peaks": {"keypoint_maps": MAPS, "settings": LENIENT},
    "refine_maxima": {
        "cells": np.array([[2, 3, 4]], np.int32),
        "values": np.ones((1, 13), np.float32),
        "joints": 3,
        "height": 4,
        "width": 5,
        "settings": LENIENT,
    },
    "assemble_poses": {
        "peaks": np.array([[4, 3, 1], [0, 0, 1], [0, 0, 0.5]]),
        "counts": np.array([1, 2, 0], np.int32),
        "ends": np.array([[0, 0, 1]], np.int32),
        "scores": np.ones(1),
        "limb_ends": LIMB_ENDS,
        "height": 4,
        "width": 5,
        "settings": LENIENT,
    },
}


def int32(*rows: object) -> np.ndarray:
    return np.array(rows, np.int32)


def settings_with(name: str, value: object) -> Settings:
    """Return settings with a value that an assignment around their checks has set."""
    settings = Settings()
    object.__setattr__(settings, name, value)
    return settings


@pytest.mark.parametrize("name", CALLS)
def test_valid_and_empty_arguments_are_accepted(name: str) -> None:
    call = getattr(_grouping, name)
    call(**CALLS[name])
    no_maps, no_ends = np.zeros((0, 0, 0), np.float32), np.zeros((0, 2), np.int32)
    empty = {
        "limb_maps": no_maps,
        "keypoint_maps": no_maps,
        "limb_ends": no_ends,
        "cells": np.zeros((0, 3), np.int32),
        "values": np.zeros((0, 13), np.float32),
        "joints": 0,
        "peaks": np.zeros((0, 3)),
        "counts": int32(),
        "ends": np.zeros((0, 3), np.int32),
        "scores": np.zeros(0),
    }
    first, second = call(**{key: empty.get(key, value) for key, value in CALLS[name].items()})
    assert first.size == second.size == 0


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("group", {"limb_maps": MAPS[:2]}, r"limb maps: expected one map per limb \(3\), got 2"),
        ("group", {"limb_maps": MAPS[:, :3].copy()}, "maps: expected equal sizes, got 4 x 5 and 3 x 5"),
        (
            "group",
            {"keypoint_maps": MAPS[0]},
            r"keypoint_maps: expected shape \(any, any, any\), got \(4, 5\)",
        ),
        ("group", {"keypoint_maps": MAPS.astype(float)}, "expected a NumPy array of float32, got float64"),
        ("group", {"keypoint_maps": MAPS.astype(">f4")}, "expected a NumPy array of float32, got >f4"),
        ("group", {"keypoint_maps": MAPS.tolist()}, "expected a NumPy array of float32, got list"),
        ("group", {"keypoint_maps": MAPS[:, :, ::-1]}, "keypoint_maps: expected C-contiguous memory"),
        (
            "group",
            {"keypoint_maps": misalign(MAPS)},
            "keypoint_maps: expected an address that is a multiple of 4",
        ),
        ("group", {"keypoint_maps": MAPS[:, :0].copy()}, "maps: expected 1 x 1 to 67108864 cells, got 0 x 5"),
        (
            "group",
            {"limb_ends": LIMB_ENDS[:, :1].copy()},
            r"limb_ends: expected shape \(any, 2\), got \(3, 1\)",
        ),
        ("group", {"limb_ends": int32([0, 1], [1, 2], [2, 3])}, "expected two different joints from 0 to 2"),
        ("group", {"settings": None}, "settings: expected GroupingSettings, got NoneType"),
        (
            "group",
            {"settings": settings_with("rules", "other")},
            "rules: expected 'simplepose' or 'reference'",
        ),
        (
            "group",
            {"settings": settings_with("max_peaks", 2**31)},
            "max_peaks: expected an integer.*2147483648",
        ),
        ("group", {"settings": settings_with("max_peaks", 1.5)}, "max_peaks: expected an integer.*got float"),
        (
            "group",
            {"settings": settings_with("max_peaks", 10**5000)},
            "max_peaks: .* got one of more than 64",
        ),
        (
            "group",
            {"settings": settings_with("max_peaks", 0)},
            "max_peaks: expected a finite value > 0, got 0",
        ),
        (
            "group",
            {"settings": settings_with("stride", "4")},
            "stride: expected a number .* object of type str",
        ),
        ("group", {"settings": settings_with("stride", 10**400)}, "stride: expected a number .* of type int"),
        (
            "find_peaks",
            {"settings": settings_with("max_peaks", -1)},
            "max_peaks: expected a finite value > 0",
        ),
        (
            "find_peaks",
            {"settings": settings_with("stride", float("inf"))},
            "stride: expected a finite value",
        ),
        ("find_peaks", {"keypoint_maps": MAPS[:, :, :0].copy()}, "maps: expected 1 x 1 to .*, got 4 x 0"),
        (
            "refine_maxima",
            {"values": np.ones((1, 12), np.float32)},
            r"values: expected shape \(1, 13\), got \(1, 12\)",
        ),
        (
            "refine_maxima",
            {"values": np.ones((2, 13), np.float32)},
            r"values: expected shape \(1, 13\), got \(2, 13\)",
        ),
        ("refine_maxima", {"values": np.zeros((1, 13), np.float32)}, "values: expected .* peak_threshold"),
        ("refine_maxima", {"values": np.full((1, 13), np.nan, np.float32)}, "values: expected finite"),
        ("refine_maxima", {"values": misalign(np.ones((1, 13), np.float32))}, "values: expected an address"),
        *(
            (
                "refine_maxima",
                {"cells": int32(cell)},
                r"cells: expected joint, y, x from 0 and below \(3, 4, 5\)",
            )
            for cell in (
                [3, 0, 0],
                [0, 4, 0],
                [0, 0, 5],
                [-1, 0, 0],
                [0, -1, 0],
                [0, 0, -1],
                [2**31 - 1, 0, 0],
            )
        ),
        *(
            ("refine_maxima", {"joints": joints}, "joints: expected an integer from 0 to 512, got")
            for joints in (-1, 513, 2**31, 2**63, "3", None)
        ),
        *(
            ("refine_maxima", {"height": height}, "(height: expected an integer|maps: expected 1 x 1 to)")
            for height in (0, -1, 2**31 - 1, 2**31, 2**64, 4.0)
        ),
        ("refine_maxima", {"height": 2**15, "width": 2**15}, "maps: .* got 32768 x 32768"),
        (
            "assemble_poses",
            {"counts": int32(1, 3, 0)},
            r"counts: expected values >= 0 whose sum .*\(3\), got 3",
        ),
        ("assemble_poses", {"counts": int32(1, 1, 0)}, r"counts: expected a sum equal to .*\(3\), got 2"),
        ("assemble_poses", {"counts": int32(4, -1, 0)}, "counts: expected values >= 0"),
        ("assemble_poses", {"counts": int32(2**31 - 1, 2**31 - 1, 5)}, "counts: expected values >= 0"),
        ("assemble_poses", {"counts": int32([1, 2, 0])}, r"counts: expected shape \(any\), got \(1, 3\)"),
        ("assemble_poses", {"scores": np.ones(2)}, r"scores: expected shape \(1\), got \(2\)"),
        ("assemble_poses", {"scores": np.array([np.nan])}, "limb 0: expected finite scores > 0"),
        ("assemble_poses", {"ends": int32([3, 0, 1])}, r"ends: expected limbs >= 0 and below .*\(3\), got 3"),
        ("assemble_poses", {"ends": int32([-1, 0, 1])}, "ends: expected limbs >= 0 .* got -1"),
        ("assemble_poses", {"ends": int32([0, 0, 2])}, "limb 0: expected connections between existing peaks"),
        (
            "assemble_poses",
            {"peaks": np.full((3, 3), np.nan)},
            "peaks: expected positions inside the map of 4 x 5",
        ),
        ("assemble_poses", {"peaks": misalign(np.ones((3, 3)))}, "peaks: expected an address"),
        ("assemble_poses", {"width": 4}, "peaks: expected positions inside the map of 4 x 4"),
    ],
)
def test_invalid_arguments_are_value_errors(name: str, changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(_grouping, name)(**{**CALLS[name], **changed})


@pytest.mark.parametrize("shape", [(600, 1, 1), (512, 1, 1)])
def test_number_of_joints_is_limited(shape: tuple[int, ...]) -> None:
    maps = np.ones(shape, np.float32)
    arguments = {
        "limb_maps": maps[:0],
        "keypoint_maps": maps,
        "limb_ends": LIMB_ENDS[:0],
        "settings": LENIENT,
    }
    if shape[0] > 512:
        with pytest.raises(ValueError, match="skeleton: expected at most 512 joints and 4096 limbs, got 600"):
            _grouping.group(**arguments)
    else:
        assert _grouping.group(**arguments)[0].shape == (512, 512, 3)


def test_bindings_return_valid_results_or_raise_value_error() -> None:
    num_valid = sum(map(fuzz_bindings.run, range(2000)))
    assert 500 < num_valid < 1500


@pytest.mark.slow
def test_bindings_pass_with_sanitizers(cpp_objects: Path, tmp_path: Path) -> None:
    runtimes = cpp_build.list_runtimes("libasan.so", "libstdc++.so")
    package = cpp_build.build_package(cpp_objects, tmp_path)
    environment = {
        **os.environ,
        "PYTHONPATH": str(package),
        "LD_PRELOAD": runtimes,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python frees some memory only at its exit
    }
    command = [sys.executable, ROOT / "tests/helpers/fuzz_bindings.py", "2000", "12000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{package}/")
    assert "calls 2000 to 11999 passed" in done.stdout
