"""Every setting of the project: its name, unit and default, in one place.

Settings are frozen dataclasses that are passed as arguments; there is no global state. A YAML file states
only what differs from the defaults. The defaults of the network, targets, loss, augmentation and training are
the published ones (arXiv:1911.10529 and its released code). The defaults of the grouping are ours
(docs/deviations.md); the published rules are available as a setting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from simplepose import yaml_config


def at_least(least: float, settings: object, *names: str) -> None:
    """Raise ValueError where one of these settings is below `least`, or NaN."""
    for name in names:
        value = getattr(settings, name)
        require(value >= least, f"{name} of at least {least} expected, got {value}")


def above(bound: float, settings: object, *names: str) -> None:
    """Raise ValueError where one of these settings is not above `bound`, or NaN."""
    for name in names:
        value = getattr(settings, name)
        require(value > bound, f"{name} above {bound} expected, got {value}")


def share(settings: object, *names: str) -> None:
    """Raise ValueError where one of these settings is not from 0 to 1."""
    for name in names:
        value = getattr(settings, name)
        require(0 <= value <= 1, f"{name} from 0 to 1 expected, got {value}")


def span(settings: object, *names: str, least: float = float("-inf"), most: float = float("inf")) -> None:
    """Raise ValueError where one of these pairs falls, or leaves `least` to `most`."""
    for name in names:
        low, high = getattr(settings, name)
        require(low <= high, f"{name}: the first value must not exceed the second, got {low}, {high}")
        require(least <= low, f"{name}: values of at least {least:g} expected, got {low}")
        require(high <= most, f"{name}: values of at most {most:g} expected, got {high}")


def require(condition: bool, message: str) -> None:
    """Raise ValueError with that message unless the condition holds."""
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class AugmentSettings:
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


@dataclass(frozen=True)
class ModelSettings:
    """The shape of the IMHN network; the defaults are the published 129.0 M parameters."""

    stacks: int = 4  # hourglasses in a row
    stem_width: int = 64  # channels after the first convolution, stride 2
    width: int = 256  # channels at stride 4
    growth: int = 128  # channels more at each halving of the resolution
    head_width: int = 256  # channels of the features before the maps
    reduction: int = 16  # squeeze-excitation: head_width / reduction hidden units
    dilations: tuple[int, ...] = (3, 3, 4, 4, 5, 5)  # of the stem's 3x3 convolutions
    scales: int = 5  # that have heads, from stride 4 on; the coarser ones only help training
    encoder: Literal["hourglass", "mobilenet_v2"] = "hourglass"  # the first hourglass's way down
    encoder_multiplier: float = 1.5  # mobilenet_v2: of its channels; MoveNet MultiPose has 1.5

    def __post_init__(self) -> None:
        at_least(1, self, "stacks", "stem_width", "width", "head_width", "reduction")
        at_least(0, self, "growth")
        require(1 <= self.scales <= 5, f"scales from 1 to 5 expected, got {self.scales}")
        above(0, self, "encoder_multiplier")
        require(
            math.isfinite(self.encoder_multiplier),
            f"finite encoder_multiplier expected, got {self.encoder_multiplier}",
        )
        require(
            min(self.dilations, default=1) >= 1, f"dilations of at least 1 expected, got {self.dilations}"
        )
        require(self.width % 4 == 0 and self.growth % 2 == 0, "width must be a multiple of 4 and growth of 2")
        require(self.head_width >= self.reduction, "reduction must not exceed head_width")


@dataclass(frozen=True)
class TargetSettings:
    """How joints are drawn into the maps that the network learns."""

    stride: int = 4  # input pixels a cell
    keypoint_sigma: float = 9.0  # spread of a joint's Gaussian, input pixels
    limb_sigma: float = 7.0  # spread across a limb, input pixels
    threshold: float = 0.015  # a Gaussian is cut where it falls to this
    limb_floor: float = 0.01  # value of a limb's box beyond the cut (published; 0 for the plain L2 result)

    def __post_init__(self) -> None:
        at_least(1, self, "stride")
        above(0, self, "keypoint_sigma", "limb_sigma")
        require(0 < self.threshold < 1, f"threshold between 0 and 1 expected, got {self.threshold}")
        at_least(0, self, "limb_floor")


@dataclass(frozen=True)
class LossSettings:
    """The multi-scale, multi-stack loss."""

    kind: Literal["focal_l2", "l2"] = "focal_l2"
    gamma: float = 1.0  # focal exponent: 1 in the released code, 2 for the published result
    scale_weights: tuple[float, ...] = (0.1, 0.2, 0.4, 1.6, 6.4)  # strides 4 to 64
    stack_weights: tuple[float, ...] = ()  # one a stack; empty: all 1
    keypoint_weight: float = 3.0
    person_mask_weight: float = 0.1
    foreground: float = 0.01  # a target of at least this counts as foreground

    def __post_init__(self) -> None:
        at_least(0, self, "gamma", "keypoint_weight", "person_mask_weight")
        require(sum(self.scale_weights) > 0, "scale_weights must have a positive sum")
        require(
            not self.stack_weights or sum(self.stack_weights) > 0, "stack_weights must have a positive sum"
        )


@dataclass(frozen=True)
class TrainSettings:
    """The optimiser, its schedule, and how the run is kept."""

    batch_size: int = 4  # samples of a process that go through the network at once
    accumulate: int = 1  # such batches whose gradients make one step
    epochs: int = 100
    optimizer: Literal["sgd", "adamw"] = "sgd"
    fused: bool = True  # the optimizer's fused kernels, where torch has them for the device
    amp_backend: Literal["torch", "apex"] = "torch"  # whose mixed precision and fused optimizers
    learning_rate: float = 2.5e-5  # times the number of processes
    encoder_lr_factor: float = 1.0  # on the rate of a pretrained encoder's parameters
    momentum: float = 0.9  # SGD's momentum, AdamW's first beta
    weight_decay: float = 5e-4
    clip_norm: float = 0.0  # gradients are scaled down to this norm; 0: never
    schedule: Literal["step", "cosine", "cyclic"] = "step"
    warmup_epochs: float = 3.0  # linear from 0
    step_epochs: float = 15.0  # step: the rate is multiplied by step_factor each time these pass
    step_factor: float = 0.2
    restart_epoch: float | None = 78.0  # step: from here the count starts again ...
    restart_step_epochs: float = 5.0  # ... with steps of this length
    cycle_epochs: float = 5.0  # cyclic: in so many epochs the rate falls to ...
    cycle_factor: float = 0.5  # ... this share of itself, again and again
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    sync_batchnorm: bool = False  # batch norm statistics over all processes
    freeze_batchnorm: bool = False  # batch norm keeps the statistics that it has
    freeze: tuple[str, ...] = ()  # parameters that are not trained, by patterns of their names ("stem.*")
    channels_last: bool = True  # NHWC in memory
    compile: bool = False  # torch.compile
    recompute: bool = False  # activation checkpointing: less memory, about a third more work
    loss_limit: float = 2e5  # a step whose loss exceeds this, or is not finite, is skipped
    skips_in_a_row: int = 50  # so many skipped steps in a row end the run
    ema_decay: float = 0.0  # of the weights' exponential moving average; 0: none is kept
    swa_start: float | None = None  # from this epoch on weights are averaged at the end of each swa_epochs
    swa_epochs: float = 5.0
    workers: int = 2  # processes that read samples, for each process that trains
    strict: bool = False  # a damaged sample ends the run; otherwise another stands in for it
    seed: int = 0
    checkpoint_steps: int = 0  # written each time so many steps are done; 0: by time alone
    checkpoint_minutes: float = 15.0  # and this often, at the end, and on SIGTERM and SIGINT (Ctrl-C)
    keep: int = 3  # newest checkpoints kept
    log_steps: int = 20  # steps that a line of progress tells of
    picture_steps: int = 0  # TensorBoard pictures each time so many steps are done; 0: none
    validate_epochs: int = 1  # validation loss each time so many epochs are done; 0: never
    ap_epochs: int = 0  # COCO AP each time so many epochs are done; 0: never
    ap_pictures: int = 100  # the first pictures of the validation annotations that AP is told of
    timeout_minutes: float = 10.0  # a process that waits for the others so long gives up

    def __post_init__(self) -> None:
        at_least(1, self, "batch_size", "accumulate", "epochs", "skips_in_a_row", "keep", "log_steps")
        at_least(1, self, "ap_pictures")
        at_least(0, self, "learning_rate", "weight_decay", "warmup_epochs", "clip_norm", "workers", "seed")
        at_least(0, self, "encoder_lr_factor")
        at_least(0, self, "checkpoint_steps", "picture_steps", "validate_epochs", "ap_epochs")
        above(
            0, self, "step_epochs", "step_factor", "restart_step_epochs", "loss_limit", "checkpoint_minutes"
        )
        above(0, self, "cycle_epochs", "cycle_factor", "swa_epochs", "timeout_minutes")
        require(
            not (self.compile and self.recompute), "compile and recompute: one of them, torch cannot do both"
        )
        for name in ("momentum", "ema_decay"):
            require(
                0 <= getattr(self, name) < 1, f"{name} from 0 to below 1 expected, got {getattr(self, name)}"
            )


LEAST_PEAK = 1e-6
"""Below this a peak_threshold could, as float32, be 0, and every empty cell a joint."""


@dataclass(frozen=True)
class GroupingSettings:
    """From maps to people (simplepose.grouping).

    The reference rules do not read sure_peak, max_connections and the loose_ settings; to them limb_support
    decides which limbs are kept, and a limb's score is its samples' mean.
    """

    rules: Literal["ours", "reference"] = "ours"  # reference: as published, to compare with
    stride: float = 4.0  # picture pixels a cell of the maps; targets.stride, where both are set
    peak_threshold: float = 0.1  # a joint is a 3 x 3 maximum of at least this
    max_peaks: int = 256  # best peaks of a channel that are kept
    sure_peak: float = 0.5  # a limb between fainter peaks than this counts less, in proportion
    limb_samples: int = 20  # samples on a limb at most; one a cell, and one more
    limb_threshold: float = 0.1  # a sample above this supports the limb
    limb_support: float = 0.8  # share of the samples that must; the value they reach is the limb's score
    max_connections: int = 1024  # best connections of a limb that are kept
    loose_joints: int = 3  # a group of so few joints goes to the nearest larger one that lacks them ...
    loose_score: float = 0.25  # ... if its joints' mean score is at least this ...
    loose_reach: float = 0.5  # ... within this share of the larger one's diagonal
    person_score: float = 0.45  # least sum of scores, joints and limbs, per joint of a person
    person_joints: int = 2  # a person has at least so many joints

    def __post_init__(self) -> None:
        above(0, self, "stride", "sure_peak", "limb_support")
        at_least(LEAST_PEAK, self, "peak_threshold")
        at_least(1, self, "max_peaks", "max_connections", "person_joints")
        at_least(0, self, "limb_threshold", "loose_joints", "loose_score", "loose_reach")
        at_least(2, self, "limb_samples")
        require(self.limb_support <= 1, f"limb_support of at most 1 expected, got {self.limb_support}")


@dataclass(frozen=True)
class InferenceSettings:
    """From a picture to maps."""

    height: int = 640  # pixels that a picture's height, or longest side, is resized to
    fit: Literal["height", "longest"] = "height"  # which of them
    max_height: int = 2600  # but not beyond these
    max_width: int = 3800
    scales: tuple[float, ...] = (1.0,)  # factors on the height; the maps' mean is taken
    flip: bool = True  # average with the mirrored picture's maps

    def __post_init__(self) -> None:
        at_least(1, self, "height", "max_height", "max_width")
        require(len(self.scales) > 0 and min(self.scales) > 0, f"positive scales expected, got {self.scales}")


PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "fast": {"height": 288, "scales": (1.0,), "flip": False},
        "default": {},  # what the checkpoint's own settings state
        "accurate": {"height": 384, "scales": (0.5, 0.75, 1.333), "flip": True},
    }
)
"""Named points between speed and accuracy: the values of `InferenceSettings` that replace the checkpoint's."""


