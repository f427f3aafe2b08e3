"""Grouping of torch tensors on the CPU and on a GPU, and errors for invalid tensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import synthetic_maps
import torch
from fake_device import FakeDevice, FakeDeviceTensor
from repo_paths import CONFIGS
from test_grouping import LENIENT

from simplepose import config
from simplepose.grouping import Settings, _grouping, group
from simplepose.inference.predictor import Predictor
from simplepose.models import IMHN
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO


@pytest.mark.parametrize("rules", ["simplepose", "reference"])
def test_cpu_tensor_equals_an_array(rng: np.random.Generator, rules: str) -> None:
    size, settings = (240, 320), Settings(rules=rules)
    maps = synthetic_maps.draw_maps(synthetic_maps.sample_crowd(rng, 3, size), size)
    expected, found = group(maps, COCO, settings), group(torch.from_numpy(maps), COCO, settings)
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)
    trainable = torch.from_numpy(maps).requires_grad_()
    np.testing.assert_array_equal(group(trainable, COCO, settings).keypoints, expected.keypoints)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (
            torch.zeros(50, 8, 8, dtype=torch.float64),
            r"expected a float32 tensor, got float64; use maps.float\(\)",
        ),
        (torch.zeros(50, 8, 8, dtype=torch.bfloat16), "expected a float32 tensor, got bfloat16"),
        (torch.zeros(47, 8, 8), r"C >= 48.*got shape \(47, 8, 8\)"),
        (torch.zeros(1, 50, 8, 8), r"got shape \(1, 50, 8, 8\)"),
        (torch.zeros(50, 8, 0), "h >= 1 and w >= 1, got shape"),
        (torch.zeros(8, 8, 50).permute(2, 0, 1), r"maps.contiguous\(\)"),
        (np.zeros((50, 8, 8), np.float16), "expected a float32 NumPy array, got float16; use np.asarray"),
    ],
)
def test_invalid_maps_are_errors(maps: torch.Tensor | np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group(maps, COCO)


def test_invalid_maps_on_a_device_are_errors() -> None:
    with FakeDevice():
        doubles, floats = (
            FakeDeviceTensor(torch.zeros(50, 8, 9, dtype=t)) for t in (torch.float64, torch.float32)
        )
        with pytest.raises(ValueError, match="expected a float32 or float16 or bfloat16 tensor, got float64"):
            group(doubles, COCO)
        with pytest.raises(ValueError, match=r"maps.contiguous\(\)"):
            group(floats.transpose(1, 2), COCO)


def test_connections_without_peaks_are_errors() -> None:
    peaks, counts, limb_ends = np.zeros((3, 3)), np.array([1, 2], np.int32), np.array([[0, 1]], np.int32)
    for ends in ([0, 1, 0], [0, 0, 2], [0, -1, 0]):
        with pytest.raises(
            ValueError, match="limb 0: expected connections between existing peaks, got one from"
        ):
            _grouping.assemble_poses(
                peaks, counts, np.array([ends], np.int32), np.ones(1), limb_ends, 1, 1, LENIENT
            )


def test_predictor_groups_its_own_maps(rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    settings = config.load(CONFIGS / "smoke.yaml")
    network = IMHN.from_settings(settings.model, COCO.channels).eval()
    with torch.no_grad():  # large weights give maps with large differences
        for parameter in network.parameters():
            parameter.mul_(100 if parameter.ndim > 1 else 1)
    predictor = Predictor(Model(network, replace(settings, grouping=LENIENT), COCO))
    image = rng.integers(0, 256, (128, 192, 3), dtype=np.uint8)  # a size without resizing
    maps = predictor.maps(image)
    assert isinstance(maps.values, np.ndarray)
    found, expected = predictor(image), group(maps.values, COCO, LENIENT)
    assert len(found) > 0
    np.testing.assert_array_equal(found.found, expected.found)
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=1e-3)
