"""Histograms of times in constant memory, and the summary of a run."""

import json
import threading

import numpy as np
import pytest

from simplepose.frames import BadFrame
from simplepose.inference import runner
from simplepose.inference.runner import MAX_REPORTED_BAD_FRAMES, PipelineRun
from simplepose.inference.stages import BIN_COUNT, Timing


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.95, 1.0])
def test_percentiles_are_accurate_to_one_bin(rng, fraction):
    times, timing = rng.lognormal(-5, 1.5, 4000), Timing()
    for seconds in times:
        timing.add(seconds)
    expected = np.quantile(times, fraction, method="inverted_cdf")
    assert timing.percentile(fraction) == pytest.approx(expected, rel=0.011)
    assert timing.total == pytest.approx(times.sum())
    assert timing.count == 4000


def test_the_time_of_a_batch_is_split_among_its_items():
    timing = Timing()
    timing.add(0.8, items=4)
    assert (timing.count, timing.total) == (4, 0.8)
    assert timing.percentile(0.5) == pytest.approx(0.2, rel=0.011)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e9])
def test_extreme_times_are_counted(seconds):
    timing = Timing()
    timing.add(seconds)
    assert timing.count == 1
    assert timing.percentile(1) > 0
    assert len(timing._counts) == BIN_COUNT


def test_percentile_without_items_is_zero():
    assert Timing().percentile(0.5) == 0


def test_concurrent_additions_are_all_counted():
    timing = Timing()
    threads = [threading.Thread(target=lambda: [timing.add(0.001) for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert timing.count == 8000


def make_run(bad, **values):
    timing = Timing()
    timing.add(0.010)
    run = PipelineRun("images", {"read": timing}, frames=7, people=9, seconds=2.0, **values)
    for number in range(bad):
        run.add_bad_frame(BadFrame(number, f"{number}.jpg", "cut off"))
    return run


def test_summary_has_stages_rate_and_skipped_frames():
    text = runner.format_summary(make_run(MAX_REPORTED_BAD_FRAMES + 5, dropped=3))
    stage, *skipped, more, summary = text.splitlines()[1:]
    name, p50, p95, total = stage.split()
    assert (name, total) == ("read", "0.01")
    assert [float(p50), float(p95)] == pytest.approx([10, 10], rel=0.011)
    assert len(skipped) == MAX_REPORTED_BAD_FRAMES
    assert all("cut off" in line for line in skipped)
    assert more == "and 5 more"
    assert summary == (
        "7 images, 9 people in 2.0 s: 3.5 images/s; 3 frames dropped for newer ones; "
        "25 images could not be read"
    )
    assert "skipped" not in runner.format_summary(make_run(0))


def test_summary_uses_the_singular_and_marks_partial_runs():
    run = PipelineRun("frames", {}, frames=1, people=1, bad=1, dropped=1, seconds=0.5, interrupted=True)
    assert str(run) == (
        "1 frame, 1 person in 0.5 s: 2.0 frames/s; 1 frame dropped for newer ones; "
        "1 frame could not be read; interrupted, results are partial"
    )
    assert str(PipelineRun("frames", {})) == "0 frames, 0 people in 0.0 s: 0.0 frames/s"


def test_profile_is_plain_json():
    values = json.loads(json.dumps(runner.build_profile(make_run(2))))
    assert values["frames"] == 7
    assert values["frames_per_second"] == 3.5
    assert values["steps"]["read"]["p50_ms"] == pytest.approx(10, rel=0.011)
    assert values["skipped"][1] == {"frame": 1, "file_name": "1.jpg", "reason": "cut off"}
    assert not values["is_part"]


def test_summary_escapes_names_that_are_not_unicode():
    run = make_run(0)
    run.add_bad_frame(BadFrame(0, "caf\udce9.jpg", "cut"))
    assert "caf\\udce9.jpg" in runner.format_summary(run)
