"""Reproducible weights and input image of the reference outputs."""

import functools
import json
import math
import zlib

import numpy as np
import torch
from repo_paths import ROOT

REFERENCE = ROOT / "tests/reference"


@functools.cache
def published_weights(name: str = "imhn4_original") -> dict[str, torch.Tensor]:
    """Build the state of a published checkpoint with values seeded by each entry's name.

    Args:
        name: "imhn4_original" (4 stacks), "fastpose_v02" or "fastpose_master_r50".
    """
    entries = json.loads((REFERENCE / f"{name}_state.json").read_text())
    return {name: torch.from_numpy(np.asarray(_build_values(name, tuple(shape)))) for name, shape in entries}


def make_image() -> torch.Tensor:
    """Build the input image, (1, 3, 128, 192) float32."""
    return torch.from_numpy(
        np.random.default_rng(0).uniform(0, 1, (1, 128, 192, 3)).astype(np.float32)
    ).permute(0, 3, 1, 2)


def _build_values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    last = name.split(".")[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if last == "running_var" or (last == "weight" and len(shape) == 1):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if last in ("running_mean", "bias"):
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    return (rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))).astype(np.float32)
