"""The same work in several processes: every result once, errors told, and the caller's threads left alone."""

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
def test_every_task_is_done_once_by_one_thread(processes):
    results = list(parallel.run(square, range(7), processes))
    assert sorted(result for result, _, _ in results) == [n * n for n in range(7)]
    assert {threads for _, _, threads in results} == {1}
    assert (os.getpid() in {pid for _, pid, _ in results}) == (processes == 1)


def test_processes_share_the_work():
    assert len(set(parallel.run(slow, range(12), 2))) == 2


@pytest.mark.parametrize("processes", [1, 2])
def test_nothing_to_do(processes):
    assert list(parallel.run(square, [], processes)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_is_the_callers(processes):
    with pytest.raises(ValueError, match="-1 is below 0"):
        list(parallel.run(square, [1, 2, -1, 3], processes))


@pytest.mark.parametrize("processes", [1, 2])
def test_opencvs_threads_are_given_back_even_if_the_caller_leaves_early(processes):
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        results = parallel.run(square, range(50), processes)
        next(results)
        results.close()
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_there_is_a_core():
    assert 1 <= parallel.cores() <= os.cpu_count()
