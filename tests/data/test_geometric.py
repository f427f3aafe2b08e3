"""Half bodies: the upper or the lower body's joints are framed, by their names."""

from collections import Counter

import numpy as np
import pytest
from records import blank
from stick_body import upright

from simplepose.config import AugmentSettings
from simplepose.data.transforms import augment
from simplepose.data.transforms.augment import Parameters
from simplepose.skeleton import COCO

WORDS = AugmentSettings().lower_body
LOWER = np.array([name.split("_")[-1] in ("hip", "knee", "ankle") for name in COCO.annotated])
PLAIN = AugmentSettings(size=(256, 384))


def person(labelled=None, size_hw=(240, 320)):
    """Somebody upright and 200 pixels high, with those joints labelled (default: all)."""
    record = blank(size_hw, people=1, height=200.0, center_xy=(160.0, 120.0))
    record.keypoints[0, :, :2] = (160, 120) + 200 * upright()
    record.keypoints[0, :, 2] = 2 if labelled is None else 2 * labelled
    return record


@pytest.mark.parametrize(("half", "members"), [("upper", ~LOWER), ("lower", LOWER)])
def test_the_half_lies_in_the_middle_and_fills_the_frame(half, members):
    record = person()
    joints = augment.apply(record, Parameters(half=half), PLAIN, COCO, 4).joints
    places = COCO.to_annotated(joints)[0, members, :2]
    low, high = places.min(0), places.max(0)
    assert (low + high) / 2 == pytest.approx((191.5, 127.5), abs=0.1)
    assert (high - low).max() == pytest.approx(PLAIN.person_height * 255 / augment.MARGIN, rel=1e-3)
    assert len(joints) == 1
    assert (joints[0, :, 2] == 2).all()  # the other half is taught wherever it lies


@pytest.mark.parametrize("half", ["upper", "lower"])
def test_a_half_with_too_few_joints_gives_way_to_the_other_then_to_the_whole(half):
    upper_only = person(~LOWER)
    moved = augment.half_body(upper_only, half, WORDS, COCO)
    assert moved.center_xy == augment.half_body(upper_only, "upper", WORDS, COCO).center_xy
    assert moved.center_xy != upper_only.center_xy
    for record in (person(np.arange(17) < 2), person(np.zeros(17, bool)), blank(), blank((8, 8))):
        assert augment.half_body(record, half, WORDS, COCO) is record


def test_joints_in_one_place_are_not_enlarged_without_end():
    record = person()
    record.keypoints[0, :, :2] = 50, 60
    moved = augment.half_body(record, "upper", WORDS, COCO)
    assert moved.center_xy == (50, 60)
    assert moved.height == augment.LEAST_SHARE * record.height


def test_a_white_pixel_goes_where_its_keypoint_goes(rng):
    settings = AugmentSettings(size=(256, 384), half_body_probability=1, tint_probability=0, shift=10)
    tried = 0
    for _ in range(30):
        record = person()
        joint = int(rng.integers(17))
        x, y = np.rint(record.keypoints[0, joint, :2]).astype(int)
        record.keypoints[0, joint, :2] = x, y
        parameters = augment.draw(rng, settings)
        black = augment.apply(record, parameters, settings, COCO, 1).image.astype(int)
        record.image[y, x] = 255
        out = augment.apply(record, parameters, settings, COCO, 1)
        mirrored = COCO.annotated_flip[joint] if parameters.flip else joint
        target = out.joints[0, COCO.joint_of_annotated[mirrored], :2]
        if not (target > 9).all() or not (target < np.array([374, 246])).all():
            continue
        tried += 1
        weight = (out.image - black)[..., 0]
        ys, xs = np.mgrid[:256, :384]
        centre = np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()
        assert np.abs(centre - target).max() < 0.8
    assert tried >= 10


def test_a_framed_picture_has_no_halves():
    settings = AugmentSettings(size=(256, 384), framing="picture")
    plain, half = (
        augment.apply(person(), parameters, settings, COCO, 4).joints
        for parameters in (Parameters(), Parameters(half="upper"))
    )
    assert np.array_equal(plain, half)


def test_halves_are_drawn_as_often_as_the_setting_says():
    rng = np.random.default_rng(0)
    drawn = Counter(
        augment.sample_half_body(rng, AugmentSettings(half_body_probability=0.4)) for _ in range(1000)
    )
    assert 330 < drawn["upper"] + drawn["lower"] < 470
    assert abs(drawn["upper"] - drawn["lower"]) < 80
    assert augment.sample_half_body(rng, AugmentSettings()) is None


def test_a_skeleton_without_such_names_has_no_lower_body():
    record = person()
    moved = augment.half_body(record, "lower", ("wing",), COCO)
    low, high = record.keypoints[0, :, :2].min(0), record.keypoints[0, :, :2].max(0)
    assert moved.center_xy == pytest.approx(tuple((low + high) / 2))
