"""The processes that train together: who they are, and the little that they tell each other.

Gradients are exchanged by torch's DistributedDataParallel, over NCCL between GPUs and gloo between CPUs. All
that is here goes over gloo, so that asking the others never waits for a GPU.
"""

from __future__ import annotations

import os
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

LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun and torch.distributed.launch tell each process, in its environment."""

LETTING_GO = 0.2
"""Seconds in which gloo's threads let go of the last tensors, a millisecond's work that takes Python's lock.
They live on after their group, and one that asks for the lock while Python ends aborts the process."""


@dataclass(frozen=True)
class World:
    """One of `size` processes; the default is alone.

    Attributes:
        rank: 0 to size - 1.
        size: processes on all machines.
        local_rank: its number on its machine, and its GPU's.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this one writes files and tells the user."""
        return self.rank == 0

    def first_says(self, value: T) -> T:
        """The first process's value, in all."""
        if self.size == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def gather(self, values: list[T]) -> list[T]:
        """The values of all processes, in all of them."""
        if self.size == 1:
            return values
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, values)
        return [value for part in parts for value in part]

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that may fail in one process, for example for a file that its machine lacks: all then fail.

        Raises:
            ValueError, OSError: the block's own; ValueError where it failed in another process alone.
        """
        failure: Exception | None = None
        try:
            yield
        except (ValueError, OSError) as error:
            failure = error
        told = self.gather([] if failure is None else [f"process {self.rank}: {failure}"])
        if failure is not None:
            raise failure
        if told:
            raise ValueError(told[0])

    def sums(self, values: Tensor) -> Tensor:
        """Each value's sum over all processes, on the CPU."""
        total = values.detach().cpu().clone()
        if self.size > 1:
            dist.all_reduce(total)
        return total


class Vote:
    """Whether any process says yes to a question: asked before a step, answered after it, no wait between.

    Args:
        world: who votes.
        questions: how many are asked at once.
    """

    def __init__(self, world: World, questions: int) -> None:
        self.world = world
        self._votes = torch.zeros(questions)
        self._work: Any = None

    def cast(self, *answers: bool) -> None:
        """Say it, one to each question; once before each `passed`."""
        self._votes.copy_(torch.tensor(answers))
        if self.world.size > 1:
            self._work = dist.all_reduce(self._votes, dist.ReduceOp.MAX, async_op=True)

    def passed(self) -> list[bool]:
        """What all of them have said together, to each question."""
        if self._work is not None:
            self._work.wait()
            self._work = None
        return [vote > 0 for vote in self._votes.tolist()]


@contextmanager
def join(timeout_minutes: float) -> Iterator[World]:
    """Be one of the processes that a launcher started, for the length of the block; alone without a launcher.

    Args:
        timeout_minutes: who waits for the others so long raises an error.

    Raises:
        ValueError: the environment tells some of what a launcher tells, but not all.
    """
    missing = [name for name in LAUNCHED if name not in os.environ]
    if missing == list(LAUNCHED):
        yield World()
        return
    if missing:
        raise ValueError(
            f"the environment lacks {', '.join(missing)}, which a launcher sets; start all with torchrun, "
            f"or unset {', '.join(name for name in LAUNCHED if name not in missing)}"
        )
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    timeout = timedelta(minutes=timeout_minutes)
    if os.environ.get("GROUP_WORLD_SIZE") == "1":  # one machine
        dist.init_process_group(backend, timeout=timeout, **_fresh_store(timeout))
    else:
        dist.init_process_group(backend, timeout=timeout)
    yield World(dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_RANK"]))
    dist.destroy_process_group()  # not after an error: the others may be waiting in the middle of a step
    time.sleep(LETTING_GO)


def _fresh_store(timeout: timedelta) -> dict[str, Any]:
    """Where the processes meet, apart from where those met that an elastic restart replaces.

    torchrun keeps one store over restarts, and who is quick reads the addresses of the dead there. Its count
    of restarts tells them apart on one machine; launchers on several machines count each for themselves.
    """
    store, rank, size = next(dist.rendezvous("env://", timeout=timeout))
    store.set_timeout(timeout)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return {"store": dist.PrefixStore(f"attempt {attempt}", store), "rank": rank, "world_size": size}
