"""Augmentation: the published affine, and one affine for image, masks and joints."""

import json

import numpy as np
import pytest

from simplepose import geometry
from simplepose.config import AugmentSettings
from simplepose.data.record import Record
from simplepose.data.transforms import augment
from simplepose.data.transforms.augment import AugmentParams
from simplepose.skeleton import COCO

NOTHING = AugmentSettings(rotation=0, shift=0, scale_probability=0, flip_probability=0, tint_probability=0)
CHANGES = {
    "nothing": NOTHING,
    "rotation": AugmentSettings(shift=0, scale_probability=0, flip_probability=0, tint_probability=0),
    "shift": AugmentSettings(rotation=0, scale_probability=0, flip_probability=0, tint_probability=0),
    "scale": AugmentSettings(
        rotation=0, shift=0, scale_probability=1, flip_probability=0, tint_probability=0
    ),
    "flip": AugmentSettings(rotation=0, shift=0, scale_probability=0, flip_probability=1, tint_probability=0),
    "all": AugmentSettings(flip_probability=0.5, tint_probability=0),
    "all, non-square": AugmentSettings(size=(256, 384), tint_probability=0),
    "all, image": AugmentSettings(size=(384, 320), framing="image", tint_probability=0),
}


def record(keypoints, image=None, height=150.0, center=(160.0, 120.0)):
    image = np.zeros((240, 320, 3), np.uint8) if image is None else image
    size = image.shape[:2]
    keypoints = np.asarray(keypoints, np.float32).reshape(-1, 17, 3)
    return Record(image, np.full(size, 255, np.uint8), np.zeros(size, np.uint8), keypoints, center, height, 1)


def test_affine_and_joints_equal_the_published_ones(shared):
    cases = json.loads((shared / "reference/targets_cases.json").read_text())
    with np.load(shared / "reference/targets.npz") as expected:
        for case in cases:
            name = f"case{case['case']}"
            sample = record(
                expected[f"{name}_coco_keypoints"],
                height=case["scale_provided"] * 512,
                center=tuple(case["main_person_center"]),
            )
            params = AugmentParams(case["degree"], case["scale"], tuple(case["crop"]), case["flip"])
            matrix = augment.affine_matrix(sample, params, AugmentSettings())
            assert np.abs(matrix - expected[f"{name}_matrix"]).max() < 1e-6
            joints = augment.apply(sample, params, AugmentSettings(), COCO, 4).joints
            labeled = expected[f"{name}_joints18"][..., 2] < 2  # 0 occluded, 1 visible
            assert np.array_equal(joints[..., 2] > 0, labeled)
            off = joints[labeled][:, :2] - expected[f"{name}_joints18"][labeled][:, :2]
            assert np.abs(off).max() < 1e-3


@pytest.mark.parametrize("settings", CHANGES.values(), ids=CHANGES)
def test_a_white_pixel_moves_with_its_keypoint(settings, rng):
    tried = 0
    for _ in range(40):
        x, y = rng.integers(100, 220), rng.integers(70, 170)
        joint = rng.integers(17)
        keypoints = np.zeros((1, 17, 3))
        keypoints[0, joint] = x, y, 2
        image = np.zeros((240, 320, 3), np.uint8)
        image[y, x] = 255
        sample = record(keypoints, image)
        sample.mask_miss[:] = 0
        sample.mask_miss[y, x] = 255
        sample.mask_all[y, x] = 255
        params = augment.sample_params(rng, settings)
        out = augment.apply(sample, params, settings, COCO, 1)
        found = np.flatnonzero(out.joints[0, :, 2])
        assert len(found) == 1
        mirrored = COCO.annotated_flip[joint] if params.flip else joint
        assert COCO.joints[found[0]] == COCO.annotated[mirrored]
        target = out.joints[0, found[0], :2]
        if not (np.array([4, 4]) < target).all() or not (target < np.array(settings.size[::-1]) - 5).all():
            continue
        tried += 1
        inner = np.zeros(settings.size, bool)  # mask_miss is 255 outside the image: check near the joint only
        column, row = np.round(target).astype(int)
        inner[row - 4 : row + 5, column - 4 : column + 5] = True
        for painted in (out.image[..., 0], out.person_mask, np.where(inner, out.mask_miss, 0)):
            weight = np.where(painted == augment.FILL_BGR[0], 0, painted).astype(float) * inner
            ys, xs = np.mgrid[: settings.size[0], : settings.size[1]]
            center = np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()
            assert np.abs(center - target).max() < 0.8
    assert tried >= 10


