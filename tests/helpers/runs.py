"""Training runs as a user starts them: in processes of their own, under each launcher."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from places import CONFIGS, ROOT

from simplepose.models import checkpoints

SMALL = ["train.workers=0", "augment.size=[64,128]", "train.log_steps=1", "train.ema_decay=0"]


def environment() -> dict[str, str]:
    """One thread a process, and nothing of a launcher that runs the tests."""
    named = {
        name: value for name, value in os.environ.items() if not name.startswith(("TORCHELASTIC", "MASTER_"))
    }
    return {**named, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}


def arguments(samples: Path, run: Path, *overrides: str, more: tuple[str, ...] = ()) -> list[str]:
    """What follows the tool's name."""
    args = ["--config", str(CONFIGS / "smoke.yaml"), "--train", str(samples), "--output", str(run)]
    return [*args, "--device", "cpu", *more, "--set", *SMALL, *overrides]


def alone() -> list[str]:
    """tools/train.py in one process."""
    return [sys.executable, str(ROOT / "tools/train.py")]


TOOL = ROOT / "tools/train_distributed.py"


def torchrun(processes: int = 2, *options: str, script: Path = TOOL) -> list[str]:
    """A script under torchrun; `options` are torchrun's."""
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    standalone = [] if any(option.startswith("--nnodes") for option in options) else ["--standalone"]
    return [*launcher, *standalone, *options, str(script)]


def launch(processes: int = 2, script: Path = TOOL) -> list[str]:
    """The same under torch.distributed.launch."""
    launcher = [sys.executable, "-m", "torch.distributed.launch", f"--nproc_per_node={processes}"]
    return [*launcher, f"--master_port={free_port()}", str(script)]


def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
    """Start it, its output in a pipe."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env=environment(), text=True, **pipes, **options)


def finish(command: list[str], timeout: float = 240) -> str:
    """Run it to its successful end; returns what it printed."""
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def newest(run: Path) -> dict[str, Any]:
    """What the newest checkpoint holds."""
    return checkpoints.read_training(max(run.glob("checkpoint_*.pt")))


def journal(run: Path) -> list[dict[str, Any]]:
    """All its lines; none before there is a file."""
    path = run / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def losses(run: Path) -> dict[int, float]:
    """Step -> loss, as the journal tells it last."""
    return {line["step"]: line["loss"] for line in journal(run) if line["kind"] == "step"}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def children(process: subprocess.Popen[str]) -> list[int]:
    """The launcher's processes."""
    listed = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def wait_for(condition, process: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
