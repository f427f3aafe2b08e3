"""Distributed training: the process group, and collective operations on Python values and small tensors.

Gradients are exchanged by torch's DistributedDataParallel, over NCCL between GPUs and gloo between CPUs. The
operations of this module always use gloo, so they never wait for a GPU.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

# Environment variables that torchrun and torch.distributed.launch set for each process.
LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

# Seconds to wait after the process group is destroyed. gloo's threads outlive their group and release the
# last tensors within about a millisecond, which needs Python's lock. A thread that requests the lock while
# Python exits aborts the process.
GLOO_SHUTDOWN_DELAY_S = 0.2

# Seconds between two checks that the launcher runs.
LAUNCHER_POLL_INTERVAL_S = 1.0

# Seconds until the launcher, which listens before it starts its processes, must accept a connection.
LAUNCHER_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class World:
    """The distributed world from the view of one process; the default is a single process.

    Attributes:
        rank: 0 to size - 1.
        size: number of processes on all machines.
        local_rank: index of the process on its machine, and of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes files and reports to the user."""
        return self.rank == 0

    def broadcast(self, value: T) -> T:
        """Return rank 0's value on all ranks."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def all_gather(self, values: list[T]) -> list[T]:
        """Return the concatenated values of all ranks, on all ranks."""
        if self.size == 1:
            return values
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, values)
        return [value for part in parts for value in part]

    @contextmanager
    def raise_on_all_ranks(self) -> Iterator[None]:
        """If the block fails on one rank (for example, a file is missing on its machine), raise on all ranks.

        Raises:
            ValueError, OSError: the block's own error; ValueError if it failed on other ranks only.
        """
        failure: Exception | None = None
        try:
            yield
        except (ValueError, OSError) as error:
            failure = error
        messages = self.all_gather([] if failure is None else [f"process {self.rank}: {failure}"])
        if failure is not None:
            raise failure
        if messages:
            raise ValueError(messages[0])

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Return the elementwise sum over all ranks, on the CPU."""
        total = values.detach().cpu().clone()
        if self.size > 1:
            dist.all_reduce(total)
        return total


class FlagReducer:
    """Asynchronous logical or of flags over all ranks: start before a step, read the result after it.

    Args:
        world: the ranks.
        flags: number of flags that are reduced at once.
    """

    def __init__(self, world: World, flags: int) -> None:
        self.world = world
        self._flags = torch.zeros(flags)
        self._work: Any = None

    def start(self, *flags: bool) -> None:
        """Start the reduction of this rank's flags; call it once before each `result`."""
        self._flags.copy_(torch.tensor(flags))
        if self.world.size > 1:
            self._work = dist.all_reduce(self._flags, dist.ReduceOp.MAX, async_op=True)

    def result(self) -> list[bool]:
        """Wait, and return for each flag whether any rank set it."""
        if self._work is not None:
            self._work.wait()
            self._work = None
        return [flag > 0 for flag in self._flags.tolist()]


@contextmanager
def process_group(timeout_minutes: float) -> Iterator[World]:
    """Join the process group of the launcher within the block; without a launcher, be a single process.

    Args:
        timeout_minutes: waiting longer than this for other processes is an error.

    Raises:
        ValueError: the environment has some of the launcher's variables, but not all.
        OSError: the launcher has ended.
    """
    missing = [name for name in LAUNCHER_VARIABLES if name not in os.environ]
    if missing == list(LAUNCHER_VARIABLES):
        yield World()
        return
    if missing:
        raise ValueError(
            f"the environment lacks {', '.join(missing)}, which a launcher sets; start all processes with "
            f"torchrun, or unset {', '.join(name for name in LAUNCHER_VARIABLES if name not in missing)}"
        )
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    timeout = timedelta(minutes=timeout_minutes)
    with _end_with_launcher():
        if os.environ.get("GROUP_WORLD_SIZE") == "1":  # one machine
            dist.init_process_group(backend, timeout=timeout, **_rendezvous_store(timeout))
        else:
            dist.init_process_group(backend, timeout=timeout)
        yield World(dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_RANK"]))
    dist.destroy_process_group()  # not after an error: other ranks may be waiting in the middle of a step
    time.sleep(GLOO_SHUTDOWN_DELAY_S)


@contextmanager
def _end_with_launcher() -> Iterator[None]:
    """Within the block, send SIGTERM to this process if its launcher ends first, as after SIGKILL.

    Before the processes have met, SIGTERM ends the process, which would wait for the others; a training run
    saves a checkpoint.

    Raises:
        OSError: the launcher has ended already: nothing answers at the address of its store.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # other launchers may end before their processes
        yield
        return
    launcher, ended = os.getppid(), threading.Event()

    def watch() -> None:
        while not ended.wait(LAUNCHER_POLL_INTERVAL_S):
            if os.getppid() != launcher:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, name="watch launcher", daemon=True).start()
    try:
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            _require_launcher(os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"])
        yield
    finally:
        ended.set()


def _require_launcher(address: str, port: str) -> None:
    try:
        socket.create_connection((address, int(port)), LAUNCHER_TIMEOUT_S).close()
    except OSError as error:
        raise OSError(
            f"expected the launcher to answer at {address}:{port}, got: {error}; it was probably killed; "
            "start the run again"
        ) from error


def _rendezvous_store(timeout: timedelta) -> dict[str, Any]:
    """Build a rendezvous store that is separate for each elastic restart.

    torchrun keeps one store over restarts, so a fast process would read the addresses of dead processes. On
    one machine the restart count separates them; launchers on several machines each have their own count.
    """
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://", timeout=timeout))
    store.set_timeout(timeout)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return {"store": PrefixStore(f"attempt {attempt}", store), "rank": rank, "world_size": size}