def test_flipping_twice_restores_the_joints(rng):
    keypoints = rng.uniform(0, 240, (3, 17, 3))
    keypoints[..., 2] = rng.integers(0, 3, (3, 17))
    plain = augment.apply(record(keypoints), AugmentParams(), NOTHING, COCO, 4).joints
    flipped = augment.apply(record(keypoints), AugmentParams(flip=True), NOTHING, COCO, 4).joints
    again = flipped[:, COCO.joint_flip].copy()
    again[..., 0] = np.where(again[..., 2] > 0, 511 - again[..., 0], 0)
    assert np.allclose(again, plain, atol=1e-3)


def test_person_framing_sets_height_and_center(rng):
    sample = record(np.zeros((1, 17, 3)), height=90.0, center=(33.0, 44.0))
    matrix = augment.affine_matrix(sample, AugmentParams(), NOTHING)
    assert matrix @ (33, 44, 1) == pytest.approx([255.5, 255.5])
    assert matrix[1, 1] * 90 == pytest.approx(0.6 * 511)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("image_hw", [(240, 320), (320, 240), (240, 240), (1, 1)])
def test_image_framing_matches_inference(image_hw, flip):
    settings = AugmentSettings(size=(384, 512), framing="image")
    sample = record(np.zeros((0, 17, 3)), np.zeros((*image_hw, 3), np.uint8))
    matrix = augment.affine_matrix(sample, AugmentParams(flip=flip), settings)
    resized = (384, 384 * image_hw[1] // image_hw[0])
    expected = geometry.resizing(image_hw, resized)
    if flip:
        expected = geometry.compose(expected, np.array([[-1, 0, resized[1] - 1], [0, 1, 0]], float))
    assert matrix == pytest.approx(expected, abs=1e-9)


def test_a_too_wide_framed_image_is_cropped_on_both_sides():
    sample = record(np.zeros((0, 17, 3)), np.zeros((240, 960, 3), np.uint8))
    matrix = augment.affine_matrix(sample, AugmentParams(), AugmentSettings(size=(384, 512), framing="image"))
    assert matrix[0, 0] == matrix[1, 1] == 384 / 240
    assert matrix @ (479.5, 119.5, 1) == pytest.approx([255.5, 191.5])


def test_outside_the_image_masks_have_no_people_and_the_loss_counts():
    sample = record(np.zeros((0, 17, 3)), np.zeros((1, 1, 3), np.uint8), 1.0, (5000.0, 5000.0))
    out = augment.apply(sample, AugmentParams(), NOTHING, COCO, 4)
    assert (out.image == augment.FILL_BGR).all()
    assert (out.mask_miss == 255).all()
    assert not out.person_mask.any()
    assert out.joints.shape == (0, 18, 3)
    assert out.mask_miss.shape == (128, 128)


def test_the_same_seed_gives_the_same_sample(rng):
    image = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    all_params = [
        augment.sample_params(np.random.default_rng([3, 1, 4]), AugmentSettings(tint_probability=1))
        for _ in range(2)
    ]
    assert all_params[0] == all_params[1]
    first, second = (
        augment.apply(record(np.zeros((1, 17, 3)), image), d, AugmentSettings(), COCO, 4).image
        for d in all_params
    )
    assert np.array_equal(first, second)


def test_sampled_parameters_stay_within_the_settings():
    rng = np.random.default_rng(0)
    all_params = [augment.sample_params(rng, AugmentSettings()) for _ in range(500)]
    assert all(abs(d.degrees) <= 40 and 0.7 <= d.scale <= 1.3 for d in all_params)
    assert {abs(axis) for d in all_params for axis in d.shift_xy} >= {0, 50}
    assert max(abs(axis) for d in all_params for axis in d.shift_xy) == 50
    tints = np.array([d.tint for d in all_params if d.tint])
    assert 60 < len(tints) < 140
    assert (tints.min(0) >= (-10, -20, -20)).all()
    assert (tints.max(0) <= (10, 60, 40)).all()


def test_a_zero_tint_hardly_changes_the_image(rng):
    image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    off = np.abs(augment.tint(image, (0, 0, 0)).astype(int) - image)
    assert off.mean() < 2
    brighter = augment.tint(image, (0, 0, 40))
    assert brighter.max(-1).mean() > image.max(-1).mean() + 20


NAMES = ("half_body", "copy_paste", "erase", "jitter", "blur", "jpeg", "gray")
STRONG = {f"{name}_probability": 1.0 for name in NAMES}


def test_only_the_published_recipe_is_on_by_default():
    assert all(getattr(AugmentSettings(), name) == 0 for name in STRONG)
    rng = np.random.default_rng(0)
    for _ in range(100):
        params = augment.sample_params(rng, AugmentSettings())
        assert params == AugmentParams(
            params.degrees, params.scale, params.shift_xy, params.flip, params.tint
        )


def test_published_parameters_are_sampled_in_the_published_order():
    """The order of sampling is written out, so that samples of existing runs stay the same."""
    rng, settings = np.random.default_rng([0, 3, 4]), AugmentSettings()
    params = augment.sample_params(np.random.default_rng([0, 3, 4]), settings)
    scaled, tinted = rng.random() < 0.8, rng.random() < 0.2
    assert params.degrees == rng.uniform(-40, 40)
    assert params.scale == (rng.uniform(0.7, 1.3) if scaled else 1)
    assert params.shift_xy == (rng.integers(-50, 51), rng.integers(-50, 51))
    assert params.flip == (rng.random() < 0.5)
    assert (params.tint is not None) == tinted


@pytest.mark.parametrize("name", STRONG)
def test_other_augmentations_do_not_change_the_published_parameters(name):
    for seed in range(20):
        plain = augment.sample_params(np.random.default_rng(seed), AugmentSettings())
        strong = augment.sample_params(np.random.default_rng(seed), AugmentSettings(**{name: 1.0}))
        assert strong != plain
        published = (strong.degrees, strong.scale, strong.shift_xy, strong.flip, strong.tint)
        assert published == (plain.degrees, plain.scale, plain.shift_xy, plain.flip, plain.tint)


@pytest.mark.parametrize("framing", ["person", "image"])
@pytest.mark.parametrize("image_hw", [(1, 1), (8, 8), (8, 50), (240, 320)])
@pytest.mark.parametrize("people", [0, 1, 3])
def test_all_augmentations_together_give_a_valid_sample_of_any_image(image_hw, people, framing, rng):
    settings = AugmentSettings(size=(64, 128), framing=framing, tint_probability=1, **STRONG)
    keypoints = rng.uniform(0, max(image_hw), (people, 17, 3))
    keypoints[..., 2] = rng.integers(0, 3, (people, 17))
    image = rng.integers(0, 256, (*image_hw, 3), dtype=np.uint8)
    center = ((image_hw[1] - 1) / 2, (image_hw[0] - 1) / 2)
    host = record(keypoints, image, height=0.6 * image_hw[0], center=center)
    for seed in range(5):
        params = augment.sample_params(np.random.default_rng(seed), settings)
        donors = [host] * len(params.pastes)
        first, second = (augment.apply(host, params, settings, COCO, 4, donors) for _ in range(2))
        assert all(
            np.array_equal(a, b) for a, b in zip(vars(first).values(), vars(second).values(), strict=True)
        )
        assert first.image.shape == (64, 128, 3)
        assert first.mask_miss.shape == first.person_mask.shape == (16, 32)
        assert first.image.dtype == first.mask_miss.dtype == first.person_mask.dtype == np.uint8
        assert first.joints.shape[1:] == (18, 3)
        assert first.joints.dtype == np.float32
        assert set(np.unique(first.joints[..., 2])) <= {0, 1, 2}
