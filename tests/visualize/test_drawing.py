"""Drawing people: found keypoints and nothing else, on any image."""

import numpy as np
import pytest
from repo_paths import CONFIGS

from simplepose import skeleton as skeletons
from simplepose.people import NO_ID, People
from simplepose.skeleton import COCO
from simplepose.visualize.drawing import MIN_DRAWN_SCORE, draw_people, part_colors, person_color


def random_people(rng, size_hw, count=1):
    keypoints = rng.uniform(0.1, 0.9, (count, 17, 3)) * (*size_hw[::-1], 1)
    return People(keypoints, rng.uniform(0.1, 1, count))


def test_drawing_no_people_returns_an_equal_copy(rng):
    image = rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)
    drawn = draw_people(image, People.empty(17))
    assert np.array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_people_are_visible_on_any_background_and_the_input_is_unchanged(rng, shade):
    image = np.full((120, 80, 3), shade, np.uint8)
    drawn = draw_people(image, random_people(rng, (120, 80)))
    assert (image == shade).all()
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert np.abs(drawn.astype(int) - shade).max() > 100


def test_each_keypoint_is_drawn_at_its_position():
    for joint in range(17):
        keypoints = np.zeros((1, 17, 3))
        keypoints[0, joint] = 37, 21, 0.5
        drawn = draw_people(np.full((60, 90, 3), 128, np.uint8), People(keypoints, [1]))
        ys, xs = np.nonzero((drawn != 128).any(2))
        assert (ys.mean(), xs.mean()) == (pytest.approx(21, abs=0.3), pytest.approx(37, abs=0.3))


def test_missing_and_doubtful_keypoints_are_not_drawn():
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, :, :2] = 40  # a position, but score 0
    image = np.full((60, 90, 3), 128, np.uint8)
    assert np.array_equal(draw_people(image, People(keypoints, [1])), image)
    doubtful = keypoints + np.array([0, 0, MIN_DRAWN_SCORE - 0.01])
    assert np.array_equal(draw_people(image, People(doubtful, [1])), image)
    a, b = COCO.bone_ends[0]
    keypoints[0, a] = 10, 10, 1
    drawn = draw_people(image, People(keypoints, [1]))
    assert (drawn[30:] == 128).all()
    keypoints[0, b] = 40, 40, 1
    assert (draw_people(image, People(keypoints, [1]))[25, 25] != 128).any()


def test_two_people_have_different_colors(rng):
    keypoints = np.zeros((2, 17, 3))
    keypoints[0, 0], keypoints[1, 0] = (20, 20, 1), (60, 20, 1)
    drawn = draw_people(np.zeros((40, 80, 3), np.uint8), People(keypoints, [0.5, 0.9]))
    assert (drawn[20, 20] != drawn[20, 60]).any()


def test_lines_are_wider_on_larger_people(rng):
    def line_width(scale):
        keypoints = np.zeros((1, 17, 3))
        keypoints[0, 5], keypoints[0, 6] = (100, 100, 1), (100 + 100 * scale, 100, 1)
        drawn = draw_people(np.zeros((200, 900, 3), np.uint8), People(keypoints, [1]))
        return (drawn[:, 100 + 50 * scale] > 0).any(1).sum()

    assert line_width(6) > line_width(1) > 0


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (300, 2)])
@pytest.mark.parametrize("extent", [0, 1, 1e3, 1e7, 1e30])
def test_tiny_images_and_extreme_coordinates_are_handled(rng, size_hw, extent):
    people = People(rng.uniform(-1, 1, (25, 17, 3)) * (extent, extent, 1), np.zeros(25))
    drawn = draw_people(np.zeros((*size_hw, 3), np.uint8), people)
    assert drawn.shape == (*size_hw, 3)


def test_wrong_number_of_keypoints_is_rejected():
    with pytest.raises(ValueError, match="expected 17 keypoints per person, got 5"):
        draw_people(np.zeros((9, 9, 3), np.uint8), People.empty(5))


