"""Tracking by colours: clothes tell who is who where places do not, and what hides them is not learnt."""

import numpy as np
import pytest
from other_joints import POLE
from walkers import SIZE, STANDING, people_at

from simplepose.people import People
from simplepose.tracking import Tracker

RED, BLUE, GREY = (40, 40, 200), (190, 70, 30), (128, 128, 128)
LEFT, RIGHT = (0.0, 0.0), (0.5 * SIZE, 0.0)


def picture(*dressed, size_hw=(480, 640)):
    """Grey, with the whole box of each (place, colour) in that colour."""
    image = np.full((*size_hw, 3), GREY, np.uint8)
    low, high = STANDING.min(0), STANDING.max(0)
    for place, colour in dressed:
        (x, y), (right, bottom) = np.int64(low + place - 3).clip(0), np.int64(high + place + 4).clip(0)
        image[y:bottom, x:right] = colour
    return image


def begun(tracker, *dressed, frames=10):
    """The ids of people after some frames in which they stand."""
    for _ in range(frames):
        ids = tracker(people_at(*(place for place, _ in dressed)), image=picture(*dressed)).ids
    return ids.tolist()


def test_two_who_changed_places_while_nobody_looked_are_known_by_their_clothes():
    for coloured in (True, False):
        tracker = Tracker()
        first, second = begun(tracker, (LEFT, RED), (RIGHT, BLUE))
        image = picture((LEFT, BLUE), (RIGHT, RED)) if coloured else None
        ids = tracker(people_at(LEFT, RIGHT), frames=15, image=image).ids.tolist()
        assert ids == ([second, first] if coloured else [first, second])


def test_clothes_alike_leave_it_to_places():
    tracker = Tracker()
    before = begun(tracker, (LEFT, RED), (RIGHT, RED))
    after = tracker(people_at(LEFT, RIGHT), image=picture((LEFT, RED), (RIGHT, RED)))
    assert after.ids.tolist() == before


def test_the_colour_of_what_hides_somebody_is_not_learnt():
    tracker = Tracker()
    first, second = begun(tracker, (LEFT, RED), (RIGHT, BLUE))
    hidden = picture((LEFT, GREY), (RIGHT, GREY))
    for _ in range(20):
        assert tracker(people_at(LEFT, RIGHT), image=hidden).ids.tolist() == [first, second]
    swapped = picture((LEFT, BLUE), (RIGHT, RED))
    assert tracker(people_at(LEFT, RIGHT), frames=15, image=swapped).ids.tolist() == [second, first]


def test_pictures_may_be_missing_now_and_then_and_are_left_as_they_are():
    tracker, image = Tracker(), picture((LEFT, RED))
    before = image.copy()
    ids = [tracker(people_at(LEFT), image=image if frame % 3 else None).ids.tolist() for frame in range(12)]
    assert ids == [[0]] * 12
    assert np.array_equal(image, before)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 640), (2000, 3)])
@pytest.mark.parametrize("place", [(0, 0), (-1e4, 1e4)])
def test_joints_beside_the_picture_and_pictures_of_one_pixel(size_hw, place):
    tracker, image = Tracker(), np.zeros((*size_hw, 3), np.uint8)
    assert [tracker(people_at(place), image=image).ids.tolist() for _ in range(5)] == [[0]] * 5
    assert tracker(People.nobody(17), image=image).ids.tolist() == []


def test_skeletons_of_other_joints_and_without_bones():
    shape = np.array([(50, 200), (50, 150), (50, 100), (50, 50), (50, 5)], float)
    tracker = Tracker(POLE)
    for _ in range(5):
        tracked = tracker(people_at((0, 0), (200, 0), shape=shape), image=picture())
    assert tracked.ids.tolist() == [0, 1]


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(ValueError, match=r"picture .* expected, got"):
        Tracker()(people_at(LEFT), image=image)
