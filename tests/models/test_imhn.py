"""The network: outputs equal to the published network, for any number of stacks and any size."""

from dataclasses import replace

import fixed_weights
import numpy as np
import pytest
import torch
from repo_paths import CONFIGS
from torch.utils.flop_counter import FlopCounterMode

from simplepose import config
from simplepose.inference.predictor import find_model
from simplepose.models import IMHN, checkpoints, importers
from simplepose.skeleton import COCO

SMALL = {"stem_width": 4, "width": 8, "growth": 4, "head_width": 8, "reduction": 4, "dilations": (2,)}


@pytest.fixture(scope="module")
def published_network() -> IMHN:
    with torch.device("meta"):  # skips the random initialization
        network = IMHN().eval()
    network.load_state_dict(
        importers.from_published_state(fixed_weights.published_weights(), network), assign=True
    )
    return network


def test_all_outputs_equal_the_published_network(published_network):
    with torch.inference_mode():
        outputs = published_network(fixed_weights.make_image())
    with np.load(fixed_weights.REFERENCE / "imhn4_outputs.npz") as expected:
        assert len(expected.files) == 20
        for name in expected.files:
            stack, scale = int(name[5]), int(name[-1])
            assert np.abs(outputs[stack][scale].numpy() - expected[name]).max() < 1e-4, name


@pytest.mark.parametrize("stacks", [1, 3])
def test_output_shapes(stacks):
    network = IMHN(stacks=stacks, channels=7, **SMALL)
    outputs = network(torch.rand(2, 3, 64, 192))
    assert [[tuple(maps.shape) for maps in stack] for stack in outputs] == [
        [(2, 7, 16, 48), (2, 7, 8, 24), (2, 7, 4, 12), (2, 7, 2, 6), (2, 7, 1, 3)]
    ] * stacks


def test_odd_sizes_at_stride_32_are_rounded_up_at_stride_64():
    (outputs,) = IMHN(stacks=1, channels=7, **SMALL)(torch.rand(1, 3, 96, 160))
    assert [tuple(maps.shape[2:]) for maps in outputs] == [(24, 40), (12, 20), (6, 10), (3, 5), (2, 3)]


def test_all_parameters_get_gradients():
    network = IMHN(stacks=2, **SMALL)
    outputs = network(torch.rand(2, 3, 64, 64))
    sum(maps.square().sum() for stack in outputs for maps in stack).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]


def test_settings_file_matches_the_embedded_network():
    """Otherwise --init-from would load only some of its weights."""
    embedded = checkpoints.load(find_model("imhn_mobile"))
    trained = config.load(CONFIGS / "imhn_mobile.yaml").model
    assert embedded.settings.model == replace(trained, scales=1)  # saved without coarse heads
    assert embedded.skeleton == COCO


def test_embedded_network_is_small():
    network = IMHN.from_settings(config.load(CONFIGS / "imhn_mobile.yaml").model, 50).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network(torch.zeros(1, 3, 384, 512))  # 368 x 496, padded
    assert counter.get_total_flops() <= 11e9
    assert find_model("imhn_mobile").stat().st_size <= 14e6