def standing_person(x=60, score=0.9):
    """Return (1, 17, 3): all keypoints found, arms and legs apart, facing the camera."""
    head = {"nose": (0, 10), "eye": (4, 6), "ear": (8, 8)}
    arm = {"shoulder": (16, 30), "elbow": (28, 50), "wrist": (34, 70)}
    leg = {"hip": (10, 75), "knee": (12, 105), "ankle": (14, 135)}
    offsets = head | arm | leg
    keypoints = np.ones((1, 17, 3), np.float32)
    for joint, name in enumerate(COCO.annotated):
        across, down = offsets[name.split("_")[-1]]
        keypoints[0, joint, :2] = x + across * (1 if name.startswith("left") else -1), down
    return keypoints


def pixel_at(image, keypoints, joint):
    x, y = keypoints[0, joint, :2].astype(int)
    return tuple(image[y, x].tolist())


def test_color_follows_the_id_and_not_the_order(rng):
    both = np.concatenate([standing_person(60), standing_person(150)])
    black = np.zeros((150, 220, 3), np.uint8)
    first = draw_people(black, People(both, [0.9, 0.8], [7, 12]))
    second = draw_people(black, People(both[::-1], [0.8, 0.9], [12, 7]))
    assert np.array_equal(first, second)
    joint = COCO.annotated.index("left_knee")
    assert pixel_at(first, both[:1], joint) == person_color(7)
    assert pixel_at(first, both[1:], joint) == person_color(12)


@pytest.mark.parametrize("colors", ["person", "limb"])
def test_id_label_is_near_its_person_and_inside_the_image(colors):
    black = np.zeros((150, 120, 3), np.uint8)
    people = standing_person()
    plain = draw_people(black, People(people, [1]), colors=colors)
    with_id = draw_people(black, People(people, [1], [0]), colors=colors)
    rows = np.nonzero((plain != with_id).any(2))[0]
    assert len(rows) > 20
    assert rows.max() < 40
    for shift in ((-500, 0), (0, -500), (500, 500), (-59.5, -9.5)):
        shifted = people.copy()
        shifted[..., :2] += shift
        drawn = draw_people(black, People(shifted, [1], [123456789]), colors=colors)
        assert drawn.any()
    without_keypoints = People(np.zeros((1, 17, 3)), [1], [3])
    assert not draw_people(black, without_keypoints, colors=colors).any()


def test_limb_colors_distinguish_left_from_right():
    people = np.concatenate([standing_person(60), standing_person(150)])
    drawn = draw_people(np.zeros((150, 220, 3), np.uint8), People(people, [0.9, 0.8]), colors="limb")
    for name in COCO.annotated:
        joint = COCO.annotated.index(name)
        blue, _, red = pixel_at(drawn, people[:1], joint)
        assert (blue, _, red) == pixel_at(drawn, people[1:], joint)
        if name != "nose":
            assert (red > blue) == name.startswith("left")
    left, right = (COCO.annotated.index(f"{side}_knee") for side in ("left", "right"))
    middle = (people[0, left, :2] + people[0, COCO.annotated.index("left_ankle"), :2]) / 2
    blue, _, red = drawn[int(middle[1]), int(middle[0])]
    assert red > blue
    assert pixel_at(drawn, people[:1], left) != pixel_at(drawn, people[:1], right)


def test_each_bone_and_keypoint_of_any_skeleton_has_a_color():
    for skeleton in (COCO, skeletons.load(str(CONFIGS / "skeletons/crowdpose.yaml"))):
        joints, bones = part_colors(skeleton)
        assert (len(joints), len(bones)) == (len(skeleton.annotated), len(skeleton.bones))
        assert len(set(joints)) == len(joints)
        people = People(np.ones((2, len(joints), 3)) * 20, [1, 1])
        assert draw_people(np.zeros((40, 40, 3), np.uint8), people, skeleton, "limb").any()


def test_unknown_color_mode_is_rejected():
    with pytest.raises(ValueError, match="colors: expected 'person' or 'limb', got 'joint'"):
        draw_people(np.zeros((9, 9, 3), np.uint8), People.empty(17), colors="joint")


def test_person_without_an_id_is_gray_and_has_no_label(rng):
    image, people = np.zeros((200, 200, 3), np.uint8), People(rng.uniform(20, 180, (1, 17, 3)), np.ones(1))
    without = draw_people(image, People(people.keypoints, people.scores, np.array([NO_ID])))
    assert without.any()
    assert (without == without[..., :1]).all()
    with_id = draw_people(image, People(people.keypoints, people.scores, np.array([0])))
    assert (np.abs(with_id.astype(int) - without)).any()
