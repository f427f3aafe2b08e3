"""Another process that writes to a folder, as far as its lock tells."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import runs

SCRIPT = """
import pathlib, sys
from simplepose.cli import seeing
with seeing.writing_to(pathlib.Path(sys.argv[1]), shared=sys.argv[2] == "True"):
    print("holds", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holding(folder: Path, shared: bool) -> Iterator[None]:
    """Within its block the folder is taken: as by demo-video or, `shared`, as by a process of demo."""
    command = [sys.executable, "-c", SCRIPT, str(folder), str(shared)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=runs.environment(), **pipes) as other:
        assert other.stdout.readline() == b"holds\n"
        yield
        other.stdin.close()
