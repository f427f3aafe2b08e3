"""Grouping: limb and keypoint maps -> people, in C++ on the maps as the network gives them."""

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
    """Find people in the maps of one picture.

    As in arXiv:1911.10529, joints are local maxima of the keypoint maps, limbs are scored along the limb
    map between two joints, and limbs that share joints make a person; but the maps are read as they are,
    between their cells, and people grow from the strongest links, not limb by limb in a fixed order.
    A few joints without limbs to anybody go to the person they lie at.
    `Settings(rules="reference")` follows the published rules instead, faults included.
    Safe to call from several threads at once; other Python threads run meanwhile.

    Args:
        maps: (C, h, w) float32, C-contiguous: the skeleton's channels; those after limbs and keypoints
            are not read and may be left out. A cell that is not finite is no peak, and gives no support
            to a limb that touches it. A NumPy array or a torch tensor. Of a tensor on a GPU, which may
            also be float16 or bfloat16, only peaks and connections are copied from there; by the
            reference rules, the maps.
        skeleton: names the channels, and which joints a limb connects.
        settings: thresholds and the maps' stride.

    Returns:
        People, best first, joints in the skeleton's annotated order. x and y are pixels of the picture
        that the maps were made of: cell k's centre is at k * stride + stride / 2 - 0.5. Where no joint
        was found: 0, 0, 0. A person's score is the mean over all the skeleton's joints and limbs, a missing
        one as 0; by the reference rules 1 - 1 / their sum, which may be negative.

    Raises:
        ValueError: maps of another type, shape or layout.
    """
    _check(maps, skeleton)
    if _is_tensor(maps):
        if maps.device.type != "cpu" and settings.rules == "ours":
            from simplepose.grouping import torch_ops

            keypoints, scores = torch_ops.group(maps.detach(), skeleton, settings)
            return People(skeleton.to_annotated(keypoints), scores)
        maps = maps.detach().float().cpu().numpy()
    keypoints, scores = _group(
        maps[skeleton.limb_channels], maps[skeleton.keypoint_channels], skeleton.limb_ends, settings
    )
    return People(skeleton.to_annotated(keypoints), scores)


def _is_tensor(maps: object) -> TypeGuard[torch.Tensor]:
    torch = sys.modules.get("torch")  # who has a tensor has imported it; for others it is slow to
    return torch is not None and isinstance(maps, torch.Tensor)


def _check(maps: object, skeleton: Skeleton) -> None:
    if isinstance(maps, np.ndarray):
        kind, dtypes, contiguous = "NumPy array", ["float32"], maps.flags.c_contiguous
        fixes = "np.asarray(maps, np.float32)", "np.ascontiguousarray(maps)"
    elif _is_tensor(maps):
        kind, contiguous, fixes = "tensor", maps.is_contiguous(), ("maps.float()", "maps.contiguous()")
        dtypes = ["float32"] if maps.device.type == "cpu" else ["float32", "float16", "bfloat16"]
    else:
        raise ValueError(f"maps in a NumPy array or a torch tensor expected, got {type(maps).__name__}")
    needed, dtype = skeleton.keypoint_channels.stop, str(maps.dtype).removeprefix("torch.")
    if dtype not in dtypes:
        raise ValueError(f"maps in a {' or '.join(dtypes)} {kind} expected, got {dtype}; use {fixes[0]}")
    if maps.ndim != 3 or maps.shape[0] < needed or min(maps.shape[1:]) < 1:
        raise ValueError(
            f"maps (C, h, w) with C at least {needed}, the limbs and joints of skeleton {skeleton.name!r}, "
            f"and h and w at least 1 expected, got shape {tuple(maps.shape)}"
        )
    if not contiguous:
        raise ValueError(f"maps that are not C-contiguous got; pass {fixes[1]}")
