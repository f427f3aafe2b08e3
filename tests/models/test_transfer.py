"""Transfer of weights: matching layers are loaded completely, and all entries are reported."""

import pytest
import torch
from repo_paths import CONFIGS

from simplepose import skeleton
from simplepose.models import IMHN
from simplepose.models.transfer import transfer

MPII = skeleton.load(str(CONFIGS / "skeletons/mpii.yaml"))


def build_network(seed, stacks=2, channels=skeleton.COCO.channels, width=16) -> IMHN:
    """Build a small network with random entries, also for batch norms and counters."""
    torch.manual_seed(seed)
    network = IMHN(stacks, 8, width, 8, 16, 4, (2,), channels)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) if tensor.is_floating_point() else torch.randint(99, ()))
    return network


def snapshot(network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def transfer_and_check(into, source, name="coco.pt"):
    """Transfer, check the report for every entry, and return it."""
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


def test_same_network_is_loaded_completely():
    report = transfer_and_check(build_network(0), build_network(1))
    assert not report.reset
    assert not report.missing
    assert not report.unused
    assert str(report) == f"coco.pt: {len(report.loaded)} of {len(report.loaded)} tensors loaded"


def test_coco_to_mpii_skips_only_layers_of_maps():
    into = build_network(0, channels=MPII.channels)
    report = transfer_and_check(into, build_network(1))
    assert set(report.reset) == {name for name in into.state_dict() if ".maps." in name}
    assert report.reset["heads.1.4.maps.weight"] == ((50, 16, 1, 1), (MPII.channels, 16, 1, 1))
    assert report.reset["merges.0.2.maps.bn.running_var"] == (
        (32,),
        (32,),
    )  # same shape, but its convolution differs
    assert not report.missing
    assert not report.unused
    text = str(report)
    assert f"{len(report.loaded)} of {len(into.state_dict())} tensors loaded" in text
    assert f"10 heads.?.?.maps.* (expected {MPII.channels}x16x1x1, got 50x16x1x1)" in text
    assert f"1 merges.?.?.maps.* (expected 24x{MPII.channels}x1x1, got 24x50x1x1)" in text


def test_additional_stacks_keep_their_initial_weights():
    report = transfer_and_check(build_network(0, stacks=4), build_network(1, stacks=2))
    assert not report.reset
    parts = "hourglasses.2.*, hourglasses.3.*, heads.2.*, heads.3.*, merges.1.*, merges.2.*"
    assert str(report).splitlines()[1:] == [f"  not in the file: {parts}"]


def test_surplus_stacks_are_not_used():
    report = transfer_and_check(build_network(0, stacks=1), build_network(1, stacks=2))
    assert not report.missing
    assert str(report).splitlines()[1:] == ["  not used: hourglasses.1.*, heads.1.*, merges.*"]


def test_layer_with_a_mismatched_entry_is_not_loaded_in_part():
    """A bias without its weight, or a batch norm of another convolution, would be worse than no transfer."""
    source, into = build_network(1), build_network(0)
    state = snapshot(source)
    state["heads.0.0.squeeze.reduce.weight"] = torch.ones(3, 3)
    state["stem.conv.bn.running_mean"] = torch.ones(1)
    del state["stem.residual2.middle.bn.num_batches_tracked"]
    before = snapshot(into)
    report = transfer(into, state, "invalid.pt")
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


def test_half_precision_weights_are_converted_to_float32():
    source, into = build_network(1).half(), build_network(0)
    transfer(into, source.state_dict(), "half.pt")
    assert into.stem.conv.conv.weight.dtype == torch.float32
    assert torch.equal(into.stem.conv.conv.weight, source.stem.conv.conv.weight.float())


@pytest.mark.parametrize("state", [{}, {"pre.conv1.weight": torch.ones(64, 3, 7, 7)}])
def test_network_without_matching_layers_is_an_error(state):
    into = build_network(0)
    before = snapshot(into)
    with pytest.raises(ValueError, match=r"invalid\.pt: no layer matches the network; expected ") as error:
        transfer(into, state, "invalid.pt")
    assert "expected stem.conv.conv.weight 8x3x7x7, got " in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in into.state_dict().items())


def test_report_is_short():
    report = transfer_and_check(build_network(0, width=16), build_network(1, width=32, channels=47))
    lines = str(report).splitlines()
    assert len(lines) <= 4
    assert max(map(len, lines)) < 500
