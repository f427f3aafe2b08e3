"""All settings of SimplePose: names, units and defaults.

Settings are frozen dataclasses that are passed as arguments; there is no global state. A YAML file states
only what differs from the defaults. The defaults of the network, targets, loss, augmentation and training are
the published ones (arXiv:1911.10529 and its released code). The defaults of the grouping differ
(docs/deviations.md); `grouping.rules: reference` selects the published rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from simplepose import yaml_config
from simplepose.yaml_config import Length, Range

T = TypeVar("T")
Pair = tuple[T, T]

# Types of settings. Each number has an upper bound too: settings in a file of unknown origin must not make a
# program allocate terabytes or work for hours.
Fraction = Annotated[float, Range(0, 1, is_scale=True)]
NonNegative = Annotated[float, Range(0, 1e6)]
Positive = Annotated[float, Range(0, 1e6, exclusive=True)]
Pixels = Annotated[int, Range(1, 8192)]
Channels = Annotated[int, Range(1, 2048)]
Degrees = Annotated[float, Range(0, 360)]
Ratio = Annotated[float, Range(0.01, 100)]
Factor = Annotated[float, Range(0, 100)]
HueOffset = Annotated[int, Range(-179, 179)]  # full circle: 180
LevelOffset = Annotated[int, Range(-255, 255)]  # 8-bit levels
Weights = Annotated[tuple[NonNegative, ...], Length(16)]
Steps = Annotated[int, Range(0, 10**9)]  # 0: never


def require_ordered(settings: object, *names: str) -> None:
    """Raise ValueError if one of the named pairs is not (low, high)."""
    for name in names:
        low, high = getattr(settings, name)
        require(low <= high, f"{name}: expected the first value <= the second, got {low}, {high}")


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

    size: Pair[Pixels] = (512, 512)  # height, width of a sample, pixels, multiples of 64
    # person: center a person; image: fit the image as inference does; crop: each person's box, for FastPose
    framing: Literal["person", "image", "crop"] = "person"
    # person: height of its box as a fraction of the sample height; crop: size of the box, widened to the
    # aspect ratio of the sample, as a fraction of the sample
    person_height: Ratio = 0.6
    scale: Pair[Positive] = (0.7, 1.3)  # random factor on the scale
    scale_probability: Fraction = 0.8
    rotation: Degrees = 40.0  # degrees, maximum in either direction
    shift: Annotated[int, Range(0, 8192)] = 50  # pixels, maximum in either direction, in x and in y
    flip_probability: Fraction = 0.5
    tint_probability: Fraction = 0.2
    hue: Pair[HueOffset] = (-10, 10)  # offset; full circle: 180
    saturation: Pair[LevelOffset] = (-20, 60)  # offset, 8-bit levels
    value: Pair[LevelOffset] = (-20, 40)  # offset, 8-bit levels
    published_crop: Pixels = 512  # files in the published layout: image height of their scales, pixels
    # Framing person or crop: frame only the joints of the upper or lower body.
    half_body_probability: Fraction = 0.0
    # Words in the names of lower-body joints.
    lower_body: Annotated[tuple[str, ...], Length(100)] = ("hip", "knee", "ankle", "heel", "foot", "toe")
    copy_paste_probability: Fraction = 0.0  # paste people cut out of other samples
    # Number of tries; people in a crowd cannot be cut out.
    copy_paste_people: Pair[Annotated[int, Range(1, 100)]] = (1, 2)
    copy_paste_height: Pair[Ratio] = (0.25, 0.75)  # box height as a fraction of the sample height
    copy_paste_rotation: Degrees = 20.0  # degrees, maximum in either direction
    erase_probability: Fraction = 0.0  # cover a rectangle with one color
    erase_area: Pair[Annotated[float, Range(0, 1)]] = (0.02, 0.12)  # fraction of the sample area
    erase_aspect: Pair[Ratio] = (0.4, 2.5)  # width / height
    jitter_probability: Fraction = 0.0  # change brightness, contrast, saturation and hue together
    jitter_brightness: Pair[Factor] = (0.6, 1.4)  # factor
    jitter_contrast: Pair[Factor] = (0.6, 1.4)  # factor, around the mean
    jitter_saturation: Pair[Factor] = (0.5, 1.5)  # factor; 0: grayscale
    jitter_hue: Pair[HueOffset] = (-9, 9)  # full circle: 180; wraps around (`hue` is clipped, as published)
    blur_probability: Fraction = 0.0  # Gaussian blur
    blur_sigma: Pair[Factor] = (0.5, 2.5)  # pixels
    jpeg_probability: Fraction = 0.0  # JPEG artifacts
    jpeg_quality: Pair[Annotated[int, Range(1, 100)]] = (30, 90)  # JPEG quality, 1 to 100
    gray_probability: Fraction = 0.0  # convert to grayscale

    def __post_init__(self) -> None:
        yaml_config.check_fields(self)
        require(all(side % 64 == 0 for side in self.size), f"size: expected multiples of 64, got {self.size}")
        require_ordered(self, "scale", "hue", "saturation", "value", "jitter_hue", "copy_paste_people")
        require_ordered(self, "copy_paste_height", "erase_area", "erase_aspect")
        require_ordered(self, "jitter_brightness", "jitter_contrast", "jitter_saturation")
        require_ordered(self, "blur_sigma", "jpeg_quality")


@dataclass(frozen=True)
class ModelSettings:
    """Architecture of the IMHN network; the defaults give the published network of 129.0 M parameters."""

    stacks: Annotated[int, Range(1, 16)] = 4  # number of stacked hourglasses
    stem_width: Channels = 64  # channels after the first convolution (stride 2)
    width: Channels = 256  # channels at stride 4
    growth: Annotated[int, Range(0, 1024)] = 128  # additional channels at each halving of the resolution
    head_width: Channels = 256  # channels of the features that predict the maps
    reduction: Channels = 16  # squeeze-and-excitation has head_width / reduction hidden units
    # Of the stem's 3x3 convolutions.
    dilations: Annotated[tuple[Annotated[int, Range(1, 64)], ...], Length(32)] = (3, 3, 4, 4, 5, 5)
    # Number of scales with heads, from stride 4 on; the coarser ones only help training.
    scales: Annotated[int, Range(1, 5, is_scale=True)] = 5
    encoder: Literal["hourglass", "mobilenet_v2"] = "hourglass"  # downsampling path of the first hourglass
    # Mobilenet_v2: width multiplier; MoveNet MultiPose has 1.5.
    encoder_multiplier: Annotated[float, Range(0, 8, exclusive=True)] = 1.5

    def __post_init__(self) -> None:
        yaml_config.check_fields(self)
        require(self.width % 4 == 0 and self.growth % 2 == 0, "width must be a multiple of 4 and growth of 2")
        require(self.head_width >= self.reduction, "reduction must not exceed head_width")


@dataclass(frozen=True)
class FastPoseSettings:
    """Architecture of FastPose, the network for crops of one person; the defaults give AlphaPose's."""

    encoder: Literal["resnet50", "resnet101", "resnet152", "mobilenet_v2"] = "resnet50"
    # mobilenet_v2: width multiplier; MoveNet MultiPose has 1.5, SinglePose Thunder 1.75, Lightning 1.
    encoder_multiplier: Annotated[float, Range(0, 4, exclusive=True)] = 1.5
    # mobilenet_v2: expansion of the blocks at stride 32, which have most of the parameters; published: 6.
    coarse_expansion: Annotated[int, Range(1, 16)] = 6
    # Channels of the decoder at strides 16, 8 and 4.
    widths: tuple[Channels, Channels, Channels] = (512, 256, 128)
    # Crop pixel, in x and in y, of the center of a map's first cell; published: 0.
    origin: Annotated[float, Range(-64, 64)] = 1.5

    def __post_init__(self) -> None:
        yaml_config.check_fields(self)
        require(
            self.encoder == "mobilenet_v2" or self.widths[0] == 512,
            f"widths: expected 512 at stride 16 for a ResNet, whose 2048 channels are shuffled to 512, "
            f"got {self.widths[0]}",
        )


