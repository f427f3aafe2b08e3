"""Memory use is constant over many frames: a short run of `soak.py`; `make soak` is the long one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import soak
from repo_paths import ROOT

FRAME_MB = soak.SIZE_HW[0] * soak.SIZE_HW[1] * 3 / 1e6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_over_300_frames():
    """If each frame were kept, memory would grow by 46 MB."""
    command = [sys.executable, soak.__file__, "--frames", "300", "--first", "100", "--limit", "10"]
    assert 200 * FRAME_MB > 4 * 10
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "300 frames" in result.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_measurement_detects_20_mb():
    """Measured in a new process, because this one may have that much free memory in its heap."""
    script = (
        "import soak; before = soak.process_memory_mb(); kept = bytearray(b'1' * 20_000_000); "
        "print(soak.process_memory_mb() - before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(soak.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(result.stdout) > 0.9 * 20


def test_the_makefile_has_the_long_run():
    assert "\nsoak:" in (ROOT / "Makefile").read_text()
