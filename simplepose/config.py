"""All settings of SimplePose: names, units and defaults.

Settings are frozen dataclasses that are passed as arguments; there is no global state. A YAML file states
only what differs from the defaults. The defaults of the network, targets, loss, augmentation and training are
the published ones (arXiv:1911.10529 and its released code). The defaults of the grouping differ
(docs/deviations.md); `grouping.rules: reference` selects the published rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from simplepose import yaml_config


def require_at_least(minimum: float, settings: object, *names: str) -> None:
    """Raise ValueError if one of the named settings is below `minimum`, or NaN."""
    for name in names:
        value = getattr(settings, name)
        require(value >= minimum, f"{name}: expected a value >= {minimum}, got {value}")


def require_above(bound: float, settings: object, *names: str) -> None:
    """Raise ValueError if one of the named settings is not above `bound`, or NaN."""
    for name in names:
        value = getattr(settings, name)
        require(value > bound, f"{name}: expected a value > {bound}, got {value}")


def require_fraction(settings: object, *names: str) -> None:
    """Raise ValueError if one of the named settings is not in [0, 1]."""
    for name in names:
        value = getattr(settings, name)
        require(0 <= value <= 1, f"{name}: expected a value from 0 to 1, got {value}")


def require_range(
    settings: object, *names: str, minimum: float = float("-inf"), maximum: float = float("inf")
) -> None:
    """Raise ValueError if one of the named pairs is not (low, high) within [minimum, maximum]."""
    for name in names:
        low, high = getattr(settings, name)
        require(low <= high, f"{name}: expected the first value <= the second, got {low}, {high}")
        require(minimum <= low, f"{name}: expected values >= {minimum:g}, got {low}")
        require(high <= maximum, f"{name}: expected values <= {maximum:g}, got {high}")


def require(condition: bool, message: str) -> None:
    """Raise ValueError with this message unless the condition is true."""
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class AugmentSettings:
    """Data augmentation: how a training sample is cropped from its image and randomly changed.

    Each pair is the range of a randomly sampled value. The settings from `half_body_probability` on are not
    part of the published recipe; their probabilities default to 0.
    """

    size: tuple[int, int] = (512, 512)  # height, width of a sample, pixels, multiples of 64
    # person: center a person; image: fit the image as inference does; crop: each person's box, for FastPose
    framing: Literal["person", "image", "crop"] = "person"
    # person: height of its box as a fraction of the sample height; crop: size of the box, widened to the
    # aspect ratio of the sample, as a fraction of the sample
    person_height: float = 0.6
    scale: tuple[float, float] = (0.7, 1.3)  # random factor on the scale
    scale_probability: float = 0.8
    rotation: float = 40.0  # degrees, maximum in either direction
    shift: int = 50  # pixels, maximum in either direction, in x and in y
    flip_probability: float = 0.5
    tint_probability: float = 0.2
    hue: tuple[int, int] = (-10, 10)  # offset; full circle: 180
    saturation: tuple[int, int] = (-20, 60)  # offset, 8-bit levels
    value: tuple[int, int] = (-20, 40)  # offset, 8-bit levels
    published_crop: int = 512  # files in the published layout: image height of their scales, pixels
    half_body_probability: float = 0.0  # not framing image: frame only the joints of the upper or lower body
    # Words in the names of lower-body joints.
    lower_body: tuple[str, ...] = ("hip", "knee", "ankle", "heel", "foot", "toe")
    copy_paste_probability: float = 0.0  # paste people cut out of other samples
    copy_paste_people: tuple[int, int] = (1, 2)  # number of tries; people in a crowd cannot be cut out
    copy_paste_height: tuple[float, float] = (0.25, 0.75)  # box height as a fraction of the sample height
    copy_paste_rotation: float = 20.0  # degrees, maximum in either direction
    erase_probability: float = 0.0  # cover a rectangle with one color
    erase_area: tuple[float, float] = (0.02, 0.12)  # fraction of the sample area
    erase_aspect: tuple[float, float] = (0.4, 2.5)  # width / height
    jitter_probability: float = 0.0  # change brightness, contrast, saturation and hue together
    jitter_brightness: tuple[float, float] = (0.6, 1.4)  # factor
    jitter_contrast: tuple[float, float] = (0.6, 1.4)  # factor, around the mean
    jitter_saturation: tuple[float, float] = (0.5, 1.5)  # factor; 0: grayscale
    jitter_hue: tuple[int, int] = (-9, 9)  # full circle: 180; wraps around (`hue` is clipped, as published)
    blur_probability: float = 0.0  # Gaussian blur
    blur_sigma: tuple[float, float] = (0.5, 2.5)  # pixels
    motion_blur_probability: float = 0.0  # along a line of random direction
    motion_blur_length: tuple[float, float] = (3.0, 15.0)  # pixels
    noise_probability: float = 0.0  # Gaussian noise, independent for each pixel and channel
    noise_sigma: tuple[float, float] = (2.0, 15.0)  # 8-bit levels
    jpeg_probability: float = 0.0  # JPEG artifacts
    jpeg_quality: tuple[int, int] = (30, 90)  # JPEG quality, 1 to 100
    gray_probability: float = 0.0  # convert to grayscale

    def __post_init__(self) -> None:
        require(
            all(s > 0 and s % 64 == 0 for s in self.size),
            f"size: expected multiples of 64, got {self.size}",
        )
        require_range(self, "hue", "saturation", "value", "jitter_hue")
        require_range(self, "scale")
        require(self.scale[0] > 0, f"scale: expected values > 0, got {self.scale[0]}")
        require_above(0, self, "person_height")
        require_at_least(0, self, "rotation", "shift", "copy_paste_rotation")
        require_at_least(1, self, "published_crop")
        require_fraction(
            self, "scale_probability", "flip_probability", "tint_probability", "half_body_probability"
        )
        require_fraction(
            self, "copy_paste_probability", "erase_probability", "jitter_probability", "gray_probability"
        )
        require_fraction(
            self, "blur_probability", "motion_blur_probability", "noise_probability", "jpeg_probability"
        )
        require_range(self, "copy_paste_people", minimum=1, maximum=100)
        require_range(self, "copy_paste_height", "erase_aspect", minimum=0.01, maximum=100)
        require_range(self, "erase_area", minimum=0, maximum=1)
        require_range(
            self, "jitter_brightness", "jitter_contrast", "jitter_saturation", minimum=0, maximum=100
        )
        require_range(self, "blur_sigma", minimum=0, maximum=100)
        require_range(self, "noise_sigma", minimum=0, maximum=255)
        require_range(self, "motion_blur_length", minimum=1, maximum=500)
        require_range(self, "jpeg_quality", minimum=1, maximum=100)


@dataclass(frozen=True)
class ModelSettings:
    """Architecture of the IMHN network; the defaults give the published network of 129.0 M parameters."""

    stacks: int = 4  # number of stacked hourglasses
    stem_width: int = 64  # channels after the first convolution (stride 2)
    width: int = 256  # channels at stride 4
    growth: int = 128  # additional channels at each halving of the resolution
    head_width: int = 256  # channels of the features that predict the maps
    reduction: int = 16  # squeeze-and-excitation has head_width / reduction hidden units
    dilations: tuple[int, ...] = (3, 3, 4, 4, 5, 5)  # of the stem's 3x3 convolutions
    scales: int = 5  # number of scales with heads, from stride 4 on; the coarser ones only help training
    encoder: Literal["hourglass", "mobilenet_v2"] = "hourglass"  # downsampling path of the first hourglass
    encoder_multiplier: float = 1.5  # mobilenet_v2: width multiplier; MoveNet MultiPose has 1.5

    def __post_init__(self) -> None:
        require_at_least(1, self, "stacks", "stem_width", "width", "head_width", "reduction")
        require_at_least(0, self, "growth")
        require(1 <= self.scales <= 5, f"scales: expected a value from 1 to 5, got {self.scales}")
        require_above(0, self, "encoder_multiplier")
        require(
            math.isfinite(self.encoder_multiplier),
            f"encoder_multiplier: expected a finite value, got {self.encoder_multiplier}",
        )
        require(min(self.dilations, default=1) >= 1, f"dilations: expected values >= 1, got {self.dilations}")
        require(self.width % 4 == 0 and self.growth % 2 == 0, "width must be a multiple of 4 and growth of 2")
        require(self.head_width >= self.reduction, "reduction must not exceed head_width")


@dataclass(frozen=True)
class FastPoseSettings:
    """Architecture of FastPose, the network for crops of one person; the defaults give AlphaPose's."""

    encoder: Literal["resnet50", "resnet101", "resnet152", "mobilenet_v2"] = "resnet50"
    encoder_multiplier: float = 1.5  # mobilenet_v2: width multiplier; MoveNet MultiPose has 1.5
    encoder_skips: tuple[int, ...] = ()  # mobilenet_v2: blocks with a shortcut that are left out
    widths: tuple[int, ...] = (512, 256, 128)  # channels of the decoder at strides 16, 8 and 4
    origin: float = 1.5  # crop pixel, in x and in y, of the center of a map's first cell; published: 0

    def __post_init__(self) -> None:
        require_above(0, self, "encoder_multiplier")
        require(
            math.isfinite(self.encoder_multiplier),
            f"encoder_multiplier: expected a finite value, got {self.encoder_multiplier}",
        )
        require(
            len(self.widths) == 3 and min(self.widths) >= 1,
            f"widths: expected three values >= 1, got {self.widths}",
        )
        require(
            self.encoder == "mobilenet_v2" or self.widths[0] == 512,
            f"widths: expected 512 at stride 16 for a ResNet, whose 2048 channels are shuffled to 512, "
            f"got {self.widths[0]}",
        )
        require(
            self.encoder == "mobilenet_v2" or not self.encoder_skips,
            f"encoder_skips: expected none for encoder {self.encoder}, got {self.encoder_skips}",
        )
        require(math.isfinite(self.origin), f"origin: expected a finite value, got {self.origin}")


