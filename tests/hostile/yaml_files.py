"""Hostile settings and skeletons: YAML files, and the same values from Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from base_inputs import SPECIAL_FILES, created, small_settings
from case import Case, Expected, or_value, refusal
from checkpoint_files import BILLION_LAUGHS, many_joints
from json_files import prepare_args

from simplepose.cli import draw_targets, plot_schedule, prepare_coco, train
from simplepose.config import (
    AugmentSettings,
    GroupingSettings,
    InferenceSettings,
    LossSettings,
    ModelSettings,
    Settings,
    TargetSettings,
    TrackingSettings,
    TrainSettings,
)
from simplepose.skeleton import COCO

FILE = "a.yaml"
NAN, INFINITE = float("nan"), float("inf")
Write = Callable[[Path], Sequence[str]]

SCHEDULE = [FILE, "--output", "s.png"]
DRAW = ["--config", FILE, "--samples", "../base/compressed.h5", "--output", "t.png", "--count", "1"]
TRAIN = ["--config", FILE, "--train", "../base/compressed.h5", "--output", "run", "--device", "cpu"]

# Contents that are not settings.
CONTENTS: dict[str, bytes] = {
    "list": b"- 1\n",
    "number": b"5\n",
    "binary": bytes(range(256)),
    "nul": b"train: {epochs: 1}\0",
    "utf16": "train: {epochs: 1}".encode("utf-16"),
    "nested": b"[" * 100_000,
    "nested_mappings": b"{a: " * 50_000,
    "nested_blocks": b"".join(b" " * n + b"a:\n" for n in range(2_000)),
    "laughs": BILLION_LAUGHS.encode(),
    "laughs_as_settings": b"a: &a {epochs: 1}\n"
    + b"train: {"
    + b", ".join(b"<<: *a" for _ in range(1000))
    + b"}",
    "alias_of_itself": b"loss: &a {scale_weights: *a}\n",
    "list_of_itself": b"loss: {scale_weights: &a [*a]}\n",
    "root_of_itself": b"&a {train: *a}\n",
    "code": b"train: !!python/object/apply:os.mkdir [made]\n",
    "code_in_key": b"? !!python/object/apply:os.mkdir [made]\n: 1\n",
    "key_escape": b'"\\e[31mred\\n": 1\n',
    "key_long": b"x" * 1_000_000 + b": 1\n",
    "value_long": b"train: {optimizer: " + b"x" * 1_000_000 + b"}\n",
    "value_escape": b'train: {optimizer: "\\e[31mred\\n"}\n',
    "key_twice": b"train: {epochs: 1, epochs: 2}\n",
    "documents": b"train: {epochs: 1}\n---\ntrain: {epochs: 2}\n",
    "tab": b"train:\n\tepochs: 1\n",
    "integer_1e5_digits": b"train: {epochs: " + b"9" * 100_000 + b"}\n",
    "sexagesimal": b"train: {epochs: 1" + b":59" * 20_000 + b"}\n",
    "hexadecimal": b"train: {seed: 0x" + b"f" * 100_000 + b"}\n",
    "set": b"loss: {scale_weights: !!set {1.0}}\n",
    "binary_tag": b"loss: {scale_weights: !!binary aGVsbG8=}\n",
    "skeleton_number": b"skeleton: 5\n",
    "skeleton_list": b"skeleton: [coco]\n",
}

# Values that are harmless, however small: the network, the schedule or the maps are of no use.
TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "step_epochs_1e_300": ("train", {"step_epochs": 1e-300}),
    "cycle_epochs_1e_300": ("train", {"cycle_epochs": 1e-300, "schedule": "cyclic"}),
    "keypoint_sigma_1e_300": ("targets", {"keypoint_sigma": 1e-300}),
    "person_height_1e_300": ("augment", {"person_height": 1e-300}),
    "threshold_1e_300": ("targets", {"threshold": 1e-300}),
}

# Values beyond all bounds: (section, settings); the refusal names the setting.
BOUNDS: dict[str, tuple[str, dict[str, Any]]] = {
    "epochs_1e12": ("train", {"epochs": 10**12}),
    "epochs_2_62": ("train", {"epochs": 2**62}),
    "batch_size_1e9": ("train", {"batch_size": 10**9}),
    "accumulate_2_62": ("train", {"accumulate": 2**62}),
    "workers_1e6": ("train", {"workers": 10**6}),
    "seed_2_70": ("train", {"seed": 2**70}),
    "seed_negative": ("train", {"seed": -1}),
    "learning_rate_infinite": ("train", {"learning_rate": INFINITE}),
    "learning_rate_nan": ("train", {"learning_rate": NAN}),
    "learning_rate_1e308": ("train", {"learning_rate": 1e308}),
    "warmup_infinite": ("train", {"warmup_epochs": INFINITE}),
    "step_factor_1e300": ("train", {"step_factor": 1e300, "step_epochs": 0.001}),
    "restart_nan": ("train", {"restart_epoch": NAN}),
    "swa_start_nan": ("train", {"swa_start": NAN}),
    "timeout_infinite": ("train", {"timeout_minutes": INFINITE}),
    "timeout_1e300": ("train", {"timeout_minutes": 1e300}),
    "checkpoint_minutes_nan": ("train", {"checkpoint_minutes": NAN}),
    "keep_checkpoints_2_62": ("train", {"keep_checkpoints": 2**62}),
    "ap_max_images_2_70": ("train", {"ap_max_images": 2**70}),
    "clip_norm_nan": ("train", {"clip_norm": NAN}),
    "weight_decay_infinite": ("train", {"weight_decay": INFINITE}),
    "freeze_10000": ("train", {"freeze": ["x*"] * 10_000}),
    "size_6400000": ("augment", {"size": [6_400_000, 6_400_000]}),
    "size_2_40": ("augment", {"size": [2**40, 64]}),
    "person_height_1e300": ("augment", {"person_height": 1e300}),
    "scale_1e_300": ("augment", {"scale": [1e-300, 1e300]}),
    "scale_infinite": ("augment", {"scale": [1.0, INFINITE]}),
    "scale_nan": ("augment", {"scale": [1.0, NAN]}),
    "rotation_infinite": ("augment", {"rotation": INFINITE}),
    "shift_2_62": ("augment", {"shift": 2**62}),
    "shift_2_70": ("augment", {"shift": 2**70}),
    "hue_2_40": ("augment", {"hue": [-(2**40), 2**40], "tint_probability": 1.0}),
    "value_2_70": ("augment", {"value": [0, 2**70], "tint_probability": 1.0}),
    "jitter_hue_2_40": ("augment", {"jitter_hue": [0, 2**40], "jitter_probability": 1.0}),
    "copy_paste_rotation_infinite": (
        "augment",
        {"copy_paste_rotation": INFINITE, "copy_paste_probability": 1.0},
    ),
    "published_crop_2_70": ("augment", {"published_crop": 2**70}),
    "lower_body_10000": ("augment", {"lower_body": ["hip"] * 10_000}),
    "stride_1e9": ("targets", {"stride": 10**9}),
    "keypoint_sigma_nan": ("targets", {"keypoint_sigma": NAN}),
    "keypoint_sigma_1e300": ("targets", {"keypoint_sigma": 1e300}),
    "limb_sigma_infinite": ("targets", {"limb_sigma": INFINITE}),
    "limb_floor_infinite": ("targets", {"limb_floor": INFINITE}),
    "gamma_1e308": ("loss", {"gamma": 1e308}),
    "scale_weights_nan": ("loss", {"scale_weights": [NAN]}),
    "scale_weights_infinite": ("loss", {"scale_weights": [INFINITE]}),
    "scale_weights_10000": ("loss", {"scale_weights": [1.0] * 10_000}),
    "scale_weights_negative": ("loss", {"scale_weights": [5.0, -1.0]}),
    "stack_weights_nan": ("loss", {"stack_weights": [NAN]}),
    "keypoint_weight_infinite": ("loss", {"keypoint_weight": INFINITE}),
    "foreground_nan": ("loss", {"foreground": NAN}),
    "stacks_1e5": ("model", {"stacks": 10**5}),
    "width_1e7": ("model", {"width": 10**7}),
}


def with_content(content: bytes, arguments: Sequence[str]) -> Write:
    """Return a function that writes these bytes."""

    def write(folder: Path) -> Sequence[str]:
        (folder / FILE).write_bytes(content)
        return arguments

    return write


def with_values(section: str, values: dict[str, Any], arguments: Sequence[str]) -> Write:
    """Return a function that writes the healthy settings with changed values."""

    def write(folder: Path) -> Sequence[str]:
        settings = yaml.safe_load((folder.parent / "base/settings.yaml").read_text())
        settings[section].update(values)
        (folder / FILE).write_text(yaml.safe_dump(settings))
        return arguments

    return write


def with_skeleton(change: Callable[[dict[str, Any]], Any]) -> Write:
    """Return a function that writes COCO's skeleton, changed, and healthy annotations."""

    def write(folder: Path) -> Sequence[str]:
        skeleton = yaml.safe_load(COCO.to_yaml())
        change(skeleton)
        (folder / FILE).write_text(yaml.safe_dump(skeleton))
        return skeleton_arguments(folder)

    return write


