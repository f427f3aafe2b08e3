"""Synthetic scenes: the ground truth agrees with the pixels."""

from dataclasses import replace

import cv2
import matplotlib
import numpy as np
import pytest

from simplepose.skeleton import COCO
from simplepose.synthetic import bodies, body_parts, poses
from simplepose.synthetic.clothes import Paint
from simplepose.synthetic.demo_images import DEMO_SCENES, PORTRAIT_PATH, write_demo_images
from simplepose.synthetic.painter import KEYPOINT_GROUPS, Light, Painter, render_sprite
from simplepose.synthetic.scenes import draw_scene

SIZE_HW = (180, 240)
COUNTS = (1, 2, 3, 5, 9, 20)


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(np.random.default_rng(seed), SIZE_HW, people) for seed, people in enumerate(COUNTS)]


@pytest.fixture
def painter(rng):
    """A painter on a gray image."""
    return Painter(rng, np.full((240, 200, 3), 128, np.uint8))


def sample_standing_figure(seed=0):
    """Sample an upright person who faces the viewer."""
    for number in range(seed, seed + 1000):
        figure = poses.sample_figure(np.random.default_rng(number))
        upright, facing = figure.trunk[1, 1] < -0.97, figure.trunk[2, 2] < -0.9
        if upright and facing and figure.head_axes[2, 2] < -0.9 and not figure.seated:
            return replace(figure, stature=1.0)
    raise AssertionError("no standing figure found")


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 50), (64, 3), (97, 131)])
@pytest.mark.parametrize("people", [0, 1, 4])
def test_shapes_and_dtypes_at_any_size(size_hw, people):
    for seed in range(4):
        scene = draw_scene(np.random.default_rng(seed), size_hw, people)
        assert (scene.image.shape, scene.image.dtype) == ((*size_hw, 3), np.uint8)
        assert (scene.keypoints.shape, scene.keypoints.dtype) == ((people, 17, 3), np.float32)
        assert (scene.boxes_xyxy.shape, scene.boxes_xyxy.dtype) == ((people, 4), np.float32)
        assert (scene.masks.shape, scene.masks.dtype) == ((people, *size_hw), bool)
        assert (scene.instance_map.shape, scene.instance_map.dtype) == (size_hw, np.int16)


def test_equal_seeds_give_equal_scenes():
    first, again, other = (draw_scene(np.random.default_rng(seed), SIZE_HW, 2) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.keypoints, again.keypoints)
    assert np.array_equal(first.instance_map, again.instance_map)
    assert not np.array_equal(first.image, other.image)


def test_labeled_keypoints_lie_inside_and_others_are_zero(scenes):
    for scene in scenes:
        v = scene.keypoints[..., 2]
        xy = scene.keypoints[v > 0, :2]
        assert set(np.unique(v)) <= {0, 1, 2}
        assert (xy >= 0).all()
        assert (xy <= np.array(SIZE_HW)[::-1] - 1).all()
        assert (scene.keypoints[v == 0] == 0).all()
        assert (v == 2).any()


def test_visible_keypoints_lie_in_the_mask_of_their_person_and_masks_are_disjoint(scenes):
    for scene in scenes:
        assert np.array_equal(scene.masks.sum(0), scene.instance_map > 0)
        for keypoints, mask in zip(scene.keypoints, scene.masks, strict=True):
            x, y = np.rint(keypoints[keypoints[:, 2] == 2, :2]).astype(int).T
            assert mask[y, x].all()


def test_boxes_fit_the_masks(scenes):
    for scene in scenes:
        for box, mask in zip(scene.boxes_xyxy, scene.masks, strict=True):
            ys, xs = np.nonzero(mask)
            assert np.array_equal(box, (xs.min(), ys.min(), xs.max(), ys.max()) if len(xs) else np.zeros(4))


def test_people_contrast_with_the_background():
    def contrast(seed):
        scene = draw_scene(np.random.default_rng(seed), SIZE_HW, 1)
        image, mask = scene.image.astype(float), scene.masks[0]
        return np.abs(image[mask].mean(0) - image[~mask].mean(0)).max()

    assert np.median([contrast(seed) for seed in range(12)]) > 25


def test_people_have_a_wide_range_of_sizes():
    heights = [
        np.ptp(scene.boxes_xyxy[:, [1, 3]], axis=1)
        for scene in (draw_scene(np.random.default_rng(seed), (512, 512), 5) for seed in range(25))
    ]
    assert np.concatenate(heights).min() < 40
    assert np.concatenate(heights).max() > 450


