"""Presets: named inference settings between those of the checkpoint and --set."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from oracle import NoPeoplePredictor
from synthetic_coco import write_synthetic_coco

import simplepose
from simplepose import config
from simplepose.cli import benchmark, demo_image, demo_video, evaluate, run_command
from simplepose.config import PRESETS, InferenceSettings, Settings
from simplepose.models.checkpoints import Model, save_safetensors
from simplepose.models.imhn import IMHN

COMMANDS = {
    demo_image: [],
    demo_video: ["--source", "video.mp4"],
    evaluate: ["--model", "model", "--annotations", "a.json", "--images", "images", "--output", "output"],
    benchmark: [],
}
CHECKPOINT = InferenceSettings(height=96, scales=(0.5, 1.0), max_width=1000)
# Settings that differ from the published ones in every value, and the name of the published ones.
OTHERS_WITH_PUBLISHED = [
    (Settings(inference=InferenceSettings(96, "longest", 100, 100, (0.3,), False)), name)
    for name in ("simplepose", "simplepose-multiscale")
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A small network whose inference settings differ from the defaults."""
    settings = config.from_text(
        "model: {stacks: 1, stem_width: 8, width: 16, growth: 8, head_width: 16, reduction: 4}", "test"
    )
    settings = replace(settings, inference=CHECKPOINT)
    torch.manual_seed(0)
    network = IMHN.from_settings(settings.model, simplepose.COCO.channels)
    path = tmp_path_factory.mktemp("presets") / "model.safetensors"
    save_safetensors(path, Model(network, settings, simplepose.COCO))
    return path


def test_the_presets_for_the_included_network_leave_the_fit_to_the_checkpoint():
    assert list(PRESETS)[:3] == ["fast", "default", "accurate"]
    for name in ("fast", "default", "accurate"):
        assert set(PRESETS[name]) <= {"height", "scales", "flip"}


def test_the_published_presets_state_every_inference_setting():
    """As in the paper: height 640 and flip; one scale, or five."""
    one, five = (config.apply_preset(other, name).inference for other, name in OTHERS_WITH_PUBLISHED)
    assert one == InferenceSettings(
        height=640, fit="height", max_height=2600, max_width=3800, scales=(1.0,), flip=True
    )
    assert five == replace(one, scales=(0.5, 1.0, 1.5, 2.0, 2.5))


def test_a_protocol_is_a_preset(capsys):
    assert set(config.PROTOCOLS) < set(PRESETS)
    parser = evaluate.build_parser()
    for name in config.PROTOCOLS:
        assert parser.parse_args([*COMMANDS[evaluate], "--protocol", name]).preset == name
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([*COMMANDS[evaluate], "--protocol", "default"])
    assert "argument --protocol: invalid choice: 'default'" in capsys.readouterr().err


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_replaces_only_the_inference_settings_that_it_states(name):
    settings = replace(Settings(), inference=CHECKPOINT)
    changed = config.apply_preset(settings, name)
    assert changed.inference == replace(CHECKPOINT, **PRESETS[name])
    assert changed.inference.max_width == PRESETS[name].get("max_width", CHECKPOINT.max_width)
    assert replace(changed, inference=CHECKPOINT) == settings
    assert config.from_text(config.to_text(changed), "test") == changed, "the values have the fields' types"


def test_fast_costs_less_than_accurate():
    """The network's cost is proportional to the pixels that it processes."""

    def pixels(name: str) -> float:
        inference = config.apply_preset(Settings(), name).inference
        return (1 + inference.flip) * inference.height**2 * sum(scale**2 for scale in inference.scales)

    assert pixels("fast") < pixels("accurate") / 4


def test_a_preset_replaces_the_settings_of_the_checkpoint(checkpoint):
    load = simplepose.load
    assert load(checkpoint).settings.inference == CHECKPOINT
    assert load(checkpoint, preset="default").settings.inference == CHECKPOINT
    for name, values in PRESETS.items():
        assert load(checkpoint, preset=name).settings.inference == replace(CHECKPOINT, **values)


@pytest.mark.parametrize("name", PRESETS)
def test_overrides_replace_the_settings_of_a_preset(name, checkpoint):
    overrides = ["inference.height=64", "inference.max_width=500"]
    predictor = simplepose.load(checkpoint, settings_overrides=overrides, preset=name)
    expected = replace(CHECKPOINT, **{**PRESETS[name], "height": 64, "max_width": 500})
    assert predictor.settings.inference == expected


@pytest.mark.parametrize("name", ["", "Fast", "slow", "height"])
def test_an_unknown_preset_is_reported_with_the_choices(name, checkpoint):
    with pytest.raises(ValueError, match=f"preset: expected one of {', '.join(PRESETS)}, got {name!r}"):
        simplepose.load(checkpoint, preset=name)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__.rpartition(".")[2])
def test_each_command_that_runs_a_network_has_the_option(command, capsys):
    parser = command.build_parser()
    assert parser.parse_args(COMMANDS[command]).preset == "default"
    for name in PRESETS:
        assert parser.parse_args([*COMMANDS[command], "--preset", name]).preset == name
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([*COMMANDS[command], "--preset", "slow"])
    message = capsys.readouterr().err
    assert "argument --preset: invalid choice: 'slow'" in message
    assert all(name in message for name in PRESETS)


def test_metrics_state_the_preset(checkpoint, tmp_path, monkeypatch):
    requested = {}
    monkeypatch.setattr(
        simplepose, "load", lambda *_, **options: requested.update(options) or NoPeoplePredictor()
    )
    annotations, images = write_synthetic_coco(tmp_path / "coco", num_images=1)
    files = ["--annotations", str(annotations), "--images", str(images), "--output", str(tmp_path / "out")]
    assert run_command(evaluate.main, ["--model", "imhn_mobile", *files, "--protocol", "simplepose"]) == 0
    assert requested["preset"] == "simplepose"
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["preset"] == "simplepose"
    assert metrics["AP"] == 0


def test_the_benchmark_measures_and_states_the_preset(checkpoint, tmp_path, capsys):
    image = write_synthetic_coco(tmp_path / "coco", num_images=1)[1] / "000000000001.jpg"
    report = tmp_path / "report.json"
    arguments = [str(image), "--model", str(checkpoint), "--device", "cpu", "--seconds", "0.01"]
    assert (
        run_command(benchmark.main, [*arguments, "--batch", "1", "--json", str(report), "--preset", "fast"])
        == 0
    )
    values = json.loads(report.read_text())
    assert values["preset"] == "fast"
    assert values["network_hw"][0] == 32 * math.ceil(PRESETS["fast"]["height"] / 32)  # padded
    output = capsys.readouterr().out
    assert "preset fast" in output
    assert "without flip" in output
