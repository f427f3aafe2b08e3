"""The environment of a run: versions, hardware, and the commit of this code."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from simplepose.utils import atomic

PACKAGE = Path(__file__).resolve().parents[1]

# Seconds to wait for git, which can be slow on a network disk.
GIT_TIMEOUT_S = 10

logger = logging.getLogger(__name__)


def describe(version: str) -> dict[str, Any]:
    """Describe the environment as plain values, without names of the machine, its user or its folders.

    Args:
        version: this package's version.

    Returns:
        Versions, processors and GPUs. `commit` (40 hex digits) and `dirty` (whether a tracked file differs
        from the commit) are included only if the package is in a git repository of its own.
    """
    cuda = torch.cuda.is_available()
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "simplepose": version,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pycocotools": metadata.version("pycocotools"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor_name(),
        "cpus": os.cpu_count(),
        "cuda": torch.version.cuda,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
        **git_commit(PACKAGE),
    }


def git_commit(folder: Path) -> dict[str, Any]:
    """Return `commit` and `dirty` of a package's folder, or {} if git does not track its `__init__.py`."""
    try:
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")  # a .venv may be in another repository
        commit = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):  # no git, no repository, another user's, or no commit yet
        return {}
    return {"commit": commit, "dirty": bool(changes)}


def append_start(path: Path, environment: dict[str, Any]) -> None:
    """Append the result of `describe` to the JSON list in a file: one entry for each start of the run."""
    starts: list[Any] = []
    if path.exists():
        try:
            starts = list(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError) as error:
            logger.warning("%s: cannot be read (%s); a new file replaces it", path, error)
    atomic.write_bytes(path, (json.dumps([*starts, environment], indent=2) + "\n").encode())


def _processor_name() -> str:
    """Return the processor's model name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _git(folder: Path, *args: str) -> str:
    """Run git in a folder, without the GIT_* variables of a hook, and return its output."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    result = subprocess.run(
        ["git", *args], cwd=folder, env=env, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True
    )
    return result.stdout.strip()
