"""Map a function over tasks in several worker processes, which end with this process."""

from __future__ import annotations

import contextlib
import errno
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from simplepose.utils import malloc, signals

Task = TypeVar("Task")
Result = TypeVar("Result")

# Where Linux has shared memory and semaphores. Docker gives a container 64 MB by default.
SHARED_MEMORY = "/dev/shm"

# Shared memory for the semaphores of a few workers' queues, a page of 4 KiB each.
SEMAPHORE_BYTES = 100_000


def available_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def shared_memory(size: int, remedy: str) -> Iterator[None]:
    """Require shared memory for the block, which creates semaphores or tensors in it.

    Linux lets a process create more than there is, and kills it when it writes.

    Args:
        size: bytes that the block writes, in addition to semaphores.
        remedy: what needs no shared memory, for example "train.workers=0".

    Raises:
        OSError: less is available.
    """
    available = _free_shared_memory()
    message = (
        f"{SHARED_MEMORY}: expected {(size + SEMAPHORE_BYTES) / 1e6:,.1f} MB of free shared memory, got "
        f"{available / 1e6:,.3f} MB; give the container more (docker run --shm-size=2g, or --ipc=host), or "
        f"use {remedy}"
    )
    if size > available:
        raise OSError(message)
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.ENOENT, errno.EACCES, errno.EROFS, errno.ENOSYS):
            raise
        raise OSError(message) from error


def _free_shared_memory() -> float:
    """Return the number of free bytes of shared memory; infinity if the system does not limit it."""
    if sys.platform != "linux":
        return math.inf
    try:
        state = os.statvfs(SHARED_MEMORY)
    except OSError:
        return 0.0
    return state.f_bavail * state.f_frsize if state.f_blocks else math.inf


def map_unordered(
    function: Callable[[Task], Result], tasks: Sequence[Task], processes: int
) -> Iterator[Result]:
    """Yield the result of `function` on each task, in the order of completion.

    With one process or one task, the function runs in this process and in order.

    Args:
        function: a module-level function, so that worker processes can import it.
        tasks: sent to the workers by pickle.
        processes: the maximum number of workers; each uses one core.

    Raises:
        ChildProcessError: a worker was killed.
        OSError: there is no shared memory for the workers' queues.
        Exception: any error of `function`; tasks that have not started are cancelled.
    """
    threads = cv2.getNumThreads()
    try:
        if threads != 1:
            cv2.setNumThreads(1)  # here: in a forked process it waits forever for this process's threads
        if min(processes, len(tasks)) > 1:
            yield from _map_in_workers(function, tasks, processes)
        else:
            yield from map(function, tasks)
    finally:
        if threads != 1:
            cv2.setNumThreads(threads)


def _map_in_workers(
    function: Callable[[Task], Result], tasks: Sequence[Task], processes: int
) -> Iterator[Result]:
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with shared_memory(0, "one worker"):
        pool = ProcessPoolExecutor(min(processes, len(tasks)), context, initialize_worker)
    try:
        with signals.block_in_children():
            futures = [pool.submit(function, task) for task in tasks]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            f"a worker process was killed, perhaps because memory ran out ({error})"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def initialize_worker() -> None:
    """Limit a worker process to one core, keep its memory, and leave signals to its parent process."""
    malloc.tune_malloc()
    cv2.setNumThreads(1)
    signals.follow_parent()
