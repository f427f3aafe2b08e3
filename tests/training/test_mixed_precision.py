"""Mixed precision: accumulation, clipping of unscaled gradients, skipped overflows."""

import pytest
import torch
from torch import nn

from simplepose.config import TrainSettings
from simplepose.training.optim import MixedPrecision, build_optimizer

CPU = torch.device("cpu")

# Factor of the loss; the gradient must not overflow at the initial loss scale, 2 ** 16.
LOSS_FACTOR = 2.0**-10

KINDS = ["fp32", "bf16", "fp16"]

# Norm of the gradient for an input of 5.
GRADIENT_NORM = LOSS_FACTOR * 2 * 5 * 3**0.5


def build_trainer(kind, fused=False, **settings):
    """Return a one-layer network, its optimizer and its precision."""
    torch.manual_seed(0)
    network = nn.Linear(3, 1, bias=False)
    options = {"momentum": 0.9, "weight_decay": 0.1, "learning_rate": 0.5, **settings}
    optimizer = build_optimizer(network, TrainSettings(fused=fused, **options))
    return network, optimizer, MixedPrecision(CPU, kind)


def loss_of(network, precision, x=1.0):
    with precision.autocast():
        out = network(torch.full((2, 3), x))
    return LOSS_FACTOR * out.float().sum()


def step(network, optimizer, precision, *values, clip_norm=0.0):
    optimizer.zero_grad()
    for value in values:
        precision.backward(loss_of(network, precision, value))
    return precision.step(optimizer, clip_norm)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_several_backward_passes_accumulate(kind, fused):
    network, optimizer, precision = build_trainer(kind, fused)
    plain = nn.Linear(3, 1, bias=False)
    plain.load_state_dict(network.state_dict())
    reference = torch.optim.SGD(plain.parameters(), 0.5, 0.9, weight_decay=0.1)
    for values in ((1.0, 2.0), (0.5,), (-4.0, 1.0, 1.0)):
        assert step(network, optimizer, precision, *values)
        reference.zero_grad()
        sum(LOSS_FACTOR * plain(torch.full((2, 3), value)).sum() for value in values).backward()
        reference.step()
    assert torch.allclose(network.weight, plain.weight, rtol=1e-5)


@pytest.mark.parametrize("accumulated", [False, True])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", ["fp16"])
def test_overflow_changes_only_the_loss_scale(kind, fused, accumulated):
    network, optimizer, precision = build_trainer(kind, fused)
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
def test_non_finite_gradients_are_skipped_without_loss_scale(kind, clip_norm, fused):
    network, optimizer, precision = build_trainer(kind, fused)
    weight, state = network.weight.detach().clone(), precision.state_dict()
    for value in (float("inf"), float("nan")):
        assert not step(network, optimizer, precision, value, clip_norm=clip_norm)
    assert torch.equal(network.weight, weight)
    assert precision.state_dict()["scale"] == state["scale"] == 1
    assert step(network, optimizer, precision, 1.0, clip_norm=clip_norm)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("clip_norm", "expected"),
    [(GRADIENT_NORM / 4, GRADIENT_NORM / 4), (1e4, GRADIENT_NORM), (0.0, GRADIENT_NORM)],
)
def test_clipping_applies_to_unscaled_gradients(kind, fused, clip_norm, expected):
    network, optimizer, precision = build_trainer(
        kind, fused, momentum=0.0, weight_decay=0.0, learning_rate=1.0
    )
    before = network.weight.detach().clone()
    assert step(network, optimizer, precision, 5.0, clip_norm=clip_norm)
    assert (network.weight - before).norm().item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_precision_resumes_from_its_state(kind, tmp_path):
    network, optimizer, precision = build_trainer(kind)
    for value in (1.0, float("inf") if kind == "fp16" else 2.0, 1.0):
        step(network, optimizer, precision, value)
    torch.save(precision.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    network, optimizer, other = build_trainer(kind)
    other.load_state_dict(state)
    assert other.state_dict() == state
    assert step(network, optimizer, other, 1.0)


def test_convolutions_run_in_the_requested_dtype():
    network, image = nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        with MixedPrecision(CPU, name).autocast():
            assert network(image).dtype == dtype
    assert network.weight.dtype == torch.float32
