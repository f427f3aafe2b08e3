"""People -> target maps -> grouping -> the same people: encoder and decoder agree."""

import numpy as np
import pytest
from random_people import draw_target_maps, oks, sample_people

from simplepose import grouping
from simplepose.skeleton import COCO

SIZES = ((384, 512), (512, 320), (256, 640), (448, 448))


@pytest.mark.parametrize("part", range(4))
def test_grouping_recovers_the_people_of_200_scenes(part):
    for scene in range(50 * part, 50 * part + 50):
        rng = np.random.default_rng(scene)
        size = SIZES[scene % len(SIZES)]
        truth = sample_people(rng, size, 1 + scene % 20)
        found = grouping.group(draw_target_maps(truth, size), COCO, grouping.Settings())
        matches = np.array([[oks(t, f) for f in found.keypoints] for t in truth])
        assert len(found) == len(truth), f"scene {scene}: {len(truth)} people drawn, {len(found)} found"
        assert (matches.max(1) >= 0.95).all(), f"scene {scene}: OKS {matches.max(1).round(3)}"
        assert len(set(matches.argmax(1))) == len(truth), f"scene {scene}: two people found as one"


def test_mirrored_targets_give_mirrored_people():
    rng = np.random.default_rng(3)
    size = (384, 512)
    maps = draw_target_maps(sample_people(rng, size, 5), size)
    mirrored = np.ascontiguousarray(maps[COCO.channel_flip, :, ::-1])
    assert np.array_equal(mirrored[COCO.channel_flip, :, ::-1], maps)
    plain = grouping.group(maps, COCO, grouping.Settings())
    other = grouping.group(mirrored, COCO, grouping.Settings()).flipped(size[1], COCO.annotated_flip)
    assert len(plain) == len(other) > 0
    for person in plain.keypoints:
        distance = np.abs(other.keypoints - person).max((1, 2))
        assert distance.min() < 0.05


def test_empty_targets_give_no_people():
    maps = draw_target_maps(np.zeros((0, 17, 3)), (64, 128))
    assert len(grouping.group(maps, COCO, grouping.Settings())) == 0
