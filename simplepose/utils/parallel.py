"""The same work on many things, in several processes that end with this one."""

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


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(work: Callable[[Task], Result], tasks: Sequence[Task], processes: int) -> Iterator[Result]:
    """The results of `work` on each task, as they are done; here and in order where one process does.

    Args:
        work: a function of a module, so that another process finds it.
        tasks: handed to the processes by pickle.
        processes: at most so many, of one core each.

    Raises:
        ChildProcessError: a process was killed.
        Exception: what `work` raises; what is not yet begun is then left.
    """
    threads = cv2.getNumThreads()
    try:
        if threads != 1:
            cv2.setNumThreads(1)  # here: a forked process that does it waits for ever for this one's threads
        yield from _shared_out(work, tasks, processes) if min(processes, len(tasks)) > 1 else map(work, tasks)
    finally:
        if threads != 1:
            cv2.setNumThreads(threads)


def _shared_out(work: Callable[[Task], Result], tasks: Sequence[Task], processes: int) -> Iterator[Result]:
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(min(processes, len(tasks)), context, _begin)
    try:
        for done in as_completed([pool.submit(work, task) for task in tasks]):
            yield done.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(f"a process was killed, perhaps for want of memory ({error})") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Ctrl-C is the first process's to answer, and nobody outlives it."""
    malloc.keep()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
