"""What a GPU is given waits in queues (CUDA's streams), and the call that gives it returns at once.

A pipeline keeps the network's queue short, so that pictures gather into batches meanwhile and times are true,
and gives what each picture needs beside it to a queue of its own, which does not wait behind whole batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


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
