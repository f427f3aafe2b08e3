"""A training run that is killed and resumed several times ends bit-identical to an uninterrupted run.

SIMPLEPOSE_STEPS and SIMPLEPOSE_KILLS make it longer; the full test has 40 steps and 5 kills.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
import runs
import torch

from simplepose.data.hdf5.reader import SampleFile

STEPS = int(os.environ.get("SIMPLEPOSE_STEPS", "18"))
KILLS = int(os.environ.get("SIMPLEPOSE_KILLS", "2"))
AVERAGED = ("train.swa_start=1", "train.swa_epochs=1", "train.ema_decay=0.9")


def start_and_kill(command: list[str], run: Path, rng: random.Random) -> bool:
    """Start a run and send SIGKILL after a few more steps; returns False if the run ended before."""
    initial_steps = len(runs.journal(run))
    process = runs.start(command)
    target_steps = initial_steps + rng.randint(1, max(2, 2 * STEPS // (KILLS + 1) - 1))
    while process.poll() is None and len(runs.journal(run)) < target_steps:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_killed_and_resumed_run_equals_an_uninterrupted_run(samples_file, tmp_path):
    epochs = -(-STEPS // (len(SampleFile(samples_file)) // 2))
    settings = (f"train.epochs={epochs}", "train.checkpoint_steps=3", *AVERAGED)
    uninterrupted, interrupted = tmp_path / "uninterrupted", tmp_path / "interrupted"
    runs.run_to_end([*runs.single_process_command(), *runs.arguments(samples_file, uninterrupted, *settings)])
    resume_command = [
        *runs.single_process_command(),
        *runs.arguments(samples_file, interrupted, *settings, more=("--resume",)),
    ]
    rng = random.Random(0)
    kills = sum(start_and_kill(resume_command, interrupted, rng) for _ in range(KILLS))
    assert kills == KILLS
    runs.run_to_end(resume_command)

    assert len(runs.step_losses(uninterrupted)) >= STEPS
    assert runs.step_losses(interrupted) == runs.step_losses(uninterrupted)
    expected, found = runs.load_newest_checkpoint(uninterrupted), runs.load_newest_checkpoint(interrupted)
    assert found["progress"] == expected["progress"]
    for key in ("weights", "ema", "swa", "optimizer"):
        assert_equal(found[key], expected[key], key)


def assert_equal(found: object, expected: object, name: str) -> None:
    """Compare nested values bit by bit."""
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
