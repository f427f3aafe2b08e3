"""Loading a model leaves no OpenMP threads: they would slow down the thread that runs the network.

A prediction in a thread that ends leaves none either.
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
if sys.argv[1] == "predict":
    with ThreadPoolExecutor(1) as thread:
        thread.submit(predictor, np.zeros((64, 64, 3), np.uint8)).result()
end = time.monotonic() + 20  # threads end with a short delay
while threads() > before and time.monotonic() < end:
    time.sleep(0.01)
print(threads() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("action", ["nothing", "predict"])
def test_loading_leaves_no_threads(monkeypatch, action):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    command = [sys.executable, "-c", SCRIPT, action]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.stdout == "0\n", result.stderr