def skeleton_arguments(folder: Path) -> list[str]:
    """Arguments of `prepare` with the case's skeleton."""
    (folder / "people.json").symlink_to("../base/person_keypoints.json")
    return prepare_args("--skeleton", FILE)


SKELETONS: dict[str, tuple[Callable[[dict[str, Any]], Any], Expected]] = {
    "joints_none": (many_joints(0), refusal(FILE)),
    "joints_3000": (many_joints(3_000), refusal(FILE)),
    "joints_twice": (lambda s: s["joints"].append("nose"), refusal(FILE)),
    "joint_escape": (lambda s: s["joints"].append("\x1b[31mred\n"), refusal(FILE)),
    "joint_long": (lambda s: s["joints"].append("x" * 100_000), refusal(FILE)),
    "joint_number": (lambda s: s["joints"].append(5), refusal(FILE, "joints")),
    "joint_empty": (lambda s: (s["joints"].append(""), s["annotated"].append("")), refusal(FILE)),
    "sigmas_none": (lambda s: s.update(sigmas=[]), refusal(FILE, "sigma")),
    "sigmas_nan": (lambda s: s.update(sigmas=[NAN] * 17), refusal(FILE, "sigma")),
    "sigmas_infinite": (lambda s: s.update(sigmas=[INFINITE] * 17), refusal(FILE, "sigma")),
    "sigmas_1e_300": (lambda s: s.update(sigmas=[1e-300] * 17), or_value(refusal(FILE, "sigma"))),
    "limbs_none": (lambda s: s.update(limbs=[]), refusal(FILE)),
    "limbs_6000": (lambda s: s.update(limbs=s["limbs"] * 200), refusal(FILE, "limb")),
    "limb_of_one": (lambda s: s["limbs"].append(["nose", "nose"]), refusal(FILE, "limb")),
    "limb_of_three": (lambda s: s["limbs"].append(["nose", "neck", "nose"]), refusal(FILE, "limb")),
    "limb_unknown": (lambda s: s["limbs"].append(["nose", "tail"]), refusal(FILE, "tail")),
    "mirrored_with_itself": (lambda s: s["mirrored"].append(["nose", "nose"]), refusal(FILE, "mirrored")),
    "midpoint_of_itself": (lambda s: s["midpoints"].append(["neck", ["neck", "neck"]]), refusal(FILE)),
    "midpoint_short": (lambda s: s.update(midpoints=[["neck"]]), refusal(FILE, "midpoints")),
    "name_escape": (lambda s: s.update(name="\x1b[31mred", sigmas=[]), refusal(FILE)),
}