@dataclass(frozen=True)
class TrackingSettings:
    """Who is who from frame to frame (simplepose.tracking); times are in frames of the source."""

    sure_score: float = (
        0.15  # people below this only go on with known tracks that surer ones left, or get no id
    )
    least_similarity: float = (
        0.3  # to a track, joints (OKS) and boxes together; whoever is less like any is new
    )
    box_weight: float = 1.0  # of the overlap of boxes; they count less the more joints tell
    lost_frames: float = 30.0  # a track that is missed for longer ends ...
    trust: float = 5.0  # ... or for longer than this times the frames in which it was seen
    sure_sights: float = 0.8  # whole bodies: a track has an id once what was seen of it adds up to so much
    smoothing: bool = False  # one-euro filter of each joint
    smoothing_cutoff: float = 0.05  # of a joint at rest, cycles a frame; lower: steadier, later
    smoothing_speed: float = 10.0  # cutoff more for each body size a frame; higher: sooner

    def __post_init__(self) -> None:
        at_least(0, self, "sure_score", "box_weight", "lost_frames", "sure_sights", "smoothing_speed")
        at_least(1, self, "trust")
        above(0, self, "least_similarity", "smoothing_cutoff")
        require(
            self.least_similarity <= 1, f"least_similarity of at most 1 expected, got {self.least_similarity}"
        )


