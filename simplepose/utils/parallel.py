"""Map a function over tasks in several worker processes, which end with this process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from simplepose.utils import malloc

Task = TypeVar("Task")
Result = TypeVar("Result")


def available_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    pool = ProcessPoolExecutor(min(processes, len(tasks)), context, _initialize_worker)
    try:
        for future in as_completed([pool.submit(function, task) for task in tasks]):
            yield future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            f"a worker process was killed, perhaps because memory ran out ({error})"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _initialize_worker() -> None:
    """Leave Ctrl-C to the parent process, and end when the parent ends."""
    malloc.tune_malloc()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
