"""COCO's segmentations -> masks: every way to write one, and what would crash pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from simplepose.data.coco import covered, segmentation_mask


def test_every_way_to_write_a_segmentation_gives_the_same_mask():
    mask = np.zeros((6, 9), np.uint8)
    mask[1:4, 2:7] = 1
    packed = coco_mask.encode(np.asfortranarray(mask))
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    outline = [2, 1, 7, 1, 7, 4, 2, 4]
    halves = [[2, 1, 5, 1, 5, 4, 2, 4], [4, 1, 7, 1, 7, 4, 4, 4]]
    ways = [[outline], halves, [[3, 3, 4, 4], outline], {"size": [6, 9], "counts": counts}, packed]
    ways.append({**packed, "counts": packed["counts"].decode()})
    for way in ways:
        assert np.array_equal(segmentation_mask({"segmentation": way}, 6, 9), mask > 0), way
    assert np.array_equal(segmentation_mask({"bbox": [2, 1, 5, 3]}, 6, 9), mask > 0)


def test_run_lengths_as_text_are_read_as_cocos(rng):
    for _ in range(60):
        height, width = map(int, rng.integers(1, 40, 2))
        mask = rng.random((height, width)) < rng.choice([0, 0.01, 0.5, 1])
        packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert np.array_equal(segmentation_mask({"segmentation": packed}, height, width), mask)


def test_what_several_cover_together(rng):
    masks = rng.random((3, 8, 5)) < 0.3
    written = [{"segmentation": coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))} for mask in masks]
    together = covered(written, 8, 5)
    assert np.array_equal(together, masks.any(0))
    assert together.flags["C_CONTIGUOUS"]
    assert not covered([], 8, 5).any()


@pytest.mark.parametrize(
    "segmentation",
    [
        *([[value, 1, 9, 9, 3, 9]] for value in (1e9, -1e9, 1e300, float("nan"), float("inf"))),
        [[1, 2, 3, 4, 5, 6, 7]],
        [["x"] * 6],
        [[[1, 2, 3]] * 6],
        [None],
        5,
        {"size": [90, 60], "counts": [5400]},
        {"size": [60, 90]},
        *(
            {"size": [60, 90], "counts": counts}
            for counts in ([], "", [10, 20], [-5, 5405], [2**40], [5400, 5])
        ),
        *(
            {"size": [60, 90], "counts": counts}
            for counts in ("ab\x01", "P" * 25, "\u014f", 7, [5400.5, "x"])
        ),
    ],
)
def test_what_cannot_be_read_is_an_error_and_no_crash(segmentation):
    with pytest.raises(ValueError, match=r"."):
        segmentation_mask({"segmentation": segmentation, "bbox": [1, 1, 2, 2]}, 60, 90)
