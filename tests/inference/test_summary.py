"""Times of any number of things in little memory, and what a run tells in its end."""

import json
import threading

import numpy as np
import pytest

from simplepose.frames import BadFrame
from simplepose.inference import runner
from simplepose.inference.runner import NAMED, Run
from simplepose.inference.stages import BINS, Timing


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 1.0])
def test_percentiles_are_right_within_a_bin(rng, share):
    seconds, timing = rng.lognormal(-5, 1.5, 4000), Timing()
    for each in seconds:
        timing.add(each)
    expected = np.quantile(seconds, share, method="inverted_cdf")
    assert timing.percentile(share) == pytest.approx(expected, rel=0.011)
    assert timing.total == pytest.approx(seconds.sum())
    assert timing.count == 4000


def test_a_batch_is_shared_by_its_frames():
    timing = Timing()
    timing.add(0.8, of=4)
    assert (timing.count, timing.total) == (4, 0.8)
    assert timing.percentile(0.5) == pytest.approx(0.2, rel=0.011)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e9])
def test_any_time_is_counted(seconds):
    timing = Timing()
    timing.add(seconds)
    assert timing.count == 1
    assert timing.percentile(1) > 0
    assert len(timing._counts) == BINS


def test_nothing_takes_no_time():
    assert Timing().percentile(0.5) == 0


def test_threads_lose_no_count():
    timing = Timing()
    threads = [threading.Thread(target=lambda: [timing.add(0.001) for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert timing.count == 8000


def run_with(bad, **values):
    timing = Timing()
    timing.add(0.010)
    run = Run("pictures", {"read": timing}, frames=7, people=9, seconds=2.0, **values)
    for number in range(bad):
        run.note(BadFrame(number, f"{number}.jpg", "cut off"))
    return run


def test_a_report_tells_steps_rate_and_what_was_skipped():
    told = runner.table(run_with(NAMED + 5, dropped=3))
    steps, *skipped, more, summary = told.splitlines()[1:]
    name, p50, p95, in_all = steps.split()
    assert (name, in_all) == ("read", "0.01")
    assert [float(p50), float(p95)] == pytest.approx([10, 10], rel=0.011)
    assert len(skipped) == NAMED
    assert all("cut off" in line for line in skipped)
    assert more == "and 5 more"
    assert summary == (
        "7 pictures, 9 people in 2.0 s: 3.5 pictures a second; 3 frames dropped for newer ones; "
        "25 pictures could not be read"
    )
    assert "skipped" not in runner.table(run_with(0))


def test_a_run_of_one_and_a_part_are_told_as_such():
    run = Run("frames", {}, frames=1, people=1, bad=1, dropped=1, seconds=0.5, interrupted=True)
    assert str(run) == (
        "1 frame, 1 person in 0.5 s: 2.0 frames a second; 1 frame dropped for newer ones; "
        "1 frame could not be read; interrupted, this is a part"
    )
    assert str(Run("frames", {})) == "0 frames, 0 people in 0.0 s: 0.0 frames a second"


def test_a_profile_is_plain_json():
    values = json.loads(json.dumps(runner.profile(run_with(2))))
    assert values["frames"] == 7
    assert values["frames_per_second"] == 3.5
    assert values["steps"]["read"]["p50_ms"] == pytest.approx(10, rel=0.011)
    assert values["skipped"][1] == {"frame": 1, "file_name": "1.jpg", "reason": "cut off"}
    assert not values["is_part"]


def test_a_name_that_is_no_unicode_can_be_told():
    run = run_with(0)
    run.note(BadFrame(0, "caf\udce9.jpg", "cut"))
    assert "caf\\udce9.jpg" in runner.table(run)
