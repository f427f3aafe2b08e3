"""All hostile cases, and the fixed sample of them that the tests run."""

from __future__ import annotations

import zlib
from itertools import groupby

import checkpoint_files
import hdf5_files
import image_files
import json_files
import path_cases
import video_files
import yaml_files
from case import Case

MODULES = (json_files, checkpoint_files, hdf5_files, yaml_files, image_files, video_files, path_cases)
CASES: tuple[Case, ...] = tuple(case for module in MODULES for case in module.CASES)


def sample(count: int) -> list[Case]:
    """Select cases of all kinds, in proportion; a checksum of the names orders each kind."""

    def checksum(case: Case) -> int:
        return zlib.crc32(case.name.encode())

    ranked = []
    for _, group in groupby(sorted(CASES, key=lambda case: case.kind), key=lambda case: case.kind):
        of_kind = sorted(group, key=checksum)
        ranked += [((rank + 0.5) / len(of_kind), checksum(case), case) for rank, case in enumerate(of_kind)]
    return [case for _, _, case in sorted(ranked, key=lambda entry: entry[:2])[:count]]
