"""Optimizers: fused and unfused steps are equal; frozen parameters; learning rates of parameter groups."""

import logging

import pytest
import torch
from torch import nn
from trainers import make_batch, make_settings, make_trainer

from simplepose.config import TrainSettings
from simplepose.models import IMHN
from simplepose.models.checkpoints import load_training_checkpoint
from simplepose.training.optim import LR_FACTOR, build_optimizer, set_learning_rate

NAMES = ["sgd", "adamw"]
ENCODER = ("model.encoder=mobilenet_v2", "model.encoder_multiplier=0.25", "model.stacks=1")


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
def test_fused_and_unfused_optimizers_give_the_same_weights(name):
    """torch's fused CPU kernels read memory in order: gradients need the memory format of their weights."""
    networks = [tiny_network(), tiny_network()]
    for network, is_fused in zip(networks, (True, False), strict=True):
        train(
            network,
            build_optimizer(network, TrainSettings(optimizer=name, fused=is_fused, learning_rate=1e-3)),
        )
    fused, plain, initial = (dict(network.named_parameters()) for network in (*networks, tiny_network()))
    for entry, start in initial.items():
        moved = (plain[entry] - start).norm()
        assert moved > 0, entry
        # Adam amplifies rounding errors; gradients in another memory format give about 1.
        assert (fused[entry] - plain[entry]).norm() < 0.05 * moved, entry


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_optimizer_uses_the_settings(name, fused, caplog):
    caplog.set_level(logging.INFO)
    settings = TrainSettings(optimizer=name, fused=fused, learning_rate=0.5, momentum=0.8, weight_decay=0.25)
    group = build_optimizer(nn.Linear(2, 1), settings).param_groups[0]
    assert (group["lr"], group["weight_decay"], bool(group["fused"])) == (0.5, 0.25, fused)
    assert group.get("momentum", group.get("betas", [0])[0]) == 0.8
    assert caplog.messages == [f"optimizer {name} of torch, {'fused' if fused else 'not fused'}"]


def test_missing_fused_kernel_is_a_warning(caplog):
    network = nn.Linear(2, 1, dtype=torch.complex64)
    before = network.weight.detach().clone()
    optimizer = build_optimizer(network, TrainSettings(learning_rate=0.5))
    assert "train.fused: torch has no fused SGD here: " in caplog.text
    network(torch.ones(1, 2, dtype=torch.complex64)).abs().sum().backward()
    optimizer.step()
    assert not torch.equal(network.weight, before)


@pytest.mark.parametrize("name", NAMES)
def test_frozen_parameters_are_excluded(name):
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    network[0].requires_grad_(False)
    optimizer = build_optimizer(network, TrainSettings(optimizer=name))
    assert optimizer.param_groups[0]["params"] == list(network[1].parameters())
    with pytest.raises(ValueError, match=r"train\.freeze leaves no parameter to train"):
        build_optimizer(network.requires_grad_(False), TrainSettings(optimizer=name))


