"""Mixed precision, whoever does it: gradients add up, are clipped unscaled, and overflows change nothing."""

import sys

import pytest
import torch
from places import ROOT
from torch import nn

from simplepose.config import TrainSettings
from simplepose.training.amp import ApexPrecision, TorchPrecision, prepare
from simplepose.training.optim import make_optimizer

STAND_INS = ROOT / "tests/stand_ins"
CPU = torch.device("cpu")
SMALL = 2.0**-10
"""Of the loss: its gradient must not overflow at the first scale, 2 ** 16."""

KINDS = ["fp32", "bf16", "fp16", "apex"]
SCALED = ["fp16", "apex"]
GRADIENT = SMALL * 2 * 5 * 3**0.5
"""The norm of the gradient that an input of 5 has."""


@pytest.fixture
def trained(monkeypatch):
    """trained(kind, fused, **settings) -> a network with one layer, its optimizer, its precision."""
    monkeypatch.syspath_prepend(str(STAND_INS))

    def build(kind, fused=False, **settings):
        torch.manual_seed(0)
        network = nn.Linear(3, 1, bias=False)
        chosen = {"momentum": 0.9, "weight_decay": 0.1, "learning_rate": 0.5, **settings}
        optimizer = make_optimizer(network, TrainSettings(fused=fused, **chosen))
        precision = ApexPrecision(network, optimizer) if kind == "apex" else TorchPrecision(CPU, kind)
        return network, optimizer, precision

    yield build
    for name in [name for name in sys.modules if name == "amp_C" or name.split(".")[0] == "apex"]:
        del sys.modules[name]


def loss_of(network, precision, x=1.0):
    with precision.autocast():
        out = network(torch.full((2, 3), x))
    return SMALL * out.float().sum()


def step(network, optimizer, precision, *values, clip_norm=0.0):
    optimizer.zero_grad()
    for value in values:
        precision.backward(loss_of(network, precision, value))
    return precision.step(optimizer, clip_norm)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_several_backward_passes_make_one_step_of_their_sum(trained, kind, fused):
    network, optimizer, precision = trained(kind, fused)
    plain = nn.Linear(3, 1, bias=False)
    plain.load_state_dict(network.state_dict())
    reference = torch.optim.SGD(plain.parameters(), 0.5, 0.9, weight_decay=0.1)
    for values in ((1.0, 2.0), (0.5,), (-4.0, 1.0, 1.0)):
        assert step(network, optimizer, precision, *values)
        reference.zero_grad()
        sum(SMALL * plain(torch.full((2, 3), value)).sum() for value in values).backward()
        reference.step()
    assert torch.allclose(network.weight, plain.weight, rtol=1e-5)


@pytest.mark.parametrize("accumulated", [False, True])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", SCALED)
def test_an_overflow_changes_nothing_but_the_scale(trained, kind, fused, accumulated):
    network, optimizer, precision = trained(kind, fused)
    assert step(network, optimizer, precision, 1.0)
    weight = network.weight.detach().clone()
    momentum = optimizer.state[network.weight]["momentum_buffer"].clone()
    before = precision.state_dict()
    values = (1.0, float("inf"), 1.0) if accumulated else (float("inf"),)
    assert not step(network, optimizer, precision, *values)
    assert not step(network, optimizer, precision, float("nan"), clip_norm=1.0)
    assert torch.equal(network.weight, weight)
    assert torch.equal(optimizer.state[network.weight]["momentum_buffer"], momentum)
    assert precision.state_dict() != before
    assert step(network, optimizer, precision, 1.0)
    assert not torch.equal(network.weight, weight)
    assert network.weight.isfinite().all()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_without_a_scale_too_a_gradient_that_is_not_finite_changes_nothing(trained, kind, clip_norm, fused):
    network, optimizer, precision = trained(kind, fused)
    weight, state = network.weight.detach().clone(), precision.state_dict()
    for value in (float("inf"), float("nan")):
        assert not step(network, optimizer, precision, value, clip_norm=clip_norm)
    assert torch.equal(network.weight, weight)
    assert precision.state_dict()["scale"] == state["scale"] == 1
    assert step(network, optimizer, precision, 1.0, clip_norm=clip_norm)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("clip_norm", "expected"), [(GRADIENT / 4, GRADIENT / 4), (1e4, GRADIENT), (0.0, GRADIENT)]
)
def test_gradients_are_clipped_at_the_size_that_they_have_unscaled(trained, kind, fused, clip_norm, expected):
    network, optimizer, precision = trained(kind, fused, momentum=0.0, weight_decay=0.0, learning_rate=1.0)
    before = network.weight.detach().clone()
    assert step(network, optimizer, precision, 5.0, clip_norm=clip_norm)
    assert (network.weight - before).norm().item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_goes_on_where_it_was(trained, kind, tmp_path):
    network, optimizer, precision = trained(kind)
    for value in (1.0, float("inf") if kind in SCALED else 2.0, 1.0):
        step(network, optimizer, precision, value)
    torch.save(precision.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    network, optimizer, other = trained(kind)
    other.load_state_dict(state)
    assert other.state_dict() == state
    assert step(network, optimizer, other, 1.0)


def test_convolutions_run_in_the_type_that_was_asked_for():
    network, image = nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        with prepare(network, optimizer, TrainSettings(precision=name), CPU).autocast():
            assert network(image).dtype == dtype
    assert network.weight.dtype == torch.float32
