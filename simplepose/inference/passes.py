"""How many pictures go through a network at once, and which share of the cores each has.

On a CPU several passes that have cores of their own get more done than one that has all of them: there, all
cores wait after each of a hundred layers for the slowest, which may be the one that reads or draws just now.
A GPU has one pass to do and one that waits in its queue, so that it never waits itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

MOST = 4
"""On a CPU; each holds a picture's layers in memory."""

ON_GPU = 2


def passes(device: torch.device) -> int:
    """How many at once get most done on a device, where nobody waits for a single picture."""
    if device.type == "cuda":
        return ON_GPU
    return min(MOST, torch.get_num_threads()) if device.type == "cpu" else 1


def threads(count: int) -> ThreadPoolExecutor:
    """Threads for so many passes, each with its share of the caller's cores."""
    return ThreadPoolExecutor(count, "see", share(count))


def share(of: int) -> Callable[[], None]:
    """What a thread calls first, so that torch uses there one of so many shares of the caller's cores.

    torch has a number of cores for each thread, and one that a thread gets when it first asks. Setting the
    first sets both, so the second is set back, from a thread that ends at once.
    """
    cores = torch.get_num_threads()

    def take() -> None:
        torch.get_num_threads()  # or this thread would ask later
        torch.set_num_threads(max(1, cores // of))
        others = threading.Thread(target=torch.set_num_threads, args=(cores,))
        others.start()
        others.join()

    return take
