"""Drawing: on any picture, what was found and only that."""

import numpy as np
import pytest
from places import CONFIGS

from simplepose import skeleton as skeletons
from simplepose.people import NO_ID, People
from simplepose.skeleton import COCO
from simplepose.visualize.drawing import draw, part_colours, person_colour


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


def standing(x=60, score=0.9):
    """One person, all joints found, arms and legs apart; right is left in the picture."""
    head = {"nose": (0, 10), "eye": (4, 6), "ear": (8, 8)}
    arm = {"shoulder": (16, 30), "elbow": (28, 50), "wrist": (34, 70)}
    leg = {"hip": (10, 75), "knee": (12, 105), "ankle": (14, 135)}
    places = head | arm | leg
    keypoints = np.ones((1, 17, 3), np.float32)
    for joint, name in enumerate(COCO.annotated):
        across, down = places[name.split("_")[-1]]
        keypoints[0, joint, :2] = x + across * (1 if name.startswith("left") else -1), down
    return keypoints


def shown(image, keypoints, joint):
    x, y = keypoints[0, joint, :2].astype(int)
    return tuple(image[y, x].tolist())


def test_a_colour_follows_the_id_and_not_the_place_in_the_list(rng):
    two = np.concatenate([standing(60), standing(150)])
    black = np.zeros((150, 220, 3), np.uint8)
    first = draw(black, People(two, [0.9, 0.8], [7, 12]))
    second = draw(black, People(two[::-1], [0.8, 0.9], [12, 7]))
    assert np.array_equal(first, second)
    joint = COCO.annotated.index("left_knee")
    assert shown(first, two[:1], joint) == person_colour(7)
    assert shown(first, two[1:], joint) == person_colour(12)


@pytest.mark.parametrize("colours", ["person", "limb"])
def test_an_id_is_written_beside_its_person_and_inside_the_picture(colours):
    black = np.zeros((150, 120, 3), np.uint8)
    people = standing()
    plain = draw(black, People(people, [1]), colours=colours)
    with_id = draw(black, People(people, [1], [0]), colours=colours)
    rows = np.nonzero((plain != with_id).any(2))[0]
    assert len(rows) > 20
    assert rows.max() < 40
    for moved in ((-500, 0), (0, -500), (500, 500), (-59.5, -9.5)):
        away = people.copy()
        away[..., :2] += moved
        lone = draw(black, People(away, [1], [123456789]), colours=colours)
        assert lone.any()
    nothing = People(np.zeros((1, 17, 3)), [1], [3])
    assert not draw(black, nothing, colours=colours).any()


def test_limbs_have_their_colours_and_sides_are_told_apart():
    people = np.concatenate([standing(60), standing(150)])
    drawn = draw(np.zeros((150, 220, 3), np.uint8), People(people, [0.9, 0.8]), colours="limb")
    for name in COCO.annotated:
        joint = COCO.annotated.index(name)
        blue, _, red = shown(drawn, people[:1], joint)
        assert (blue, _, red) == shown(drawn, people[1:], joint)
        if name != "nose":
            assert (red > blue) == name.startswith("left")
    left, right = (COCO.annotated.index(f"{side}_knee") for side in ("left", "right"))
    between = (people[0, left, :2] + people[0, COCO.annotated.index("left_ankle"), :2]) / 2
    blue, _, red = drawn[int(between[1]), int(between[0])]
    assert red > blue
    assert shown(drawn, people[:1], left) != shown(drawn, people[:1], right)


def test_each_bone_and_joint_of_any_skeleton_has_a_colour():
    for skeleton in (COCO, skeletons.load(str(CONFIGS / "skeletons/crowdpose.yaml"))):
        joints, bones = part_colours(skeleton)
        assert (len(joints), len(bones)) == (len(skeleton.annotated), len(skeleton.bones))
        assert len(set(joints)) == len(joints)
        people = People(np.ones((2, len(joints), 3)) * 20, [1, 1])
        assert draw(np.zeros((40, 40, 3), np.uint8), people, skeleton, "limb").any()


def test_unknown_colours_are_refused():
    with pytest.raises(ValueError, match="colours by 'person' or 'limb' expected, got 'joint'"):
        draw(np.zeros((9, 9, 3), np.uint8), People.nobody(17), colours="joint")


def test_somebody_without_an_id_is_grey_and_bears_none(rng):
    image, people = np.zeros((200, 200, 3), np.uint8), People(rng.uniform(20, 180, (1, 17, 3)), np.ones(1))
    without = draw(image, People(people.keypoints, people.scores, np.array([NO_ID])))
    assert without.any()
    assert (without == without[..., :1]).all()
    assert (
        np.abs(draw(image, People(people.keypoints, people.scores, np.array([0]))).astype(int) - without)
    ).any()
