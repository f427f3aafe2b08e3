"""HDF5 samples -> augmented batches. Each sample's chance depends on (seed, epoch, index) alone,
so an epoch can be entered anywhere and is the same with any number of workers."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from simplepose import freed_memory
from simplepose.config import Augment, Settings
from simplepose.data import augment
from simplepose.data.augment import Parameters
from simplepose.data.bad_records import GoodRecords
from simplepose.data.hdf5 import SampleFile
from simplepose.data.mixing import Mixture, Source
from simplepose.data.record import Record
from simplepose.data.sample import Sample
from simplepose.skeleton import Skeleton

Place = tuple[int, int]
"""(epoch, index of a sample)."""


class Batch(NamedTuple):
    """N samples.

    Attributes:
        images: (N, H, W, 3) uint8 BGR.
        mask_miss: (N, h, w) uint8, 255 where the loss counts.
        person_mask: (N, h, w) uint8, 255 on people.
        joints: (N, P, J, 3) float32 x, y, v; people padded with v = 0.
    """

    images: Tensor
    mask_miss: Tensor
    person_mask: Tensor
    joints: Tensor


class TrainingSamples(Dataset[Sample]):
    """The samples of one file or of several, each asked for as (epoch, index); the length is an epoch's.

    Its files are opened by the process that first reads a sample, so that it can be handed to processes.
    A damaged sample is replaced by another of its file, see `GoodRecords`.

    Args:
        sources: the HDF5 file, or several with their weights.
        settings: its parts `augment`, `targets`, `train.seed` and `train.strict` are used.
        skeleton: the network's joints.
        augmented: False gives the framed samples without any chance, for validation.

    Raises:
        FileNotFoundError, ValueError: as `SampleFile` and `Mixture`; ValueError also where the skeleton's
            annotated joints are not a file's.
    """

    def __init__(
        self,
        sources: str | Path | Sequence[Source],
        settings: Settings,
        skeleton: Skeleton,
        augmented: bool = True,
    ) -> None:
        if isinstance(sources, str | Path):
            sources = [Source(Path(sources))]
        self.files = [_open(source.path, settings, skeleton) for source in sources]
        self._records = [GoodRecords(file, settings.train.strict) for file in self.files]
        self.settings = settings
        self.skeleton = skeleton
        self.augmented = augmented
        self._chosen = [_chosen(file, settings.augment) for file in self.files]
        weights = [source.weight for source in sources]
        self._mixture = Mixture([len(rows) for rows in self._chosen], weights, settings.train.seed)

    def __len__(self) -> int:
        return len(self._mixture)

    def __getitem__(self, place: Place) -> Sample:
        epoch, index = place
        parameters = Parameters()
        if self.augmented:
            rng = np.random.default_rng([self.settings.train.seed, epoch, index])
            parameters = augment.draw(rng, self.settings.augment)
        donors = [self.record((epoch, int(paste.donor * len(self)))) for paste in parameters.pastes]
        stride = self.settings.targets.stride
        return augment.apply(
            self.record(place), parameters, self.settings.augment, self.skeleton, stride, donors
        )

    def record(self, place: Place) -> Record:
        """What a sample is made of."""
        file, row = self._mixture.place(*place)
        return self._records[file][int(self._chosen[file][row])]

    @property
    def damaged_pictures(self) -> int:
        """How many were met so far, by this process and the workers of its loaders."""
        return sum(records.damaged_pictures for records in self._records)


class EpochSampler(Sampler[Place]):
    """One process's share of an epoch: all samples in an order drawn from (seed, epoch), in whole steps.

    The samples of a step of all processes follow each other in that order, so that they are the same
    whatever the number of processes, and every process has as many as the others.
    Set `epoch` and `start` before each pass.

    Args:
        length: samples in all.
        seed: of the order.
        batch: samples of a process in a step.
        rank, size: which process this is, and of how many.

    Attributes:
        epoch: which to draw.
        start: samples of the epoch that are done already, by all processes together.
    """

    def __init__(self, length: int, seed: int, batch: int = 1, rank: int = 0, size: int = 1) -> None:
        self.length, self.seed, self.batch, self.rank, self.size = length, seed, batch, rank, size
        self.epoch, self.start = 0, 0

    @property
    def steps(self) -> int:
        """Steps from `start` to the end of the epoch; samples that fill no step are left out."""
        return max(self.length - self.start, 0) // (self.batch * self.size)

    def __iter__(self) -> Iterator[Place]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)[self.start :]
        whole = order[: self.steps * self.size * self.batch].reshape(self.steps, self.size, self.batch)
        return iter([(self.epoch, int(index)) for index in whole[:, self.rank].ravel()])

    def __len__(self) -> int:
        return self.steps * self.batch


def loader(samples: TrainingSamples, places: Iterable[Place]) -> DataLoader[Sample]:
    """Batches of `train.batch_size`, read by `train.workers` processes of one core each."""
    train = samples.settings.train
    if train.workers > 0:
        cv2.setNumThreads(1)  # here: a forked process that does it waits for ever for this one's threads
    return DataLoader(
        samples,
        batch_size=train.batch_size,
        sampler=places,
        num_workers=train.workers,
        collate_fn=collate,
        persistent_workers=train.workers > 0,
        worker_init_fn=_start_worker,
        pin_memory=torch.cuda.is_available(),
    )


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; people are padded to the largest number among them.

    In a worker the batch is made in memory that it shares with the process that asked for it.
    """
    people = max(len(sample.joints) for sample in samples)
    batch = Batch(
        images=_room(len(samples), samples[0].image),
        mask_miss=_room(len(samples), samples[0].mask_miss),
        person_mask=_room(len(samples), samples[0].person_mask),
        joints=torch.zeros((len(samples), people, *samples[0].joints.shape[1:])),
    )
    for row, sample in enumerate(samples):
        batch.images[row] = torch.from_numpy(sample.image)
        batch.mask_miss[row] = torch.from_numpy(sample.mask_miss)
        batch.person_mask[row] = torch.from_numpy(sample.person_mask)
        batch.joints[row, : len(sample.joints)] = torch.from_numpy(sample.joints)
    return batch


def _room(samples: int, like: np.ndarray) -> Tensor:
    """An empty tensor for so many arrays of one form."""
    shape = (samples, *like.shape)
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    storage = torch.UntypedStorage._new_shared(samples * like.nbytes)  # as torch's own collation has it
    return torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)


def _open(path: Path, settings: Settings, skeleton: Skeleton) -> SampleFile:
    file = SampleFile(path, settings.augment.published_crop)
    if file.joints != skeleton.annotated:
        raise ValueError(
            f"{path}: its people have the joints {', '.join(file.joints)}; the skeleton "
            f"{skeleton.name!r} expects {', '.join(skeleton.annotated)}: choose one that fits"
        )
    return file


def _chosen(file: SampleFile, settings: Augment) -> np.ndarray:
    """All samples where each frames its main person; one a picture where the picture is framed."""
    if settings.framing == "person":
        return np.arange(len(file))
    return np.unique(file.sample_pictures, return_index=True)[1]


def _start_worker(_: int) -> None:
    """One core a worker, and its memory kept; Ctrl-C is the main process's to answer."""
    freed_memory.keep()
    if cv2.getNumThreads() != 1:  # a spawned process; a forked one has it from its parent
        cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(
        signal.SIGTERM, signal.SIG_DFL
    )  # a forked process has the main one's, which waits for a step
