"""Collate samples into a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simplepose.data.sample import Sample


class Batch(NamedTuple):
    """A batch of N samples.

    Attributes:
        images: (N, H, W, 3) uint8 BGR.
        mask_miss: (N, h, w) uint8, 255 where the loss counts.
        person_mask: (N, h, w) uint8, 255 on people.
        joints: (N, P, J, 3) float32 x, y, v; padded to P people with v = 0.
    """

    images: Tensor
    mask_miss: Tensor
    person_mask: Tensor
    joints: Tensor


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; pad their people to the largest number of people in one sample."""
    arrays = fixed_size_arrays(samples[0])
    buffers = [torch.empty((len(samples), *array.shape), dtype=torch.uint8) for array in arrays]
    copy_samples(samples, buffers)
    return Batch._make([*buffers, torch.from_numpy(pad_joints(samples))])


def fixed_size_arrays(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the arrays of a sample except its joints, in the order of `Batch`."""
    return sample.image, sample.mask_miss, sample.person_mask


def copy_samples(samples: Sequence[Sample], buffers: Sequence[Tensor]) -> None:
    """Copy the fixed-size arrays of samples into the first rows of a batch's buffers."""
    for row, sample in enumerate(samples):
        for buffer, array in zip(buffers, fixed_size_arrays(sample), strict=True):
            buffer[row] = torch.from_numpy(array)


def pad_joints(samples: Sequence[Sample]) -> np.ndarray:
    """(N, P, J, 3) float32 joints of all samples; P is the largest number of people in one sample."""
    people = max(len(sample.joints) for sample in samples)
    joints = np.zeros((len(samples), people, *samples[0].joints.shape[1:]), np.float32)
    for row, sample in enumerate(samples):
        joints[row, : len(sample.joints)] = sample.joints
    return joints
