"""People pasted onto a sample: cut along their own outline, over all, with joints and masks to match."""

from dataclasses import replace

import numpy as np
import pytest
from records import NECK, SHOULDERS, blank, standing

from simplepose.config import AugmentSettings
from simplepose.data.transforms import augment, occlusion
from simplepose.data.transforms.augment import Parameters
from simplepose.data.transforms.occlusion import Paste, cut_out
from simplepose.skeleton import COCO

SETTINGS = AugmentSettings(size=(256, 384))
MIDDLE = Paste(donor=0.0, height=0.5, place_xy=(0.5, 0.5))


def pasted(host, *donors, how=MIDDLE, stride=4, settings=SETTINGS):
    parameters = Parameters(pastes=(how,) * len(donors))
    return augment.apply(host, parameters, settings, COCO, stride, donors)


def alone(host, stride=4):
    return augment.apply(host, Parameters(), SETTINGS, COCO, stride)


def test_who_stands_free_is_cut_along_its_own_outline():
    record = standing(centers_xy=((100, 120), (220, 120)))
    mask, keypoints = cut_out(record)
    ys, xs = np.mgrid[:240, :320]
    assert np.array_equal(mask > 0, np.hypot(xs - 100, ys - 120) <= 30)
    assert np.array_equal(keypoints, record.keypoints[0])


@pytest.mark.parametrize("v", [1, 2])
def test_who_touches_somebody_is_not_cut_out(v):
    record = standing(centers_xy=((100, 120), (150, 120)))
    record.keypoints[1][record.keypoints[1][:, 2] > 0, 2] = v
    assert cut_out(record) is None


def test_whom_nobody_labelled_is_left_behind():
    """Someone without labels beside the person is 0 in mask_miss."""
    record = standing(centers_xy=((100, 120), (150, 120)))
    _, xs = np.mgrid[:240, :320]
    unlabelled = (xs > 125) & (record.mask_all > 0)
    record.mask_miss[unlabelled] = 0
    mask, _ = cut_out(replace(record, keypoints=record.keypoints[:1]))
    assert mask.any()
    assert not mask[unlabelled].any()


def test_a_box_in_the_outlines_place_is_not_cut_out():
    record = standing()
    record.mask_all[90:151, 130:191] = 255
    assert cut_out(record) is None


@pytest.mark.parametrize("odd", [(-5, 10), (320, 239.6), (1e9, -1e9), (np.nan, 5), (np.inf, 5)])
def test_a_joint_beside_the_outline_is_hidden_and_most_must_lie_on_it(odd):
    record = standing()
    record.keypoints[0, 10] = (*odd, 2)
    _, keypoints = cut_out(record)
    assert keypoints[10, 2] == 1
    assert (keypoints[:5, 2] == 2).all()
    record.keypoints[0, 11:15] = (*odd, 2)
    assert cut_out(record) is None


@pytest.mark.parametrize("record", [blank(), blank(people=1), blank((8, 8)), blank((1, 1), 2)])
def test_where_nobody_can_be_cut_out_the_sample_stays(record):
    assert cut_out(record) is None
    host = standing()
    for ours, plain in zip(vars(pasted(host, record)).values(), vars(alone(host)).values(), strict=True):
        assert np.array_equal(ours, plain)


@pytest.mark.parametrize(
    "how", [MIDDLE, Paste(0.0, 0.3, (0.4, 0.6), -20.0), Paste(0.0, 0.6, (0.6, 0.5), 15.0, True)]
)
def test_a_white_pixel_goes_where_its_keypoint_goes(how):
    for annotated, place in ((5, (150, 110)), (9, (170, 130)), (16, (160, 95))):
        donor = standing()
        donor.image[:], donor.keypoints[:] = 0, 0
        donor.image[place[1], place[0]] = 255
        donor.keypoints[0, annotated] = (*place, 2)
        sample = pasted(blank(), donor, how=how)
        (found,) = np.flatnonzero(sample.joints[0, :, 2])
        assert COCO.joints[found] == COCO.annotated[COCO.annotated_flip[annotated] if how.flip else annotated]
        x, y = sample.joints[0, found, :2]
        weight = sample.image[..., 0].astype(float)
        column, row = round(float(x)), round(float(y))
        weight = weight[row - 6 : row + 7, column - 6 : column + 7]
        ys, xs = np.mgrid[row - 6 : row + 7, column - 6 : column + 7]
        centre = np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()
        assert np.abs(centre - (x, y)).max() < 0.6


def test_the_person_alone_is_pasted_where_and_as_large_as_asked():
    donor = standing()
    donor.image[donor.mask_all == 0] = (0, 255, 0)
    sample = pasted(blank(), donor, how=Paste(0.0, 0.5, (0.25, 0.5)), stride=1)
    ys, xs = np.nonzero(sample.person_mask > 127)
    assert np.ptp(ys) == pytest.approx(0.5 * 255, abs=3)
    assert (xs.mean(), ys.mean()) == pytest.approx((0.25 * 383, 127.5), abs=1)
    within = sample.person_mask == 255
    assert (sample.image[within] == 200).mean() > 0.97  # green would have come from beside the person
    beside = sample.person_mask == 0
    assert np.array_equal(sample.image[beside], alone(blank()).image[beside])


def test_what_is_covered_is_hidden_and_the_rest_is_not():
    host = standing(centers_xy=((160, 120), (40, 120)), radius=25)
    sample = pasted(host, standing(), how=Paste(0.0, 0.5, (0.5, 0.5)))
    before = alone(host).joints
    assert sample.joints.shape == (3, len(COCO.joints), 3)
    assert np.array_equal(sample.joints[:2, :, :2], before[..., :2])
    middle = np.hypot(*(sample.joints[:2, :, :2] - (191.5, 127.5)).transpose(2, 0, 1)) < 0.24 * 256
    labelled = before[..., 2] > 0
    assert (middle & labelled)[0].sum() >= 3
    assert (sample.joints[:2, :, 2][middle & labelled] == 1).all()
    assert np.array_equal(sample.joints[1], before[1])
    assert not sample.joints[:2, :, 2][~labelled].any()
    assert (sample.joints[2, :, 2][sample.joints[2, :, 2] > 0] == 2).all()


def test_a_midpoint_is_hidden_with_one_of_its_ends():
    host = blank(people=1)
    host.keypoints[0, SHOULDERS[0]] = 160, 120, 2
    host.keypoints[0, SHOULDERS[1]] = 20, 120, 2
    how = Paste(0.0, 0.1, (0.5, 0.5))
    assert alone(host).joints[0, NECK, 2] == 2
    assert pasted(host, standing(), how=how).joints[0, NECK, 2] == 1


def test_the_loss_counts_where_somebody_labelled_covers_the_unlabelled():
    host = blank(mask_miss=np.zeros((240, 320), np.uint8))
    sample = pasted(host, standing(), stride=1)
    inside = sample.person_mask == 255
    assert inside.sum() > 5000
    assert (sample.mask_miss[inside] == 255).all()
    assert sample.mask_miss[128, 60] == 0
    cells = pasted(host, standing())
    assert cells.person_mask.shape == (64, 96)
    assert np.abs(cells.person_mask.mean() - sample.person_mask.mean()) < 1


def test_the_last_lies_on_top():
    below, above = standing(), standing()
    above.image[above.image > 0] = 90
    sample = pasted(blank(), below, above)
    assert sample.image[128, 192].tolist() == [90, 90, 90]
    first, second = sample.joints[..., 2]
    assert (first[first > 0] == 1).all()
    assert (second[second > 0] == 2).all()


def test_a_small_person_is_not_enlarged_beyond_all_detail():
    sample = pasted(blank(), standing(radius=5), how=Paste(0.0, 0.9, (0.5, 0.5)), stride=1)
    assert 25 < np.ptp(np.nonzero(sample.person_mask > 127)[0]) < 40


@pytest.mark.parametrize("place_xy", [(0.0, 0.0), (1.0, 1.0), (0.5, 1.0)])
def test_part_of_a_person_may_lie_outside(place_xy):
    sample = pasted(blank(), standing(), how=Paste(0.0, 0.5, place_xy))
    assert sample.person_mask.any()
    assert sample.joints.shape == (1, len(COCO.joints), 3)
    assert (sample.joints[..., 2] > 0).sum() >= 5


def test_the_host_and_the_donor_are_left_as_they_are():
    host, donor = standing(), standing()
    before = [array.copy() for record in (host, donor) for array in list(vars(record).values())[:4]]
    pasted(host, donor)
    after = [array for record in (host, donor) for array in list(vars(record).values())[:4]]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_as_many_donors_as_pastes_are_asked_for():
    with pytest.raises(ValueError, match="zip"):
        augment.apply(blank(), Parameters(pastes=(MIDDLE,)), SETTINGS, COCO, 4)


def test_draws_stay_within_their_settings():
    rng = np.random.default_rng(0)
    settings = AugmentSettings(
        copy_paste_probability=0.5, copy_paste_people=(2, 3), copy_paste_height=(0.3, 0.4)
    )
    draws = [occlusion.sample_pasting(rng, settings) for _ in range(400)]
    assert {len(pastes) for pastes in draws} == {0, 2, 3}
    assert 160 < sum(bool(pastes) for pastes in draws) < 240
    every = [paste for pastes in draws for paste in pastes]
    assert all(0.3 <= p.height <= 0.4 and 0 <= p.donor < 1 and abs(p.degrees) <= 20 for p in every)
    assert min(p.donor for p in every) < 0.02
    assert max(p.donor for p in every) > 0.98
    assert {p.flip for p in every} == {True, False}
