"""Frozen parts: weights and statistics do not change with any optimizer; all others do."""

import copy

import pytest
import torch
from torch import nn

from simplepose.config import TrainSettings
from simplepose.models import IMHN
from simplepose.training.optim import build_optimizer, find_frozen_batch_norms, freeze, set_training_mode

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def tiny_network() -> IMHN:
    torch.manual_seed(0)
    return IMHN(2, 8, 16, 8, 16, 4, (2,), channels=5)


def train(network, optimizer="sgd", steps=2, freeze_all=False) -> dict[str, torch.Tensor]:
    """Train with momentum and weight decay, which change weights without a gradient; return the state."""
    settings = TrainSettings(optimizer=optimizer, momentum=0.9, weight_decay=0.1, learning_rate=0.01)
    built_optimizer = build_optimizer(network, settings)
    frozen = find_frozen_batch_norms(network, freeze_all)
    for _ in range(steps):
        set_training_mode(network, frozen)
        built_optimizer.zero_grad()
        outputs = network(torch.rand(2, 3, 64, 64))
        sum((maps - 1).square().mean() for stack in outputs for maps in stack).backward()
        built_optimizer.step()
    return network.state_dict()


def changed_names(network, **options) -> set[str]:
    before = copy.deepcopy(network.state_dict())
    after = train(network, **options)
    return {name for name in before if not torch.equal(before[name], after[name])}


def statistics_of(names) -> set[str]:
    return {name for name in names if name.endswith(STATISTICS)}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_frozen_parts_do_not_change_and_all_others_do(optimizer):
    network = tiny_network()
    names = freeze(network, ["stem.*", "heads.?.1.*"])
    parts = {name for name in network.state_dict() if name.startswith(("stem.", "heads.0.1.", "heads.1.1."))}
    assert set(names) == parts - statistics_of(parts)
    assert changed_names(network, optimizer=optimizer) == set(network.state_dict()) - parts


def test_no_patterns_freeze_nothing():
    network = tiny_network()
    assert freeze(network, []) == []
    assert changed_names(network) == set(network.state_dict())


def test_frozen_batch_norms_keep_statistics_and_train_their_weights():
    network = tiny_network()
    set_training_mode(network, find_frozen_batch_norms(network, freeze_all=True))
    assert network.training
    names = set(network.state_dict())
    assert changed_names(network, freeze_all=True) == names - statistics_of(names)


def test_batch_norm_with_trained_weight_updates_its_statistics():
    network = tiny_network()
    freeze(network, ["stem.*.bn.bias", "stem.conv.conv.weight"])
    assert "stem.conv.bn.running_mean" in changed_names(network)


def test_frozen_batch_norms_normalize_with_their_statistics():
    network = nn.Sequential(nn.BatchNorm2d(3))
    network[0].running_mean.fill_(7)
    freeze(network, ["0.*"])
    set_training_mode(network, find_frozen_batch_norms(network))
    images = torch.rand(2, 3, 4, 4)
    assert torch.allclose(network(images), (images - 7) / (1 + network[0].eps) ** 0.5)


def test_copies_are_frozen_independently():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    freeze(network, ["0.*"])
    duplicate = copy.deepcopy(network)
    set_training_mode(duplicate, find_frozen_batch_norms(duplicate))
    network.eval()
    assert [norm.training for norm in duplicate] == [False, True]
    assert [norm.training for norm in network] == [False, False]
    assert duplicate.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("stem", "'stem' matches no parameter; similar names: stem.*"),
        ("Stem.*", "stem.*"),
        ("hourglass.*", "hourglasses.*"),
        ("heads.7.*", "heads.1.*"),
        ("stem.conv.bn.running_mean", "stem.conv.bn.*"),
        ("", "similar names: "),
        ("*.batchnorm.*", "similar names: "),
    ],
)
def test_pattern_without_match_is_an_error_that_lists_similar_names(pattern, expected):
    network = tiny_network()
    with pytest.raises(ValueError, match=r"train\.freeze") as error:
        freeze(network, ["heads.*", pattern])
    assert expected in str(error.value)
    assert all(parameter.requires_grad for parameter in network.parameters())
