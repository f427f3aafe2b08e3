"""Load batches in worker processes of one core each.

A worker writes its batches into memory that it shares with the training process, always the same memory.
torch allocates new shared memory for each batch instead, and the kernel has to clear and map its pages.
"""

from __future__ import annotations

import functools
import math
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.context import BaseContext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from simplepose.config import Settings
from simplepose.data.batch import Batch, collate, copy_samples, pad_joints
from simplepose.data.dataset import SampleKey, TrainingSamples
from simplepose.data.hdf5.reader import DamagedRecordError
from simplepose.data.sample import Sample
from simplepose.utils import parallel, signals

# Batches that a worker prepares ahead.
PREFETCH_BATCHES = 4

# Batches in a worker's shared memory: the prefetched ones, and the one that is being copied out.
SLOTS_PER_WORKER = PREFETCH_BATCHES + 1

# What the error about too little shared memory recommends.
REMEDY = "fewer train.workers, or train.workers=0"


class BatchSlot(NamedTuple):
    """The place of a batch in shared memory.

    Attributes:
        worker, slot: indices into the shared memory.
        joints: of the batch, (N, P, J, 3) float32; they are sent by value.
    """

    worker: int
    slot: int
    joints: np.ndarray


class SharedBatchBuffer:
    """Shared memory that workers write batches into. Create it before the workers start.

    Args:
        settings: of the samples.
        batch_size: maximum number of samples in a batch.
        workers: number of workers.

    Raises:
        OSError: there is too little shared memory.
    """

    def __init__(self, settings: Settings, batch_size: int, workers: int) -> None:
        height, width = settings.augment.size
        cells = (height // settings.targets.stride, width // settings.targets.stride)
        shapes = [
            (workers, SLOTS_PER_WORKER, batch_size, *shape) for shape in ((height, width, 3), cells, cells)
        ]
        with parallel.shared_memory(sum(map(math.prod, shapes)), REMEDY):
            self._buffers = [torch.empty(shape, dtype=torch.uint8).share_memory_() for shape in shapes]
        self._batches_written = 0

    def write(self, samples: Sequence[Sample]) -> BatchSlot:
        """Collate samples into the next slot of the calling worker.

        This overwrites the batch that the worker wrote SLOTS_PER_WORKER batches ago.
        """
        worker = get_worker_info()
        assert worker is not None
        slot = BatchSlot(worker.id, self._batches_written % SLOTS_PER_WORKER, pad_joints(samples))
        copy_samples(samples, self._views(slot))
        self._batches_written += 1
        return slot

    def read(self, slot: BatchSlot) -> Batch:
        """Copy a batch out of shared memory; must be called before the next batch is requested."""
        return Batch._make(
            [copy_pinned(part) for part in (*self._views(slot), torch.from_numpy(slot.joints))]
        )

    def _views(self, slot: BatchSlot) -> list[Tensor]:
        """Return views of a batch in shared memory; they exclude its joints."""
        return [buffer[slot.worker, slot.slot, : len(slot.joints)] for buffer in self._buffers]


class BatchLoader:
    """Load batches of `train.batch_size` samples with `train.workers` processes.

    It may be iterated several times; each time it iterates `keys` again. The workers live as long as it does.

    Args:
        samples: the dataset.
        keys: which samples to load, in this order.
    """

    def __init__(self, samples: TrainingSamples, keys: Iterable[SampleKey]) -> None:
        train = samples.settings.train
        self._buffer = (
            SharedBatchBuffer(samples.settings, train.batch_size, train.workers) if train.workers else None
        )
        self._batches: DataLoader[Sample | DamagedRecordError] = DataLoader(
            _SamplesOrErrors(samples),
            batch_size=train.batch_size,
            sampler=keys,
            num_workers=train.workers,
            # not a method of this object: a reference cycle would delay the end of the workers
            collate_fn=functools.partial(_collate_or_error, self._buffer),
            prefetch_factor=PREFETCH_BATCHES if self._buffer else None,
            multiprocessing_context=_worker_context() if self._buffer else None,
            persistent_workers=self._buffer is not None,
            worker_init_fn=_init_worker,
        )

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches, in pinned memory if a GPU is available.

        Raises:
            DamagedRecordError: as `TrainingSamples`, also where a worker met it.
        """
        with parallel.shared_memory(0, REMEDY), signals.block_in_children():  # here the workers start
            batches = iter(self._batches)
        for loaded in batches:
            if isinstance(loaded, DamagedRecordError):
                raise loaded
            yield self._buffer.read(loaded) if self._buffer else Batch(*map(copy_pinned, loaded))

    def __len__(self) -> int:
        return len(self._batches)


def _collate_or_error(
    buffer: SharedBatchBuffer | None, items: Sequence[Sample | DamagedRecordError]
) -> BatchSlot | Batch | DamagedRecordError:
    """Collate samples, or return the first error among them."""
    samples = [item for item in items if not isinstance(item, DamagedRecordError)]
    if len(samples) < len(items):
        return next(item for item in items if isinstance(item, DamagedRecordError))
    return buffer.write(samples) if buffer else collate(samples)


class _SamplesOrErrors(Dataset["Sample | DamagedRecordError"]):
    """Samples; damage is an error that is returned, as a worker's exception would lose its attributes."""

    def __init__(self, samples: TrainingSamples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, key: SampleKey) -> Sample | DamagedRecordError:
        try:
            return self._samples[key]
        except DamagedRecordError as error:
            return error


def copy_pinned(tensor: Tensor) -> Tensor:
    """Copy a tensor; the copy is in pinned memory if a GPU is available."""
    return torch.empty_like(tensor, pin_memory=torch.cuda.is_available()).copy_(tensor)


def _worker_context() -> BaseContext:
    """Choose a multiprocessing context that does not fork this process.

    A forked process inherits the locks that this process's threads (of PyTorch, OpenCV, OpenVINO, NCCL) hold
    at that moment, but not the threads that would release them, so it can wait forever.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _init_worker(_: int) -> None:
    parallel.initialize_worker()