@dataclass(frozen=True)
class TargetSettings:
    """How keypoints and limbs are drawn into the target maps."""

    stride: int = 4  # input pixels per map cell
    keypoint_sigma: float = 9.0  # sigma of a keypoint's Gaussian, input pixels
    limb_sigma: float = 7.0  # sigma across a limb, input pixels
    threshold: float = 0.015  # a Gaussian is set to 0 below this value
    limb_floor: float = 0.01  # value in a limb's box beyond the cutoff (published; 0 for the plain L2 result)

    def __post_init__(self) -> None:
        require_at_least(1, self, "stride")
        require_above(0, self, "keypoint_sigma", "limb_sigma")
        require(0 < self.threshold < 1, f"threshold: expected a value between 0 and 1, got {self.threshold}")
        require_at_least(0, self, "limb_floor")


@dataclass(frozen=True)
class LossSettings:
    """The multi-scale, multi-stack loss."""

    kind: Literal["focal_l2", "l2"] = "focal_l2"
    gamma: float = 1.0  # focal exponent: 1 in the released code, 2 for the published result
    scale_weights: tuple[float, ...] = (0.1, 0.2, 0.4, 1.6, 6.4)  # strides 4 to 64
    stack_weights: tuple[float, ...] = ()  # one per stack; empty: all 1
    keypoint_weight: float = 3.0
    person_mask_weight: float = 0.1
    foreground: float = 0.01  # targets >= this value are foreground

    def __post_init__(self) -> None:
        require_at_least(0, self, "gamma", "keypoint_weight", "person_mask_weight")
        require(sum(self.scale_weights) > 0, "scale_weights: expected a sum > 0")
        require(not self.stack_weights or sum(self.stack_weights) > 0, "stack_weights: expected a sum > 0")