@dataclass(frozen=True)
class TargetSettings:
    """How keypoints and limbs are drawn into the target maps."""

    stride: Annotated[int, Range(1, 64)] = 4  # input pixels per map cell
    # Sigma of a keypoint's Gaussian, input pixels.
    keypoint_sigma: Annotated[float, Range(0, 1000, exclusive=True)] = 9.0
    limb_sigma: Annotated[float, Range(0, 1000, exclusive=True)] = 7.0  # sigma across a limb, input pixels
    threshold: Fraction = 0.015  # a Gaussian is set to 0 below this value
    # Value in a limb's box beyond the cutoff (published; 0 for the plain L2 result).
    limb_floor: Annotated[float, Range(0, 1)] = 0.01

    def __post_init__(self) -> None:
        yaml_config.check_fields(self)
        require(0 < self.threshold < 1, f"threshold: expected a value between 0 and 1, got {self.threshold}")


@dataclass(frozen=True)
class LossSettings:
    """The multi-scale, multi-stack loss."""

    kind: Literal["focal_l2", "l2"] = "focal_l2"
    # Focal exponent: 1 in the released code, 2 for the published result.
    gamma: Annotated[float, Range(0, 100)] = 1.0
    scale_weights: Weights = (0.1, 0.2, 0.4, 1.6, 6.4)  # strides 4 to 64
    stack_weights: Weights = ()  # one per stack; empty: all 1
    keypoint_weight: NonNegative = 3.0
    person_mask_weight: NonNegative = 0.1
    foreground: Annotated[float, Range(-1, 2)] = 0.01  # targets >= this value are foreground

    def __post_init__(self) -> None:
        yaml_config.check_fields(self)
        require(sum(self.scale_weights) > 0, "scale_weights: expected a sum > 0")
        require(not self.stack_weights or sum(self.stack_weights) > 0, "stack_weights: expected a sum > 0")


