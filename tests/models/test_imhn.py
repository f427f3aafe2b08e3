"""The network: equal to the published one, and any stacks and widths."""

from dataclasses import replace

import filled
import numpy as np
import pytest
import torch
from places import CONFIGS
from torch.utils.flop_counter import FlopCounterMode

from simplepose import config
from simplepose.inference.predictor import find
from simplepose.models import IMHN, checkpoints, importers
from simplepose.skeleton import COCO

SMALL = {"stem_width": 4, "width": 8, "growth": 4, "head_width": 8, "reduction": 4, "dilations": (2,)}


@pytest.fixture(scope="module")
def published_network() -> IMHN:
    with torch.device("meta"):  # its own random weights would only be thrown away
        network = IMHN().eval()
    network.load_state_dict(importers.to_ours(filled.published_weights(), network), assign=True)
    return network


def test_every_output_equals_the_published_one(published_network):
    with torch.inference_mode():
        outputs = published_network(filled.picture())
    with np.load(filled.REFERENCE / "imhn4_outputs.npz") as expected:
        assert len(expected.files) == 20
        for name in expected.files:
            stack, scale = int(name[5]), int(name[-1])
            assert np.abs(outputs[stack][scale].numpy() - expected[name]).max() < 1e-4, name


@pytest.mark.parametrize("stacks", [1, 3])
def test_shapes_for_any_stacks_and_sizes(stacks):
    network = IMHN(stacks=stacks, channels=7, **SMALL)
    outputs = network(torch.rand(2, 3, 64, 192))
    assert [[tuple(maps.shape) for maps in stack] for stack in outputs] == [
        [(2, 7, 16, 48), (2, 7, 8, 24), (2, 7, 4, 12), (2, 7, 2, 6), (2, 7, 1, 3)]
    ] * stacks


def test_sizes_that_stride_64_does_not_divide_are_rounded_up_there():
    (outputs,) = IMHN(stacks=1, channels=7, **SMALL)(torch.rand(1, 3, 96, 160))
    assert [tuple(maps.shape[2:]) for maps in outputs] == [(24, 40), (12, 20), (6, 10), (3, 5), (2, 3)]


def test_every_parameter_takes_part():
    network = IMHN(stacks=2, **SMALL)
    outputs = network(torch.rand(2, 3, 64, 64))
    sum(maps.square().sum() for stack in outputs for maps in stack).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]


def test_the_settings_file_describes_the_embedded_network():
    """Otherwise --init-from would load only a part of its weights."""
    embedded = checkpoints.load(find("imhn_mobile"))
    trained = config.load(CONFIGS / "imhn_mobile.yaml").model
    assert embedded.settings.model == replace(trained, scales=1)  # its coarse heads are left out
    assert embedded.skeleton == COCO


def test_the_embedded_default_is_small():
    network = IMHN.from_settings(config.load(CONFIGS / "imhn_mobile.yaml").model, 50).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network(torch.zeros(1, 3, 384, 512))  # 368 x 496, padded
    assert counter.get_total_flops() <= 11e9
    assert find("imhn_mobile").stat().st_size <= 14e6
