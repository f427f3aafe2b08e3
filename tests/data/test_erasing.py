"""Random erasing: one rectangle of one color occludes what lies under it."""

import numpy as np
import pytest
from records import NECK, SHOULDERS, blank_record, record_of_discs

from simplepose.config import AugmentSettings
from simplepose.data.transforms import augment, occlusion
from simplepose.data.transforms.augment import AugmentParams
from simplepose.data.transforms.occlusion import EraseRectangle, mark_occluded
from simplepose.skeleton import COCO

SETTINGS = AugmentSettings(size=(256, 384), erase_probability=1)
RED = (0, 0, 255)


def apply_erase(record, *rectangle, stride=4):
    return augment.apply(record, AugmentParams(erase=EraseRectangle(*rectangle, RED)), SETTINGS, COCO, stride)


def test_only_the_rectangle_is_painted():
    sample, plain = (
        apply_erase(record_of_discs(), 100, 60, 50, 30),
        apply_erase(record_of_discs(), 0, 0, 0, 0),
    )
    within = np.zeros((256, 384), bool)
    within[60:90, 100:150] = True
    assert (sample.image[within] == RED).all()
    assert np.array_equal(sample.image[~within], plain.image[~within])


def test_joints_under_it_are_occluded_and_the_person_mask_is_cleared():
    record = record_of_discs()
    plain = apply_erase(record, 0, 0, 0, 0)
    sample = apply_erase(record, 0, 0, 192, 256)
    x, v = plain.joints[..., 0], plain.joints[..., 2]
    assert np.array_equal(sample.joints[..., :2], plain.joints[..., :2])
    assert np.array_equal(sample.joints[..., 2], np.where((v > 0) & (np.rint(x) < 192), 1, v))
    assert set(sample.joints[sample.joints[..., 2] > 0][:, 2]) == {1, 2}
    assert not sample.person_mask[:, :48].any()
    assert np.array_equal(sample.person_mask[:, 48:], plain.person_mask[:, 48:])


def test_mask_miss_is_unchanged():
    record = record_of_discs()
    record.mask_miss[100:140] = 0
    assert np.array_equal(
        apply_erase(record, 0, 0, 384, 256).mask_miss, apply_erase(record, 0, 0, 0, 0).mask_miss
    )


def test_a_joint_at_the_edge_is_occluded_if_its_pixel_is_covered():
    joints = np.zeros((4, len(COCO.joints), 3), np.float32)
    joints[:, 0] = [(9.6, 5, 2), (9.4, 5, 2), (19.4, 5, 2), (19.6, 5, 2)]
    covered = np.zeros((20, 30), bool)
    covered[:, 10:20] = True
    assert mark_occluded(joints, covered, COCO)[:, 0, 2].tolist() == [1, 2, 1, 2]
    assert (joints[:, 0, 2] == 2).all()


@pytest.mark.parametrize("point", [(-0.6, 3), (3, -0.6), (29.6, 3), (3, 19.6), (1e30, 3), (np.nan, 3)])
def test_joints_outside_and_unlabeled_joints_are_unchanged(point):
    joints = np.zeros((1, len(COCO.joints), 3), np.float32)
    joints[0, 0] = (*point, 2)
    hidden = mark_occluded(joints, np.ones((20, 30), bool), COCO)
    assert hidden[0, 0, 2] == 2
    assert not hidden[0, 1:].any()


def test_a_midpoint_is_occluded_with_one_of_its_ends():
    record = blank_record(people=1)
    record.keypoints[0, SHOULDERS[0]] = 260, 120, 2
    record.keypoints[0, SHOULDERS[1]] = 60, 120, 2
    plain = apply_erase(record, 0, 0, 0, 0).joints[0]
    end = plain[COCO.joint_of_annotated[SHOULDERS[0]]]
    sample = apply_erase(record, round(float(end[0])) - 5, round(float(end[1])) - 5, 10, 10)
    assert plain[NECK, 2] == 2
    assert sample.joints[0, NECK, 2] == 1
    assert sample.joints[0, COCO.joint_of_annotated[SHOULDERS[1]], 2] == 2


def test_a_partly_covered_cell_has_a_partial_mask():
    record = blank_record(mask_all=np.full((240, 320), 255, np.uint8))
    sample = apply_erase(record, 192, 128, 2, 4)
    assert apply_erase(record, 0, 0, 0, 0).person_mask[32, 48] == 255
    assert sample.person_mask[32, 48] in (127, 128)


def test_erasing_an_image_without_people():
    sample = apply_erase(blank_record((8, 8)), 10, 10, 300, 200)
    assert sample.joints.shape == (0, len(COCO.joints), 3)
    assert not sample.person_mask.any()


@pytest.mark.parametrize(
    ("area", "aspect"), [((0.02, 0.12), (0.4, 2.5)), ((1.0, 1.0), (0.01, 0.01)), ((0.0, 0.0), (9, 9))]
)
def test_rectangles_stay_inside_and_within_the_settings(area, aspect):
    settings = AugmentSettings(size=(256, 384), erase_probability=1, erase_area=area, erase_aspect=aspect)
    rng = np.random.default_rng(0)
    for _ in range(200):
        r = occlusion.sample_erase(rng, settings)
        assert 0 <= r.left <= r.left + r.width <= 384
        assert 0 <= r.top <= r.top + r.height <= 256
        assert r.width * r.height <= 1.05 * area[1] * 256 * 384
        if area[0] == 0.02:
            assert r.width * r.height > 0.95 * area[0] * 256 * 384
            assert 0.38 < r.width / r.height < 2.6


def test_erasing_is_as_frequent_as_its_probability():
    rng = np.random.default_rng(0)
    rectangles = [occlusion.sample_erase(rng, AugmentSettings(erase_probability=0.3)) for _ in range(600)]
    assert 140 < sum(r is not None for r in rectangles) < 220
    assert occlusion.sample_erase(rng, AugmentSettings()) is None
