"""How a picture looks: in range, in place, and the same for the same decision."""

import cv2
import numpy as np
import pytest

from simplepose.config import AugmentSettings
from simplepose.data.transforms import photometric
from simplepose.data.transforms.photometric import Appearance

CHANGES = {
    "brightness": Appearance(brightness=1.4),
    "contrast": Appearance(contrast=0.6),
    "saturation": Appearance(saturation=1.5),
    "hue": Appearance(hue=-9),
    "blur": Appearance(blur_sigma=2.5),
    "motion": Appearance(motion=(15.0, 30.0)),
    "noise": Appearance(noise=(15.0, 7)),
    "jpeg": Appearance(jpeg_quality=30),
    "grey": Appearance(grey=True),
    "all": Appearance(1.4, 0.6, 1.5, 9, 2.5, (15.0, 100.0), (15.0, 7), 30, True),
}
EVERYTHING = AugmentSettings(
    jitter_probability=1,
    blur_probability=1,
    motion_blur_probability=1,
    noise_probability=1,
    jpeg_probability=1,
    grey_probability=1,
)


def noisy(rng, size_hw=(40, 56)):
    return rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)


def smooth(size_hw=(64, 96)):
    """A picture without edges, of many colours."""
    ys, xs = np.mgrid[: size_hw[0], : size_hw[1]]
    channels = [60 + xs, 200 - ys, 90 + (xs + ys) // 2]
    return np.stack(channels, -1).astype(np.uint8)


def test_nothing_asked_changes_nothing(rng):
    image = noisy(rng)
    assert photometric.draw(rng, AugmentSettings()) == Appearance()
    assert np.array_equal(photometric.apply(image, Appearance()), image)


@pytest.mark.parametrize("how", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("size_hw", [(40, 56), (8, 8), (1, 1), (3, 200)])
def test_each_changes_a_picture_of_any_size_and_not_the_one_given(how, size_hw, rng):
    image = noisy(rng, size_hw)
    before = image.copy()
    out = photometric.apply(image, how)
    assert out.shape == image.shape
    assert out.dtype == np.uint8
    assert np.array_equal(image, before)
    assert np.array_equal(out, photometric.apply(image, how))
    if size_hw == (40, 56):
        assert not np.array_equal(out, image)


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("how", CHANGES.values(), ids=CHANGES)
def test_values_stop_at_black_and_white(how, value):
    out = photometric.apply(np.full((16, 16, 3), value, np.uint8), how)
    assert np.abs(out.astype(int) - value).max() < 80  # a value that went round would be 255 away


def test_brightness_and_contrast_are_factors():
    image = smooth()
    darker = photometric.apply(image, Appearance(brightness=0.5))
    assert np.abs(darker - image / 2).max() <= 0.5
    flatter = photometric.apply(image, Appearance(contrast=0.5))
    assert np.ptp(flatter) == pytest.approx(np.ptp(image) / 2, abs=1)
    grey, flatter_grey = (cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in (image, flatter))
    assert flatter_grey.mean() == pytest.approx(grey.mean(), abs=1)


def test_saturation_is_a_factor_on_the_distance_to_grey():
    image = smooth()
    spread = {
        factor: np.ptp(photometric.apply(image, Appearance(saturation=factor)).astype(float), -1).mean()
        for factor in (0, 0.5, 1)
    }
    assert spread[0] == 0
    assert spread[0.5] == pytest.approx(spread[1] / 2, rel=0.03)


def test_hue_goes_round():
    red = np.full((4, 4, 3), (0, 0, 255), np.uint8)
    assert photometric.apply(red, Appearance(hue=60))[0, 0].tolist() == [0, 255, 0]
    assert photometric.apply(red, Appearance(hue=-60))[0, 0].tolist() == [255, 0, 0]
    assert photometric.apply(red, Appearance(hue=180))[0, 0].tolist() == [0, 0, 255]


def test_a_grey_picture_has_equal_channels_whatever_else_is_done(rng):
    for how in (CHANGES["grey"], CHANGES["all"]):
        out = photometric.apply(noisy(rng), how)
        assert np.array_equal(out[..., 0], out[..., 1])
        assert np.array_equal(out[..., 0], out[..., 2])


@pytest.mark.parametrize("length", [1.0, 2.0, 3.7, 15.0])
@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 170.0])
def test_a_blurred_white_pixel_stays_where_it_was(length, degrees):
    image = np.zeros((41, 51, 3), np.uint8)
    image[19:22, 29:32] = 255
    for how in (Appearance(motion=(length, degrees)), Appearance(blur_sigma=length / 5)):
        weight = photometric.apply(image, how)[..., 0].astype(float)
        ys, xs = np.mgrid[:41, :51]
        centre = np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()
        assert np.abs(centre - (30, 20)).max() < 0.05
        assert weight.sum() == pytest.approx(9 * 255, rel=0.1)


