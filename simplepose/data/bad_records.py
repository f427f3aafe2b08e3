"""One damaged record never stops an epoch: another sample stands in for it, unless that is not wanted."""

from __future__ import annotations

import logging

import torch

from simplepose.data.hdf5 import BadRecord, SampleFile
from simplepose.data.record import Record

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
