"""Parallel map: each result once, errors reach the caller, and OpenCV's thread count is restored."""

import os
import re
import time

import cv2
import pytest
import runs
from full_disk import run_on_small_disk
from synthetic_coco import write_synthetic_coco

from simplepose.utils import parallel


def square(number: int) -> tuple[int, int, int]:
    if number < 0:
        raise ValueError(f"{number} is below 0")
    return number * number, os.getpid(), cv2.getNumThreads()


def slow(number: int) -> int:
    time.sleep(0.02)
    return os.getpid()


@pytest.mark.parametrize("processes", [1, 2, 9])
def test_each_task_runs_once_with_one_opencv_thread(processes):
    results = list(parallel.map_unordered(square, range(7), processes))
    assert sorted(result for result, _, _ in results) == [n * n for n in range(7)]
    assert {threads for _, _, threads in results} == {1}
    assert (os.getpid() in {pid for _, pid, _ in results}) == (processes == 1)


def test_all_workers_get_tasks():
    assert len(set(parallel.map_unordered(slow, range(12), 2))) == 2


@pytest.mark.parametrize("processes", [1, 2])
def test_no_tasks(processes):
    assert list(parallel.map_unordered(square, [], processes)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_errors_reach_the_caller(processes):
    with pytest.raises(ValueError, match="-1 is below 0"):
        list(parallel.map_unordered(square, [1, 2, -1, 3], processes))


@pytest.mark.parametrize("processes", [1, 2])
def test_opencv_threads_are_restored_even_if_the_caller_stops_early(processes):
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        results = parallel.map_unordered(square, range(50), processes)
        next(results)
        results.close()
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_available_cores_is_at_least_one():
    assert 1 <= parallel.available_cores() <= os.cpu_count()


SMALL_SHARED_MEMORY = """
import subprocess, sys
from pathlib import Path
subprocess.run(["mount", "-t", "tmpfs", "-o", "size={size}", "tmpfs", "/dev/shm"], check=True)
from simplepose.cli import run_command, {module}
print(run_command({module}.main, {args!r}), list(Path("/dev/shm").iterdir()))
"""


def run_with_shared_memory(size, folder, module, *args):
    script = SMALL_SHARED_MEMORY.format(size=size, module=module, args=list(map(str, args)))
    return run_on_small_disk(f"import sys; sys.stderr = sys.stdout\n{script}", 2**20, folder)


def test_loader_workers_without_enough_shared_memory_are_refused(samples_file, tmp_path):
    (tmp_path / "disk").mkdir()
    args = runs.arguments(samples_file, tmp_path / "run", "train.workers=1")
    output = run_with_shared_memory("64k", tmp_path / "disk", "train", *args)
    message = r"error: /dev/shm: expected [\d.]+ MB of free shared memory, got 0.06\d MB; .*--shm-size"
    assert re.search(message, output), output
    assert "--ipc=host" in output
    assert "train.workers=0" in output
    assert output.endswith("2 []\n"), output


def test_preparation_without_shared_memory_is_refused(tmp_path):
    (tmp_path / "disk").mkdir()
    annotations, images = write_synthetic_coco(tmp_path, num_images=33)
    args = ["--annotations", annotations, "--images", images, "--output", tmp_path / "x.h5", "--workers", 2]
    output = run_with_shared_memory("4k", tmp_path / "disk", "prepare_coco", *args)
    assert "error: /dev/shm: expected 0.1 MB of free shared memory, got 0.00" in output
    assert output.endswith("2 []\n"), output
    assert not list(tmp_path.glob("x.h5*"))