def _replaced(settings: Settings, section: str, **values: Any) -> Settings:
    return replace(settings, **{section: replace(getattr(settings, section), **values)})


# The same from Python: each call raises ValueError.
CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "rules": (lambda: GroupingSettings(rules="nonsense"), "rules"),
    "max_peaks": (lambda: GroupingSettings(max_peaks=2**31), "max_peaks"),
    "max_peaks_fraction": (lambda: GroupingSettings(max_peaks=2.5), "max_peaks"),
    "limb_samples_bool": (lambda: GroupingSettings(limb_samples=True), "limb_samples"),
    "peak_threshold_text": (lambda: GroupingSettings(peak_threshold="high"), "peak_threshold"),
    "peak_threshold_none": (lambda: GroupingSettings(peak_threshold=None), "peak_threshold"),
    "sigma_nan": (lambda: TargetSettings(keypoint_sigma=NAN), "keypoint_sigma"),
    "height_text": (lambda: InferenceSettings(height="tall"), "height"),
    "height_2_40": (lambda: InferenceSettings(height=2**40), "height"),
    "fit": (lambda: InferenceSettings(fit="width"), "fit"),
    "scales_number": (lambda: InferenceSettings(scales=1.0), "scales"),
    "scales_text": (lambda: InferenceSettings(scales="1.0"), "scales"),
    "scales_infinite": (lambda: InferenceSettings(scales=(INFINITE,)), "scales"),
    "flip_text": (lambda: InferenceSettings(flip="no"), "flip"),
    "stacks_2_31": (lambda: ModelSettings(stacks=2**31), "stacks"),
    "encoder": (lambda: ModelSettings(encoder="resnet"), "encoder"),
    "dilations_text": (lambda: ModelSettings(dilations=("1",)), "dilations"),
    "size_3": (lambda: AugmentSettings(size=(64, 64, 64)), "size"),
    "size_fraction": (lambda: AugmentSettings(size=(64.0, 64.5)), "size"),
    "scale_reversed": (lambda: AugmentSettings(scale=(2.0, 1.0)), "scale"),
    "optimizer": (lambda: TrainSettings(optimizer="lion"), "optimizer"),
    "workers_2_31": (lambda: TrainSettings(workers=2**31), "workers"),
    "momentum_nan": (lambda: TrainSettings(momentum=NAN), "momentum"),
    "loss_kind": (lambda: LossSettings(kind="hinge"), "kind"),
    "loss_weights_text": (lambda: LossSettings(scale_weights=("a",)), "scale_weights"),
    "smoothing_text": (lambda: TrackingSettings(smoothing="off"), "smoothing"),
    "max_lost_frames_nan": (lambda: TrackingSettings(max_lost_frames=NAN), "max_lost_frames"),
    "model_none": (lambda: Settings(model=None), "model"),
    "skeleton_number": (lambda: Settings(skeleton=5), "skeleton"),
    "replaced_stacks": (lambda: _replaced(small_settings(), "model", stacks=10**6), "stacks"),
}