@dataclass(frozen=True)
class Settings:
    """All settings of a run, as a file in configs/ states them."""

    skeleton: str = "coco"  # or the path of a skeleton's YAML file
    model: ModelSettings = field(default_factory=ModelSettings)
    targets: TargetSettings = field(default_factory=TargetSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    grouping: GroupingSettings = field(default_factory=GroupingSettings)
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    tracking: TrackingSettings = field(default_factory=TrackingSettings)

    def __post_init__(self) -> None:
        require(
            self.grouping.stride == self.targets.stride,
            f"grouping.stride of {self.grouping.stride:g} and targets.stride of {self.targets.stride}: "
            "the same expected, the maps are read as they were drawn",
        )


def load(path: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Read a settings file; `overrides` are "key.key=value" strings (`--set`).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown key, a wrong type or an impossible value, by name and line.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"settings file {path} not found; the project's own are in configs/")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: a text in UTF-8 expected ({error})") from error
    return from_text(text, str(path), overrides)


def from_text(
    text: str, source: str, overrides: Iterable[str] = (), unknown: Literal["refuse", "warn"] = "refuse"
) -> Settings:
    """The settings in a YAML text; arguments and errors as in `typed_yaml.read`."""
    return yaml_config.read(Settings, text, source, overrides, unknown)


def apply_preset(settings: Settings, name: str) -> Settings:
    """Replace the inference settings that a preset states; all others stay.

    Args:
        settings: a checkpoint's.
        name: one of PRESETS.

    Raises:
        ValueError: the preset is unknown.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return replace(settings, inference=replace(settings.inference, **PRESETS[name]))


def to_text(settings: Settings) -> str:
    """Settings as YAML, every value stated, so that a checkpoint explains itself."""
    return yaml_config.write(settings)
