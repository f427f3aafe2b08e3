"""The settings of augmentation: first the published recipe, then what it has not, which is off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simplepose.setting_checks import above, at_least, require, share, span


@dataclass(frozen=True)
class Augment:
    """How a training sample is cut from its picture, and changed by chance.

    Each pair is the range that a value is drawn from. From `half_body_probability` on nothing is of the
    published recipe, and each probability is 0.
    """

    size: tuple[int, int] = (512, 512)  # height, width of a sample, pixels, multiples of 64
    framing: Literal["person", "picture"] = "person"  # centre a person; or lay the picture as inference does
    person_height: float = 0.6  # framing by person: its box height as a share of the sample's
    scale: tuple[float, float] = (0.7, 1.3)  # random factor on top
    scale_probability: float = 0.8
    rotation: float = 40.0  # degrees, either way
    shift: int = 50  # pixels, either way, in x and in y
    flip_probability: float = 0.5
    tint_probability: float = 0.2
    hue: tuple[int, int] = (-10, 10)  # of 180
    saturation: tuple[int, int] = (-20, 60)  # of 255
    value: tuple[int, int] = (-20, 40)  # of 255
    published_crop: int = 512  # files in the published layout: pixels of height that their scales refer to
    half_body_probability: float = 0.0  # framing by person: frame its upper or its lower body's joints
    lower_body: tuple[str, ...] = ("hip", "knee", "ankle", "heel", "foot", "toe")  # in their joints' names
    copy_paste_probability: float = 0.0  # people of other samples, cut out, are pasted onto this one
    copy_paste_people: tuple[int, int] = (1, 2)  # how many are tried; of a crowd nobody can be cut out
    copy_paste_height: tuple[float, float] = (0.25, 0.75)  # box height as a share of the sample's
    copy_paste_rotation: float = 20.0  # degrees, either way
    erase_probability: float = 0.0  # a rectangle of one colour hides what lies under it
    erase_area: tuple[float, float] = (0.02, 0.12)  # share of the sample
    erase_aspect: tuple[float, float] = (0.4, 2.5)  # width by height
    jitter_probability: float = 0.0  # brightness, contrast, saturation and hue, together
    jitter_brightness: tuple[float, float] = (0.6, 1.4)  # factor
    jitter_contrast: tuple[float, float] = (0.6, 1.4)  # factor, about the mean
    jitter_saturation: tuple[float, float] = (0.5, 1.5)  # factor; 0: grey
    jitter_hue: tuple[int, int] = (-9, 9)  # of 180, round and round; `hue` stops at both ends, as published
    blur_probability: float = 0.0  # Gaussian
    blur_sigma: tuple[float, float] = (0.5, 2.5)  # pixels
    motion_blur_probability: float = 0.0  # along a line of any direction
    motion_blur_length: tuple[float, float] = (3.0, 15.0)  # pixels
    noise_probability: float = 0.0  # Gaussian, of each pixel and channel
    noise_sigma: tuple[float, float] = (2.0, 15.0)  # of 255
    jpeg_probability: float = 0.0  # artefacts of JPEG
    jpeg_quality: tuple[int, int] = (30, 90)  # of 100
    grey_probability: float = 0.0

    def __post_init__(self) -> None:
        require(
            all(s > 0 and s % 64 == 0 for s in self.size),
            f"size in multiples of 64 expected, got {self.size}",
        )
        span(self, "hue", "saturation", "value", "jitter_hue")
        span(self, "scale")
        require(self.scale[0] > 0, "scale must be positive")
        above(0, self, "person_height")
        at_least(0, self, "rotation", "shift", "copy_paste_rotation")
        at_least(1, self, "published_crop")
        share(self, "scale_probability", "flip_probability", "tint_probability", "half_body_probability")
        share(self, "copy_paste_probability", "erase_probability", "jitter_probability", "grey_probability")
        share(self, "blur_probability", "motion_blur_probability", "noise_probability", "jpeg_probability")
        span(self, "copy_paste_people", least=1, most=100)
        span(self, "copy_paste_height", "erase_aspect", least=0.01, most=100)
        span(self, "erase_area", least=0, most=1)
        span(self, "jitter_brightness", "jitter_contrast", "jitter_saturation", least=0, most=100)
        span(self, "blur_sigma", least=0, most=100)
        span(self, "noise_sigma", least=0, most=255)
        span(self, "motion_blur_length", least=1, most=500)
        span(self, "jpeg_quality", least=1, most=100)
