"""Averaged weights: the averages, swapping them into the network, and their batch norm statistics."""

import contextlib
import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from simplepose.models import IMHN
from simplepose.training import batch_norm
from simplepose.training.ema import EMA, SWA
from simplepose.training.optim import find_frozen_batch_norms, freeze, set_training_mode

AVERAGES = [SWA, lambda network: EMA(network, 0.9)]


def tiny_network(seed=0) -> IMHN:
    torch.manual_seed(seed)
    network = IMHN(1, 8, 16, 8, 16, 4, (2,), channels=5).to(memory_format=torch.channels_last)
    return fill_randomly(network)


@torch.no_grad()
def fill_randomly(network):
    """Fill the whole state of a network with random values, counters too."""
    for tensor in network.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape) + 0.5 if tensor.is_floating_point() else torch.randint(99, ()))
    return network


def snapshot(network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def equal(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# The averages


@pytest.mark.parametrize("count", [1, 2, 7])
def test_swa_is_the_mean_of_all_updates(count):
    network = tiny_network()
    average, snapshots = SWA(network), []
    for _ in range(count):
        fill_randomly(network)
        average.update()
        snapshots.append(snapshot(network))
    assert average.updates == count
    for name, tensor in average.state.items():
        values = [state[name] for state in snapshots]
        expected = torch.stack(values).mean(0) if tensor.is_floating_point() else values[-1]
        assert torch.allclose(tensor, expected), name


def test_ema_follows_its_formula():
    network = tiny_network()
    average, expected = EMA(network, 0.3), snapshot(network)
    for updates in range(1, 6):
        fill_randomly(network)
        average.update()
        decay = min(0.3, (1 + updates) / (10 + updates))
        for name, tensor in network.state_dict().items():
            mean = decay * expected[name] + (1 - decay) * tensor
            expected[name] = mean if tensor.is_floating_point() else tensor.clone()
    for name, tensor in average.state.items():
        assert torch.allclose(tensor, expected[name]), name


def test_ema_converges_to_a_constant_network():
    network = nn.BatchNorm1d(2)
    average = EMA(network, 0.5)
    with torch.no_grad():
        network.weight.fill_(3)
        network.num_batches_tracked.fill_(7)
    for _ in range(60):
        average.update()
    assert average.state["weight"].tolist() == pytest.approx([3, 3])
    assert average.state["num_batches_tracked"] == 7


@pytest.mark.parametrize("make", AVERAGES)
def test_average_resumes_from_its_state(make, tmp_path):
    network = tiny_network()
    uninterrupted = make(network)
    uninterrupted.update()
    torch.save(uninterrupted.state_dict(), tmp_path / "average.pt")
    resumed = make(tiny_network(1))
    resumed.load_state_dict(torch.load(tmp_path / "average.pt", weights_only=True))
    assert equal(resumed.state, uninterrupted.state)
    other = tiny_network(1)
    other.load_state_dict(network.state_dict())
    copied = make(other)
    copied.load_state_dict(resumed.state_dict())
    for average in (uninterrupted, copied):
        average.update()
    assert copied.updates == uninterrupted.updates == 2
    assert equal(copied.state, uninterrupted.state)


@pytest.mark.parametrize("make", AVERAGES)
def test_swapped_loads_the_average_and_restores_the_network(make):
    network = tiny_network()
    average = make(network)
    raw = snapshot(fill_randomly(network))
    averaged = {name: tensor.clone() for name, tensor in average.state.items()}
    parameter = network.stem.conv.conv.weight
    with contextlib.suppress(KeyboardInterrupt), average.swapped():
        assert equal(snapshot(network), averaged)
        network.stem.conv.bn.running_mean.fill_(42)
        raise KeyboardInterrupt
    assert equal(snapshot(network), raw)
    assert network.stem.conv.conv.weight is parameter
    assert average.state["stem.conv.bn.running_mean"].eq(42).all()
    assert torch.equal(average.state["stem.conv.conv.weight"], averaged["stem.conv.conv.weight"])


def test_average_follows_a_network_whose_buffers_were_replaced():
    """Converting or moving a network replaces its buffers."""
    network = nn.BatchNorm1d(2)
    average = SWA(network)
    network.double().float()
    network.running_mean.fill_(5)
    average.update()
    assert average.state["running_mean"].tolist() == [5, 5]


# Batch norm statistics


def mixed_batches() -> list[torch.Tensor]:
    """Return batches of different sizes and means, whose mean statistics are not the correct result."""
    generator = torch.Generator().manual_seed(0)
    sizes_and_shifts = ((3, 0.0), (1, 50.0), (4, -7.0))
    return [torch.randn(n, 3, 5, 4, generator=generator) * (1 + n) + shift for n, shift in sizes_and_shifts]


def state_after_one_large_batch(network, batches):
    """Return the state after torch's own update with all batches in one."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.cat(batches))
    return network.state_dict()


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.SyncBatchNorm])
@pytest.mark.parametrize("affine", [True, False])
def test_statistics_are_those_of_one_large_batch(kind, affine):
    network, plain = kind(3, affine=affine), nn.BatchNorm2d(3, affine=affine)
    batch_norm.update_bn(network, mixed_batches())
    expected = state_after_one_large_batch(plain, mixed_batches())
    for name in ("running_mean", "running_var"):
        assert torch.allclose(network.state_dict()[name], expected[name], rtol=1e-5), name


def test_all_batch_norms_of_a_network_get_the_statistics_of_torch():
    network = tiny_network()
    images = torch.rand(4, 3, 64, 64)
    expected = state_after_one_large_batch(copy.deepcopy(network), [images])
    batch_norm.update_bn(network, [images])
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-5)


def test_update_bn_keeps_weights_modes_and_momentum():
    network = tiny_network()
    network.heads[0][0].conv1.bn.momentum = None
    network.train()
    network.stem.eval()
    before = snapshot(network)
    modes = [(module.training, getattr(module, "momentum", 0)) for module in network.modules()]
    batch_norm.update_bn(network, [torch.rand(2, 3, 64, 64)])
    assert modes == [(module.training, getattr(module, "momentum", 0)) for module in network.modules()]
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if name.endswith(("_mean", "_var", "_tracked"))}
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert all(tensor.grad is None and not tensor.grad_fn for tensor in network.parameters())


def test_update_bn_skips_frozen_parts_but_not_frozen_statistics():
    """Averaged weights need statistics of their own even with train.freeze_batchnorm."""
    network = tiny_network()
    freeze(network, ["stem.*"])
    set_training_mode(network, find_frozen_batch_norms(network, freeze_all=True))
    before = snapshot(network)
    batch_norm.update_bn(network, [torch.rand(2, 3, 64, 64)])
    after = network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("stem."))
    assert not torch.equal(
        after["heads.0.0.conv1.bn.running_mean"], before["heads.0.0.conv1.bn.running_mean"]
    )
    assert network.training
    assert not network.heads[0][0].conv1.bn.training


def test_no_batches_is_an_error_and_no_batch_norm_is_not():
    with pytest.raises(ValueError, match="expected at least 1 batch"):
        batch_norm.update_bn(nn.BatchNorm2d(3), [])
    batch_norm.update_bn(nn.Linear(2, 1), [])


def test_half_precision_inputs_are_accumulated_in_float32():
    network = nn.BatchNorm2d(1)
    batch_norm.update_bn(
        network, [torch.full((1, 1, 256, 256), 100.0).half() + torch.tensor([0, 1]).repeat(128)]
    )
    assert network.running_mean.item() == pytest.approx(100.5)
    assert network.running_var.item() == pytest.approx(0.25, rel=1e-4)


class ThreadReduction:
    """Sums the values of three threads, like an all-reduce of three processes."""

    def __init__(self) -> None:
        self.values, self.barrier = {}, threading.Barrier(3, timeout=60)

    def all_reduce_sum(self, values):
        self.values[threading.get_ident()] = values
        self.barrier.wait()
        total = sum(self.values.values())
        self.barrier.wait()
        return total


def test_all_ranks_get_the_statistics_of_all_batches():
    batches, reduction = mixed_batches(), ThreadReduction()
    networks = [nn.BatchNorm2d(3) for _ in range(3)]
    shares = (batches[:1], batches[1:], [])
    with ThreadPoolExecutor(3) as pool:
        list(
            pool.map(
                lambda n, share: batch_norm.update_bn(n, share, reduction.all_reduce_sum), networks, shares
            )
        )
    expected = state_after_one_large_batch(nn.BatchNorm2d(3), batches)
    for network in networks:
        for name in ("running_mean", "running_var"):
            assert torch.allclose(network.state_dict()[name], expected[name], rtol=1e-5), name
