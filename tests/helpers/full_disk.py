"""Real full-disk conditions for tests: a file size limit and a small mounted disk."""

import contextlib
import resource
import subprocess
import sys

import pytest
from repo_paths import ROOT


@contextlib.contextmanager
def limit_file_size(size):
    """Within the block, no file of this process grows beyond `size` bytes: further writes raise OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def run_on_small_disk(script, size, folder):
    """Run a Python script with a disk of `size` bytes mounted at `folder`, its sys.argv[1].

    Skips the test if no disk can be mounted.

    Returns:
        The script's standard output.
    """
    mount = 'mount -t tmpfs -o size="$1" tmpfs "$2"'
    try:
        subprocess.run(
            ["unshare", "-rm", "sh", "-c", mount, "sh", str(size), folder], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a disk here: {error}")
    command = f'{mount} && exec "$3" -c "$4" "$2"'
    process = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, "sh", str(size), folder, sys.executable, script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout
