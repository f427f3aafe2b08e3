"""Copy-paste: people are cut along their outline and pasted with their joints and masks."""

from dataclasses import replace

import numpy as np
import pytest
from records import NECK, SHOULDERS, blank_record, record_of_discs

from simplepose.config import AugmentSettings
from simplepose.data.transforms import augment, occlusion
from simplepose.data.transforms.augment import AugmentParams
from simplepose.data.transforms.occlusion import PasteParams, cut_out_person
from simplepose.skeleton import COCO

SETTINGS = AugmentSettings(size=(256, 384))
MIDDLE = PasteParams(donor=0.0, height=0.5, center_xy=(0.5, 0.5))


def paste_onto(host, *donors, params=MIDDLE, stride=4, settings=SETTINGS):
    augment_params = AugmentParams(pastes=(params,) * len(donors))
    return augment.apply(host, augment_params, settings, COCO, stride, donors)


def without_paste(host, stride=4):
    return augment.apply(host, AugmentParams(), SETTINGS, COCO, stride)


def test_a_separate_person_is_cut_along_its_outline():
    record = record_of_discs(centers_xy=((100, 120), (220, 120)))
    mask, keypoints = cut_out_person(record)
    ys, xs = np.mgrid[:240, :320]
    assert np.array_equal(mask > 0, np.hypot(xs - 100, ys - 120) <= 30)
    assert np.array_equal(keypoints, record.keypoints[0])


@pytest.mark.parametrize("v", [1, 2])
def test_a_person_who_touches_another_is_not_cut_out(v):
    record = record_of_discs(centers_xy=((100, 120), (150, 120)))
    record.keypoints[1][record.keypoints[1][:, 2] > 0, 2] = v
    assert cut_out_person(record) is None


def test_unlabeled_people_are_not_cut_out():
    """An unlabeled person beside the main person is 0 in mask_miss."""
    record = record_of_discs(centers_xy=((100, 120), (150, 120)))
    _, xs = np.mgrid[:240, :320]
    unlabeled = (xs > 125) & (record.mask_all > 0)
    record.mask_miss[unlabeled] = 0
    mask, _ = cut_out_person(replace(record, keypoints=record.keypoints[:1]))
    assert mask.any()
    assert not mask[unlabeled].any()


def test_a_box_mask_is_not_cut_out():
    record = record_of_discs()
    record.mask_all[90:151, 130:191] = 255
    assert cut_out_person(record) is None


@pytest.mark.parametrize("point", [(-5, 10), (320, 239.6), (1e9, -1e9), (np.nan, 5), (np.inf, 5)])
def test_a_joint_off_the_mask_is_occluded_and_most_must_lie_on_it(point):
    record = record_of_discs()
    record.keypoints[0, 10] = (*point, 2)
    _, keypoints = cut_out_person(record)
    assert keypoints[10, 2] == 1
    assert (keypoints[:5, 2] == 2).all()
    record.keypoints[0, 11:15] = (*point, 2)
    assert cut_out_person(record) is None


@pytest.mark.parametrize(
    "record", [blank_record(), blank_record(people=1), blank_record((8, 8)), blank_record((1, 1), 2)]
)
def test_without_a_cut_out_the_sample_is_unchanged(record):
    assert cut_out_person(record) is None
    host = record_of_discs()
    for array, plain in zip(
        vars(paste_onto(host, record)).values(), vars(without_paste(host)).values(), strict=True
    ):
        assert np.array_equal(array, plain)


@pytest.mark.parametrize(
    "params",
    [MIDDLE, PasteParams(0.0, 0.3, (0.4, 0.6), -20.0), PasteParams(0.0, 0.6, (0.6, 0.5), 15.0, True)],
)
def test_a_white_pixel_moves_with_its_keypoint(params):
    for annotated, point in ((5, (150, 110)), (9, (170, 130)), (16, (160, 95))):
        donor = record_of_discs()
        donor.image[:], donor.keypoints[:] = 0, 0
        donor.image[point[1], point[0]] = 255
        donor.keypoints[0, annotated] = (*point, 2)
        sample = paste_onto(blank_record(), donor, params=params)
        (found,) = np.flatnonzero(sample.joints[0, :, 2])
        assert (
            COCO.joints[found] == COCO.annotated[COCO.annotated_flip[annotated] if params.flip else annotated]
        )
        x, y = sample.joints[0, found, :2]
        weight = sample.image[..., 0].astype(float)
        column, row = round(float(x)), round(float(y))
        weight = weight[row - 6 : row + 7, column - 6 : column + 7]
        ys, xs = np.mgrid[row - 6 : row + 7, column - 6 : column + 7]
        center = np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()
        assert np.abs(center - (x, y)).max() < 0.6


def test_only_the_person_is_pasted_at_the_requested_place_and_size():
    donor = record_of_discs()
    donor.image[donor.mask_all == 0] = (0, 255, 0)
    sample = paste_onto(blank_record(), donor, params=PasteParams(0.0, 0.5, (0.25, 0.5)), stride=1)
    ys, xs = np.nonzero(sample.person_mask > 127)
    assert np.ptp(ys) == pytest.approx(0.5 * 255, abs=3)
    assert (xs.mean(), ys.mean()) == pytest.approx((0.25 * 383, 127.5), abs=1)
    inside = sample.person_mask == 255
    assert (sample.image[inside] == 200).mean() > 0.97  # green is the donor's background
    outside = sample.person_mask == 0
    assert np.array_equal(sample.image[outside], without_paste(blank_record()).image[outside])


def test_only_covered_joints_become_occluded():
    host = record_of_discs(centers_xy=((160, 120), (40, 120)), radius=25)
    sample = paste_onto(host, record_of_discs(), params=PasteParams(0.0, 0.5, (0.5, 0.5)))
    before = without_paste(host).joints
    assert sample.joints.shape == (3, len(COCO.joints), 3)
    assert np.array_equal(sample.joints[:2, :, :2], before[..., :2])
    middle = np.hypot(*(sample.joints[:2, :, :2] - (191.5, 127.5)).transpose(2, 0, 1)) < 0.24 * 256
    labeled = before[..., 2] > 0
    assert (middle & labeled)[0].sum() >= 3
    assert (sample.joints[:2, :, 2][middle & labeled] == 1).all()
    assert np.array_equal(sample.joints[1], before[1])
    assert not sample.joints[:2, :, 2][~labeled].any()
    assert (sample.joints[2, :, 2][sample.joints[2, :, 2] > 0] == 2).all()


def test_a_midpoint_is_occluded_with_one_of_its_ends():
    host = blank_record(people=1)
    host.keypoints[0, SHOULDERS[0]] = 160, 120, 2
    host.keypoints[0, SHOULDERS[1]] = 20, 120, 2
    params = PasteParams(0.0, 0.1, (0.5, 0.5))
    assert without_paste(host).joints[0, NECK, 2] == 2
    assert paste_onto(host, record_of_discs(), params=params).joints[0, NECK, 2] == 1


def test_the_loss_counts_where_a_pasted_person_covers_an_ignored_area():
    host = blank_record(mask_miss=np.zeros((240, 320), np.uint8))
    sample = paste_onto(host, record_of_discs(), stride=1)
    inside = sample.person_mask == 255
    assert inside.sum() > 5000
    assert (sample.mask_miss[inside] == 255).all()
    assert sample.mask_miss[128, 60] == 0
    cells = paste_onto(host, record_of_discs())
    assert cells.person_mask.shape == (64, 96)
    assert np.abs(cells.person_mask.mean() - sample.person_mask.mean()) < 1


def test_the_last_pasted_person_is_on_top():
    below, above = record_of_discs(), record_of_discs()
    above.image[above.image > 0] = 90
    sample = paste_onto(blank_record(), below, above)
    assert sample.image[128, 192].tolist() == [90, 90, 90]
    first, second = sample.joints[..., 2]
    assert (first[first > 0] == 1).all()
    assert (second[second > 0] == 2).all()


def test_the_enlargement_of_a_small_person_is_limited():
    sample = paste_onto(
        blank_record(), record_of_discs(radius=5), params=PasteParams(0.0, 0.9, (0.5, 0.5)), stride=1
    )
    assert 25 < np.ptp(np.nonzero(sample.person_mask > 127)[0]) < 40


@pytest.mark.parametrize("place_xy", [(0.0, 0.0), (1.0, 1.0), (0.5, 1.0)])
def test_a_pasted_person_may_lie_partly_outside(place_xy):
    sample = paste_onto(blank_record(), record_of_discs(), params=PasteParams(0.0, 0.5, place_xy))
    assert sample.person_mask.any()
    assert sample.joints.shape == (1, len(COCO.joints), 3)
    assert (sample.joints[..., 2] > 0).sum() >= 5


def test_host_and_donor_are_not_modified():
    host, donor = record_of_discs(), record_of_discs()
    before = [array.copy() for record in (host, donor) for array in list(vars(record).values())[:4]]
    paste_onto(host, donor)
    after = [array for record in (host, donor) for array in list(vars(record).values())[:4]]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_number_of_donors_must_equal_the_number_of_pastes():
    with pytest.raises(ValueError, match="zip"):
        augment.apply(blank_record(), AugmentParams(pastes=(MIDDLE,)), SETTINGS, COCO, 4)


def test_sampled_parameters_stay_within_the_settings():
    rng = np.random.default_rng(0)
    settings = AugmentSettings(
        copy_paste_probability=0.5, copy_paste_people=(2, 3), copy_paste_height=(0.3, 0.4)
    )
    all_pastes = [occlusion.sample_pastes(rng, settings) for _ in range(400)]
    assert {len(pastes) for pastes in all_pastes} == {0, 2, 3}
    assert 160 < sum(bool(pastes) for pastes in all_pastes) < 240
    flat = [paste for pastes in all_pastes for paste in pastes]
    assert all(0.3 <= p.height <= 0.4 and 0 <= p.donor < 1 and abs(p.degrees) <= 20 for p in flat)
    assert min(p.donor for p in flat) < 0.02
    assert max(p.donor for p in flat) > 0.98
    assert {p.flip for p in flat} == {True, False}
