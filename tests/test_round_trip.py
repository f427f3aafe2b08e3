"""People -> targets -> grouping -> the same people: the two routes agree with each other."""

import numpy as np
import pytest
import torch
from stick_body import upright

from simplepose import grouping, targets
from simplepose.config import Targets
from simplepose.skeleton import COCO

SIZES = ((384, 512), (512, 320), (256, 640), (448, 448))


def draw_person(rng, height, x, y):
    """(17, 3): an upright body about (x, y), bent a little at every joint, turned by up to 60 degrees."""
    keypoints = np.full((17, 3), 2.0)
    keypoints[:, :2] = upright() + rng.normal(0, 0.012, (17, 2))
    turn = np.radians(rng.uniform(-60, 60))
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    keypoints[:, :2] = keypoints[:, :2] @ rotation * height + (x, y)
    return keypoints


def draw_people(rng, size, count):
    """(P, 17, 3): people on a jittered grid, the outer ones cut by the border (no labels beyond it)."""
    rows = int(np.ceil(np.sqrt(count * size[0] / size[1])))
    columns = -(-count // rows)
    cell = np.array([size[1] / columns, size[0] / rows])
    body = 0.85 * cell.min()
    people = []
    for place in rng.permutation(rows * columns)[:count]:
        x, y = (np.array([place % columns, place // columns]) + 0.5 + rng.uniform(-0.06, 0.06, 2)) * cell
        if rng.random() < 0.2:  # moved outwards, over the nearest border
            x += np.sign(x - size[1] / 2) * 0.2 * body * (place % columns in (0, columns - 1))
            y += np.sign(y - size[0] / 2) * 0.3 * body * (place // columns in (0, rows - 1))
        people.append(draw_person(rng, body, x, y))
    people = np.array(people)
    inside = ((people[..., :2] >= 0) & (people[..., :2] <= np.array(size[::-1]) - 1)).all(-1)
    people[~inside] = 0
    for person in people:
        person[~hanging_together(person)] = 0
    return people[(people[..., 2] > 0).sum(1) >= 3]


def hanging_together(person):
    """(17,) bool: the largest set of labelled joints that limbs join; others cannot come back."""
    joints = COCO.to_network(person[None])[0, :, 2] > 0
    label = np.arange(len(joints))
    for _ in joints:
        for a, b in COCO.limb_ends:
            if joints[a] and joints[b]:
                label[[a, b]] = label[[a, b]].min()
    largest = np.bincount(label[joints], minlength=1).argmax() if joints.any() else 0
    return (joints & (label == largest))[COCO.joint_of_annotated]


def oks(truth, found):
    """Object keypoint similarity (COCO) of one true and one found person, over the labelled joints."""
    labelled = truth[:, 2] > 0
    area = 0.53 * np.prod(np.maximum(np.ptp(truth[labelled, :2], axis=0), 1))
    variances = (2 * np.array(COCO.sigmas)) ** 2
    distance = ((truth[:, :2] - found[:, :2]) ** 2).sum(1)
    return np.where(found[:, 2] > 0, np.exp(-distance / (2 * area * variances)), 0)[labelled].mean()


def maps_of(people, size):
    joints = torch.from_numpy(COCO.to_network(people))[None]
    mask = torch.zeros(1, size[0] // 4, size[1] // 4)
    return targets.draw(joints, mask, COCO, Targets())[0].numpy()


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
