"""Optimizers: fused or not they take the same steps, over what is not frozen, and say which they are."""

import logging

import pytest
import torch
from torch import nn

from simplepose.config import Train
from simplepose.models import IMHN
from simplepose.training.optimizers import make_optimizer

NAMES = ["sgd", "adamw"]


def tiny_network() -> IMHN:
    torch.manual_seed(0)
    network = IMHN(1, 8, 16, 8, 16, 4, (2,), channels=5)
    return network.to(memory_format=torch.channels_last)


def train(network, optimizer, steps=3, accumulate=2):
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(accumulate):
            images = torch.rand(2, 3, 64, 64, generator=generator)
            images = images.contiguous(memory_format=torch.channels_last)
            sum(maps.square().mean() for maps in network(images)[0]).backward()
        optimizer.step()


@pytest.mark.parametrize("name", NAMES)
def test_fused_or_not_the_weights_are_the_same(name):
    """torch's fused CPU kernels read memory in order: gradients must lie in it as their weights do."""
    networks = [tiny_network(), tiny_network()]
    for network, is_fused in zip(networks, (True, False), strict=True):
        train(network, make_optimizer(network, Train(optimizer=name, fused=is_fused, learning_rate=1e-3)))
    fused, plain, started = (dict(network.named_parameters()) for network in (*networks, tiny_network()))
    for entry, begin in started.items():
        moved = (plain[entry] - begin).norm()
        assert moved > 0, entry
        # Adam magnifies rounding; gradients in another order would make it about 1.
        assert (fused[entry] - plain[entry]).norm() < 0.05 * moved, entry


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_the_settings_are_what_it_steps_with(name, fused, caplog):
    caplog.set_level(logging.INFO)
    settings = Train(optimizer=name, fused=fused, learning_rate=0.5, momentum=0.8, weight_decay=0.25)
    group = make_optimizer(nn.Linear(2, 1), settings).param_groups[0]
    assert (group["lr"], group["weight_decay"], bool(group["fused"])) == (0.5, 0.25, fused)
    assert group.get("momentum", group.get("betas", [0])[0]) == 0.8
    assert caplog.messages == [f"optimizer {name} of torch, {'fused' if fused else 'not fused'}"]


def test_where_torch_has_no_fused_kernel_it_warns_and_steps_without(caplog):
    network = nn.Linear(2, 1, dtype=torch.complex64)
    before = network.weight.detach().clone()
    optimizer = make_optimizer(network, Train(learning_rate=0.5))
    assert "train.fused: torch has no fused SGD here: " in caplog.text
    network(torch.ones(1, 2, dtype=torch.complex64)).abs().sum().backward()
    optimizer.step()
    assert not torch.equal(network.weight, before)


@pytest.mark.parametrize("name", NAMES)
def test_frozen_parameters_are_left_out(name):
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    network[0].requires_grad_(False)
    optimizer = make_optimizer(network, Train(optimizer=name))
    assert optimizer.param_groups[0]["params"] == list(network[1].parameters())
    with pytest.raises(ValueError, match=r"train\.freeze leaves no parameter to train"):
        make_optimizer(network.requires_grad_(False), Train(optimizer=name))
