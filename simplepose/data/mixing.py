"""Mix several files of training samples, each with a weight."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class DatasetSource(NamedTuple):
    """A file of training samples and its weight in an epoch.

    Attributes:
        path: of the HDF5 file.
        weight: above 0. An epoch has weight times as many samples of the file as the file has: with 1 each
            sample once, with 3 each three times, with 0.5 one half, and the other half in the next epoch.
    """

    path: Path
    weight: float = 1.0


class DatasetMixture:
    """Which samples an epoch has, in the order of the files. All epochs have the same length.

    A file of n samples and weight w gives round(w n) of them. It gives them in a random order, and a new
    order is sampled when all samples were used, so no sample is used w + 1 times before the others.

    Args:
        counts: number of samples of each file.
        weights: of each file, above 0.
        seed: of the random orders.

    Raises:
        ValueError: a weight is so small that no sample of its file is used.
    """

    def __init__(self, counts: Sequence[int], weights: Sequence[float], seed: int) -> None:
        self._counts, self._seed = counts, seed
        self._epoch_counts = [round(weight * count) for count, weight in zip(counts, weights, strict=True)]
        self._epoch, self._order = -1, np.zeros(0, np.int64)
        for count, weight, epoch_count in zip(counts, weights, self._epoch_counts, strict=True):
            if epoch_count < 1:
                raise ValueError(
                    f"a weight of {weight:g} uses none of a file's {count} samples; choose a larger weight"
                )

    def __len__(self) -> int:
        return sum(self._epoch_counts)

    def locate(self, epoch: int, position: int) -> tuple[int, int]:
        """Return the file of an epoch's sample, and the index of the sample in that file."""
        file, start = 0, 0
        while position >= start + self._epoch_counts[file]:
            start += self._epoch_counts[file]
            file += 1
        if self._epoch_counts[file] % self._counts[file] == 0:
            return file, (position - start) % self._counts[file]
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._compute_order(epoch)
        return file, int(self._order[position])

    def _compute_order(self, epoch: int) -> np.ndarray:
        """Return the index in its file of each sample of an epoch."""
        return np.concatenate([self._file_order(file, epoch) for file in range(len(self._counts))])

    def _file_order(self, file: int, epoch: int) -> np.ndarray:
        count, epoch_count = self._counts[file], self._epoch_counts[file]
        positions = np.arange(epoch * epoch_count, (epoch + 1) * epoch_count)
        if epoch_count % count == 0:
            return positions % count
        rounds = range(positions[0] // count, positions[-1] // count + 1)
        orders = [np.random.default_rng([self._seed, file, r]).permutation(count) for r in rounds]
        return np.concatenate(orders)[positions - rounds[0] * count]
