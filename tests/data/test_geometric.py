"""Half-body augmentation: frame the joints of the upper or the lower body, selected by name."""

from collections import Counter

import numpy as np
import pytest
from records import blank_record
from stick_body import upright

from simplepose.config import AugmentSettings
from simplepose.data.transforms import augment
from simplepose.data.transforms.augment import AugmentParams
from simplepose.skeleton import COCO

LOWER_BODY_WORDS = AugmentSettings().lower_body
LOWER = np.array([name.split("_")[-1] in ("hip", "knee", "ankle") for name in COCO.annotated])
PLAIN = AugmentSettings(size=(256, 384))


def person(labeled=None, size_hw=(240, 320)):
    """An upright person, 200 pixels high, with these joints labeled (default: all)."""
    record = blank_record(size_hw, people=1, height=200.0, center_xy=(160.0, 120.0))
    record.keypoints[0, :, :2] = (160, 120) + 200 * upright()
    record.keypoints[0, :, 2] = 2 if labeled is None else 2 * labeled
    return record


@pytest.mark.parametrize(("half", "members"), [("upper", ~LOWER), ("lower", LOWER)])
def test_the_half_is_centered_and_fills_the_crop(half, members):
    record = person()
    joints = augment.apply(record, AugmentParams(half=half), PLAIN, COCO, 4).joints
    points = COCO.to_annotated(joints)[0, members, :2]
    low, high = points.min(0), points.max(0)
    assert (low + high) / 2 == pytest.approx((191.5, 127.5), abs=0.1)
    assert (high - low).max() == pytest.approx(PLAIN.person_height * 255 / augment.HALF_BODY_MARGIN, rel=1e-3)
    assert len(joints) == 1
    assert (joints[0, :, 2] == 2).all()  # the other half keeps its labels


@pytest.mark.parametrize("half", ["upper", "lower"])
def test_a_half_with_too_few_joints_falls_back_to_the_other_then_to_the_whole(half):
    upper_only = person(~LOWER)
    framed = augment.frame_half_body(upper_only, half, LOWER_BODY_WORDS, COCO)
    assert framed.center_xy == augment.frame_half_body(upper_only, "upper", LOWER_BODY_WORDS, COCO).center_xy
    assert framed.center_xy != upper_only.center_xy
    for record in (
        person(np.arange(17) < 2),
        person(np.zeros(17, bool)),
        blank_record(),
        blank_record((8, 8)),
    ):
        assert augment.frame_half_body(record, half, LOWER_BODY_WORDS, COCO) is record


def test_coinciding_joints_have_a_limited_enlargement():
    record = person()
    record.keypoints[0, :, :2] = 50, 60
    framed = augment.frame_half_body(record, "upper", LOWER_BODY_WORDS, COCO)
    assert framed.center_xy == (50, 60)
    assert framed.height == augment.MIN_HALF_BODY_HEIGHT_RATIO * record.height


def test_a_white_pixel_moves_with_its_keypoint(rng):
    settings = AugmentSettings(size=(256, 384), half_body_probability=1, tint_probability=0, shift=10)
    tried = 0
    for _ in range(30):
        record = person()
        joint = int(rng.integers(17))
        x, y = np.rint(record.keypoints[0, joint, :2]).astype(int)
        record.keypoints[0, joint, :2] = x, y
        params = augment.sample_params(rng, settings)
        black = augment.apply(record, params, settings, COCO, 1).image.astype(int)
        record.image[y, x] = 255
        out = augment.apply(record, params, settings, COCO, 1)
        mirrored = COCO.annotated_flip[joint] if params.flip else joint
        target = out.joints[0, COCO.joint_of_annotated[mirrored], :2]
        if not (target > 9).all() or not (target < np.array([374, 246])).all():
            continue
        tried += 1
        weight = (out.image - black)[..., 0]
        ys, xs = np.mgrid[:256, :384]
        center = np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()
        assert np.abs(center - target).max() < 0.8
    assert tried >= 10


def test_image_framing_ignores_the_half():
    settings = AugmentSettings(size=(256, 384), framing="image")
    plain, half = (
        augment.apply(person(), params, settings, COCO, 4).joints
        for params in (AugmentParams(), AugmentParams(half="upper"))
    )
    assert np.array_equal(plain, half)


def test_halves_are_as_frequent_as_their_probability():
    rng = np.random.default_rng(0)
    counts = Counter(
        augment.sample_half_body(rng, AugmentSettings(half_body_probability=0.4)) for _ in range(1000)
    )
    assert 330 < counts["upper"] + counts["lower"] < 470
    assert abs(counts["upper"] - counts["lower"]) < 80
    assert augment.sample_half_body(rng, AugmentSettings()) is None


def test_a_skeleton_without_lower_body_names_frames_the_whole_body():
    record = person()
    framed = augment.frame_half_body(record, "lower", ("wing",), COCO)
    low, high = record.keypoints[0, :, :2].min(0), record.keypoints[0, :, :2].max(0)
    assert framed.center_xy == pytest.approx(tuple((low + high) / 2))
