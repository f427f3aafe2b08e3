"""Weights and an input that any program can make again, which the reference outputs were computed with."""

import functools
import json
import math
import zlib

import numpy as np
import torch
from places import ROOT

REFERENCE = ROOT / "tests/reference"


@functools.cache
def published_weights() -> dict[str, torch.Tensor]:
    """The state of a published 4-stack checkpoint, filled by each entry's name."""
    entries = json.loads((REFERENCE / "imhn4_original_state.json").read_text())
    return {name: torch.from_numpy(np.asarray(_fill(name, tuple(shape)))) for name, shape in entries}


def picture() -> torch.Tensor:
    """(1, 3, 128, 192) float32."""
    return torch.from_numpy(
        np.random.default_rng(0).uniform(0, 1, (1, 128, 192, 3)).astype(np.float32)
    ).permute(0, 3, 1, 2)


def _fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    last = name.split(".")[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if last == "running_var" or (last == "weight" and len(shape) == 1):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if last in ("running_mean", "bias"):
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    return (rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))).astype(np.float32)
