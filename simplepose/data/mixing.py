"""Several files of training samples as one, some drawn from more and some less."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Source(NamedTuple):
    """A file of training samples, and how much of it an epoch takes.

    Attributes:
        path: of the HDF5 file.
        weight: above 0. An epoch has so many times the file's samples: with 1 each of them once, with 0.5 a
            half of them, and the other half in the next epoch, with 3 each of them three times.
    """

    path: Path
    weight: float = 1.0


class Mixture:
    """Which samples an epoch has, in the files' order; it is as long in every epoch.

    A file of n samples and weight w gives round(w n) of them: the next ones of its samples in an order drawn
    anew each time all have had their turn, so that none is taken w + 1 times before the others.

    Args:
        counts: samples of each file.
        weights: of each file, above 0.
        seed: of the orders.

    Raises:
        ValueError: a weight so small that not one sample of its file is taken.
    """

    def __init__(self, counts: Sequence[int], weights: Sequence[float], seed: int) -> None:
        self._counts, self._seed = counts, seed
        self._taken = [round(weight * count) for count, weight in zip(counts, weights, strict=True)]
        self._epoch, self._order = -1, np.zeros(0, np.int64)
        for count, weight, taken in zip(counts, weights, self._taken, strict=True):
            if taken < 1:
                raise ValueError(
                    f"a weight of {weight:g} leaves none of a file's {count} samples; make it larger"
                )

    def __len__(self) -> int:
        return sum(self._taken)

    def place(self, epoch: int, position: int) -> tuple[int, int]:
        """The file that an epoch's sample is of, and which of its samples it is."""
        file, before = 0, 0
        while position >= before + self._taken[file]:
            before += self._taken[file]
            file += 1
        if self._taken[file] % self._counts[file] == 0:
            return file, (position - before) % self._counts[file]
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._partial(epoch)
        return file, int(self._order[position])

    def _partial(self, epoch: int) -> np.ndarray:
        """The samples of an epoch in their own files; nothing of files that are taken whole."""
        return np.concatenate([self._turn(file, epoch) for file in range(len(self._counts))])

    def _turn(self, file: int, epoch: int) -> np.ndarray:
        count, taken = self._counts[file], self._taken[file]
        turns = np.arange(epoch * taken, (epoch + 1) * taken)
        if taken % count == 0:
            return turns % count
        rounds = range(turns[0] // count, turns[-1] // count + 1)
        orders = [np.random.default_rng([self._seed, file, r]).permutation(count) for r in rounds]
        return np.concatenate(orders)[turns - rounds[0] * count]
