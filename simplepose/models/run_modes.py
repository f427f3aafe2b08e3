"""Run modes of a fused network: eager, CUDA graphs or compiled."""

from __future__ import annotations

import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

RunMode = Literal["eager", "graphs", "compile"]
"""How a fused network runs, see `fused.fuse`."""

MAX_CACHED_GRAPHS = 32
"""Largest number of input shapes (image size times batch size) with a CUDA graph. Each graph keeps its input
and its output on the GPU; all graphs share the memory for intermediate results."""

T = TypeVar("T")
InputShape = tuple[int, ...]


def check_run_mode(run: str, device: torch.device) -> None:
    """Raise ValueError if a run mode is unknown or unavailable on the device."""
    if run not in get_args(RunMode):
        raise ValueError(f"run: expected one of {', '.join(get_args(RunMode))}, got {run!r}")
    if run == "graphs" and device.type != "cuda":
        raise ValueError(f"run 'graphs': expected a CUDA device, got {device}; choose eager or compile")
    if run == "compile" and device.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
        raise ValueError(
            "run 'compile': expected a C++ compiler, found none; install g++, set CXX to a compiler, "
            "or choose eager"
        )


def apply_run_mode(network: nn.Module, run: str, device: torch.device) -> nn.Module:
    """Prepare a network for a run mode; its inputs and outputs stay the same."""
    if run == "graphs":
        return PowerOfTwoBatches(CudaGraphs(network, device))
    if run == "compile":
        network.compile(dynamic=False, options={"freezing": True})
        return PowerOfTwoBatches(network)
    return network


class PowerOfTwoBatches(nn.Module):
    """Runs a network on batches of 1, 2, 4, 8, ... images; other batches are padded with black images.

    The batch size varies with the number of waiting images. Without padding, each batch size would be a new
    shape to capture or compile.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, ...) images -> the network's output for them, (N, ...)."""
        count = len(images)
        padding = images.new_zeros((1 << (count - 1).bit_length()) - count, *images.shape[1:])
        maps: Tensor = self.network(torch.cat([images, padding]) if len(padding) else images)
        return maps[:count]


class LRUCache(Generic[T]):
    """Builds one object per shape; drops the least recently used object beyond `max_size` of them."""

    def __init__(self, build: Callable[[InputShape], T], max_size: int) -> None:
        self.build, self.max_size = build, max_size
        self._objects: OrderedDict[InputShape, T] = OrderedDict()

    def __getitem__(self, shape: InputShape) -> T:
        if shape not in self._objects:
            self._objects[shape] = self.build(shape)
        self._objects.move_to_end(shape)
        if len(self._objects) > self.max_size:
            self._objects.popitem(last=False)
        return self._objects[shape]


class _CapturedGraph:
    """A network captured as a CUDA graph for one shape, with an input and an output at fixed addresses."""

    def __init__(self, network: nn.Module, shape: InputShape, device: torch.device, pool: Any) -> None:
        self.images = torch.zeros(shape, dtype=torch.uint8, device=device)
        side_stream = torch.cuda.Stream(device)
        side_stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side_stream):  # warm-up: choose algorithms and allocate workspaces
            for _ in range(3):
                network(self.images)
        torch.cuda.current_stream(device).wait_stream(side_stream)
        self.graph = torch.cuda.CUDAGraph()
        # capturing synchronizes with all running work, so that an older graph may be dropped after it
        with torch.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"):
            self.maps = network(self.images)


class CudaGraphs(nn.Module):
    """Runs a network on a GPU by replaying one CUDA graph per shape: one launch instead of hundreds.

    Threads run one after another. The graphs share one memory pool.
    """

    def __init__(self, network: nn.Module, device: torch.device, max_graphs: int = MAX_CACHED_GRAPHS) -> None:
        super().__init__()
        self.network, self.device = network, device
        pool = torch.cuda.graph_pool_handle()
        self._graphs = LRUCache(lambda shape: _CapturedGraph(network, shape, device, pool), max_graphs)
        self._lock, self._replay_done = threading.Lock(), torch.cuda.Event()

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        """Compute the network's output for the images, in newly allocated memory."""
        with self._lock, torch.cuda.device(self.device):
            torch.cuda.current_stream().wait_event(self._replay_done)  # of another thread's stream
            graph = self._graphs[tuple(images.shape)]
            graph.images.copy_(images)
            graph.graph.replay()
            maps: Tensor = graph.maps.clone()
            self._replay_done.record()
            return maps
