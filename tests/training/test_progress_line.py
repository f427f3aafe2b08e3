"""The progress line: readable, and a single line for any numbers."""

import math

import pytest

from simplepose.training.loggers import format_progress, format_time_left

RECORD = {
    "kind": "step",
    "step": 12340,
    "epoch": 3.4159,
    "loss": 812.44,
    "scales": [512.3, 210.0, 60.21, 20.04, 9.1234],
    "stacks": [830.1, 810.2, 805.3, 800.4],
    "lr": 2.5e-5,
    "samples_per_second": 182.4,
    "data_wait": 0.031,
    "gpu_memory_gib": 61.24,
    "skipped": 2,
}


def test_progress_line_contains_all_values():
    assert format_progress(RECORD, 100, 3 * 86400 + 7384) == (
        "epoch 3.42/100 step 12340 | loss 812 | scales 512 210 60.2 20.0 9.12 | stacks 830 810 805 800"
        " | lr 2.5e-05 | 182 samples/s | data 3% | 61.2 GiB | 2 skipped | 3d 02:03 left"
    )


def test_missing_values_are_omitted():
    line = format_progress({**RECORD, "gpu_memory_gib": None, "skipped": 0}, 100, 60)
    assert "GiB" not in line
    assert "skipped" not in line


@pytest.mark.parametrize("value", [0.0, 1e-12, 0.05, 9.999, 99999.4, 1e5, 1e30, math.inf, math.nan, -3.0])
def test_line_length_is_limited_for_any_number(value):
    record = {
        **RECORD,
        "step": 10**7,
        "epoch": 999.99,
        "loss": value,
        "scales": [value] * 5,
        "stacks": [value] * 4,
        "samples_per_second": value,
        "skipped": 1000,
    }
    line = format_progress(record, 1000, 1e6 * value)
    assert "\n" not in line
    assert len(line) < (200 if 1e-3 <= value < 1e5 else 230)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0:00:00 left"),
        (-5, "0:00:00 left"),
        (-math.inf, "0:00:00 left"),
        (59.6, "0:01:00 left"),
        (3599, "0:59:59 left"),
        (86399, "23:59:59 left"),
        (86400, "1d 00:00 left"),
        (100 * 86400 + 60, "100d 00:01 left"),
        (1e30, "?:??:?? left"),
        (math.nan, "?:??:?? left"),
        (math.inf, "?:??:?? left"),
    ],
)
def test_format_time_left(seconds, expected):
    assert format_time_left(seconds) == expected