@dataclass(frozen=True)
class TrainSettings:
    """Training: optimizer, learning rate schedule, data loading, checkpoints and logging."""

    batch_size: Annotated[int, Range(1, 4096)] = 4  # samples per batch, in each process
    accumulate: Annotated[int, Range(1, 4096)] = 1  # batches per optimizer step (gradient accumulation)
    epochs: Annotated[int, Range(1, 10**6)] = 100
    optimizer: Literal["sgd", "adamw"] = "sgd"
    fused: bool = True  # fused kernels of the optimizer, if torch has them for the device
    optimizer_backend: Literal["torch", "apex"] = "torch"  # library of the fused optimizers
    # For one process; multiplied by the number of processes.
    learning_rate: Annotated[float, Range(0, 1000)] = 2.5e-5
    encoder_lr_factor: NonNegative = 1.0  # factor on the learning rate of a pretrained encoder
    momentum: Fraction = 0.9  # momentum of SGD, first beta of AdamW
    weight_decay: NonNegative = 5e-4
    clip_norm: NonNegative = 0.0  # maximum gradient norm; 0: no clipping
    schedule: Literal["step", "cosine", "cyclic"] = "step"
    warmup_epochs: NonNegative = 3.0  # linear from 0
    step_epochs: Positive = 15.0  # step: epochs between multiplications by step_factor
    step_factor: Positive = 0.2
    # step: epochs of the multiplications, in place of step_epochs
    milestones: Annotated[tuple[NonNegative, ...], Length(100)] = ()
    restart_epoch: NonNegative | None = 78.0  # step: the epoch count restarts here ...
    restart_step_epochs: Positive = 5.0  # ... with steps of this length
    cycle_epochs: Positive = 5.0  # cyclic: length of a cycle, in which the rate falls to ...
    cycle_factor: Positive = 0.5  # ... this fraction of its start value
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    sync_batchnorm: bool = False  # compute batch norm statistics over all processes
    freeze_batchnorm: bool = False  # keep the batch norm statistics fixed
    # Name patterns of parameters that are not trained ("stem.*").
    freeze: Annotated[tuple[str, ...], Length(100)] = ()
    channels_last: bool = True  # NHWC memory format
    compile: bool = False  # torch.compile
    activation_checkpointing: bool = False  # less memory, about a third more computation
    # A step is skipped if its loss exceeds this or is not finite.
    loss_limit: Annotated[float, Range(0, 1e38, exclusive=True)] = 2e5
    # Consecutive skipped steps that abort the run.
    max_consecutive_skips: Annotated[int, Range(1, 10**6)] = 50
    ema_decay: Fraction = 0.0  # decay of the exponential moving average of the weights; 0: off
    swa_start: NonNegative | None = None  # stochastic weight averaging: first epoch ...
    swa_epochs: Positive = 5.0  # ... and epochs between two averaged states
    workers: Annotated[int, Range(0, 256)] = 2  # data loading processes, for each training process
    strict: bool = False  # a damaged sample aborts the run; otherwise another sample replaces it
    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    checkpoint_steps: Steps = 0  # steps between checkpoints; 0: by time only
    checkpoint_minutes: Positive = 15.0  # also written at the end, on SIGTERM and on SIGINT (Ctrl-C)
    keep_checkpoints: Annotated[int, Range(1, 10**6)] = 3  # number of newest checkpoints to keep
    log_steps: Annotated[int, Range(1, 10**9)] = 20  # steps between progress log lines
    image_log_steps: Steps = 0  # steps between TensorBoard images; 0: none
    validate_epochs: Steps = 1  # epochs between computations of the validation loss; 0: never
    ap_epochs: Steps = 0  # epochs between computations of COCO AP; 0: never
    # Number of images for AP: the first of the annotations.
    ap_max_images: Annotated[int, Range(1, 10**9)] = 100
    timeout_minutes: Positive = 10.0  # how long a process waits for the others before it fails

    def __post_init__(self) -> None:
        yaml_config.check_fields(self)
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
    # Input pixels per map cell; must equal targets.stride.
    stride: Annotated[float, Range(0, 64, exclusive=True)] = 4.0
    # Minimum value of a peak (a 3 x 3 maximum).
    peak_threshold: Annotated[float, Range(MIN_PEAK_THRESHOLD, 1000)] = 0.1
    max_peaks: Annotated[int, Range(1, 10_000)] = 256  # highest peaks kept per channel
    # The score of a limb between lower peaks is reduced in proportion.
    confident_peak: Annotated[float, Range(0, 1000, exclusive=True)] = 0.5
    # Maximum number of samples along a limb; there is one per cell, plus one.
    limb_samples: Annotated[int, Range(2, 1000)] = 20
    limb_threshold: Annotated[float, Range(0, 1000)] = 0.1  # a sample above this value supports the limb
    # Fraction of samples that must; the value they all reach is the limb score.
    limb_support: Annotated[float, Range(0, 1, exclusive=True)] = 0.8
    max_connections: Annotated[int, Range(1, 10**6)] = 1024  # best connections kept per limb
    # A group of at most this many keypoints joins the nearest larger group that lacks them ...
    max_unassigned_keypoints: Annotated[int, Range(0, 10_000)] = 3
    # ... if the mean score of its keypoints is at least this ...
    min_unassigned_score: Annotated[float, Range(0, 1000)] = 0.25
    # ... and it is within this fraction of the diagonal of the larger group
    unassigned_reach: Annotated[float, Range(0, 1000)] = 0.5
    # (sum of joint and limb scores) / (number of joints) of a person
    min_person_score: Annotated[float, Range(0, 1000)] = 0.45
    min_person_keypoints: Annotated[int, Range(1, 10_000)] = 2
    # A person's score is multiplied by (area of its joints' box / image area) to this power. It affects the
    # order of people, and AP: keypoints of large people are more often right.
    score_area_exponent: Annotated[float, Range(0, 10)] = 0.0

    def __post_init__(self) -> None:
        yaml_config.check_fields(self)