def rates(optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def small_encoder_network() -> IMHN:
    torch.manual_seed(0)
    return IMHN(1, 8, 16, 8, 16, 4, (2,), channels=5, encoder="mobilenet_v2", encoder_multiplier=0.25)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_encoder_has_its_own_learning_rate(name, fused):
    network = small_encoder_network()
    settings = TrainSettings(optimizer=name, fused=fused, learning_rate=0.5, encoder_lr_factor=0.125)
    optimizer = build_optimizer(network, settings)
    assert rates(optimizer) == [0.5, 0.0625]
    others, encoder = (group["params"] for group in optimizer.param_groups)
    assert {id(p) for p in encoder} == {id(p) for p in network.stem.encoder.parameters()}
    assert len(others) + len(encoder) == len(list(network.parameters()))
    set_learning_rate(optimizer, 0.25)
    assert rates(optimizer) == [0.25, 0.03125]


@pytest.mark.parametrize(
    ("build_network", "factor"), [(small_encoder_network, 1.0), (tiny_network, 0.1), (tiny_network, 1.0)]
)
def test_without_encoder_factor_there_is_one_group(build_network, factor):
    network = build_network()
    optimizer = build_optimizer(network, TrainSettings(learning_rate=0.5, encoder_lr_factor=factor))
    assert rates(optimizer) == [0.5]
    assert optimizer.param_groups[0]["params"] == list(network.parameters())
    del optimizer.param_groups[0][LR_FACTOR]  # as in checkpoints of older versions
    set_learning_rate(optimizer, 0.25)
    assert rates(optimizer) == [0.25]


def test_frozen_encoder_has_no_group():
    network = small_encoder_network()
    network.stem.encoder.blocks.requires_grad_(False)
    settings = TrainSettings(learning_rate=0.5, encoder_lr_factor=0.1)
    _, encoder = build_optimizer(network, settings).param_groups
    blocks = {id(parameter) for parameter in network.stem.encoder.blocks.parameters()}
    assert encoder["params"]
    assert not blocks & {id(parameter) for parameter in encoder["params"]}
    network.stem.encoder.requires_grad_(False)
    assert rates(build_optimizer(network, settings)) == [0.5]
    network.requires_grad_(False)
    network.stem.encoder.last.requires_grad_(True)
    assert rates(build_optimizer(network, settings)) == [pytest.approx(0.05)]


def step_lengths(trainer, step) -> tuple[float, float]:
    """Return the norm of the change of the encoder's parameters, and of all others, in a step."""
    before = {name: p.detach().clone() for name, p in trainer.network.named_parameters()}
    step()
    sums = [0.0, 0.0]
    for name, parameter in trainer.network.named_parameters():
        distance = (parameter.detach() - before[name]).square().sum().item()
        sums[not name.startswith("stem.encoder.")] += distance
    return sums[0] ** 0.5, sums[1] ** 0.5


def test_each_step_of_a_trainer_uses_both_learning_rates(samples_file):
    plain_sgd = ("train.optimizer=sgd", "train.momentum=0", "train.weight_decay=0", *ENCODER)
    slow = make_trainer(make_settings(*plain_sgd, "train.encoder_lr_factor=0.25"))
    zero = make_trainer(make_settings(*plain_sgd, "train.encoder_lr_factor=0"))
    plain = make_trainer(make_settings(*plain_sgd))
    batch = make_batch(plain.model.settings, samples_file)
    distances = [
        step_lengths(trainer, lambda t=trainer: t.step([batch], 1e-3)) for trainer in (plain, slow, zero)
    ]
    (encoder, others), *slower = distances
    assert encoder > 0
    assert slower[0] == pytest.approx((encoder / 4, others), rel=1e-2)
    assert slower[1] == pytest.approx((0, others), rel=1e-2)
    for rate in (2e-4, 1e-4):
        slow.step([batch], rate)
        assert rates(slow.optimizer) == [rate, rate / 4]


@pytest.mark.parametrize("name", NAMES)
def test_run_with_two_groups_resumes_exactly(samples_file, tmp_path, name):
    settings = make_settings(f"train.optimizer={name}", "train.encoder_lr_factor=0.1", *ENCODER)
    uninterrupted, path = make_trainer(settings), tmp_path / "checkpoint.pt"
    batch = make_batch(settings, samples_file)
    uninterrupted.step([batch], 1e-3)
    torch.save(uninterrupted.state(), path)
    resumed = make_trainer(settings)
    resumed.step([batch], 1e-2)  # overwritten by load_state
    resumed.load_state(load_training_checkpoint(path), str(path))
    for trainer in (uninterrupted, resumed):
        trainer.step([batch], 5e-4)
        assert rates(trainer.optimizer) == [5e-4, 5e-5]
    expected, found = uninterrupted.state(), resumed.state()
    for state in ("weights", "ema"):
        values, others = (s[state] if state == "weights" else s[state]["state"] for s in (expected, found))
        assert values.keys() == others.keys()
        assert all(torch.equal(values[entry], others[entry]) for entry in values)
    for number, values in expected["optimizer"]["state"].items():
        for entry, value in values.items():
            assert torch.equal(value, found["optimizer"]["state"][number][entry])


def test_checkpoint_with_other_groups_is_an_error(samples_file):
    one = make_trainer(make_settings(*ENCODER))
    two = make_trainer(make_settings("train.encoder_lr_factor=0.1", *ENCODER))
    with pytest.raises(ValueError, match="parameter group"):
        two.load_state(one.state(), "checkpoint.pt")
