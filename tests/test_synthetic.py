"""Drawn people: the truth that comes with a scene agrees with its pixels."""

import cv2
import matplotlib
import numpy as np
import pytest

from simplepose.data.samples import PORTRAIT, SCENES, write_samples
from simplepose.data.synthetic import draw_scene
from simplepose.skeleton import COCO

SIZE_HW = (180, 240)


@pytest.fixture(scope="module")
def scenes():
    return [
        draw_scene(np.random.default_rng(seed), SIZE_HW, people)
        for seed, people in enumerate((1, 2, 3, 5, 9))
    ]


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 50), (64, 3), (97, 131)])
@pytest.mark.parametrize("people", [0, 1, 4])
def test_shapes_and_types_at_any_size(size_hw, people):
    scene = draw_scene(np.random.default_rng(0), size_hw, people)
    assert (scene.image.shape, scene.image.dtype) == ((*size_hw, 3), np.uint8)
    assert (scene.keypoints.shape, scene.keypoints.dtype) == ((people, 17, 3), np.float32)
    assert (scene.boxes_xyxy.shape, scene.boxes_xyxy.dtype) == ((people, 4), np.float32)
    assert (scene.masks.shape, scene.masks.dtype) == ((people, *size_hw), bool)


def test_the_same_seed_draws_the_same_and_another_does_not():
    first, again, other = (draw_scene(np.random.default_rng(seed), SIZE_HW, 2) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.keypoints, again.keypoints)
    assert not np.array_equal(first.image, other.image)


def test_labelled_joints_lie_inside_and_others_are_zero(scenes):
    for scene in scenes:
        v = scene.keypoints[..., 2]
        xy = scene.keypoints[v > 0, :2]
        assert set(np.unique(v)) <= {0, 1, 2}
        assert (xy >= 0).all()
        assert (xy <= np.array(SIZE_HW)[::-1] - 1).all()
        assert (scene.keypoints[v == 0] == 0).all()
        assert (v == 2).any()


def test_visible_joints_lie_on_their_person_and_each_pixel_has_one_owner(scenes):
    for scene in scenes:
        assert scene.masks.sum(0).max() <= 1
        for keypoints, mask in zip(scene.keypoints, scene.masks, strict=True):
            near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))  # joints lie between pixels
            for x, y, v in keypoints:
                assert v != 2 or near[round(float(y)), round(float(x))]


def test_boxes_fit_the_masks(scenes):
    for scene in scenes:
        for box, mask in zip(scene.boxes_xyxy, scene.masks, strict=True):
            ys, xs = np.nonzero(mask)
            assert np.array_equal(box, (xs.min(), ys.min(), xs.max(), ys.max()) if len(xs) else np.zeros(4))


def test_people_show_against_the_background():
    def contrast(seed):
        scene = draw_scene(np.random.default_rng(seed), SIZE_HW, 1)
        image, mask = scene.image.astype(float), scene.masks[0]
        return np.abs(image[mask].mean(0) - image[~mask].mean(0)).max()

    assert np.median([contrast(seed) for seed in range(12)]) > 25


def test_faces_are_labelled_from_the_front_in_profile_and_not_from_behind():
    nose, left_eye, right_eye = (COCO.annotated.index(name) for name in ("nose", "left_eye", "right_eye"))
    seen = set()
    for seed in range(80):
        keypoints = draw_scene(np.random.default_rng(seed), (60, 80), 1).keypoints[0]
        if keypoints[5:7, 2].all():  # the head may be cut off otherwise
            seen.add(tuple((keypoints[[left_eye, nose, right_eye], 2] > 0).tolist()))
    assert seen >= {(True, True, True), (True, True, False), (False, True, True), (False, False, False)}
    assert (True, False, True) not in seen


def test_people_hide_one_another_and_themselves():
    crowd = draw_scene(np.random.default_rng(1), SIZE_HW, 12)
    assert (crowd.keypoints[..., 2] == 1).sum() > 5
    assert (crowd.keypoints[..., 2] == 2).sum() > 50


def test_samples_are_written_and_read_back(tmp_path):
    written = write_samples(tmp_path / "new" / "samples")
    assert len(written) >= len(SCENES)
    assert all(cv2.imread(str(path)) is not None for path in written)
    before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_samples(tmp_path / "new" / "samples")] == before


def test_the_portrait_is_in_matplotlib():
    """Without it `write_samples` writes drawn scenes alone."""
    assert cv2.imread(f"{matplotlib.get_data_path()}/{PORTRAIT}").shape == (600, 512, 3)
