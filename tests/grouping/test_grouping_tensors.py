"""The grouping takes tensors: on the CPU as arrays, elsewhere as they lie; what it cannot read it refuses."""

from __future__ import annotations

from dataclasses import replace

import drawn_maps
import numpy as np
import pytest
import torch
from places import CONFIGS
from pretend_device import PretendDevice, There
from test_grouping import LENIENT

from simplepose import config
from simplepose.grouping import Settings, _grouping, group
from simplepose.inference.predictor import Predictor
from simplepose.models import IMHN
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO


@pytest.mark.parametrize("rules", ["ours", "reference"])
def test_a_tensor_on_the_cpu_is_an_array(rng: np.random.Generator, rules: str) -> None:
    size, settings = (240, 320), Settings(rules=rules)
    maps = drawn_maps.draw(drawn_maps.crowd(rng, 3, size), size)
    expected, found = group(maps, COCO, settings), group(torch.from_numpy(maps), COCO, settings)
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)
    learning = torch.from_numpy(maps).requires_grad_()
    np.testing.assert_array_equal(group(learning, COCO, settings).keypoints, expected.keypoints)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (
            torch.zeros(50, 8, 8, dtype=torch.float64),
            r"float32 tensor expected, got float64; use maps.float\(\)",
        ),
        (torch.zeros(50, 8, 8, dtype=torch.bfloat16), "float32 tensor expected, got bfloat16"),
        (torch.zeros(47, 8, 8), r"C at least 48.*got shape \(47, 8, 8\)"),
        (torch.zeros(1, 50, 8, 8), r"got shape \(1, 50, 8, 8\)"),
        (torch.zeros(50, 8, 0), "at least 1 expected, got shape"),
        (torch.zeros(8, 8, 50).permute(2, 0, 1), r"maps.contiguous\(\)"),
        (np.zeros((50, 8, 8), np.float16), "float32 NumPy array expected, got float16; use np.asarray"),
    ],
)
def test_refuses_other_maps(maps: torch.Tensor | np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group(maps, COCO)


def test_refuses_other_maps_on_a_device() -> None:
    with PretendDevice():
        doubles, turned = (There(torch.zeros(50, 8, 9, dtype=t)) for t in (torch.float64, torch.float32))
        with pytest.raises(ValueError, match="float32 or float16 or bfloat16 tensor expected, got float64"):
            group(doubles, COCO)
        with pytest.raises(ValueError, match=r"maps.contiguous\(\)"):
            group(turned.transpose(1, 2), COCO)


def test_connections_that_fit_no_peaks_are_refused() -> None:
    peaks, counts, limb_ends = np.zeros((3, 3)), np.array([1, 2], np.int32), np.array([[0, 1]], np.int32)
    for ends in ([0, 1, 0], [0, 0, 2], [0, -1, 0]):
        with pytest.raises(ValueError, match="connections between peaks of limb 0 expected, got one from"):
            _grouping.assemble(peaks, counts, np.array([ends], np.int32), np.ones(1), limb_ends, LENIENT)


def test_the_predictor_groups_its_own_maps(rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    settings = config.load(CONFIGS / "smoke.yaml")
    network = IMHN.from_settings(settings.model, COCO.channels).eval()
    with torch.no_grad():  # wide weights, so that maps are far from flat
        for parameter in network.parameters():
            parameter.mul_(100 if parameter.ndim > 1 else 1)
    predictor = Predictor(Model(network, replace(settings, grouping=LENIENT), COCO))
    image = rng.integers(0, 256, (128, 192, 3), dtype=np.uint8)  # its own frame: nothing is resized
    maps = predictor.maps(image)
    assert isinstance(maps.values, np.ndarray)
    found, expected = predictor(image), group(maps.values, COCO, LENIENT)
    assert len(found) > 0
    np.testing.assert_array_equal(found.found, expected.found)
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=1e-3)
