"""A process that keeps what it frees does not fetch the same memory again and again."""

import subprocess
import sys

import pytest

from simplepose.utils import malloc

FAULTS = """
import resource, sys
import numpy as np
from simplepose import freed_memory
if sys.argv[1] == "keep" and not freed_memory.keep():
    sys.exit(3)
for _ in range(20):
    [np.ones(10 * 2**20, np.uint8) for _ in range(3)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    [np.ones(10 * 2**20, np.uint8) for _ in range(3)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how):
    made = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True)
    if made.returncode == 3:
        pytest.skip("this C library has no mallopt")
    return int(made.stdout)


def test_kept_memory_is_not_fetched_again():
    kept = page_faults("keep")
    assert kept < 300 < page_faults("leave")


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert malloc.keep() is False
