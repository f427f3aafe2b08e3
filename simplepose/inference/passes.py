"""How many pictures go through a network at once, and which share of the cores each has.

On a CPU several passes that have cores of their own get more done than one that has all of them: there, all
cores wait after each of a hundred layers for the slowest, which may be the one that reads or draws just now.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

MOST = 4
"""Each holds a picture's layers in memory."""


def passes(device: torch.device) -> int:
    """How many at once get most done on a device, where nobody waits for a single picture."""
    return min(MOST, torch.get_num_threads()) if device.type == "cpu" else 1


def threads(count: int) -> ThreadPoolExecutor:
    """Threads for so many passes, each with its share of the cores."""
    return ThreadPoolExecutor(count, "see", take_share, (count,))


def take_share(of: int) -> None:
    """Let what torch does in this thread, from now on, use the cores of one of so many passes.

    torch has a number of cores for each thread, and one for threads that have not called it yet. Setting the
    first sets both, so the second is set back, from a thread that ends at once.
    """
    if of == 1:
        return
    cores = torch.get_num_threads()
    torch.set_num_threads(max(1, cores // of))
    others = threading.Thread(target=torch.set_num_threads, args=(cores,))
    others.start()
    others.join()
