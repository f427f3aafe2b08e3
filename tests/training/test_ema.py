"""Averaged weights: what the means are of, where they come back, and the statistics that belong to them."""

import contextlib
import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from simplepose.models import IMHN
from simplepose.training import batch_norm
from simplepose.training.ema import MovingAverage, RunningMean
from simplepose.training.optim import freeze

KINDS = [RunningMean, lambda network: MovingAverage(network, 0.9)]


def tiny_network(seed=0) -> IMHN:
    torch.manual_seed(seed)
    network = IMHN(1, 8, 16, 8, 16, 4, (2,), channels=5).to(memory_format=torch.channels_last)
    return fill_at_random(network)


@torch.no_grad()
def fill_at_random(network):
    """Every entry of the state, counters too."""
    for tensor in network.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape) + 0.5 if tensor.is_floating_point() else torch.randint(99, ()))
    return network


def snapshot(network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def equal(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# The averages


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_running_mean_is_the_mean_of_what_it_took_in(count):
    network = tiny_network()
    average, snapshots = RunningMean(network), []
    for _ in range(count):
        fill_at_random(network)
        average.update()
        snapshots.append(snapshot(network))
    assert average.updates == count
    for name, tensor in average.state.items():
        taken = [one[name] for one in snapshots]
        expected = torch.stack(taken).mean(0) if tensor.is_floating_point() else taken[-1]
        assert torch.allclose(tensor, expected), name


def test_the_moving_average_follows_its_formula():
    network = tiny_network()
    average, expected = MovingAverage(network, 0.3), snapshot(network)
    for updates in range(1, 6):
        fill_at_random(network)
        average.update()
        decay = min(0.3, (1 + updates) / (10 + updates))
        for name, tensor in network.state_dict().items():
            mean = decay * expected[name] + (1 - decay) * tensor
            expected[name] = mean if tensor.is_floating_point() else tensor.clone()
    for name, tensor in average.state.items():
        assert torch.allclose(tensor, expected[name]), name


def test_the_moving_average_settles_on_a_network_that_stays():
    network = nn.BatchNorm1d(2)
    average = MovingAverage(network, 0.5)
    with torch.no_grad():
        network.weight.fill_(3)
        network.num_batches_tracked.fill_(7)
    for _ in range(60):
        average.update()
    assert average.state["weight"].tolist() == pytest.approx([3, 3])
    assert average.state["num_batches_tracked"] == 7


@pytest.mark.parametrize("make", KINDS)
def test_an_average_goes_on_where_it_was(make, tmp_path):
    network = tiny_network()
    straight = make(network)
    straight.update()
    torch.save(straight.state_dict(), tmp_path / "average.pt")
    resumed = make(tiny_network(1))
    resumed.load_state_dict(torch.load(tmp_path / "average.pt", weights_only=True))
    assert equal(resumed.state, straight.state)
    other = tiny_network(1)
    other.load_state_dict(network.state_dict())
    again = make(other)
    again.load_state_dict(resumed.state_dict())
    for average in (straight, again):
        average.update()
    assert again.updates == straight.updates == 2
    assert equal(again.state, straight.state)


@pytest.mark.parametrize("make", KINDS)
def test_exchanged_gives_the_network_the_average_and_takes_it_back(make):
    network = tiny_network()
    average = make(network)
    raw = snapshot(fill_at_random(network))
    averaged = {name: tensor.clone() for name, tensor in average.state.items()}
    parameter = network.stem.conv.conv.weight
    with contextlib.suppress(KeyboardInterrupt), average.exchanged():
        assert equal(snapshot(network), averaged)
        network.stem.conv.bn.running_mean.fill_(42)
        raise KeyboardInterrupt
    assert equal(snapshot(network), raw)
    assert network.stem.conv.conv.weight is parameter
    assert average.state["stem.conv.bn.running_mean"].eq(42).all()
    assert torch.equal(average.state["stem.conv.conv.weight"], averaged["stem.conv.conv.weight"])


def test_the_average_sees_the_network_after_it_was_moved():
    """Moving a network replaces its buffers."""
    network = nn.BatchNorm1d(2)
    average = RunningMean(network)
    network.double().float()
    network.running_mean.fill_(5)
    average.update()
    assert average.state["running_mean"].tolist() == [5, 5]


# Batch norm statistics


def mixed_batches() -> list[torch.Tensor]:
    """Of unlike sizes and far apart, which a mean of their means and variances does not describe."""
    generator = torch.Generator().manual_seed(0)
    sizes_and_shifts = ((3, 0.0), (1, 50.0), (4, -7.0))
    return [torch.randn(n, 3, 5, 4, generator=generator) * (1 + n) + shift for n, shift in sizes_and_shifts]


def of_one_big_batch(network, batches):
    """The state that torch itself comes to."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.cat(batches))
    return network.state_dict()


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.SyncBatchNorm])
@pytest.mark.parametrize("affine", [True, False])
def test_statistics_are_those_of_one_big_batch(kind, affine):
    network, plain = kind(3, affine=affine), nn.BatchNorm2d(3, affine=affine)
    batch_norm.recompute(network, mixed_batches())
    expected = of_one_big_batch(plain, mixed_batches())
    for name in ("running_mean", "running_var"):
        assert torch.allclose(network.state_dict()[name], expected[name], rtol=1e-5), name


def test_every_norm_of_a_network_gets_the_statistics_that_torch_counts():
    network = tiny_network()
    images = torch.rand(4, 3, 64, 64)
    expected = of_one_big_batch(copy.deepcopy(network), [images])
    batch_norm.recompute(network, [images])
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-5)


def test_weights_modes_and_momentum_stay_as_they_were():
    network = tiny_network()
    network.heads[0][0].conv1.bn.momentum = None
    network.train()
    network.stem.eval()
    before = snapshot(network)
    ways = [(module.training, getattr(module, "momentum", 0)) for module in network.modules()]
    batch_norm.recompute(network, [torch.rand(2, 3, 64, 64)])
    assert ways == [(module.training, getattr(module, "momentum", 0)) for module in network.modules()]
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if name.endswith(("_mean", "_var", "_tracked"))}
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert all(tensor.grad is None and not tensor.grad_fn for tensor in network.parameters())


def test_frozen_parts_keep_their_statistics_and_frozen_statistics_do_not():
    """With train.freeze_batchnorm the averaged weights need statistics of their own all the same."""
    network = tiny_network()
    freeze(network, ["stem.*"], batchnorm=True)
    before = snapshot(network)
    batch_norm.recompute(network, [torch.rand(2, 3, 64, 64)])
    after = network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("stem."))
    assert not torch.equal(
        after["heads.0.0.conv1.bn.running_mean"], before["heads.0.0.conv1.bn.running_mean"]
    )
    network.train()
    assert not network.heads[0][0].conv1.bn.training


def test_no_batch_is_an_error_and_no_norm_is_not():
    with pytest.raises(ValueError, match="not one batch"):
        batch_norm.recompute(nn.BatchNorm2d(3), [])
    batch_norm.recompute(nn.Linear(2, 1), [])


def test_half_precision_counts_in_float32():
    network = nn.BatchNorm2d(1)
    batch_norm.recompute(
        network, [torch.full((1, 1, 256, 256), 100.0).half() + torch.tensor([0, 1]).repeat(128)]
    )
    assert network.running_mean.item() == pytest.approx(100.5)
    assert network.running_var.item() == pytest.approx(0.25, rel=1e-4)


class Gathering:
    """Adds up what three threads give, as processes do."""

    def __init__(self) -> None:
        self.given, self.barrier = {}, threading.Barrier(3, timeout=60)

    def sums(self, values):
        self.given[threading.get_ident()] = values
        self.barrier.wait()
        total = sum(self.given.values())
        self.barrier.wait()
        return total


def test_processes_that_share_the_batches_all_get_the_statistics_of_all():
    batches, gathering = mixed_batches(), Gathering()
    networks = [nn.BatchNorm2d(3) for _ in range(3)]
    shares = (batches[:1], batches[1:], [])
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda n, share: batch_norm.recompute(n, share, gathering.sums), networks, shares))
    expected = of_one_big_batch(nn.BatchNorm2d(3), batches)
    for network in networks:
        for name in ("running_mean", "running_var"):
            assert torch.allclose(network.state_dict()[name], expected[name], rtol=1e-5), name
