"""Another process that has the lock of an output folder."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import runs

SCRIPT = """
import pathlib, sys
from simplepose.cli import common
with common.lock_output_folder(pathlib.Path(sys.argv[1]), rank=1 if sys.argv[2] == "True" else None):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def hold_lock(folder: Path, shared: bool) -> Iterator[None]:
    """Lock a folder in another process: like demo-video or, `shared`, like another process of demo."""
    command = [sys.executable, "-c", SCRIPT, str(folder), str(shared)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=runs.environment(), **pipes) as other:
        assert other.stdout.readline() == b"locked\n"
        yield
        other.stdin.close()
