"""How long things take, over any number of them, in little memory."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

LEAST, STEP, BINS = 1e-6, 1.02, 1200
"""Bin k counts times from LEAST * STEP**k seconds on: 1 microsecond to 6 hours, 2 % apart."""


class Timing:
    """The times of one kind of work; threads may add at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = np.zeros(BINS, np.int64)
        self.total = 0.0

    @contextmanager
    def measure(self, of: int = 1) -> Iterator[None]:
        """Add what the block takes, shared evenly by so many things."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(time.perf_counter() - start, of)

    def add(self, seconds: float, of: int = 1) -> None:
        """Add a time, shared evenly by so many things."""
        place = math.log(max(seconds / of, LEAST) / LEAST) / math.log(STEP)
        with self._lock:
            self._counts[min(int(place), BINS - 1)] += of
            self.total += seconds

    @property
    def count(self) -> int:
        """Things that were timed."""
        return int(self._counts.sum())

    def percentile(self, share: float) -> float:
        """Seconds that this share, 0 to 1, of the things take at most, within 1 %; 0 where there are none."""
        if not self.count:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self._counts), max(share * self.count, 1)))
        return float(LEAST * STEP ** (place + 0.5))