@dataclass(frozen=True)
class TrainSettings:
    """Training: optimizer, learning rate schedule, data loading, checkpoints and logging."""

    batch_size: int = 4  # samples per batch, in each process
    accumulate: int = 1  # batches per optimizer step (gradient accumulation)
    epochs: int = 100
    optimizer: Literal["sgd", "adamw"] = "sgd"
    fused: bool = True  # fused kernels of the optimizer, if torch has them for the device
    amp_backend: Literal["torch", "apex"] = "torch"  # library for mixed precision and fused optimizers
    learning_rate: float = 2.5e-5  # for one process; multiplied by the number of processes
    encoder_lr_factor: float = 1.0  # factor on the learning rate of a pretrained encoder
    momentum: float = 0.9  # momentum of SGD, first beta of AdamW
    weight_decay: float = 5e-4
    clip_norm: float = 0.0  # maximum gradient norm; 0: no clipping
    schedule: Literal["step", "cosine", "cyclic"] = "step"
    warmup_epochs: float = 3.0  # linear from 0
    step_epochs: float = 15.0  # step: epochs between multiplications by step_factor
    step_factor: float = 0.2
    milestones: tuple[float, ...] = ()  # step: epochs of the multiplications, in place of step_epochs
    restart_epoch: float | None = 78.0  # step: the epoch count restarts here ...
    restart_step_epochs: float = 5.0  # ... with steps of this length
    cycle_epochs: float = 5.0  # cyclic: length of a cycle, in which the rate falls to ...
    cycle_factor: float = 0.5  # ... this fraction of its start value
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    sync_batchnorm: bool = False  # compute batch norm statistics over all processes
    freeze_batchnorm: bool = False  # keep the batch norm statistics fixed
    freeze: tuple[str, ...] = ()  # name patterns of parameters that are not trained ("stem.*")
    channels_last: bool = True  # NHWC memory format
    compile: bool = False  # torch.compile
    activation_checkpointing: bool = False  # less memory, about a third more computation
    loss_limit: float = 2e5  # a step is skipped if its loss exceeds this or is not finite
    max_consecutive_skips: int = 50  # consecutive skipped steps that abort the run
    ema_decay: float = 0.0  # decay of the exponential moving average of the weights; 0: off
    swa_start: float | None = None  # stochastic weight averaging: first epoch ...
    swa_epochs: float = 5.0  # ... and epochs between two averaged states
    workers: int = 2  # data loading processes, for each training process
    strict: bool = False  # a damaged sample aborts the run; otherwise another sample replaces it
    seed: int = 0
    checkpoint_steps: int = 0  # steps between checkpoints; 0: by time only
    checkpoint_minutes: float = 15.0  # also written at the end, on SIGTERM and on SIGINT (Ctrl-C)
    keep_checkpoints: int = 3  # number of newest checkpoints to keep
    log_steps: int = 20  # steps between progress log lines
    image_log_steps: int = 0  # steps between TensorBoard images; 0: none
    validate_epochs: int = 1  # epochs between computations of the validation loss; 0: never
    ap_epochs: int = 0  # epochs between computations of COCO AP; 0: never
    ap_max_images: int = 100  # number of images for AP: the first of the annotations
    timeout_minutes: float = 10.0  # how long a process waits for the others before it fails

    def __post_init__(self) -> None:
        require_at_least(
            1,
            self,
            "batch_size",
            "accumulate",
            "epochs",
            "max_consecutive_skips",
            "keep_checkpoints",
            "log_steps",
        )
        require_at_least(1, self, "ap_max_images")
        require_at_least(
            0, self, "learning_rate", "weight_decay", "warmup_epochs", "clip_norm", "workers", "seed"
        )
        require_at_least(0, self, "encoder_lr_factor")
        require_at_least(0, self, "checkpoint_steps", "image_log_steps", "validate_epochs", "ap_epochs")
        require_above(
            0, self, "step_epochs", "step_factor", "restart_step_epochs", "loss_limit", "checkpoint_minutes"
        )
        require_above(0, self, "cycle_epochs", "cycle_factor", "swa_epochs", "timeout_minutes")
        require(
            not (self.compile and self.activation_checkpointing),
            "compile and activation_checkpointing: expected at most one of them, torch does not support both",
        )
        for name in ("momentum", "ema_decay"):
            require(
                0 <= getattr(self, name) < 1, f"{name}: expected a value in [0, 1), got {getattr(self, name)}"
            )


