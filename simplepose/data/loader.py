"""Batches made by processes of one core each.

A process lays its batches in memory that it shares with the one that trains, always the same: were it fetched
anew for each batch, as torch does, the kernel would have to clear and map all its pages first.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.context import BaseContext
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from simplepose.config import Settings
from simplepose.data.batch import Batch, collate, fill, pad_joints
from simplepose.data.dataset import Place, TrainingSamples
from simplepose.data.sample import Sample
from simplepose.utils import malloc

AHEAD = 4
"""Batches that a worker makes before they are asked for."""

SLOTS = AHEAD + 1
"""Batches that a worker's memory holds: those, and the one that is being taken out."""


class Laid(NamedTuple):
    """Where a worker has laid a batch.

    Attributes:
        worker, slot: which of the memory's.
        joints: of the batch, (N, P, J, 3) float32, sent as they are.
    """

    worker: int
    slot: int
    joints: np.ndarray


class Shelf:
    """The memory that workers lay their batches in, to be made before they start and handed to them.

    Args:
        settings: of the samples.
        batch: samples in a batch at most.
        workers: how many.
    """

    def __init__(self, settings: Settings, batch: int, workers: int) -> None:
        height, width = settings.augment.size
        cells = (height // settings.targets.stride, width // settings.targets.stride)
        shapes = ((height, width, 3), cells, cells)
        room = [torch.empty((workers, SLOTS, batch, *shape), dtype=torch.uint8) for shape in shapes]
        self._room = [part.share_memory_() for part in room]
        self._laid = 0

    def lay(self, samples: Sequence[Sample]) -> Laid:
        """Called by a worker: stack samples in its next slot, over what lay there SLOTS batches ago."""
        worker = get_worker_info()
        assert worker is not None
        laid = Laid(worker.id, self._laid % SLOTS, pad_joints(samples))
        fill(samples, self._at(laid))
        self._laid += 1
        return laid

    def take(self, laid: Laid) -> Batch:
        """A copy, in memory of its own; to be made before the next batch is asked for."""
        return Batch._make([own(part) for part in (*self._at(laid), torch.from_numpy(laid.joints))])

    def _at(self, laid: Laid) -> list[Tensor]:
        """The batch in shared memory, all but its joints."""
        return [part[laid.worker, laid.slot, : len(laid.joints)] for part in self._room]


class Loader:
    """The batches of `train.batch_size` of some samples, read by `train.workers` processes.

    May be iterated again and again, `places` anew each time; workers live as long as it does.

    Args:
        samples: what is read.
        places: which, in this order.
    """

    def __init__(self, samples: TrainingSamples, places: Iterable[Place]) -> None:
        train = samples.settings.train
        self._shelf = Shelf(samples.settings, train.batch_size, train.workers) if train.workers else None
        self._batches: DataLoader[Sample] = DataLoader(
            samples,
            batch_size=train.batch_size,
            sampler=places,
            num_workers=train.workers,
            collate_fn=self._shelf.lay if self._shelf else collate,
            prefetch_factor=AHEAD if self._shelf else None,
            multiprocessing_context=_context() if self._shelf else None,
            persistent_workers=self._shelf is not None,
            worker_init_fn=_start_worker,
        )

    def __iter__(self) -> Iterator[Batch]:
        """In pinned memory where there is a GPU."""
        for made in self._batches:
            yield self._shelf.take(made) if self._shelf else Batch(*map(own, made))

    def __len__(self) -> int:
        return len(self._batches)


def own(part: Tensor) -> Tensor:
    """A copy, pinned where there is a GPU that it may go to."""
    return torch.empty_like(part, pin_memory=torch.cuda.is_available()).copy_(part)


def _context() -> BaseContext:
    """How workers are begun: not by a fork of this process.

    A forked process takes over the locks that this one's threads (of PyTorch, OpenCV, OpenVINO, NCCL) hold
    at that moment, but not the threads that would release them, and can wait for ever.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _start_worker(_: int) -> None:
    """One core a worker, and its memory kept; Ctrl-C is the main process's to answer."""
    malloc.keep()
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
