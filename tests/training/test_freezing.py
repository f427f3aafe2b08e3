"""Frozen parts: their weights and statistics stay where they are, whatever the optimizer; the rest moves."""

import copy

import pytest
import torch
from torch import nn

from simplepose.config import TrainSettings
from simplepose.models import IMHN
from simplepose.training.optim import freeze, make_optimizer

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def tiny_network() -> IMHN:
    torch.manual_seed(0)
    return IMHN(2, 8, 16, 8, 16, 4, (2,), channels=5)


def trained(network, optimizer="sgd", steps=2) -> dict[str, torch.Tensor]:
    """The state after some steps with all that could move a weight without a gradient."""
    settings = TrainSettings(optimizer=optimizer, momentum=0.9, weight_decay=0.1, learning_rate=0.01)
    made = make_optimizer(network, settings)
    for _ in range(steps):
        network.train()
        made.zero_grad()
        outputs = network(torch.rand(2, 3, 64, 64))
        sum((maps - 1).square().mean() for stack in outputs for maps in stack).backward()
        made.step()
    return network.state_dict()


def moved(network, **options) -> set[str]:
    before = copy.deepcopy(network.state_dict())
    after = trained(network, **options)
    return {name for name in before if not torch.equal(before[name], after[name])}


def statistics(names) -> set[str]:
    return {name for name in names if name.endswith(STATISTICS)}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_frozen_parts_do_not_move_and_the_rest_does(optimizer):
    network = tiny_network()
    names = freeze(network, ["stem.*", "heads.?.1.*"])
    parts = {name for name in network.state_dict() if name.startswith(("stem.", "heads.0.1.", "heads.1.1."))}
    assert set(names) == parts - statistics(parts)
    assert moved(network, optimizer=optimizer) == set(network.state_dict()) - parts


def test_nothing_asked_for_freezes_nothing():
    network = tiny_network()
    assert freeze(network, []) == []
    assert moved(network) == set(network.state_dict())


def test_frozen_batch_norms_keep_statistics_and_train_their_weights():
    network = tiny_network()
    assert freeze(network, [], batchnorm=True) == []
    network.train()
    assert network.training
    assert moved(network) == set(network.state_dict()) - statistics(network.state_dict())


def test_a_batch_norm_whose_weight_is_still_trained_keeps_counting():
    network = tiny_network()
    freeze(network, ["stem.*.bn.bias", "stem.conv.conv.weight"])
    assert "stem.conv.bn.running_mean" in moved(network)


def test_frozen_norms_normalise_with_their_statistics():
    network = nn.Sequential(nn.BatchNorm2d(3))
    network[0].running_mean.fill_(7)
    freeze(network, ["0.*"])
    network.train()
    images = torch.rand(2, 3, 4, 4)
    assert torch.allclose(network(images), (images - 7) / (1 + network[0].eps) ** 0.5)


def test_a_copy_stays_frozen_by_itself():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    freeze(network, ["0.*"])
    twin = copy.deepcopy(network)
    twin.train()
    network.eval()
    assert [norm.training for norm in twin] == [False, True]
    assert [norm.training for norm in network] == [False, False]
    assert twin.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("stem", "'stem' matches no parameter; near: stem.*"),
        ("Stem.*", "stem.*"),
        ("hourglass.*", "hourglasses.*"),
        ("heads.7.*", "heads.1.*"),
        ("stem.conv.bn.running_mean", "stem.conv.bn.*"),
        ("", "near: "),
        ("*.batchnorm.*", "near: "),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error_that_lists_near_names(pattern, near):
    network = tiny_network()
    with pytest.raises(ValueError, match=r"train\.freeze") as error:
        freeze(network, ["heads.*", pattern])
    assert near in str(error.value)
    assert all(parameter.requires_grad for parameter in network.parameters())