# Smallest peak_threshold. A lower one could become 0 as float32, and then every empty cell is a peak.
MIN_PEAK_THRESHOLD = 1e-6


@dataclass(frozen=True)
class GroupingSettings:
    """Decoding of maps to people (simplepose.grouping).

    The reference rules ignore confident_peak, max_connections and the unassigned settings. With them,
    limb_support only decides which limbs are kept, and the score of a limb is the mean of its samples.
    """

    rules: Literal["simplepose", "reference"] = "simplepose"  # reference: as published, for comparison
    stride: float = 4.0  # input pixels per map cell; must equal targets.stride
    peak_threshold: float = 0.1  # minimum value of a peak (a 3 x 3 maximum)
    max_peaks: int = 256  # highest peaks kept per channel
    confident_peak: float = 0.5  # the score of a limb between lower peaks is reduced in proportion
    limb_samples: int = 20  # maximum number of samples along a limb; there is one per cell, plus one
    limb_threshold: float = 0.1  # a sample above this value supports the limb
    limb_support: float = 0.8  # fraction of samples that must; the value they all reach is the limb score
    max_connections: int = 1024  # best connections kept per limb
    # A group of at most this many keypoints joins the nearest larger group that lacks them ...
    max_unassigned_keypoints: int = 3
    min_unassigned_score: float = 0.25  # ... if the mean score of its keypoints is at least this ...
    unassigned_reach: float = 0.5  # ... and it is within this fraction of the diagonal of the larger group
    min_person_score: float = 0.45  # (sum of joint and limb scores) / (number of joints) of a person
    min_person_keypoints: int = 2
    # A person's score is multiplied by (its box area / the image area) to this power. It affects the order of
    # people, and AP: keypoints of large people are more often right.
    score_area_exponent: float = 0.0

    def __post_init__(self) -> None:
        require_above(0, self, "stride", "confident_peak", "limb_support")
        require_at_least(MIN_PEAK_THRESHOLD, self, "peak_threshold")
        require_at_least(1, self, "max_peaks", "max_connections", "min_person_keypoints")
        require_at_least(
            0,
            self,
            "limb_threshold",
            "max_unassigned_keypoints",
            "min_unassigned_score",
            "unassigned_reach",
            "score_area_exponent",
        )
        require_at_least(2, self, "limb_samples")
        require(self.limb_support <= 1, f"limb_support: expected a value <= 1, got {self.limb_support}")


