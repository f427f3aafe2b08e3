"""Photometric augmentation: values in range, no shift, deterministic."""

import cv2
import numpy as np
import pytest

from simplepose.config import AugmentSettings
from simplepose.data.transforms import photometric
from simplepose.data.transforms.photometric import PhotometricParams

CHANGES = {
    "brightness": PhotometricParams(brightness=1.4),
    "contrast": PhotometricParams(contrast=0.6),
    "saturation": PhotometricParams(saturation=1.5),
    "hue": PhotometricParams(hue=-9),
    "blur": PhotometricParams(blur_sigma=2.5),
    "jpeg": PhotometricParams(jpeg_quality=30),
    "gray": PhotometricParams(gray=True),
    "all": PhotometricParams(1.4, 0.6, 1.5, 9, 2.5, 30, True),
}
ALL_ON = AugmentSettings(
    jitter_probability=1,
    blur_probability=1,
    jpeg_probability=1,
    gray_probability=1,
)


def noise_image(rng, size_hw=(40, 56)):
    return rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)


def smooth_image(size_hw=(64, 96)):
    """An image without edges, of many colors."""
    ys, xs = np.mgrid[: size_hw[0], : size_hw[1]]
    channels = [60 + xs, 200 - ys, 90 + (xs + ys) // 2]
    return np.stack(channels, -1).astype(np.uint8)


def test_default_parameters_change_nothing(rng):
    image = noise_image(rng)
    assert photometric.sample_params(rng, AugmentSettings()) == PhotometricParams()
    assert np.array_equal(photometric.apply(image, PhotometricParams()), image)


@pytest.mark.parametrize("params", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("size_hw", [(40, 56), (8, 8), (1, 1), (3, 200)])
def test_each_change_works_on_any_size_and_keeps_its_input(params, size_hw, rng):
    image = noise_image(rng, size_hw)
    before = image.copy()
    out = photometric.apply(image, params)
    assert out.shape == image.shape
    assert out.dtype == np.uint8
    assert np.array_equal(image, before)
    assert np.array_equal(out, photometric.apply(image, params))
    if size_hw == (40, 56):
        assert not np.array_equal(out, image)


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("params", CHANGES.values(), ids=CHANGES)
def test_values_are_clipped(params, value):
    out = photometric.apply(np.full((16, 16, 3), value, np.uint8), params)
    assert np.abs(out.astype(int) - value).max() < 80  # a value that wraps around would differ by 255


def test_brightness_and_contrast_are_factors():
    image = smooth_image()
    darker = photometric.apply(image, PhotometricParams(brightness=0.5))
    assert np.abs(darker - image / 2).max() <= 0.5
    flatter = photometric.apply(image, PhotometricParams(contrast=0.5))
    assert np.ptp(flatter) == pytest.approx(np.ptp(image) / 2, abs=1)
    gray, flatter_gray = (cv2.cvtColor(i, cv2.COLOR_BGR2GRAY) for i in (image, flatter))
    assert flatter_gray.mean() == pytest.approx(gray.mean(), abs=1)


def test_saturation_scales_the_distance_to_gray():
    image = smooth_image()
    spread = {
        factor: np.ptp(
            photometric.apply(image, PhotometricParams(saturation=factor)).astype(float), -1
        ).mean()
        for factor in (0, 0.5, 1)
    }
    assert spread[0] == 0
    assert spread[0.5] == pytest.approx(spread[1] / 2, rel=0.03)


def test_hue_wraps_around():
    red = np.full((4, 4, 3), (0, 0, 255), np.uint8)
    assert photometric.apply(red, PhotometricParams(hue=60))[0, 0].tolist() == [0, 255, 0]
    assert photometric.apply(red, PhotometricParams(hue=-60))[0, 0].tolist() == [255, 0, 0]
    assert photometric.apply(red, PhotometricParams(hue=180))[0, 0].tolist() == [0, 0, 255]


def test_a_gray_image_has_equal_channels_after_all_other_changes(rng):
    for params in (CHANGES["gray"], CHANGES["all"]):
        out = photometric.apply(noise_image(rng), params)
        assert np.array_equal(out[..., 0], out[..., 1])
        assert np.array_equal(out[..., 0], out[..., 2])


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0, 3.0])
def test_blur_does_not_move_a_white_pixel(sigma):
    image = np.zeros((41, 51, 3), np.uint8)
    image[19:22, 29:32] = 255
    weight = photometric.apply(image, PhotometricParams(blur_sigma=sigma))[..., 0].astype(float)
    ys, xs = np.mgrid[:41, :51]
    center = np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()
    assert np.abs(center - (30, 20)).max() < 0.05
    assert weight.sum() == pytest.approx(9 * 255, rel=0.1)


def test_higher_jpeg_quality_loses_less():
    image = smooth_image()
    image[20:40, 30:60] = 0
    lost = {
        quality: np.abs(
            photometric.apply(image, PhotometricParams(jpeg_quality=quality)).astype(int) - image
        ).mean()
        for quality in (10, 50, 100)
    }
    assert lost[100] < 2 < lost[10]
    assert lost[100] < lost[50] < lost[10]


def test_sampled_parameters_stay_within_the_settings():
    rng = np.random.default_rng(0)
    all_params = [photometric.sample_params(rng, ALL_ON) for _ in range(300)]
    ranges = {
        "jitter_brightness": [d.brightness for d in all_params],
        "jitter_contrast": [d.contrast for d in all_params],
        "jitter_saturation": [d.saturation for d in all_params],
        "jitter_hue": [d.hue for d in all_params],
        "blur_sigma": [d.blur_sigma for d in all_params],
        "jpeg_quality": [d.jpeg_quality for d in all_params],
    }
    for name, values in ranges.items():
        low, high = getattr(ALL_ON, name)
        assert low <= min(values) < low + 0.1 * (high - low) < high - 0.1 * (high - low) < max(values) <= high
    assert all(d.gray for d in all_params)


@pytest.mark.parametrize("name", ["jitter", "blur", "jpeg", "gray"])
def test_each_change_is_as_frequent_as_its_probability(name):
    rng = np.random.default_rng(1)
    settings = AugmentSettings(**{f"{name}_probability": 0.3})
    changed = sum(photometric.sample_params(rng, settings) != PhotometricParams() for _ in range(600))
    assert 140 < changed < 220


@pytest.mark.parametrize("sigma", [0, 100])
def test_the_limits_of_the_settings_work(sigma, rng):
    settings = AugmentSettings(blur_sigma=(sigma, sigma), blur_probability=1)
    out = photometric.apply(noise_image(rng), photometric.sample_params(rng, settings))
    assert out.shape == (40, 56, 3)
