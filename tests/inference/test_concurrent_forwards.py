"""Several passes of the network at once: each has its share of the cores, and other threads keep theirs."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from test_pipeline import Given, Sees, frames

from simplepose.inference.concurrency import MOST, passes
from simplepose.inference.pipeline import Pipeline

SCRIPT = """
import sys, threading
import torch
from simplepose.inference.concurrency import share, threads

told = {}
torch.set_num_threads(4)

def note(name, *shares):
    for take in shares:
        take()
    torch.randn(64, 64) @ torch.randn(64, 64)
    told[name] = torch.get_num_threads()

def run(name, *shares):
    thread = threading.Thread(target=note, args=(name, *shares))
    thread.start()
    thread.join()

note("here")
run("half", share(2))
run("each", share(4))
run("more than there are", share(9))
run("all", share(1))
with threads(3) as three:  # begun at one moment
    met = threading.Barrier(3)
    told["three"] = set(three.map(lambda _: (torch.get_num_threads(), met.wait())[0], range(3)))
run("later")
note("here again")
print(told)
"""


def test_a_share_is_of_this_thread_alone():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    expected = {"here": 4, "half": 2, "each": 1, "more than there are": 1, "all": 4}
    expected |= {"three": {1}, "later": 4, "here again": 4}
    assert done.stdout == f"{expected}\n", done.stderr


@pytest.mark.parametrize(("device", "most"), [("cpu", MOST), ("cuda", 2), ("meta", 1)])
def test_passes_of_a_device(device, most):
    assert 1 <= passes(torch.device(device)) <= most


class Busy(Sees):
    """Counts how many passes go on at once, and waits a while for another."""

    batch, passes = 1, 3

    def __init__(self):
        super().__init__()
        self.most, self._now, self._lock = 0, 0, threading.Lock()

    def see(self, pictures):
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.02)
        with self._lock:
            self._now -= 1
        return super().see(pictures)


@pytest.mark.parametrize(("live", "at_once"), [(False, 3), (True, 1)])
def test_so_many_go_on_at_once_but_one_of_a_live_source_whose_newest_frame_is_wanted(live, at_once):
    predictor, source = Busy(), Given(frames(20))
    source.live = live
    results = list(Pipeline(predictor).run(source))
    assert [result.frame.number for result in results] == list(range(20))
    assert predictor.most == at_once
    assert np.all([result.people.keypoints[0, 0, 0] == result.frame.number for result in results])
