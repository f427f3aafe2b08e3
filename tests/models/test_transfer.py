"""Weights for another network: what fits is taken, layers are never taken by half, and all of it is told."""

import pytest
import torch
from places import CONFIGS

from simplepose import skeleton
from simplepose.models import IMHN
from simplepose.models.transfer import transfer

MPII = skeleton.load(str(CONFIGS / "skeletons/mpii.yaml"))


def network(seed, stacks=2, channels=skeleton.COCO.channels, width=16) -> IMHN:
    """Small, every entry drawn by chance, batch norms' and counters too."""
    torch.manual_seed(seed)
    made = IMHN(stacks, 8, width, 8, 16, 4, (2,), channels)
    with torch.no_grad():
        for tensor in made.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) if tensor.is_floating_point() else torch.randint(99, ()))
    return made


def snapshot(made) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in made.state_dict().items()}


def transferred(into, source, name="coco.pt"):
    """The report, after a check that it is true of every entry."""
    before, state = snapshot(into), source.state_dict()
    report = transfer(into, state, name)
    after = into.state_dict()
    assert {*report.loaded, *report.reset, *report.missing} == after.keys()
    assert len(report.loaded) + len(report.reset) + len(report.missing) == len(after)
    assert set(report.unused) == state.keys() - after.keys()
    assert set(report.missing) == after.keys() - state.keys()
    for entry, tensor in after.items():
        assert torch.equal(tensor, state[entry] if entry in report.loaded else before[entry]), entry
    return report


def test_the_same_network_is_loaded_whole():
    report = transferred(network(0), network(1))
    assert not report.reset
    assert not report.missing
    assert not report.unused
    assert str(report) == f"coco.pt: {len(report.loaded)} of {len(report.loaded)} tensors loaded"


def test_coco_to_mpii_resets_the_layers_of_maps_whole():
    into = network(0, channels=MPII.channels)
    report = transferred(into, network(1))
    assert set(report.reset) == {name for name in into.state_dict() if ".maps." in name}
    assert report.reset["heads.1.4.maps.weight"] == ((50, 16, 1, 1), (MPII.channels, 16, 1, 1))
    assert report.reset["merges.0.2.maps.bn.running_var"] == (
        (32,),
        (32,),
    )  # fits, but its convolution does not
    assert not report.missing
    assert not report.unused
    told = str(report)
    assert f"{len(report.loaded)} of {len(into.state_dict())} tensors loaded" in told
    assert f"10 heads.?.?.maps.* (50x16x1x1 there, {MPII.channels}x16x1x1 here)" in told
    assert f"1 merges.?.?.maps.* (24x50x1x1 there, 24x{MPII.channels}x1x1 here)" in told


def test_more_stacks_than_there_were_begin_fresh():
    report = transferred(network(0, stacks=4), network(1, stacks=2))
    assert not report.reset
    told = "hourglasses.2.*, hourglasses.3.*, heads.2.*, heads.3.*, merges.1.*, merges.2.*"
    assert str(report).splitlines()[1:] == [f"  reset, not in it: {told}"]


def test_stacks_that_are_too_many_are_not_used():
    report = transferred(network(0, stacks=1), network(1, stacks=2))
    assert not report.missing
    assert str(report).splitlines()[1:] == ["  not used: hourglasses.1.*, heads.1.*, merges.*"]


def test_a_squeezed_or_misshapen_layer_is_not_loaded_by_half():
    """Its bias alone, or a batch norm of another convolution, would be worse than none."""
    source, into = network(1), network(0)
    state = snapshot(source)
    state["heads.0.0.squeeze.reduce.weight"] = torch.ones(3, 3)
    state["stem.conv.bn.running_mean"] = torch.ones(1)
    del state["stem.residual2.middle.bn.num_batches_tracked"]
    before = snapshot(into)
    report = transfer(into, state, "odd.pt")
    assert report.missing == ("stem.residual2.middle.bn.num_batches_tracked",)
    for entry in (
        "heads.0.0.squeeze.reduce.bias",
        "stem.conv.conv.weight",
        "stem.conv.bn.weight",
        "stem.residual2.middle.conv.weight",
    ):
        assert entry in report.reset
        assert torch.equal(into.state_dict()[entry], before[entry])
    assert "heads.0.0.squeeze.expand.bias" in report.loaded


def test_half_precision_weights_become_the_network_s():
    source, into = network(1).half(), network(0)
    transfer(into, source.state_dict(), "half.pt")
    assert into.stem.conv.conv.weight.dtype == torch.float32
    assert torch.equal(into.stem.conv.conv.weight, source.stem.conv.conv.weight.float())


@pytest.mark.parametrize("state", [{}, {"pre.conv1.weight": torch.ones(64, 3, 7, 7)}])
def test_a_network_that_shares_nothing_is_an_error(state):
    into = network(0)
    before = snapshot(into)
    with pytest.raises(ValueError, match=r"odd\.pt: not one layer fits the network; it has ") as error:
        transfer(into, state, "odd.pt")
    assert "the network has stem.conv.conv.weight 8x3x7x7" in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in into.state_dict().items())


def test_a_report_stays_short():
    report = transferred(network(0, width=16), network(1, width=32, channels=47))
    lines = str(report).splitlines()
    assert len(lines) <= 4
    assert max(map(len, lines)) < 500
