"""Grouping: limb maps and heatmaps -> people, in C++ at the resolution of the network's output."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from simplepose.config import GroupingSettings as Settings
from simplepose.grouping._grouping import group as _group
from simplepose.people import People
from simplepose.skeleton import Skeleton

if TYPE_CHECKING:
    import torch

__all__ = ["Settings", "group"]

_DEFAULTS = Settings()


def group(maps: np.ndarray | torch.Tensor, skeleton: Skeleton, settings: Settings = _DEFAULTS) -> People:
    """Find people in the maps of one image.

    As in arXiv:1911.10529, joints are local maxima of the heatmaps, limbs are scored along the limb map
    between two joints, and limbs that share joints form a person. Unlike there, the maps are not upsampled
    but interpolated, and people grow from the strongest connections instead of limb by limb in a fixed order.
    Small groups of unassigned keypoints are attached to a nearby person.
    `Settings(rules="reference")` follows the published rules instead, including their faults.
    This function is thread-safe and releases the GIL.

    Args:
        maps: (C, h, w) float32, C-contiguous, a NumPy array or a torch tensor, channels in the skeleton's
            order. Channels after limbs and keypoints are not read and may be omitted. A cell that is not
            finite is not a peak and does not support limbs through it. A tensor on a GPU may also be float16
            or bfloat16; only peaks and connections are copied from the GPU (with the reference rules, the
            maps).
        skeleton: defines the channels and the joints of each limb.
        settings: thresholds and the stride of the maps.

    Returns:
        People, best first, with keypoints in the skeleton's annotated order. x and y are in pixels of the
        network's input: the center of cell k is at k * stride + stride / 2 - 0.5. A missing keypoint is
        0, 0, 0. A person's score is the mean score of all the skeleton's joints and limbs, 0 for missing
        ones, weighted by `score_area_exponent`. With the reference rules it is 1 - 1 / sum of the scores,
        which may be negative.

    Raises:
        ValueError: the maps have another type, shape or memory layout.
    """
    _check(maps, skeleton)
    if _is_tensor(maps):
        if maps.device.type != "cpu" and settings.rules == "simplepose":
            from simplepose.grouping import torch_ops

            keypoints, scores = torch_ops.group(maps.detach(), skeleton, settings)
            return People(skeleton.to_annotated(keypoints), scores)
        maps = maps.detach().float().cpu().numpy()
    keypoints, scores = _group(
        maps[skeleton.limb_channels], maps[skeleton.keypoint_channels], skeleton.limb_ends, settings
    )
    return People(skeleton.to_annotated(keypoints), scores)


def _is_tensor(maps: object) -> TypeGuard[torch.Tensor]:
    torch = sys.modules.get("torch")  # imported if there is a tensor; importing it here would be slow
    return torch is not None and isinstance(maps, torch.Tensor)


def _check(maps: object, skeleton: Skeleton) -> None:
    if isinstance(maps, np.ndarray):
        kind, dtypes, contiguous = "NumPy array", ["float32"], maps.flags.c_contiguous
        fixes = "np.asarray(maps, np.float32)", "np.ascontiguousarray(maps)"
    elif _is_tensor(maps):
        kind, contiguous, fixes = "tensor", maps.is_contiguous(), ("maps.float()", "maps.contiguous()")
        dtypes = ["float32"] if maps.device.type == "cpu" else ["float32", "float16", "bfloat16"]
    else:
        raise ValueError(f"maps: expected a NumPy array or a torch tensor, got {type(maps).__name__}")
    min_channels, dtype = skeleton.keypoint_channels.stop, str(maps.dtype).removeprefix("torch.")
    if dtype not in dtypes:
        raise ValueError(f"maps: expected a {' or '.join(dtypes)} {kind}, got {dtype}; use {fixes[0]}")
    if maps.ndim != 3 or maps.shape[0] < min_channels or min(maps.shape[1:]) < 1:
        raise ValueError(
            f"maps: expected (C, h, w) with C >= {min_channels} (limbs and joints of skeleton "
            f"{skeleton.name!r}), h >= 1 and w >= 1, got shape {tuple(maps.shape)}"
        )
    if not contiguous:
        raise ValueError(f"maps: expected C-contiguous memory, got other strides; pass {fixes[1]}")
