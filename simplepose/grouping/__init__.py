"""Grouping: limb and keypoint maps -> people, in C++ on the maps as the network gives them."""

from __future__ import annotations

import numpy as np

from simplepose.config import Grouping as Settings
from simplepose.grouping._grouping import group as _group
from simplepose.people import People
from simplepose.skeleton import Skeleton

__all__ = ["Settings", "group"]

_DEFAULTS = Settings()


def group(maps: np.ndarray, skeleton: Skeleton, settings: Settings = _DEFAULTS) -> People:
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
            to a limb that touches it.
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
    keypoints, scores = _group(
        maps[skeleton.limb_channels], maps[skeleton.keypoint_channels], skeleton.limb_ends, settings
    )
    return People(skeleton.to_annotated(keypoints), scores)


def _check(maps: np.ndarray, skeleton: Skeleton) -> None:
    needed = skeleton.keypoint_channels.stop
    if not isinstance(maps, np.ndarray) or maps.dtype != np.float32:
        kind = maps.dtype if isinstance(maps, np.ndarray) else type(maps).__name__
        raise ValueError(
            f"maps in a float32 NumPy array expected, got {kind}; use np.asarray(maps, np.float32)"
        )
    if maps.ndim != 3 or maps.shape[0] < needed or min(maps.shape[1:]) < 1:
        raise ValueError(
            f"maps (C, h, w) with C at least {needed}, the limbs and joints of skeleton {skeleton.name!r}, "
            f"and h and w at least 1 expected, got shape {maps.shape}"
        )
    if not maps.flags.c_contiguous:
        raise ValueError("maps that are not C-contiguous got; pass np.ascontiguousarray(maps)")
