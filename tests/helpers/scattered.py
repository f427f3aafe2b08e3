"""People of any skeleton scattered over a picture, drawn as targets, and how well they come back."""

from __future__ import annotations

import numpy as np
import torch
from stick_body import bent

from simplepose import targets
from simplepose.config import TargetSettings
from simplepose.skeleton import COCO, Skeleton


def draw_person(
    rng: np.random.Generator, height: float, x: float, y: float, skeleton: Skeleton = COCO
) -> np.ndarray:
    """(A, 3): a body about (x, y), bent a little at every joint, turned by up to 60 degrees."""
    keypoints = np.full((len(skeleton.annotated), 3), 2.0)
    keypoints[:, :2] = bent(rng, skeleton)
    turn = np.radians(rng.uniform(-60, 60))
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    keypoints[:, :2] = keypoints[:, :2] @ rotation * height + (x, y)
    return keypoints


def draw_people(
    rng: np.random.Generator, size: tuple[int, int], count: int, skeleton: Skeleton = COCO
) -> np.ndarray:
    """(P, A, 3): people on a jittered grid, the outer ones cut by the border (no labels beyond it)."""
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
        people.append(draw_person(rng, body, x, y, skeleton))
    people = np.array(people)
    inside = ((people[..., :2] >= 0) & (people[..., :2] <= np.array(size[::-1]) - 1)).all(-1)
    people[~inside] = 0
    for person in people:
        person[~hanging_together(person, skeleton)] = 0
    return people[(people[..., 2] > 0).sum(1) >= 3]


def hanging_together(person: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(A,) bool: the largest set of labelled joints that limbs join; others cannot come back."""
    joints = skeleton.to_network(person[None])[0, :, 2] > 0
    limbs = skeleton.limb_ends[joints[skeleton.limb_ends].all(1)]
    label, before = np.arange(len(joints)), np.array([-1])
    while not np.array_equal(label, before):
        before = label.copy()
        for end in (0, 1):
            np.minimum.at(label, limbs[:, end], before[limbs[:, 1 - end]])
    largest = np.bincount(label[joints], minlength=1).argmax() if joints.any() else 0
    return (joints & (label == largest))[skeleton.joint_of_annotated]


def oks(truth: np.ndarray, found: np.ndarray, skeleton: Skeleton = COCO) -> float:
    """Object keypoint similarity (COCO) of one true and one found person, over the labelled joints."""
    labelled = truth[:, 2] > 0
    area = 0.53 * np.prod(np.maximum(np.ptp(truth[labelled, :2], axis=0), 1))
    variances = (2 * np.array(skeleton.sigmas)) ** 2
    distance = ((truth[:, :2] - found[:, :2]) ** 2).sum(1)
    return float(np.where(found[:, 2] > 0, np.exp(-distance / (2 * area * variances)), 0)[labelled].mean())


def maps_of(people: np.ndarray, size: tuple[int, int], skeleton: Skeleton = COCO) -> np.ndarray:
    """(C, h, w) float32: the targets of people (P, A, 3) in a picture of that height and width."""
    joints = torch.from_numpy(skeleton.to_network(people))[None]
    mask = torch.zeros(1, size[0] // 4, size[1] // 4)
    return targets.draw(joints, mask, skeleton, TargetSettings())[0].numpy()
