"""COCO's segmentations -> masks. What pycocotools would read beyond its memory with is refused first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

FARTHEST = 100_000
"""Pixels from the picture's corner that an outline may reach: pycocotools walks along all of it, and crashes
the process where a coordinate is not finite or very large."""


def covered(annotations: Sequence[dict[str, Any]], height: int, width: int) -> np.ndarray:
    """(H, W) bool: what any of the annotations covers. Raises ValueError as `segmentation_mask`."""
    if not annotations:
        return np.zeros((height, width), bool)
    runs = [_runs(annotation, height, width) for annotation in annotations]
    try:
        mask = coco_mask.decode(coco_mask.merge(runs))
    except Exception as error:  # pycocotools raises bare Exceptions on odd input
        raise ValueError(f"a segmentation that cannot be read ({error})") from error
    return np.ascontiguousarray(mask).astype(bool)


def segmentation_mask(annotation: dict[str, Any], height: int, width: int) -> np.ndarray:
    """(H, W) bool: an annotation's polygons or run lengths, as COCO's `annToMask`; its box where it has none.

    Raises:
        ValueError: the run lengths are of another size, or a polygon is not of finite x, y, x, y, ...
    """
    return covered([annotation], height, width)


def _runs(annotation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """An annotation's run lengths as pycocotools has them."""
    segmentation = annotation.get("segmentation")
    try:
        if isinstance(segmentation, dict):
            return _checked_runs(segmentation, height, width)
        outlines = [_outline(polygon) for polygon in segmentation or [] if len(polygon) >= 6]
        shapes = outlines or np.array([annotation["bbox"]], np.float64)
        return coco_mask.merge(coco_mask.frPyObjects(shapes, height, width))
    except ValueError:
        raise
    except Exception as error:  # pycocotools raises bare Exceptions on odd input
        raise ValueError(f"a segmentation that cannot be read ({error!r})") from error


def _outline(polygon: Sequence[float]) -> list[float]:
    values = np.asarray(polygon, np.float64)
    if values.ndim != 1 or len(values) % 2 or not (np.abs(values) <= FARTHEST).all():
        raise ValueError(f"a polygon of finite x, y, x, y, ... within {FARTHEST:,} pixels expected")
    return values.tolist()


def _checked_runs(segmentation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    counts = segmentation["counts"]
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"segmentation of {segmentation['size']}, picture of {[height, width]}")
    lengths = counts if isinstance(counts, list) else _lengths(counts)
    if min(lengths, default=0) < 0 or sum(lengths) != height * width:
        raise ValueError(f"run lengths of {sum(lengths)} pixels, {height} x {width} expected")
    return coco_mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)


def _lengths(counts: str | bytes) -> list[int]:
    """COCO's run lengths written as text: five bits a character from 48 on, the lowest first, a sixth bit
    where more follow; from the fourth on each is the difference to the one two before."""
    lengths: list[int] = []
    value = shift = 0
    for character in counts.encode("latin-1") if isinstance(counts, str) else counts:
        part = character - 48
        value |= (part & 31) << shift
        shift += 5
        if part & 32:
            continue
        if part & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths
