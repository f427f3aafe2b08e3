"""Masks from COCO's segmentations: all formats, and input that would crash pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from simplepose.data.coco import segmentation_mask, union_mask


def test_all_segmentation_formats_give_the_same_mask():
    mask = np.zeros((6, 9), np.uint8)
    mask[1:4, 2:7] = 1
    packed = coco_mask.encode(np.asfortranarray(mask))
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    outline = [2, 1, 7, 1, 7, 4, 2, 4]
    two_polygons = [[2, 1, 5, 1, 5, 4, 2, 4], [4, 1, 7, 1, 7, 4, 4, 4]]
    segmentations = [
        [outline],
        two_polygons,
        [[3, 3, 4, 4], outline],
        {"size": [6, 9], "counts": counts},
        packed,
    ]
    segmentations.append({**packed, "counts": packed["counts"].decode()})
    for segmentation in segmentations:
        assert np.array_equal(segmentation_mask({"segmentation": segmentation}, 6, 9), mask > 0), segmentation
    assert np.array_equal(segmentation_mask({"bbox": [2, 1, 5, 3]}, 6, 9), mask > 0)


def test_compressed_run_lengths_decode_as_in_pycocotools(rng):
    for _ in range(60):
        height, width = map(int, rng.integers(1, 40, 2))
        mask = rng.random((height, width)) < rng.choice([0, 0.01, 0.5, 1])
        packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert np.array_equal(segmentation_mask({"segmentation": packed}, height, width), mask)


def test_union_mask_of_several_annotations(rng):
    masks = rng.random((3, 8, 5)) < 0.3
    written = [{"segmentation": coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))} for mask in masks]
    union = union_mask(written, 8, 5)
    assert np.array_equal(union, masks.any(0))
    assert union.flags["C_CONTIGUOUS"]
    assert not union_mask([], 8, 5).any()


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
        # beyond the heap, without an end, quadratic time, gigabytes
        {"size": [60, 90], "counts": [0] * 10_000 + [5400]},
        *(
            {"size": [60, 90], "counts": counts}
            for counts in ([0.5, 5399.5], [True, 5399], [[5400]], "P" * 10**6)
        ),
        [[value for n in range(400) for value in (0, 0, 90, 60)]],
        [[value for n in range(30_000) for value in (-90_000, 0, 90_000, 60)]],
        [[0, 0, 5, 5, 5, True]],
        [[0, 0, 5, 5, 10**400, 5]],
        [[1, 1, 2, 1, 2, 2]] * 2_000,
    ],
)
def test_a_malformed_segmentation_raises_without_a_crash(segmentation):
    with pytest.raises(ValueError, match=r"^annotation 3: "):
        segmentation_mask({"id": 3, "segmentation": segmentation, "bbox": [1, 1, 2, 2]}, 60, 90)


def test_lengths_that_are_integers_as_floats_are_accepted():
    assert segmentation_mask({"segmentation": {"size": [2, 3], "counts": [2.0, 4.0]}}, 2, 3).sum() == 4


def test_a_box_far_beyond_the_border_gives_the_mask_of_its_visible_part(rng):
    for _ in range(50):
        x, y = rng.uniform(-30, 60, 2)
        w, h = rng.uniform(1, 120, 2)
        expected = coco_mask.decode(coco_mask.frPyObjects(np.array([[x, y, w, h]]), 40, 50))[..., 0]
        assert np.array_equal(segmentation_mask({"bbox": [x, y, w, h]}, 40, 50), expected > 0)
    assert segmentation_mask({"bbox": [-9e4, -9e4, 1.8e5, 1.8e5]}, 40, 50).all()
