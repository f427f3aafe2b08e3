"""Loading leaves no threads: those of OpenMP would slow the thread that runs the network.

Nor does a picture that is looked at in a thread that ends.
"""

import subprocess
import sys

import pytest

SCRIPT = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import simplepose

def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
settings = ["inference.height=64"]
predictor = simplepose.load("imhn_mobile", settings_overrides=settings, runtime="torch")
if sys.argv[1] == "look":
    with ThreadPoolExecutor(1) as thread:
        thread.submit(predictor, np.zeros((64, 64, 3), np.uint8)).result()
end = time.monotonic() + 20  # they end a little later than they are told to
while threads() > before and time.monotonic() < end:
    time.sleep(0.01)
print(threads() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("then", ["nothing", "look"])
def test_loading_leaves_no_threads(monkeypatch, then):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    command = [sys.executable, "-c", SCRIPT, then]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout == "0\n", done.stderr