def test_keypoints_lie_on_the_limb_they_belong_to():
    """Paint each group of parts in one color: the image has that color at the keypoint."""
    colors = 40 + 60 * np.indices((2, 2, 2)).reshape(3, -1).T[: len(body_parts.GROUPS)]
    even = Light(np.array([0, 0, 1.0]), 1.0, np.full((320, 320), 128, np.uint8))
    total = matching = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        figure = poses.sample_figure(rng)
        body = [
            replace(part, paint=Paint(tuple(colors[part.group]))) for part in bodies.build_body(rng, figure)
        ]
        sprite = render_sprite(body, (160.0, 160.0), 200.0, even)
        painted = np.zeros((320, 320, 3))
        painted[sprite.rows, sprite.columns] = sprite.bgra[..., :3] / 1.15
        joints, shows = figure.coco_keypoints()
        for row in np.flatnonzero(shows & (np.abs(joints[:, :2]) < 0.75).all(1)):
            x, y = np.rint(joints[row, :2] * 200 + 160).astype(int)
            nearest_group = np.abs(painted[y, x] - colors).max(1).argmin()
            name = COCO.annotated[row]
            assert painted[y, x].max() > 30, f"seed {seed}: {name} lies outside the body"
            on_trunk = nearest_group == body_parts.TORSO and name.endswith(("shoulder", "hip"))
            matching, total = matching + (nearest_group == KEYPOINT_GROUPS[row] or on_trunk), total + 1
    assert matching > 0.85 * total


def test_a_nearer_person_occludes_keypoints(painter):
    painter.paint_person(sample_standing_figure(), (80.0, 225.0), 200.0)
    alone = painter.keypoints()[0]
    assert (alone[:, 2] == 2).sum() >= 14
    painter.paint_person(sample_standing_figure(50), (100.0, 230.0), 210.0)
    far, near = painter.keypoints()
    assert np.array_equal(far[:, :2], alone[:, :2])
    x, y = np.rint(alone[:, :2]).astype(int).T
    covered = (alone[:, 2] > 0) & (painter.instance_map[y, x] == 2)
    assert covered.sum() >= 3
    assert (far[covered, 2] == 1).all()
    assert np.array_equal(far[~covered, 2], alone[~covered, 2])
    assert (near[:, 2] == 2).sum() >= 14


def test_a_fully_occluded_person_has_no_labels(painter):
    painter.paint_person(sample_standing_figure(), (100.0, 180.0), 40.0)
    painter.paint_person(sample_standing_figure(50), (100.0, 480.0), 600.0)
    assert not painter.keypoints()[0].any()


def test_objects_occlude_keypoints_and_are_not_people(painter):
    painter.paint_person(sample_standing_figure(), (100.0, 220.0), 200.0)
    before, owned = painter.keypoints()[0], (painter.instance_map == 1).sum()
    for x in range(40, 180, 15):
        painter.paint_object((float(x), 230.0), 200.0)
    after = painter.keypoints()[0]
    assert (painter.instance_map == 1).sum() < owned
    hidden = (before[:, 2] == 2) & (after[:, 2] == 1)
    assert hidden.any()
    x, y = np.rint(after[hidden, :2]).astype(int).T
    assert (painter.instance_map[y, x] == 0).all()


@pytest.mark.parametrize(("x", "foot_y"), [(0, 225), (199, 225), (100, 300), (100, 110), (5, 330)])
def test_keypoints_outside_the_image_are_not_labeled(painter, x, foot_y):
    painter.paint_person(sample_standing_figure(), (float(x), float(foot_y)), 200.0)
    whole = Painter(np.random.default_rng(0), np.full((900, 900, 3), 128, np.uint8))
    whole.paint_person(sample_standing_figure(), (x + 300.0, foot_y + 300.0), 200.0)
    sprite, all_joints = painter.keypoints()[0], whole.keypoints()[0]
    xy = all_joints[:, :2] - 300
    inside = ((xy >= 0) & (xy <= (199, 239))).all(1) & (all_joints[:, 2] > 0)
    assert 0 < inside.sum() < (all_joints[:, 2] > 0).sum()
    assert np.array_equal(sprite[:, 2] > 0, inside)
    assert np.allclose(sprite[inside, :2], xy[inside], atol=1e-3)


def test_faces_are_labeled_from_the_front_and_side_but_not_from_behind():
    nose, left_eye, right_eye = (COCO.annotated.index(name) for name in ("nose", "left_eye", "right_eye"))
    seen = set()
    for seed in range(120):
        keypoints = draw_scene(np.random.default_rng(seed), (60, 80), 1).keypoints[0]
        if keypoints[5:7, 2].all():  # otherwise the head may lie outside the image
            seen.add(tuple((keypoints[[left_eye, nose, right_eye], 2] > 0).tolist()))
    assert seen >= {(True, True, True), (True, True, False), (False, True, True), (False, False, False)}
    assert (True, False, True) not in seen


def test_people_occlude_each_other_and_themselves():
    crowds = [draw_scene(np.random.default_rng(seed), SIZE_HW, 12).keypoints[..., 2] for seed in range(4)]
    assert (np.array(crowds) == 1).sum() > 40
    assert (np.array(crowds) == 2).sum() > 200


def test_demo_images_are_readable_and_reproducible(tmp_path):
    written = write_demo_images(tmp_path / "new" / "samples")
    assert len(written) >= len(DEMO_SCENES)
    assert all(cv2.imread(str(path)) is not None for path in written)
    before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_demo_images(tmp_path / "new" / "samples")] == before


def test_the_portrait_is_in_matplotlib():
    """Without it, `write_demo_images` writes synthetic scenes only."""
    assert cv2.imread(f"{matplotlib.get_data_path()}/{PORTRAIT_PATH}").shape == (600, 512, 3)