@dataclass(frozen=True)
class InferenceSettings:
    """Inference: how an image is resized for the network, and which maps are averaged."""

    height: int = 640  # pixels; the image height, or its longest side, is resized to this
    fit: Literal["height", "longest"] = "height"  # whether `height` is the height or the longest side
    max_height: int = 2600  # pixels; upper limits of the resized image
    max_width: int = 3800  # pixels
    scales: tuple[float, ...] = (1.0,)  # factors on the height; the maps of all scales are averaged
    flip: bool = True  # average with the maps of the mirrored image

    def __post_init__(self) -> None:
        require_at_least(1, self, "height", "max_height", "max_width")
        require(
            len(self.scales) > 0 and min(self.scales) > 0, f"scales: expected values > 0, got {self.scales}"
        )


# Presets from fast to accurate: values that replace those of the checkpoint's `InferenceSettings`.
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "fast": {"height": 288, "scales": (1.0,), "flip": False},
        "default": {},  # the settings of the checkpoint
        "accurate": {"height": 384, "scales": (0.5, 0.75, 1.333), "flip": True},
    }
)


@dataclass(frozen=True)
class TrackingSettings:
    """Tracking of people from frame to frame (simplepose.tracking); times are in frames of the source."""

    # People with a lower score start no track; they can only continue one that better people left unmatched.
    confident_score: float = 0.15
    # Minimum similarity of a person and a track, keypoints (OKS) and boxes together; else a new track starts.
    min_similarity: float = 0.3
    box_weight: float = 1.0  # weight of the box overlap; it counts less the more keypoints are in common
    max_lost_frames: float = 30.0  # a track ends if it is missed for longer than this ...
    max_lost_ratio: float = (
        5.0  # ... or for longer than this factor times the frames in which it was detected
    )
    min_observations: float = 0.8  # a track gets an id once its detections add up to this many whole bodies
    smoothing: bool = False  # one-euro filter of each keypoint
    smoothing_cutoff: float = 0.05  # cutoff at rest, cycles per frame; lower: smoother, more lag
    smoothing_speed: float = 10.0  # increase of the cutoff per body size per frame of speed; higher: less lag

    def __post_init__(self) -> None:
        require_at_least(
            0, self, "confident_score", "box_weight", "max_lost_frames", "min_observations", "smoothing_speed"
        )
        require_at_least(1, self, "max_lost_ratio")
        require_above(0, self, "min_similarity", "smoothing_cutoff")
        require(
            self.min_similarity <= 1,
            f"min_similarity: expected a value <= 1, got {self.min_similarity}",
        )