@dataclass(frozen=True)
class InferenceSettings:
    """Inference: how an image is resized for the network, and which maps are averaged."""

    height: Pixels = 640  # pixels; the image height, or its longest side, is resized to this
    fit: Literal["height", "longest"] = "height"  # whether `height` is the height or the longest side
    max_height: Pixels = 2600  # pixels; upper limits of the resized image
    max_width: Pixels = 3800  # pixels
    # Factors on the height; the maps of all scales are averaged.
    scales: Annotated[tuple[Annotated[float, Range(0, 16, exclusive=True)], ...], Length(16)] = (1.0,)
    flip: bool = True  # average with the maps of the mirrored image

    def __post_init__(self) -> None:
        yaml_config.check_fields(self)
        require(len(self.scales) > 0, "scales: expected values > 0, got none")


@dataclass(frozen=True)
class TopDownSettings:
    """Top-down inference: boxes, scores and the merging of poses (simplepose.inference.topdown).

    The `nms_` settings are those of parametric pose NMS (arXiv:1612.00137, section 3.3); distances are in
    units of `nms_radius`.
    """

    flip: bool = True  # average with the heatmaps of the mirrored crop
    min_box_score: Fraction = 0.05  # boxes with a lower score are left out
    max_people: Annotated[int, Range(1, 1000)] = 100  # boxes per image, best first
    # Of boxes around keypoints: fraction of the longer side that is added on each side.
    box_margin: Fraction = 0.1
    min_keypoint_score: Fraction = 0.2  # keypoints with a lower score do not count in scores and merging
    # A pose's score is the mean score of its keypoints times the box score to this power.
    box_score_exponent: Factor = 1.0
    # Keypoints closer than this fraction of the longer side of the pose are equal.
    nms_radius: Annotated[float, Range(0, 1, exclusive=True)] = 0.05
    nms_min_matches: Annotated[int, Range(1, 500)] = 5  # poses with this many equal keypoints are equal
    nms_max_similarity: NonNegative = 22.48  # and so are poses of a larger similarity
    nms_score_scale: Positive = 1.0
    nms_distance_weight: NonNegative = 1.7
    nms_distance_scale: Positive = 2.65

    def __post_init__(self) -> None:
        yaml_config.check_fields(self)


