"""Samples stacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simplepose.data.sample import Sample


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


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; people are padded to the largest number among them."""
    first = samples[0]
    room = [torch.empty((len(samples), *part.shape), dtype=torch.uint8) for part in pictures(first)]
    fill(samples, room)
    return Batch._make([*room, torch.from_numpy(pad_joints(samples))])


def pictures(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All of a sample but its joints, in a batch's order."""
    return sample.image, sample.mask_miss, sample.person_mask


def fill(samples: Sequence[Sample], room: Sequence[Tensor]) -> None:
    """Lay samples into the first rows of a batch's parts, all but its joints."""
    for row, sample in enumerate(samples):
        for part, values in zip(room, pictures(sample), strict=True):
            part[row] = torch.from_numpy(values)


def pad_joints(samples: Sequence[Sample]) -> np.ndarray:
    """(N, P, J, 3) float32, P the largest number of people."""
    people = max(len(sample.joints) for sample in samples)
    joints = np.zeros((len(samples), people, *samples[0].joints.shape[1:]), np.float32)
    for row, sample in enumerate(samples):
        joints[row, : len(sample.joints)] = sample.joints
    return joints
