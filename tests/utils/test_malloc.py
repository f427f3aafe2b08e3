"""A process with tuned malloc reuses freed memory without new page faults."""

import subprocess
import sys

import pytest

from simplepose.utils import malloc

COUNT_PAGE_FAULTS = """
import resource, sys
import numpy as np
from simplepose.utils import malloc
if sys.argv[1] == "tune" and not malloc.tune_malloc():
    sys.exit(3)
for _ in range(20):
    [np.ones(10 * 2**20, np.uint8) for _ in range(3)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    [np.ones(10 * 2**20, np.uint8) for _ in range(3)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode):
    result = subprocess.run([sys.executable, "-c", COUNT_PAGE_FAULTS, mode], capture_output=True, text=True)
    if result.returncode == 3:
        pytest.skip("this C library has no mallopt")
    return int(result.stdout)


def test_tuned_malloc_avoids_page_faults():
    tuned = page_faults("tune")
    assert tuned < 300 < page_faults("default")


def test_other_systems_are_unchanged(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert malloc.tune_malloc() is False
