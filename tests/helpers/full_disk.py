"""Disks that are really full, small enough for a test."""

import contextlib
import resource
import subprocess
import sys

import pytest
from places import ROOT


@contextlib.contextmanager
def files_of_at_most(size):
    """Within its block, no file of this process grows beyond `size` bytes: writing on is an OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def run_on_small_disk(script, size, folder):
    """Run Python code with a disk of `size` bytes at `folder`, which it is told as sys.argv[1].

    Returns:
        What it printed. The test is skipped where no disk may be mounted.
    """
    mounted = 'mount -t tmpfs -o size="$1" tmpfs "$2"'
    try:
        subprocess.run(
            ["unshare", "-rm", "sh", "-c", mounted, "sh", str(size), folder], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk may be mounted here: {error}")
    run = f'{mounted} && exec "$3" -c "$4" "$2"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", run, "sh", str(size), folder, sys.executable, script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
