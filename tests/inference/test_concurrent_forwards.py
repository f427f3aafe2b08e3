"""Concurrent forward passes: each has its part of the cores, and other threads keep theirs."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from test_pipeline import ListSource, ScriptedPredictor, make_frames

from simplepose.inference.concurrency import MAX_CPU_CONCURRENT_FORWARDS, max_concurrent_forwards
from simplepose.inference.pipeline import Pipeline

SCRIPT = """
import sys, threading
import torch
from simplepose.inference.concurrency import forward_thread_pool, limit_torch_threads

counts = {}
torch.set_num_threads(4)

def count(name, *initializers):
    for initialize in initializers:
        initialize()
    torch.randn(64, 64) @ torch.randn(64, 64)
    counts[name] = torch.get_num_threads()

def run(name, *initializers):
    thread = threading.Thread(target=count, args=(name, *initializers))
    thread.start()
    thread.join()

count("main")
run("half", limit_torch_threads(2))
run("quarter", limit_torch_threads(4))
run("more parts than cores", limit_torch_threads(9))
run("all", limit_torch_threads(1))
with forward_thread_pool(3) as pool:  # its threads start at the same time
    barrier = threading.Barrier(3)
    counts["pool"] = set(pool.map(lambda _: (torch.get_num_threads(), barrier.wait())[0], range(3)))
run("later")
count("main again")
print(counts)
"""


def test_thread_limit_applies_to_its_own_thread_only():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    expected = {"main": 4, "half": 2, "quarter": 1, "more parts than cores": 1, "all": 4}
    expected |= {"pool": {1}, "later": 4, "main again": 4}
    assert done.stdout == f"{expected}\n", done.stderr


@pytest.mark.parametrize(
    ("device", "maximum"), [("cpu", MAX_CPU_CONCURRENT_FORWARDS), ("cuda", 2), ("meta", 1)]
)
def test_number_of_concurrent_forwards_of_each_device(device, maximum):
    assert 1 <= max_concurrent_forwards(torch.device(device)) <= maximum


class SlowPredictor(ScriptedPredictor):
    """Counts the concurrent forward passes, each of which takes a while."""

    batch, max_concurrent_forwards = 1, 3

    def __init__(self):
        super().__init__()
        self.max_running, self._running, self._lock = 0, 0, threading.Lock()

    def infer(self, inputs):
        with self._lock:
            self._running += 1
            self.max_running = max(self.max_running, self._running)
        time.sleep(0.02)
        with self._lock:
            self._running -= 1
        return super().infer(inputs)


@pytest.mark.parametrize(("live", "concurrent"), [(False, 3), (True, 1)])
def test_forwards_run_concurrently_except_for_live_sources(live, concurrent):
    predictor, source = SlowPredictor(), ListSource(make_frames(20))
    source.live = live
    results = list(Pipeline(predictor).run(source))
    assert [result.frame.number for result in results] == list(range(20))
    assert predictor.max_running == concurrent
    assert np.all([result.people.keypoints[0, 0, 0] == result.frame.number for result in results])
