"""Random people of any skeleton in an image, their target maps, and the similarity of people."""

from __future__ import annotations

import numpy as np
import torch
from stick_body import sample_body

from simplepose import targets
from simplepose.config import TargetSettings
from simplepose.skeleton import COCO, Skeleton


def sample_person(
    rng: np.random.Generator, height: float, x: float, y: float, skeleton: Skeleton = COCO
) -> np.ndarray:
    """Sample a person (A, 3) around (x, y), with slightly moved joints, rotated by up to 60 degrees."""
    keypoints = np.full((len(skeleton.annotated), 3), 2.0)
    keypoints[:, :2] = sample_body(rng, skeleton)
    angle = np.radians(rng.uniform(-60, 60))
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    keypoints[:, :2] = keypoints[:, :2] @ rotation * height + (x, y)
    return keypoints


def sample_people(
    rng: np.random.Generator, size: tuple[int, int], count: int, skeleton: Skeleton = COCO
) -> np.ndarray:
    """Sample people (P, A, 3) on a jittered grid; some outer ones cross the border (no labels beyond it)."""
    rows = int(np.ceil(np.sqrt(count * size[0] / size[1])))
    columns = -(-count // rows)
    cell = np.array([size[1] / columns, size[0] / rows])
    body = 0.85 * cell.min()
    people = []
    for place in rng.permutation(rows * columns)[:count]:
        x, y = (np.array([place % columns, place // columns]) + 0.5 + rng.uniform(-0.06, 0.06, 2)) * cell
        if rng.random() < 0.2:  # move outward, across the nearest border
            x += np.sign(x - size[1] / 2) * 0.2 * body * (place % columns in (0, columns - 1))
            y += np.sign(y - size[0] / 2) * 0.3 * body * (place // columns in (0, rows - 1))
        people.append(sample_person(rng, body, x, y, skeleton))
    people = np.array(people)
    inside = ((people[..., :2] >= 0) & (people[..., :2] <= np.array(size[::-1]) - 1)).all(-1)
    people[~inside] = 0
    for person in people:
        person[~select_connected_joints(person, skeleton)] = 0
    return people[(people[..., 2] > 0).sum(1) >= 3]


def select_connected_joints(person: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Select the largest set of labeled joints that limbs connect, (A,) bool; the others cannot be found."""
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
    """Compute the object keypoint similarity (COCO) of a true and a found person over the labeled joints."""
    labeled = truth[:, 2] > 0
    area = 0.53 * np.prod(np.maximum(np.ptp(truth[labeled, :2], axis=0), 1))
    variances = (2 * np.array(skeleton.sigmas)) ** 2
    distance = ((truth[:, :2] - found[:, :2]) ** 2).sum(1)
    return float(np.where(found[:, 2] > 0, np.exp(-distance / (2 * area * variances)), 0)[labeled].mean())


def draw_target_maps(people: np.ndarray, size: tuple[int, int], skeleton: Skeleton = COCO) -> np.ndarray:
    """Draw target maps (C, h, w) float32 of people (P, A, 3) in an image of that height and width."""
    joints = torch.from_numpy(skeleton.to_network(people))[None]
    mask = torch.zeros(1, size[0] // 4, size[1] // 4)
    return targets.draw(joints, mask, skeleton, TargetSettings())[0].numpy()
