"""The training dataset: records from HDF5 files, augmented.

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
from simplepose.data.hdf5.reader import DamagedRecordError, SampleFile
from simplepose.data.mixing import DatasetMixture, DatasetSource
from simplepose.data.record import Record
from simplepose.data.sample import Sample
from simplepose.data.transforms import augment
from simplepose.data.transforms.augment import AugmentParams
from simplepose.skeleton import Skeleton

logger = logging.getLogger(__name__)

# After this many consecutive damaged samples, the file counts as damaged.
MAX_CONSECUTIVE_DAMAGED = 100


class FaultTolerantRecords:
    """The records of a file; each damaged record is replaced by the next readable one, always the same.

    Each damaged image is logged once and counted once, even if several processes read it: they share this
    state. Create the object before a loader starts its workers.

    Args:
        file: the file to read.
        strict: raise DamagedRecordError instead of replacing a record.
    """

    def __init__(self, file: SampleFile, strict: bool = False) -> None:
        self.file, self.strict = file, strict
        # One flag for each image. A file of main persons has at most as many images as samples.
        flags = len(file.image_ids) if file.every_person else len(file)
        self._damaged = torch.zeros(flags, dtype=torch.bool).share_memory_()

    @property
    def damaged_images(self) -> int:
        """Number of damaged images that any process met so far."""
        return int(self._damaged.sum())

    def __getitem__(self, index: int) -> Record:
        """Read sample `index`, or the next readable one.

        Raises:
            DamagedRecordError: the sample is damaged, and either `strict` is set or the next
                MAX_CONSECUTIVE_DAMAGED samples are damaged too.
        """
        tries = min(MAX_CONSECUTIVE_DAMAGED, len(self.file))
        for step in range(tries):
            try:
                return self.file[(index + step) % len(self.file)]
            except DamagedRecordError as error:
                if self.strict:
                    raise
                last_error = error
                self._log_damage(error)
        raise DamagedRecordError(
            f"{tries} consecutive samples are damaged: {last_error}", last_error.index, last_error.image_id
        )

    def _log_damage(self, error: DamagedRecordError) -> None:
        image_row = int(self.file.sample_image_rows[error.index])
        if not self._damaged[image_row]:
            self._damaged[image_row] = True
            logger.warning("another sample replaces a damaged one: %s", error)


# (epoch, index of a sample)
SampleKey = tuple[int, int]


class TrainingSamples(Dataset[Sample]):
    """The samples of one file or of several files. Keys are (epoch, index); the length is that of an epoch.

    Each process opens the files when it first reads a sample, so the dataset can be passed to workers.
    A damaged sample is replaced by another of its file, see `FaultTolerantRecords`.

    Args:
        sources: the HDF5 file, or several with their weights.
        settings: `augment`, `targets`, `train.seed` and `train.strict` are used.
        skeleton: the network's joints.
        augmented: if False, samples are framed but not augmented, for validation.

    Raises:
        FileNotFoundError, ValueError: as `SampleFile` and `DatasetMixture`. ValueError also if the annotated
            joints of the skeleton and of a file differ.
    """

    def __init__(
        self,
        sources: str | Path | Sequence[DatasetSource],
        settings: Settings,
        skeleton: Skeleton,
        augmented: bool = True,
    ) -> None:
        if isinstance(sources, str | Path):
            sources = [DatasetSource(Path(sources))]
        self.files = [_open_file(source.path, settings, skeleton) for source in sources]
        self._records = [FaultTolerantRecords(file, settings.train.strict) for file in self.files]
        self.settings = settings
        self.skeleton = skeleton
        self.augmented = augmented
        self._sample_indices = [_select_samples(file, settings.augment) for file in self.files]
        weights = [source.weight for source in sources]
        counts = [len(indices) for indices in self._sample_indices]
        self._mixture = DatasetMixture(counts, weights, settings.train.seed)

    def __len__(self) -> int:
        return len(self._mixture)

    def __getitem__(self, key: SampleKey) -> Sample:
        epoch, index = key
        params = AugmentParams()
        if self.augmented:
            rng = np.random.default_rng([self.settings.train.seed, epoch, index])
            params = augment.sample_params(rng, self.settings.augment)
        donors = [self.record((epoch, int(paste.donor * len(self)))) for paste in params.pastes]
        stride = self.settings.targets.stride
        return augment.apply(self.record(key), params, self.settings.augment, self.skeleton, stride, donors)

    def record(self, key: SampleKey) -> Record:
        """Read the record of a sample, before augmentation."""
        file, index = self._mixture.locate(*key)
        return self._records[file][int(self._sample_indices[file][index])]

    @property
    def damaged_images(self) -> int:
        """Number of damaged images that this process and the workers of its loaders met so far."""
        return sum(records.damaged_images for records in self._records)


class EpochSampler(Sampler[SampleKey]):
    """One rank's share of an epoch: all samples in a random order of (seed, epoch), in complete steps.

    The samples of a step of all ranks are consecutive in that order. So they are the same for any number of
    ranks, and every rank has the same number of samples. Set `epoch` and `start` before each iteration.

    Args:
        length: number of samples in the epoch.
        seed: of the order.
        batch_size: samples of one rank in a step.
        rank, world_size: index of this rank, and number of ranks.

    Attributes:
        epoch: to iterate.
        start: number of samples of the epoch that all ranks together have done already.
    """

    def __init__(
        self, length: int, seed: int, batch_size: int = 1, rank: int = 0, world_size: int = 1
    ) -> None:
        self.length, self.seed, self.batch_size = length, seed, batch_size
        self.rank, self.world_size = rank, world_size
        self.epoch, self.start = 0, 0

    @property
    def steps(self) -> int:
        """Steps from `start` to the end of the epoch; samples that do not fill a step are left out."""
        return max(self.length - self.start, 0) // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[SampleKey]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)[self.start :]
        complete = order[: self.steps * self.world_size * self.batch_size]
        of_ranks = complete.reshape(self.steps, self.world_size, self.batch_size)
        return iter([(self.epoch, int(index)) for index in of_ranks[:, self.rank].ravel()])

    def __len__(self) -> int:
        return self.steps * self.batch_size


def _open_file(path: Path, settings: Settings, skeleton: Skeleton) -> SampleFile:
    file = SampleFile(path, settings.augment.published_crop, every_person=settings.augment.framing == "crop")
    if file.joints != skeleton.annotated:
        raise ValueError(
            f"{path}: expected the annotated joints of the skeleton {skeleton.name!r}: "
            f"{', '.join(skeleton.annotated)}; got {', '.join(file.joints)}; choose the matching skeleton"
        )
    return file


def _select_samples(file: SampleFile, settings: AugmentSettings) -> np.ndarray:
    """Return the indices of the samples to use: all, or one of each image if framing is by image."""
    if settings.framing != "image":
        return np.arange(len(file))
    return np.unique(file.sample_image_rows, return_index=True)[1]
