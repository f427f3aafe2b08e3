"""Drawing: on any picture, what was found and only that."""

import numpy as np
import pytest

from simplepose.people import People
from simplepose.skeleton import COCO
from simplepose.visual.drawing import draw


def person(rng, size_hw, count=1):
    keypoints = rng.uniform(0.1, 0.9, (count, 17, 3)) * (*size_hw[::-1], 1)
    return People(keypoints, rng.uniform(0.1, 1, count))


def test_nobody_changes_nothing_and_a_copy_comes_back(rng):
    image = rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)
    drawn = draw(image, People.nobody(17))
    assert np.array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_people_show_on_any_background_and_the_picture_stays(rng, shade):
    image = np.full((120, 80, 3), shade, np.uint8)
    drawn = draw(image, person(rng, (120, 80)))
    assert (image == shade).all()
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert np.abs(drawn.astype(int) - shade).max() > 100


def test_each_joint_is_painted_where_it_lies():
    for joint in range(17):
        keypoints = np.zeros((1, 17, 3))
        keypoints[0, joint] = 37, 21, 0.5
        drawn = draw(np.full((60, 90, 3), 128, np.uint8), People(keypoints, [1]))
        ys, xs = np.nonzero((drawn != 128).any(2))
        assert (ys.mean(), xs.mean()) == (pytest.approx(21, abs=0.3), pytest.approx(37, abs=0.3))


def test_joints_that_were_not_found_are_not_drawn():
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, :, :2] = 40  # a place, but score 0
    image = np.full((60, 90, 3), 128, np.uint8)
    assert np.array_equal(draw(image, People(keypoints, [1])), image)
    a, b = COCO.bone_ends[0]
    keypoints[0, a] = 10, 10, 1
    drawn = draw(image, People(keypoints, [1]))
    assert (drawn[30:] == 128).all()
    keypoints[0, b] = 40, 40, 1
    assert (draw(image, People(keypoints, [1]))[25, 25] != 128).any()


def test_two_people_have_two_colours(rng):
    keypoints = np.zeros((2, 17, 3))
    keypoints[0, 0], keypoints[1, 0] = (20, 20, 1), (60, 20, 1)
    drawn = draw(np.zeros((40, 80, 3), np.uint8), People(keypoints, [0.5, 0.9]))
    assert (drawn[20, 20] != drawn[20, 60]).any()


def test_lines_are_wider_on_larger_people(rng):
    def painted(scale):
        keypoints = np.zeros((1, 17, 3))
        keypoints[0, 5], keypoints[0, 6] = (100, 100, 1), (100 + 100 * scale, 100, 1)
        drawn = draw(np.zeros((200, 900, 3), np.uint8), People(keypoints, [1]))
        return (drawn[:, 100 + 50 * scale] > 0).any(1).sum()

    assert painted(6) > painted(1) > 0


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (300, 2)])
@pytest.mark.parametrize("far", [0, 1, 1e3, 1e7, 1e30])
def test_odd_pictures_and_places_are_no_trouble(rng, size_hw, far):
    people = People(rng.uniform(-1, 1, (25, 17, 3)) * (far, far, 1), np.zeros(25))
    drawn = draw(np.zeros((*size_hw, 3), np.uint8), people)
    assert drawn.shape == (*size_hw, 3)


def test_another_number_of_joints_is_refused():
    with pytest.raises(ValueError, match="17 joints a person expected, got 5"):
        draw(np.zeros((9, 9, 3), np.uint8), People.nobody(5))
