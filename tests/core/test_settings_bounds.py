"""Bounds and types of all settings: the same from files, overrides and Python."""

import dataclasses
import math
import os
import typing

import pytest

from simplepose import config, skeleton
from simplepose.config import GroupingSettings, InferenceSettings, ModelSettings, Settings, TargetSettings
from simplepose.skeleton import COCO

SECTIONS = [f.name for f in dataclasses.fields(Settings) if f.name not in ("skeleton", "network")]


def numeric_fields():
    """(section, field, default) of each number or list of numbers."""
    for section in SECTIONS:
        part = getattr(Settings(), section)
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            text = repr(typing.get_type_hints(type(part))[field.name])
            if ("int" in text or "float" in text) and not isinstance(value, bool):
                yield section, field.name, value


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 2**128, 10**400, -(2**64)])
def test_no_number_without_bounds(number):
    for section, name, default in numeric_fields():
        value = (number,) * max(len(default), 1) if isinstance(default, tuple) else number
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            dataclasses.replace(getattr(Settings(), section), **{name: value})


@pytest.mark.parametrize(
    ("kind", "name", "value", "message"),
    [
        (GroupingSettings, "rules", "nonsense", "expected one of simplepose, reference, got 'nonsense'"),
        (GroupingSettings, "max_peaks", 2**31, "expected a value <= 10000, got 2147483648"),
        (GroupingSettings, "max_peaks", 3.5, "expected int, got 3.5"),
        (GroupingSettings, "max_peaks", True, "expected int, got True"),
        (ModelSettings, "width", 10**6, "expected a value <= 2048"),
        (ModelSettings, "stacks", 10**5, "expected a value <= 16"),
        (ModelSettings, "scales", math.inf, "expected int, got inf"),
        (InferenceSettings, "height", 10**6, "expected a value <= 8192"),
        (InferenceSettings, "scales", (math.inf,), "expected values <= 16, got inf"),
        (InferenceSettings, "flip", 1, "expected bool, got 1"),
        (TargetSettings, "keypoint_sigma", math.nan, "expected a value > 0, got nan"),
        (Settings, "model", 3, "expected ModelSettings, got 3"),
        (Settings, "skeleton", "a\x1b[2J", r"expected printable characters, got 'a\\x1b\[2J'"),
    ],
)
def test_settings_built_in_python_are_checked(kind, name, value, message):
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        kind(**{name: value})


def test_lists_and_other_numbers_become_those_of_files():
    settings = InferenceSettings(scales=[1, 2])
    assert settings == InferenceSettings(scales=(1.0, 2.0))
    assert dataclasses.replace(settings, height=128).scales == (1.0, 2.0)


@pytest.mark.parametrize(
    "override", ["grouping.max_peaks=2147483648", "inference.scales=[.inf]", "model.width=1000000"]
)
def test_overrides_are_checked(override):
    name = override.partition("=")[0].rpartition(".")[2]
    with pytest.raises(ValueError, match=rf"--set .*: {name}: expected"):
        config.apply_overrides(Settings(), [override], "a file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigmas": (math.nan,) * 17}, "sigmas: expected values >= 0, got nan"),
        ({"joints": tuple(f"j{i}" for i in range(600))}, "joints: expected at most 500 values, got 600"),
        ({"name": "\x1b[2J"}, "name: expected printable characters"),
        ({"annotated": ("n" * 1000,)}, "annotated: expected at most 100 characters, got 1000"),
    ],
)
def test_skeletons_are_bounded(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(COCO, **change)


ALIAS_BOMB = "train:\n  freeze: &a [x, x]\n  seed: [" + "[*a, *a], " * 20 + "]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{" * 5000, "nested too deeply"),
        ("x: " + "[" * 5000, "nested too deeply"),
        (ALIAS_BOMB, "train.seed: expected int, got a list"),
        ("train: {seed: " + "9" * 4000 + "}", "seed: expected a value <= .*, got an integer of 13288 bits"),
        ("train: {seed: " + "9" * 5000 + "}", "train.seed: expected int, got '9{70,80} ..."),
        (
            "model: {dilations: [" + "1, " * 1000 + "]}",
            "model.dilations: expected at most 32 values, got 1000",
        ),
        ("\n".join(f"k{i}: 1" for i in range(300)), "expected at most 200 keys, got 300"),
        ("#" * 200_001, "expected at most 200,000 characters of YAML, got 200,001"),
    ],
)
def test_hostile_yaml_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        config.from_text(text, "x.yaml", unknown="warn")


@pytest.mark.parametrize("load", [config.load, lambda path: skeleton.load(str(path))])
def test_only_short_regular_files_are_opened(tmp_path, load):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ValueError, match=r"pipe\.yaml: expected a regular file, got a named pipe"):
        load(tmp_path / "pipe.yaml")
    with (tmp_path / "long.yaml").open("wb") as file:
        file.truncate(2**36)
    with pytest.raises(ValueError, match=r"long\.yaml: expected at most 200,000 characters of YAML"):
        load(tmp_path / "long.yaml")
