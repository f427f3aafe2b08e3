"""Ways to run a network again and again: as it stands, as recorded CUDA graphs, or compiled."""

from __future__ import annotations

import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

Run = Literal["eager", "graphs", "compile"]
"""How a network for use is run, see `for_use`."""

SHAPES = 32
"""Shapes that graphs are kept for at most, some sizes of pictures times some numbers of them at once: each
holds its input and output on the GPU; what lies between, they share."""

T = TypeVar("T")
Shape = tuple[int, ...]


def require(run: str, device: torch.device) -> None:
    """Raises ValueError where a way to run cannot be had."""
    if run not in get_args(Run):
        raise ValueError(f"run {run!r}: one of {', '.join(get_args(Run))} expected")
    if run == "graphs" and device.type != "cuda":
        raise ValueError(f"run 'graphs' records CUDA graphs, which {device} has not; take eager or compile")
    if run == "compile" and device.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
        raise ValueError("run 'compile' needs a C++ compiler: install g++, or name one in CXX; or take eager")


def prepared(network: nn.Module, run: str, device: torch.device) -> nn.Module:
    """The network, to be run as `run` says; what it takes and returns stays the same."""
    if run == "graphs":
        return FewSizes(Graphs(network, device))
    if run == "compile":
        network.compile(dynamic=False, options={"freezing": True})
        return FewSizes(network)
    return network


class FewSizes(nn.Module):
    """Runs a network on 1, 2, 4, 8, ... pictures: a number between is filled up with black ones.

    As many pictures go through it at once as wait, and each number would be another shape to make ready for.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """What the network makes of (N, ...) images: (N, ...)."""
        count = len(images)
        black = images.new_zeros((1 << (count - 1).bit_length()) - count, *images.shape[1:])
        maps: Tensor = self.network(torch.cat([images, black]) if len(black) else images)
        return maps[:count]


class Newest(Generic[T]):
    """What was made for each shape, the least recently used dropped beyond `limit`."""

    def __init__(self, make: Callable[[Shape], T], limit: int) -> None:
        self.make, self.limit = make, limit
        self._made: OrderedDict[Shape, T] = OrderedDict()

    def __getitem__(self, shape: Shape) -> T:
        if shape not in self._made:
            self._made[shape] = self.make(shape)
        self._made.move_to_end(shape)
        if len(self._made) > self.limit:
            self._made.popitem(last=False)
        return self._made[shape]


class _Graph:
    """A network recorded for one shape, from an input to an output that stay where they are."""

    def __init__(self, network: nn.Module, shape: Shape, device: torch.device, pool: Any) -> None:
        self.images = torch.zeros(shape, dtype=torch.uint8, device=device)
        beside = torch.cuda.Stream(device)
        beside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(beside):  # algorithms are chosen and workspaces made before the recording
            for _ in range(3):
                network(self.images)
        torch.cuda.current_stream(device).wait_stream(beside)
        self.graph = torch.cuda.CUDAGraph()
        # this waits for all that runs, so that an older graph may be dropped after it
        with torch.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"):
            self.maps = network(self.images)


class Graphs(nn.Module):
    """Replays a network on a GPU, recorded for each shape: the CPU then starts one thing, not hundreds.

    Threads take turns. The graphs share their memory.
    """

    def __init__(self, network: nn.Module, device: torch.device, limit: int = SHAPES) -> None:
        super().__init__()
        self.network, self.device = network, device
        pool = torch.cuda.graph_pool_handle()
        self._graphs = Newest(lambda shape: _Graph(network, shape, device, pool), limit)
        self._turn, self._free = threading.Lock(), torch.cuda.Event()

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        """What the network makes of the images, in memory of its own."""
        with self._turn, torch.cuda.device(self.device):
            torch.cuda.current_stream().wait_event(self._free)  # of another thread's stream
            graph = self._graphs[tuple(images.shape)]
            graph.images.copy_(images)
            graph.graph.replay()
            maps = graph.maps.clone()
            self._free.record()
            return maps
