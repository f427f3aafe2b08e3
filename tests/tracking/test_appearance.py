"""Tracking by color appearance: clothes identify people where positions do not; occluders are not learned."""

import numpy as np
import pytest
from custom_skeletons import POLE
from tracking_scenarios import BODY_SIZE_PX, STANDING_XY, people_at

from simplepose.people import People
from simplepose.tracking import Tracker

RED, BLUE, GRAY = (40, 40, 200), (190, 70, 30), (128, 128, 128)
LEFT, RIGHT = (0.0, 0.0), (0.5 * BODY_SIZE_PX, 0.0)


def draw_people_image(*colored_people, size_hw=(480, 640)):
    """Draw a gray image; the bounding box of each (offset, color) is filled with its color."""
    image = np.full((*size_hw, 3), GRAY, np.uint8)
    low, high = STANDING_XY.min(0), STANDING_XY.max(0)
    for offset, color in colored_people:
        (x, y), (right, bottom) = np.int64(low + offset - 3).clip(0), np.int64(high + offset + 4).clip(0)
        image[y:bottom, x:right] = color
    return image


def ids_after_standing(tracker, *colored_people, frames=10):
    """Track people who stand still for some frames and return their ids."""
    for _ in range(frames):
        ids = tracker(
            people_at(*(offset for offset, _ in colored_people)), image=draw_people_image(*colored_people)
        ).ids
    return ids.tolist()


def test_colors_identify_people_who_swapped_positions_between_frames():
    for with_image in (True, False):
        tracker = Tracker()
        first, second = ids_after_standing(tracker, (LEFT, RED), (RIGHT, BLUE))
        image = draw_people_image((LEFT, BLUE), (RIGHT, RED)) if with_image else None
        ids = tracker(people_at(LEFT, RIGHT), frames=15, image=image).ids.tolist()
        assert ids == ([second, first] if with_image else [first, second])


def test_equal_colors_leave_the_decision_to_positions():
    tracker = Tracker()
    before = ids_after_standing(tracker, (LEFT, RED), (RIGHT, RED))
    after = tracker(people_at(LEFT, RIGHT), image=draw_people_image((LEFT, RED), (RIGHT, RED)))
    assert after.ids.tolist() == before


def test_color_of_an_occluder_is_not_learned():
    tracker = Tracker()
    first, second = ids_after_standing(tracker, (LEFT, RED), (RIGHT, BLUE))
    hidden = draw_people_image((LEFT, GRAY), (RIGHT, GRAY))
    for _ in range(20):
        assert tracker(people_at(LEFT, RIGHT), image=hidden).ids.tolist() == [first, second]
    swapped = draw_people_image((LEFT, BLUE), (RIGHT, RED))
    assert tracker(people_at(LEFT, RIGHT), frames=15, image=swapped).ids.tolist() == [second, first]


def test_images_may_be_missing_in_some_frames_and_are_not_modified():
    tracker, image = Tracker(), draw_people_image((LEFT, RED))
    before = image.copy()
    ids = [tracker(people_at(LEFT), image=image if frame % 3 else None).ids.tolist() for frame in range(12)]
    assert ids == [[0]] * 12
    assert np.array_equal(image, before)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 640), (2000, 3)])
@pytest.mark.parametrize("offset", [(0, 0), (-1e4, 1e4)])
def test_joints_outside_the_image_and_tiny_images(size_hw, offset):
    tracker, image = Tracker(), np.zeros((*size_hw, 3), np.uint8)
    assert [tracker(people_at(offset), image=image).ids.tolist() for _ in range(5)] == [[0]] * 5
    assert tracker(People.empty(17), image=image).ids.tolist() == []


def test_custom_skeletons_with_images():
    shape = np.array([(50, 200), (50, 150), (50, 100), (50, 50), (50, 5)], float)
    tracker = Tracker(POLE)
    for _ in range(5):
        tracked = tracker(people_at((0, 0), (200, 0), shape=shape), image=draw_people_image())
    assert tracked.ids.tolist() == [0, 1]


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_invalid_images_are_rejected(image):
    with pytest.raises(ValueError, match=r"expected an image of shape \(H, W, 3\)"):
        Tracker()(people_at(LEFT), image=image)
