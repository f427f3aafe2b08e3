"""How many forward passes run at once, and which cores or CUDA streams they use.

On a CPU, several forward passes with their own cores have a higher throughput than one that uses all cores:
there, all cores wait after each of a hundred layers for the slowest, which may be busy reading or drawing.
A GPU runs one pass while another waits in its queue, so that it is never idle.

Work for a GPU waits in CUDA streams, and the call that submits it returns at once. A pipeline keeps the
network's stream short, so that images gather into batches meanwhile and times are true, and submits the other
work of each image to a stream of its own, which does not wait behind whole batches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

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


class Queues:
    """Two queues of a GPU; of other devices none, where all is done when a call returns.

    Args:
        device: where the network lies.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._is_gpu = device, device.type == "cuda"
        self._beside = torch.cuda.Stream(device, priority=-1) if self._is_gpu else None  # -1: goes first

    @contextmanager
    def finished(self) -> Iterator[None]:
        """What the block gives to the current queue is done when it ends, and may be used in any other."""
        yield
        if self._is_gpu:
            done = torch.cuda.Event(blocking=True)
            done.record(torch.cuda.current_stream(self._device))
            done.synchronize()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """The block's work goes beside the network's, on what is `finished`.

        It ends with a copy to the CPU, so that nothing works any longer on what the network's queue may then
        have anew.
        """
        with torch.cuda.stream(self._beside) if self._beside is not None else nullcontext():
            yield
