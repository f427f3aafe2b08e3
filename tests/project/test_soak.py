"""Memory is flat: `soak.py`, short; the long one is `make soak`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import soak
from places import ROOT

FRAME = soak.SIZE_HW[0] * soak.SIZE_HW[1] * 3 / 1e6
"""Megabytes of one."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_few_hundred_frames_leave_nothing_behind():
    """Were each frame kept, it would grow by 46 MB."""
    command = [sys.executable, soak.__file__, "--frames", "300", "--first", "100", "--limit", "10"]
    assert 200 * FRAME > 4 * 10
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "300 frames" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_kept_is_seen():
    """Of a process of its own: this one may have so much lying free."""
    told = (
        "import soak; before = soak.held(); kept = bytearray(b'1' * 20_000_000); print(soak.held() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", told],
        cwd=Path(soak.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) > 0.9 * 20


def test_make_runs_the_long_one():
    assert "\nsoak:" in (ROOT / "Makefile").read_text()
