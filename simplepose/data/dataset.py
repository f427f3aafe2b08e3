"""HDF5 samples -> augmented samples.

The randomness of each sample depends on (seed, epoch, index) alone, so an epoch can be resumed anywhere and
is the same with any number of workers. A damaged record does not stop an epoch: unless `train.strict` is set,
another sample replaces it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from simplepose.config import AugmentSettings, Settings
from simplepose.data.hdf5.reader import BadRecord, SampleFile
from simplepose.data.mixing import Mixture, Source
from simplepose.data.record import Record
from simplepose.data.sample import Sample
from simplepose.data.transforms import augment
from simplepose.data.transforms.augment import Parameters
from simplepose.skeleton import Skeleton

logger = logging.getLogger(__name__)

IN_A_ROW = 100
"""So many damaged samples in a row are a damaged file."""


class GoodRecords:
    """The records of a file, a damaged one replaced by the next that can be read: the same one at each time.

    Each damaged picture is logged once and counted once, whatever the number of processes that read it: they
    share what is known of damage, so this is to be made before a loader starts its workers.

    Args:
        file: what is read.
        stop: raise BadRecord instead.
    """

    def __init__(self, file: SampleFile, stop: bool = False) -> None:
        self.file, self.stop = file, stop
        self._told = torch.zeros(len(file), dtype=torch.bool).share_memory_()  # as many pictures at most

    @property
    def damaged_pictures(self) -> int:
        """How many were met so far, by all processes."""
        return int(self._told.sum())

    def __getitem__(self, index: int) -> Record:
        """Sample `index`, or the next that can be read.

        Raises:
            BadRecord: it cannot be read, and either nothing may stand in, or none of the next IN_A_ROW can.
        """
        tries = min(IN_A_ROW, len(self.file))
        for step in range(tries):
            try:
                return self.file[(index + step) % len(self.file)]
            except BadRecord as error:
                if self.stop:
                    raise
                fault = error
                self._tell(error)
        raise BadRecord(f"{tries} samples in a row: {fault}", fault.index, fault.image_id)

    def _tell(self, error: BadRecord) -> None:
        picture = int(self.file.sample_pictures[error.index])
        if not self._told[picture]:
            self._told[picture] = True
            logger.warning("another sample stands in: %s", error)


Place = tuple[int, int]
"""(epoch, index of a sample)."""


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


def _open(path: Path, settings: Settings, skeleton: Skeleton) -> SampleFile:
    file = SampleFile(path, settings.augment.published_crop)
    if file.joints != skeleton.annotated:
        raise ValueError(
            f"{path}: its people have the joints {', '.join(file.joints)}; the skeleton "
            f"{skeleton.name!r} expects {', '.join(skeleton.annotated)}: choose one that fits"
        )
    return file


def _chosen(file: SampleFile, settings: AugmentSettings) -> np.ndarray:
    """All samples where each frames its main person; one a picture where the picture is framed."""
    if settings.framing == "person":
        return np.arange(len(file))
    return np.unique(file.sample_pictures, return_index=True)[1]
