"""What a run ran on: versions, machine, and the commit of this code."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simplepose.utils import atomic

PACKAGE = Path(__file__).resolve().parents[1]
GIT_SECONDS = 10
"""git is not waited for longer than this, for example on a slow network disk."""

logger = logging.getLogger(__name__)


def describe(version: str) -> dict[str, Any]:
    """Plain values, without names of the machine, its user, or its folders.

    Args:
        version: this package's.

    Returns:
        Versions, processors and GPUs; `commit` (40 hex digits) and `dirty` (whether a tracked file differs
        from it) only where the package lies in a git repository of its own.
    """
    cuda = torch.cuda.is_available()
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "simplepose": version,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "cuda": torch.version.cuda,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
        **commit_of(PACKAGE),
    }


def commit_of(folder: Path) -> dict[str, Any]:
    """`commit` and `dirty` of a package's folder; nothing where git does not keep its `__init__.py`."""
    try:
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")  # a .venv may lie in another repository
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):  # no git, no repository, another user's, no commit yet
        return {}
    return {"commit": commit, "dirty": bool(changed)}


def note_start(path: Path, environment: dict[str, Any]) -> None:
    """Add what `describe` gave to the file's list, one entry a start of the run."""
    starts: list[Any] = []
    if path.exists():
        try:
            starts = list(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            logger.warning("%s is not readable (%s) and is begun anew", path, error)
    atomic.write_bytes(path, (json.dumps([*starts, environment], indent=2) + "\n").encode())


def _processor() -> str:
    """What the processor is called."""
    told = Path("/proc/cpuinfo")
    if told.is_file():
        for line in told.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _git(folder: Path, *args: str) -> str:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *args], cwd=folder, env=plain, capture_output=True, text=True, timeout=GIT_SECONDS, check=True
    )
    return done.stdout.strip()