@dataclass(frozen=True)
class Settings:
    """All settings of a run, as in a file in configs/."""

    skeleton: str = "coco"  # name of a skeleton, or path of its YAML file
    network: Literal["imhn", "fastpose"] = "imhn"  # bottom-up, see `model`; or top-down, see `fastpose`
    model: ModelSettings = field(default_factory=ModelSettings)
    fastpose: FastPoseSettings = field(default_factory=FastPoseSettings)
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
            f"grouping.stride: expected targets.stride, which is {self.targets.stride}, "
            f"got {self.grouping.stride:g}; set both to the same value",
        )
        is_top_down = self.network == "fastpose"
        require(
            not is_top_down or self.targets.stride == 4,
            f"targets.stride: expected 4, the stride of FastPose, got {self.targets.stride}",
        )
        require(
            not is_top_down or not self.train.image_log_steps,
            "train.image_log_steps: expected 0 for network fastpose, whose maps are not drawn, "
            f"got {self.train.image_log_steps}",
        )


# Names of the last release, which are still read: keys, and values as key=value.
DEPRECATED_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "augment.framing=picture": "augment.framing=image",
        "augment.grey_probability": "augment.gray_probability",
        "grouping.loose_joints": "grouping.max_unassigned_keypoints",
        "grouping.loose_reach": "grouping.unassigned_reach",
        "grouping.loose_score": "grouping.min_unassigned_score",
        "grouping.person_joints": "grouping.min_person_keypoints",
        "grouping.person_score": "grouping.min_person_score",
        "grouping.rules=ours": "grouping.rules=simplepose",
        "grouping.sure_peak": "grouping.confident_peak",
        "tracking.least_similarity": "tracking.min_similarity",
        "tracking.lost_frames": "tracking.max_lost_frames",
        "tracking.sure_score": "tracking.confident_score",
        "tracking.sure_sights": "tracking.min_observations",
        "tracking.trust": "tracking.max_lost_ratio",
        "train.ap_pictures": "train.ap_max_images",
        "train.keep": "train.keep_checkpoints",
        "train.picture_steps": "train.image_log_steps",
        "train.recompute": "train.activation_checkpointing",
        "train.skips_in_a_row": "train.max_consecutive_skips",
    }
)


def load(path: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Read a settings file; `overrides` are "key.key=value" strings (`--set`).

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a key is unknown, or a value has a wrong type or is out of range; names the key and line.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"settings file {path} not found; see configs/ for the released ones")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8 text ({error})") from error
    return from_text(text, str(path), overrides)


def from_text(
    text: str,
    source: str,
    overrides: Iterable[str] = (),
    unknown: Literal["refuse", "warn"] = "refuse",
    log_deprecated: bool = True,
) -> Settings:
    """Parse settings from YAML text.

    Args:
        text, source, overrides, unknown: see `yaml_config.read`.
        log_deprecated: log each name of an earlier release in the text, once per process. False for settings
            that a checkpoint stores: the user cannot change them.

    Raises:
        ValueError: see `yaml_config.read`.
    """
    return yaml_config.read(Settings, text, source, overrides, unknown, DEPRECATED_NAMES, log_deprecated)


def apply_overrides(settings: Settings, overrides: Iterable[str], source: str) -> Settings:
    """Replace the settings that "key.key=value" strings (`--set`) state; all others are unchanged.

    Args:
        settings: the settings before.
        overrides: the strings; the last one for a key counts.
        source: where the settings come from, for messages.

    Raises:
        ValueError: as in `load`.
    """
    return yaml_config.update(settings, overrides, source, DEPRECATED_NAMES)


def apply_preset(settings: Settings, name: str) -> Settings:
    """Replace the inference settings that a preset contains; all others are unchanged.

    Args:
        settings: the settings of a checkpoint.
        name: one of PRESETS.

    Raises:
        ValueError: the preset is unknown.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return replace(settings, inference=replace(settings.inference, **PRESETS[name]))


def to_text(settings: Settings) -> str:
    """Format settings as YAML with every value, so that a checkpoint is self-contained."""
    return yaml_config.write(settings)
