"""Training runs in separate processes, as users start them, with each launcher."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from repo_paths import CONFIGS, ROOT

from simplepose.models import checkpoints

SMALL_RUN = ["train.workers=0", "augment.size=[64,128]", "train.log_steps=1", "train.ema_decay=0"]


def environment() -> dict[str, str]:
    """Return environment variables for one thread per process, without those of a launcher of the tests."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("TORCHELASTIC", "MASTER_"))
    }
    return {**inherited, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}


def arguments(samples: Path, run: Path, *overrides: str, more: tuple[str, ...] = ()) -> list[str]:
    """Return the command-line arguments of a small training run."""
    args = ["--config", str(CONFIGS / "smoke.yaml"), "--train", str(samples), "--output", str(run)]
    return [*args, "--device", "cpu", *more, "--set", *SMALL_RUN, *overrides]


def single_process_command() -> list[str]:
    """Return the command that starts tools/train.py in one process."""
    return [sys.executable, str(ROOT / "tools/train.py")]


TRAIN_DISTRIBUTED = ROOT / "tools/train_distributed.py"


def torchrun_command(processes: int = 2, *options: str, script: Path = TRAIN_DISTRIBUTED) -> list[str]:
    """Return the command that starts a script with torchrun; `options` are those of torchrun."""
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    standalone = [] if any(option.startswith("--nnodes") for option in options) else ["--standalone"]
    return [*launcher, *standalone, *options, str(script)]


def launch_command(processes: int = 2, script: Path = TRAIN_DISTRIBUTED) -> list[str]:
    """Return the command that starts a script with torch.distributed.launch."""
    launcher = [sys.executable, "-m", "torch.distributed.launch", f"--nproc_per_node={processes}"]
    return [*launcher, f"--master_port={free_port()}", str(script)]


def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
    """Start a command with its output in a pipe."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env=environment(), text=True, **pipes, **options)


def run_to_end(command: list[str], timeout: float = 240) -> str:
    """Run a command, check that it succeeds, and return its output."""
    result = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout + result.stderr


def load_newest_checkpoint(run: Path) -> dict[str, Any]:
    """Load the newest checkpoint of a run."""
    return checkpoints.load_training_checkpoint(max(run.glob("checkpoint_*.pt")))


def journal(run: Path) -> list[dict[str, Any]]:
    """Return all lines of a run's journal; none if the file does not exist yet."""
    path = run / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def step_losses(run: Path) -> dict[int, float]:
    """Return the last loss in the journal for each step."""
    return {line["step"]: line["loss"] for line in journal(run) if line["kind"] == "step"}


def free_port() -> int:
    """Return an unused port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def child_pids(process: subprocess.Popen[str]) -> list[int]:
    """Return the process ids of a launcher's children."""
    result = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in result.stdout.split()]


def wait_for(condition, process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Wait until a condition is true, while the process runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)
