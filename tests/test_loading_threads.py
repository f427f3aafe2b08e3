"""Loading leaves no threads: those of OpenMP would slow the thread that runs the network."""

import subprocess
import sys

import pytest

SCRIPT = """
import os, time
import simplepose

def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
simplepose.load("imhn_tiny")
end = time.monotonic() + 20  # they end a little later than they are told to
while threads() > before and time.monotonic() < end:
    time.sleep(0.01)
print(threads() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_leaves_no_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    assert done.stdout == "0\n", done.stderr
