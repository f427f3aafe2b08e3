"""People -> targets -> grouping -> the same people: the two routes agree with each other."""

import numpy as np
import pytest
from scattered import draw_people, maps_of, oks

from simplepose import grouping
from simplepose.skeleton import COCO

SIZES = ((384, 512), (512, 320), (256, 640), (448, 448))


@pytest.mark.parametrize("part", range(4))
def test_the_same_people_come_back_over_200_scenes(part):
    for scene in range(50 * part, 50 * part + 50):
        rng = np.random.default_rng(scene)
        size = SIZES[scene % len(SIZES)]
        truth = draw_people(rng, size, 1 + scene % 20)
        found = grouping.group(maps_of(truth, size), COCO, grouping.Settings())
        matches = np.array([[oks(t, f) for f in found.keypoints] for t in truth])
        assert len(found) == len(truth), f"scene {scene}: {len(truth)} people drawn, {len(found)} found"
        assert (matches.max(1) >= 0.95).all(), f"scene {scene}: OKS {matches.max(1).round(3)}"
        assert len(set(matches.argmax(1))) == len(truth), f"scene {scene}: two people found as one"


def test_mirrored_targets_give_mirrored_people():
    rng = np.random.default_rng(3)
    size = (384, 512)
    maps = maps_of(draw_people(rng, size, 5), size)
    mirrored = np.ascontiguousarray(maps[COCO.channel_flip, :, ::-1])
    assert np.array_equal(mirrored[COCO.channel_flip, :, ::-1], maps)
    plain = grouping.group(maps, COCO, grouping.Settings())
    other = grouping.group(mirrored, COCO, grouping.Settings()).flipped(size[1], COCO.annotated_flip)
    assert len(plain) == len(other) > 0
    for person in plain.keypoints:
        off = np.abs(other.keypoints - person).max((1, 2))
        assert off.min() < 0.05


def test_nobody_gives_nobody():
    maps = maps_of(np.zeros((0, 17, 3)), (64, 128))
    assert len(grouping.group(maps, COCO, grouping.Settings())) == 0
