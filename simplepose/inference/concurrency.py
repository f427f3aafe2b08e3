"""How many forward passes run at once, and which cores or CUDA streams they use.

On a CPU, several forward passes with their own cores have a higher throughput than one that uses all cores:
there, all cores wait after each of a hundred layers for the slowest, which may be busy reading or drawing.
A GPU runs one pass while another waits in its queue, so that it is never idle.

Work for a GPU waits in CUDA streams, and the call that submits it returns at once. A pipeline keeps the
network's stream short: images gather into batches meanwhile, and measured times are true. It submits the
other work of each image to a second stream, which does not wait behind whole batches.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import torch

# Each forward pass keeps the activations of its images in memory.
MAX_CPU_CONCURRENT_FORWARDS = 4

GPU_CONCURRENT_FORWARDS = 2


def max_concurrent_forwards(device: torch.device) -> int:
    """Return how many forward passes at once have the highest throughput on a device."""
    if device.type == "cuda":
        return GPU_CONCURRENT_FORWARDS
    return min(MAX_CPU_CONCURRENT_FORWARDS, torch.get_num_threads()) if device.type == "cpu" else 1


@functools.cache
def _first_process() -> int:
    """Return the id of the process that called this first; processes forked from it inherit the answer."""
    return os.getpid()


def require_own_threads(uses_network: bool) -> None:
    """Raise RuntimeError in a process that was forked after a network had run in its parent process.

    The threads of OpenMP, OpenVINO and OpenCV do not exist in the forked process, which would wait for them
    forever.

    Args:
        uses_network: whether the network runs next, in this process.
    """
    if (uses_network or _first_process.cache_info().currsize) and _first_process() != os.getpid():
        raise RuntimeError(
            "expected a process with threads of its own, got one that was forked after a network ran in its "
            "parent; start it with multiprocessing.get_context('spawn') or 'forkserver', or use threads"
        )


def forward_thread_pool(count: int) -> ThreadPoolExecutor:
    """Create a pool of `count` threads for forward passes, each with its part of the caller's cores."""
    return ThreadPoolExecutor(count, "forward", limit_torch_threads(count))


def limit_torch_threads(parts: int) -> Callable[[], None]:
    """Return a thread initializer that limits torch to one of `parts` equal parts of the caller's cores.

    torch has a number of cores for each thread, and a default that a thread gets when it first uses torch.
    Setting the first also sets the default. The default is therefore restored from a short-lived thread.
    """
    cores = torch.get_num_threads()

    def initialize() -> None:
        torch.get_num_threads()  # or this thread would read the default later
        torch.set_num_threads(max(1, cores // parts))
        restore_default = threading.Thread(target=torch.set_num_threads, args=(cores,))
        restore_default.start()
        restore_default.join()

    return initialize


class CudaStreams:
    """The network's CUDA stream and a side stream. On other devices, both contexts do nothing.

    Args:
        device: device of the network.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._is_gpu = device, device.type == "cuda"
        self._side_stream = torch.cuda.Stream(device, priority=-1) if self._is_gpu else None  # -1: high

    @contextmanager
    def synchronized(self) -> Iterator[None]:
        """Wait at the block's end for what it submitted to the current stream; any stream may then use it."""
        yield
        if self._is_gpu:
            done = torch.cuda.Event(blocking=True)
            done.record(torch.cuda.current_stream(self._device))
            done.synchronize()

    @contextmanager
    def side_stream(self) -> Iterator[None]:
        """Submit the block's work to the side stream; its inputs must come from a `synchronized` block.

        The block must end with a copy to the CPU. No work is then pending on memory that the network's stream
        may reuse.
        """
        with torch.cuda.stream(self._side_stream) if self._side_stream is not None else nullcontext():
            yield
