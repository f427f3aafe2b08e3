"""Parallel map: each result once, errors reach the caller, and OpenCV's thread count is restored."""

import os
import time

import cv2
import pytest

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