def _calling(call: Callable[[], Any]) -> Callable[[Sequence[str] | None], int]:
    """Make a call a command."""

    def command(_: Sequence[str] | None) -> int:
        call()
        return 0

    return command


def _command_for(section: str) -> tuple[Callable[[Sequence[str] | None], int], list[str]]:
    """The command that uses a section of the settings."""
    if section == "train":
        return plot_schedule.main, SCHEDULE
    return (train.main, TRAIN) if section in ("loss", "model") else (draw_targets.main, DRAW)


def _no_files(_: Path) -> list[str]:
    return []


def _yaml_cases() -> list[Case]:
    cases = []
    for name, content in CONTENTS.items():
        cases.append(
            Case(f"yaml/settings/{name}", with_content(content, SCHEDULE), plot_schedule.main, refusal(FILE))
        )
    for name, (section, values) in BOUNDS.items():
        main, arguments = _command_for(section)
        write = with_values(section, values, arguments)
        cases.append(Case(f"yaml/{section}/{name}", write, main, refusal(FILE, next(iter(values)))))
    for name, (section, values) in TINY.items():
        main, arguments = _command_for(section)
        cases.append(
            Case(
                f"yaml/{section}/{name}",
                with_values(section, values, arguments),
                main,
                or_value(refusal(FILE)),
            )
        )
    for name, create in SPECIAL_FILES.items():
        cases.append(
            Case(f"yaml/settings/{name}", created(create, FILE, SCHEDULE), plot_schedule.main, refusal(FILE))
        )
        of_skeleton = created(create, FILE, [])
        cases.append(
            Case(
                f"yaml/skeleton/{name}",
                lambda folder, of_skeleton=of_skeleton: (of_skeleton(folder), skeleton_arguments(folder))[1],
                prepare_coco.main,
                refusal(FILE),
            )
        )
    for name, (change, expected) in SKELETONS.items():
        cases.append(Case(f"yaml/skeleton/{name}", with_skeleton(change), prepare_coco.main, expected))
    for path in ("/dev/zero", "/etc/passwd", "../base", "\x1b[31mred"):
        write = with_content(yaml.safe_dump({"skeleton": path}).encode(), DRAW)
        name = path.strip("./\x1b[").replace("/", "_")
        expected = refusal("skeleton|" + re.escape(path))
        cases.append(Case(f"yaml/named_skeleton/{name}", write, draw_targets.main, expected))
    for name, (call, mention) in CALLS.items():
        cases.append(Case(f"yaml/call/{name}", _no_files, _calling(call), refusal(mention)))
    return cases


CASES = _yaml_cases()
