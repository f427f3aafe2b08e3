"""Several processes train as one: the same weights, the same skips, the same end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest
import runs
import torch
from places import ROOT

from simplepose.cli import train, train_distributed
from simplepose.utils import distributed

EQUAL = ROOT / "tests/helpers/equal_together.py"


@pytest.fixture(scope="module")
def one_process(samples_file, tmp_path_factory) -> dict[str, Any]:
    """Five steps in one process, with the batch and the rate of two."""
    output = tmp_path_factory.mktemp("one") / "weights.pt"
    runs.finish([sys.executable, str(EQUAL), str(samples_file), str(output), "6", "2e-3"])
    reached = torch.load(output)
    assert reached["weights"]["heads.1.0.maps.bias"].abs().max() > 0.01  # 0 at first: it has learned
    return reached


@pytest.mark.parametrize("launcher", [runs.torchrun, runs.launch])
def test_two_processes_equal_one_with_twice_the_batch(samples_file, tmp_path, one_process, launcher):
    output = tmp_path / "weights.pt"
    runs.finish([*launcher(2, script=EQUAL), str(samples_file), str(output), "3", "1e-3"])
    found = torch.load(output)
    assert found["weights"].keys() == one_process["weights"].keys()
    for name, tensor in one_process["weights"].items():
        torch.testing.assert_close(found["weights"][name], tensor, rtol=0, atol=1e-5, msg=name)
    assert found["loss"] == pytest.approx(one_process["loss"], rel=1e-6)


@pytest.mark.parametrize("launcher", [runs.torchrun, runs.launch])
def test_the_tool_trains_under_each_launcher(samples_file, tmp_path, launcher):
    settings = ("train.batch_size=2", "train.sync_batchnorm=true", "train.accumulate=2")
    told = runs.finish([*launcher(2), *runs.arguments(samples_file, tmp_path, *settings)])
    assert told.count("\ndone: ") == 1
    assert len(runs.losses(tmp_path)) == 1


def test_two_nodes_in_two_process_groups(samples_file, tmp_path):
    """As on two machines: a launcher each, which meet at an address."""
    meeting = f"--master-port={runs.free_port()}"
    nodes = [
        runs.start(
            [
                *runs.torchrun(1, "--nnodes=2", f"--node-rank={node}", "--master-addr=127.0.0.1", meeting),
                *runs.arguments(samples_file, tmp_path / "run"),
            ],
            start_new_session=True,
        )
        for node in (0, 1)
    ]
    told = [node.communicate(timeout=240)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], told
    assert "done: " in told[0]
    assert "done: " not in told[1]


def test_a_rank_with_fewer_held_out_samples_keeps_nobody_waiting(samples_file, tmp_path):
    only = ("train.epochs=1", "train.timeout_minutes=1")
    for processes in (2, 3):  # one of the numbers does not divide the held-out samples
        run = tmp_path / str(processes)
        args = runs.arguments(
            samples_file, run, *only, "train.batch_size=1", more=("--val", str(samples_file))
        )
        runs.finish([*runs.torchrun(processes), *args])
        told = [line for line in runs.journal(run) if line["kind"] == "epoch"]
        assert told[0]["val_loss"] > 0


def test_a_loss_that_is_not_finite_in_one_process_is_skipped_by_all(samples_file):
    done = runs.finish(
        [
            *runs.torchrun(2, script=ROOT / "tests/helpers/skip_together.py"),
            str(samples_file),
        ]
    )
    assert done.count("skipped together") == 2


def test_all_processes_go_on_from_the_state_of_the_first(samples_file):
    script = ROOT / "tests/helpers/resume_together.py"
    done = runs.finish([*runs.torchrun(2, script=script), str(samples_file)])
    assert done.count("went on together") == 2


def test_what_fails_in_the_first_alone_ends_all_with_its_message(samples_file, tmp_path):
    (tmp_path / "checkpoint_00000001.pt").touch()
    done = subprocess.run(
        [*runs.torchrun(), *runs.arguments(samples_file, tmp_path)],
        env=runs.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert f"error: {tmp_path} holds a run already" in done.stderr
    assert f"error: process 0: {tmp_path} holds a run already" in done.stderr
    assert "[rank1]: Traceback" not in done.stderr


def test_a_process_that_dies_ends_the_others(samples_file, tmp_path):
    run = tmp_path / "run"
    args = runs.arguments(samples_file, run, "train.epochs=10000", "train.timeout_minutes=0.5")
    process = runs.start([*runs.torchrun(), *args])
    runs.wait_for(lambda: len(runs.journal(run)) > 2, process)
    victim = runs.children(process)[-1]
    os.kill(victim, signal.SIGKILL)
    told = process.communicate(timeout=60)[0]
    assert process.returncode not in (0, None)
    assert "SIGKILL" in told or "Signal 9" in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_together_and_the_run_goes_on(samples_file, tmp_path, number):
    settings = ("train.epochs=12", "train.batch_size=2")
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    runs.finish([*runs.torchrun(), *runs.arguments(samples_file, straight, *settings)])
    process = runs.start([*runs.torchrun(), *runs.arguments(samples_file, broken, *settings)])
    runs.wait_for(lambda: len(runs.journal(broken)) > 2, process)
    process.send_signal(number)
    told = process.communicate(timeout=120)[0]
    assert "interrupted and saved" in told, told[-3000:]
    assert process.returncode != 0
    assert runs.newest(broken)["progress"]["epoch"] < 12
    runs.finish([*runs.torchrun(), *runs.arguments(samples_file, broken, *settings, more=("--resume",))])
    assert runs.losses(broken) == runs.losses(straight)
    expected, found = runs.newest(straight)["weights"], runs.newest(broken)["weights"]
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


def test_an_elastic_restart_goes_on_by_itself(samples_file, tmp_path):
    """The command of the documentation: --max-restarts, and --resume from the start."""
    run = tmp_path / "run"
    settings = ("train.epochs=20", "train.checkpoint_steps=2")
    process = runs.start(
        [
            *runs.torchrun(2, "--max-restarts=2"),
            *runs.arguments(samples_file, run, *settings, more=("--resume",)),
        ]
    )
    runs.wait_for(lambda: len(list(run.glob("checkpoint_*.pt"))) > 1, process)
    os.kill(runs.children(process)[0], signal.SIGKILL)
    told = process.communicate(timeout=240)[0]
    assert process.returncode == 0, told[-3000:]
    assert [line["kind"] for line in runs.journal(run)].count("resume") == 1
    assert runs.newest(run)["progress"]["epoch"] == 20


@pytest.mark.parametrize("missing", ["RANK", "MASTER_PORT"])
def test_half_a_launcher_is_refused(monkeypatch, missing):
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(ValueError, match=missing), distributed.join(1):
        pass


def test_each_process_has_a_gpu_of_its_own():
    assert train_distributed._gpu(1, 2) == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="process 2 of this machine has no GPU, there are 2; start 2"):
        train_distributed._gpu(2, 2)


def test_a_launcher_of_the_wrong_tool_is_told(samples_file, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"2 processes.*train_distributed\.py"):
        train.main(runs.arguments(samples_file, tmp_path / "run"))
