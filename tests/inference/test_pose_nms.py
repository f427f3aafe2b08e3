"""Pose NMS: detections of one person give one pose, people who overlap give two."""

import numpy as np
import pytest
from planted_errors import STANDING

from simplepose.config import TopDownSettings
from simplepose.inference.topdown import merge_poses
from simplepose.people import People

SETTINGS = TopDownSettings()


def person(left, top, size, score=0.8):
    """(17, 3) keypoints of a standing person in a box of size x 2 size."""
    return np.concatenate([STANDING * size + (left, top), np.full((17, 1), score)], 1)


def people(*poses, scores=None):
    return People(np.stack(poses), np.linspace(0.9, 0.5, len(poses)) if scores is None else scores)


@pytest.mark.parametrize("size", [20, 100, 600])
def test_two_detections_of_one_person_give_one_pose(size, rng):
    first = person(10, 20, size)
    second = first + np.concatenate([rng.normal(0, 0.01 * size, (17, 2)), np.zeros((17, 1))], 1)
    merged = merge_poses(people(first, second), SETTINGS)
    assert len(merged) == 1
    assert merged.scores[0] == pytest.approx(0.9)
    assert np.abs(merged.keypoints[0] - (first + second) / 2).max() < 1e-3 * size


@pytest.mark.parametrize("size", [20, 100, 600])
@pytest.mark.parametrize("direction", [(1, 0), (0, 2)])
def test_people_who_overlap_at_iou_07_stay_two(size, direction):
    """Boxes of w x h shifted by s have an IoU of (w - s) / (w + s)."""
    shift = 0.3 / 1.7 * size * np.array(direction)
    pair = merge_poses(people(person(10, 20, size), person(10 + shift[0], 20 + shift[1], size)), SETTINGS)
    assert len(pair) == 2


def test_the_best_pose_of_each_person_comes_first():
    poses = [person(0, 0, 50), person(200, 0, 50), person(201, 1, 50), person(1, 0, 50)]
    merged = merge_poses(people(*poses, scores=[0.2, 0.7, 0.9, 0.4]), SETTINGS)
    assert merged.scores.tolist() == pytest.approx([0.9, 0.4])
    assert merged.keypoints[0, :, 0].min() > 150


def test_keypoints_with_a_higher_score_count_more():
    sure, unsure = person(0, 0, 100, 0.9), person(0, 0, 100, 0.3)
    unsure[:, 0] += 2
    shift = merge_poses(people(sure, unsure), SETTINGS).keypoints[0, :, 0] - sure[:, 0]
    assert shift == pytest.approx(np.full(17, 0.5), abs=1e-3)


def test_no_people_and_people_without_keypoints():
    assert len(merge_poses(People.empty(17), SETTINGS)) == 0
    empty = People(np.zeros((2, 17, 3)), np.zeros(2))
    assert len(merge_poses(empty, SETTINGS)) >= 1


def test_the_input_is_unchanged(rng):
    before = people(*(person(rng.uniform(0, 50), 0, 80) for _ in range(20)))
    copy = before.keypoints.copy()
    merge_poses(before, SETTINGS)
    assert np.array_equal(before.keypoints, copy)
