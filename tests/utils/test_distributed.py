"""Distributed training: all processes have the same weights, skip the same steps and end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import runs
import torch
from repo_paths import ROOT

from simplepose.cli import train, train_distributed
from simplepose.data.hdf5.reader import SampleFile
from simplepose.utils import distributed

EPOCHS = 16  # of a run that two signals interrupt
EQUIVALENCE_SCRIPT = ROOT / "tests/helpers/ddp_equivalence.py"


@pytest.fixture(scope="module")
def one_process(samples_file, tmp_path_factory) -> dict[str, Any]:
    """Five steps in one process, with the total batch size and learning rate of two processes."""
    output = tmp_path_factory.mktemp("one") / "weights.pt"
    runs.run_to_end([sys.executable, str(EQUIVALENCE_SCRIPT), str(samples_file), str(output), "6", "2e-3"])
    result = torch.load(output)
    assert result["weights"]["heads.1.0.maps.bias"].abs().max() > 0.01  # initially 0: it has trained
    return result


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch_size(samples_file, tmp_path, one_process):
    """With the old launcher; the other tests start torchrun."""
    output = tmp_path / "weights.pt"
    command = runs.launch_command(2, script=EQUIVALENCE_SCRIPT)
    runs.run_to_end([*command, str(samples_file), str(output), "3", "1e-3"])
    found = torch.load(output)
    assert found["weights"].keys() == one_process["weights"].keys()
    for name, tensor in one_process["weights"].items():
        torch.testing.assert_close(found["weights"][name], tensor, rtol=0, atol=1e-5, msg=name)
    assert found["loss"] == pytest.approx(one_process["loss"], rel=1e-6)


@pytest.mark.slow
def test_two_processes_train_and_validate_different_numbers_of_samples(samples_file, tmp_path):
    settings = ("train.batch_size=2", "train.sync_batchnorm=true", "train.accumulate=2")
    validation = ("--val", str(samples_file))
    args = runs.arguments(samples_file, tmp_path, *settings, "train.timeout_minutes=1", more=validation)
    assert len(SampleFile(samples_file)) % 2 == 1
    output = runs.run_to_end([*runs.torchrun_command(2), *args])
    assert output.count("\ndone: ") == 1
    assert len(runs.step_losses(tmp_path)) == 1
    (epoch,) = (line for line in runs.journal(tmp_path) if line["kind"] == "epoch")
    assert epoch["val_loss"] > 0


@pytest.mark.slow
def test_two_nodes_in_two_process_groups(samples_file, tmp_path):
    """As on two machines: one launcher each, with a common rendezvous address."""
    port = f"--master-port={runs.free_port()}"
    nodes = [
        runs.start(
            [
                *runs.torchrun_command(
                    1, "--nnodes=2", f"--node-rank={node}", "--master-addr=127.0.0.1", port
                ),
                *runs.arguments(samples_file, tmp_path / "run"),
            ],
            start_new_session=True,
        )
        for node in (0, 1)
    ]
    outputs = [node.communicate(timeout=240)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    assert "done: " in outputs[0]
    assert "done: " not in outputs[1]


@pytest.fixture(scope="module")
def checks(samples_file) -> str:
    """The output of two processes that check resuming and skipped steps."""
    script = ROOT / "tests/helpers/ddp_checks.py"
    return runs.run_to_end([*runs.torchrun_command(2, script=script), str(samples_file)])


@pytest.mark.slow
def test_all_ranks_skip_a_step_with_a_non_finite_loss_on_one_rank(checks):
    assert checks.count("skipped on all ranks") == 2


@pytest.mark.slow
def test_all_ranks_resume_from_the_state_of_rank_0(checks):
    assert checks.count("resumed on all ranks") == 2


@pytest.mark.slow
def test_error_on_rank_0_ends_all_ranks_with_its_message(samples_file, tmp_path):
    (tmp_path / "checkpoint_00000001.pt").touch()
    result = subprocess.run(
        [*runs.torchrun_command(), *runs.arguments(samples_file, tmp_path)],
        env=runs.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode != 0
    assert f"error: {tmp_path} already contains a run" in result.stderr
    assert f"error: process 0: {tmp_path} already contains a run" in result.stderr
    assert "[rank1]: Traceback" not in result.stderr


@pytest.mark.slow
def test_death_of_one_process_ends_the_others(samples_file, tmp_path):
    run = tmp_path / "run"
    args = runs.arguments(samples_file, run, "train.epochs=10000", "train.timeout_minutes=0.5")
    process = runs.start([*runs.torchrun_command(), *args])
    runs.wait_for(lambda: len(runs.journal(run)) > 2, process)
    victim = runs.child_pids(process)[-1]
    os.kill(victim, signal.SIGKILL)
    output = process.communicate(timeout=60)[0]
    assert process.returncode not in (0, None)
    assert "SIGKILL" in output or "Signal 9" in output


def start_and_signal(command: list[str], run: Path, number: signal.Signals) -> None:
    """Start a run, send a signal to its launcher after a few steps, and check that it saves a checkpoint."""
    initial_lines = len(runs.journal(run))
    process = runs.start(command)
    runs.wait_for(lambda: len(runs.journal(run)) > initial_lines + 2, process)
    process.send_signal(number)
    output = process.communicate(timeout=120)[0]
    assert "interrupted, checkpoint saved" in output, output[-3000:]
    assert process.returncode != 0
    assert runs.load_newest_checkpoint(run)["progress"]["epoch"] < EPOCHS


@pytest.mark.slow
def test_signals_stop_all_ranks_and_the_run_resumes(samples_file, tmp_path):
    settings = (f"train.epochs={EPOCHS}", "train.batch_size=2")
    uninterrupted, interrupted = tmp_path / "uninterrupted", tmp_path / "interrupted"
    runs.run_to_end([*runs.torchrun_command(), *runs.arguments(samples_file, uninterrupted, *settings)])
    args = runs.arguments(samples_file, interrupted, *settings, more=("--resume",))
    for number in (signal.SIGTERM, signal.SIGINT):
        start_and_signal([*runs.torchrun_command(), *args], interrupted, number)
    runs.run_to_end([*runs.torchrun_command(), *args])
    assert runs.step_losses(interrupted) == runs.step_losses(uninterrupted)
    expected, found = (
        runs.load_newest_checkpoint(uninterrupted)["weights"],
        runs.load_newest_checkpoint(interrupted)["weights"],
    )
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


@pytest.mark.slow
def test_elastic_restart_resumes_the_run(samples_file, tmp_path):
    """The documented command: --max-restarts, with --resume from the start."""
    run = tmp_path / "run"
    settings = ("train.epochs=10", "train.checkpoint_steps=2")
    process = runs.start(
        [
            *runs.torchrun_command(2, "--max-restarts=2"),
            *runs.arguments(samples_file, run, *settings, more=("--resume",)),
        ]
    )
    runs.wait_for(lambda: len(list(run.glob("checkpoint_*.pt"))) > 1, process)
    os.kill(runs.child_pids(process)[0], signal.SIGKILL)
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output[-3000:]
    assert [line["kind"] for line in runs.journal(run)].count("resume") == 1
    assert runs.load_newest_checkpoint(run)["progress"]["epoch"] == 10


@pytest.mark.parametrize("missing", ["RANK", "MASTER_PORT"])
def test_incomplete_launcher_environment_is_an_error(monkeypatch, missing):
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(ValueError, match=missing), distributed.process_group(1):
        pass


def test_each_process_has_its_own_gpu():
    assert train_distributed._gpu(1, 2) == torch.device("cuda", 1)
    with pytest.raises(
        ValueError, match="process 2 of this machine has no GPU: the machine has 2; use --nproc-per-node=2"
    ):
        train_distributed._gpu(2, 2)


def test_single_process_tool_rejects_a_launcher(samples_file, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"expected 1 process, got 2 .*train_distributed\.py"):
        train.main(runs.arguments(samples_file, tmp_path / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [None, runs.torchrun_command])
def test_sigterm_to_the_group_saves_a_checkpoint_with_workers(samples_file, tmp_path, launcher):
    """As `timeout`, systemd and slurm send it: to the workers and their server too."""
    command = launcher(2) if launcher else runs.single_process_command()
    settings = ("train.workers=1", "train.epochs=10000", "train.batch_size=2")
    process = runs.start(
        [*command, *runs.arguments(samples_file, tmp_path, *settings)], start_new_session=True
    )
    runs.wait_for(lambda: len(runs.journal(tmp_path)) > 2, process)
    os.killpg(process.pid, signal.SIGTERM)
    output = process.communicate(timeout=120)[0]  # ends only with all processes that have the pipe
    assert "interrupted, checkpoint saved" in output, output[-3000:]
    assert process.returncode == 130 if launcher is None else process.returncode != 0
    assert runs.load_newest_checkpoint(tmp_path)["progress"]["step"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [runs.torchrun_command, runs.launch_command])
@pytest.mark.parametrize("delay_s", [0.0, 4.0])
def test_a_launcher_killed_before_its_processes_met_leaves_none(samples_file, tmp_path, launcher, delay_s):
    command = [*launcher(2), *runs.arguments(samples_file, tmp_path)]
    process = runs.start(command, start_new_session=True)
    runs.wait_for(lambda: len(runs.child_pids(process)) == 2, process)
    stopped, running = runs.child_pids(process)
    os.kill(stopped, signal.SIGSTOP)  # they cannot meet
    try:
        time.sleep(delay_s)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 120
        while os.path.exists(f"/proc/{running}") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not os.path.exists(f"/proc/{running}")
    finally:
        os.kill(stopped, signal.SIGCONT)
        process.communicate(timeout=120)  # ends with the last process that has the pipe