def test_motion_blur_runs_along_its_direction():
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 255
    blurred = photometric.apply(image, Appearance(motion=(9.0, 0.0)))[..., 0] > 0
    assert np.flatnonzero(blurred.any(1)).tolist() == [20]
    assert np.flatnonzero(blurred.any(0)).tolist() == list(range(16, 25))
    falling = photometric.apply(image, Appearance(motion=(9.0, 45.0)))[..., 0] > 0
    assert falling[22, 22]
    assert not falling[18, 22]


def test_noise_has_its_deviation_and_no_bias():
    image = np.full((200, 200, 3), 128, np.uint8)
    off = photometric.apply(image, Appearance(noise=(10.0, 3))).astype(float) - 128
    assert off.std() == pytest.approx(10, rel=0.03)
    assert abs(off.mean()) < 0.2
    other = photometric.apply(image, Appearance(noise=(10.0, 4))).astype(float) - 128
    assert abs(np.corrcoef(off.ravel(), other.ravel())[0, 1]) < 0.02


def test_jpeg_loses_less_the_better_it_is():
    image = smooth()
    image[20:40, 30:60] = 0
    lost = {
        quality: np.abs(photometric.apply(image, Appearance(jpeg_quality=quality)).astype(int) - image).mean()
        for quality in (10, 50, 100)
    }
    assert lost[100] < 2 < lost[10]
    assert lost[100] < lost[50] < lost[10]


def test_draws_stay_within_their_settings():
    rng = np.random.default_rng(0)
    draws = [photometric.draw(rng, EVERYTHING) for _ in range(300)]
    ranges = {
        "jitter_brightness": [d.brightness for d in draws],
        "jitter_contrast": [d.contrast for d in draws],
        "jitter_saturation": [d.saturation for d in draws],
        "jitter_hue": [d.hue for d in draws],
        "blur_sigma": [d.blur_sigma for d in draws],
        "motion_blur_length": [d.motion[0] for d in draws],
        "noise_sigma": [d.noise[0] for d in draws],
        "jpeg_quality": [d.jpeg_quality for d in draws],
    }
    for name, values in ranges.items():
        low, high = getattr(EVERYTHING, name)
        assert low <= min(values) < low + 0.1 * (high - low) < high - 0.1 * (high - low) < max(values) <= high
    assert all(d.grey for d in draws)
    assert len({d.noise[1] for d in draws}) == 300


@pytest.mark.parametrize("name", ["jitter", "blur", "motion_blur", "noise", "jpeg", "grey"])
def test_each_is_drawn_as_often_as_its_setting_says(name):
    rng = np.random.default_rng(1)
    settings = AugmentSettings(**{f"{name}_probability": 0.3})
    changed = sum(photometric.draw(rng, settings) != Appearance() for _ in range(600))
    assert 140 < changed < 220


@pytest.mark.parametrize("name", ["blur_sigma", "motion_blur_length", "noise_sigma"])
@pytest.mark.parametrize("end", ["least", "most"])
def test_the_ends_of_what_may_be_set_work(name, end, rng):
    value = {"blur_sigma": (0, 100), "motion_blur_length": (1, 500), "noise_sigma": (0, 255)}[name][
        end == "most"
    ]
    settings = AugmentSettings(
        **{name: (value, value)}, blur_probability=1, motion_blur_probability=1, noise_probability=1
    )
    out = photometric.apply(noisy(rng), photometric.draw(rng, settings))
    assert out.shape == (40, 56, 3)
