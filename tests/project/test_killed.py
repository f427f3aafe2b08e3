"""A run that is killed again and again ends as the one that was not: bit for bit.

SIMPLEPOSE_STEPS and SIMPLEPOSE_KILLS make it longer; the full form is 40 steps and 5 kills.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import runs
import torch

from simplepose.data.hdf5.reader import SampleFile

STEPS = int(os.environ.get("SIMPLEPOSE_STEPS", "18"))
KILLS = int(os.environ.get("SIMPLEPOSE_KILLS", "2"))
AVERAGED = ("train.swa_start=1", "train.swa_epochs=1", "train.ema_decay=0.9")


def killed(command: list[str], run: Path, moments: random.Random) -> bool:
    """Start it, and send SIGKILL when it has gone on for a few steps; False if it was done before."""
    known = len(runs.journal(run))
    process = runs.start(command)
    wanted = known + moments.randint(1, max(2, 2 * STEPS // (KILLS + 1) - 1))
    while process.poll() is None and len(runs.journal(run)) < wanted:
        time.sleep(0.01)
    time.sleep(moments.uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_a_killed_run_ends_like_the_one_that_was_not(samples_file, tmp_path):
    epochs = -(-STEPS // (len(SampleFile(samples_file)) // 2))
    settings = (f"train.epochs={epochs}", "train.checkpoint_steps=3", *AVERAGED)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    runs.finish([*runs.alone(), *runs.arguments(samples_file, straight, *settings)])
    again = [*runs.alone(), *runs.arguments(samples_file, broken, *settings, more=("--resume",))]
    moments = random.Random(0)
    kills = sum(killed(again, broken, moments) for _ in range(KILLS))
    assert kills == KILLS
    runs.finish(again)

    assert len(runs.losses(straight)) >= STEPS
    assert runs.losses(broken) == runs.losses(straight)
    expected, found = runs.newest(straight), runs.newest(broken)
    assert found["progress"] == expected["progress"]
    for kept in ("weights", "ema", "swa", "optimizer"):
        assert_equal(found[kept], expected[kept], kept)


def assert_equal(found: object, expected: object, name: str) -> None:
    """Bit for bit, however deep."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), name
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), name
        for key, value in expected.items():
            assert_equal(found[key], value, f"{name}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), name
        for number, value in enumerate(expected):
            assert_equal(found[number], value, f"{name}.{number}")
    else:
        assert found == expected, name