_PUBLISHED = {"height": 640, "fit": "height", "max_height": 2600, "max_width": 3800, "flip": True}

# Named inference settings: values that replace those of the checkpoint's `InferenceSettings`. The first three
# are from fast to accurate for the included network; the others are those of the paper (arXiv:1911.10529).
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "fast": {"height": 288, "scales": (1.0,), "flip": False},
        "default": {},  # the settings of the checkpoint
        "accurate": {"height": 384, "scales": (0.5, 0.75, 1.333), "flip": True},
        "simplepose": {**_PUBLISHED, "scales": (1.0,)},
        "simplepose-multiscale": {**_PUBLISHED, "scales": (0.5, 1.0, 1.5, 2.0, 2.5)},
    }
)

# The presets that are protocols of published figures, and the fast one.
PROTOCOLS = ("simplepose", "simplepose-multiscale", "fast")


@dataclass(frozen=True)
class TrackingSettings:
    """Tracking of people from frame to frame (simplepose.tracking); times are in frames of the source."""

    # People with a lower score start no track; they can only continue one that better people left unmatched.
    confident_score: NonNegative = 0.15
    # Minimum similarity of a person and a track, keypoints (OKS) and boxes together; else a new track starts.
    min_similarity: Annotated[float, Range(0, 1, exclusive=True)] = 0.3
    # Weight of the box overlap; it counts less the more keypoints are in common.
    box_weight: NonNegative = 1.0
    max_lost_frames: NonNegative = 30.0  # a track ends if it is missed for longer than this ...
    # ... or for longer than this factor times the frames in which it was detected
    max_lost_ratio: Annotated[float, Range(1, 1e6)] = 5.0
    # A track gets an id once its detections add up to this many whole bodies.
    min_observations: NonNegative = 0.8
    smoothing: bool = False  # one-euro filter of each keypoint
    smoothing_cutoff: Positive = 0.05  # cutoff at rest, cycles per frame; lower: smoother, more lag
    # Increase of the cutoff per body size per frame of speed; higher: less lag.
    smoothing_speed: NonNegative = 10.0

    def __post_init__(self) -> None:
        yaml_config.check_fields(self)


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
    topdown: TopDownSettings = field(default_factory=TopDownSettings)
    tracking: TrackingSettings = field(default_factory=TrackingSettings)

    def __post_init__(self) -> None:
        yaml_config.check_fields(self)
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


# Names of the last release, which are still read: keys, and values as key=value. A key without a new name was
# removed: it has no effect.
DEPRECATED_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "augment.framing=picture": "augment.framing=image",
        "augment.grey_probability": "augment.gray_probability",
        "augment.motion_blur_length": "",
        "augment.motion_blur_probability": "",
        "augment.noise_probability": "",
        "augment.noise_sigma": "",
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
        "train.amp_backend": "train.optimizer_backend",
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
    if not Path(path).exists():
        raise FileNotFoundError(f"settings file {path} not found; see configs/ for the released ones")
    return from_text(yaml_config.read_text(path), str(path), overrides)


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
