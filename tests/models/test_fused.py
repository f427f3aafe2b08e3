"""The network for use finds what the plain one finds, with less; the plain one stays as it was."""

import copy
import gc
import shutil

import filled
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from simplepose.inference import predictor
from simplepose.models import IMHN, checkpoints, fused, importers, run_modes
from simplepose.models.fused import for_use
from simplepose.models.layers import ConvBlock

SMALL = {"stem_width": 4, "width": 16, "growth": 6, "head_width": 12, "reduction": 4, "dilations": (2, 3)}
SIZES = [(2, 64, 64), (1, 64, 192), (3, 192, 128), (1, 96, 160)]


def scattered(network: nn.Module) -> nn.Module:
    """Weights that keep the sizes of signals, and batch norms whose every number counts."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan = module.weight[0].numel()
            module.weight.data.normal_(0, fan**-0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.1, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
    return network.eval()


def pictures(batch: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8, generator=generator)


@torch.inference_mode()
def plain_maps(network: IMHN, images: torch.Tensor, stacks: int = 0) -> torch.Tensor:
    return network(images.permute(0, 3, 1, 2).float() / 255)[stacks - 1][0]


@pytest.fixture(scope="module")
def four() -> IMHN:
    return scattered(IMHN(stacks=4, channels=7, **SMALL))


@pytest.fixture(scope="module")
def published_network() -> IMHN:
    with torch.device("meta"):
        network = IMHN().eval()
    network.load_state_dict(importers.to_ours(filled.published_weights(), network), assign=True)
    return network


@pytest.fixture(scope="module")
def mobile() -> IMHN:
    return checkpoints.load(predictor.find("imhn_mobile")).network


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stacks", [1, 2, 3, 4])
def test_each_stack_finds_what_the_plain_one_finds(four, stacks, size):
    images = pictures(*size)
    expected = plain_maps(four, images, stacks)
    found = for_use(four, stacks=stacks)(images)
    assert expected.std() > 0.1
    assert (found - expected).abs().max() < 1e-4


def test_a_network_of_one_stack(mobile):
    images = pictures(2, 128, 192)
    assert (for_use(mobile)(images) - plain_maps(mobile, images)).abs().max() < 1e-5


def test_the_published_network(published_network):
    images = pictures(1, 64, 128)
    for stacks in (2, 4):
        found = for_use(published_network, stacks=stacks)(images)
        assert (found - plain_maps(published_network, images, stacks)).abs().max() < 1e-4


def test_all_stacks_is_the_default_and_no_gradient_is_kept(four):
    images = pictures(1, 64, 64)
    found = for_use(four)(images)
    assert torch.equal(found, for_use(four, stacks=4)(images))
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("name", "dtype", "bound"),
    [("four", torch.bfloat16, 0.04), ("four", torch.float16, 0.006), ("mobile", torch.float16, 0.006)],
)
def test_half_precision_is_near(name, dtype, bound, request):
    """The bound is a share of the largest value; float16 keeps three bits more."""
    network, images = request.getfixturevalue(name), pictures(2, 64, 128)
    expected = plain_maps(network, images)
    made = for_use(network, dtype=dtype)
    found = made(images)
    assert {p.dtype for p in made.parameters()} == {found.dtype} == {dtype}
    assert (found.float() - expected).abs().max() < bound * expected.abs().max()


def test_bf16_of_the_embedded_network_is_as_near_as_autocast(mobile):
    """How much bf16 loses depends on the trained weights: torch's own mixed precision is the measure."""
    images = pictures(2, 64, 128)
    expected = plain_maps(mobile, images)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = plain_maps(mobile, images)
    made = for_use(mobile, dtype=torch.bfloat16)
    found = made(images)
    assert {p.dtype for p in made.parameters()} == {found.dtype} == {torch.bfloat16}
    assert (found.float() - expected).abs().mean() < 1.25 * (mixed.float() - expected).abs().mean()
    assert (found.float() - expected).abs().max() < 1.5 * (mixed.float() - expected).abs().max()


def reaching(network: IMHN) -> tuple[set[str], set[str]]:
    """The parameters that the last stack's finest maps depend on, and the others."""
    network = copy.deepcopy(network).requires_grad_(True)
    network(torch.rand(2, 3, 64, 64))[-1][0].square().sum().backward()
    names = dict(network.named_parameters())
    needed = {name for name, p in names.items() if p.grad is not None and p.grad.any()}
    return needed, names.keys() - needed


def test_only_coarse_heads_and_merges_reach_no_finest_map(four):
    needed, rest = reaching(four)
    coarse = {n for n in rest if n.split(".")[0] in ("heads", "merges") and n.split(".")[2] != "0"}
    assert rest == coarse
    assert not {n for n in needed if n.split(".")[0] in ("heads", "merges") and n.split(".")[2] != "0"}


def test_the_parameters_that_reach_no_finest_map_are_many():
    with torch.device("meta"):
        plain = IMHN()
    coarse_heads = [sum(p.numel() for p in stack[1:].parameters()) for stack in plain.heads]
    coarse_merges = [sum(p.numel() for p in stack[1:].parameters()) for stack in plain.merges]
    assert coarse_heads == [7_757_064] * 4
    assert coarse_merges == [714_240] * 3
    assert sum(p.numel() for p in plain.parameters()) == 128_998_760


@pytest.mark.parametrize("stacks", [1, 4])
def test_less_is_computed(published_network, stacks):
    made = for_use(published_network, stacks=stacks).to("meta")
    images = pictures(1, 64, 64).to("meta")
    with torch.device("meta"), FlopCounterMode(display=False) as plain:
        plain_maps(IMHN().eval(), images)
    with FlopCounterMode(display=False) as used:
        made(images)
    assert used.get_total_flops() < (0.74 if stacks == 4 else 0.27) * plain.get_total_flops()


def test_the_plain_network_stays_as_it_was(four):
    before = copy.deepcopy(four.state_dict())
    made = for_use(four, dtype=torch.bfloat16)
    made(pictures(1, 64, 64))
    for parameter in made.parameters():
        parameter.zero_()
    after = four.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(p.requires_grad and p.dtype == torch.float32 for p in four.parameters())


def test_what_was_dropped_or_copied_is_not_held(four):
    kept = for_use(copy.deepcopy(four), stacks=1)
    gc.collect()
    held = sum(p.numel() for p in kept.parameters())
    assert held < sum(p.numel() for p in four.parameters()) / 3
    assert not [m for m in kept.modules() if isinstance(m, IMHN | ConvBlock | nn.BatchNorm2d)]


@pytest.mark.parametrize("activate", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 3)])
def test_enlarging_and_convolving_as_one(size, activate):
    block = scattered(ConvBlock(6, 4, 3, activate=activate))
    x = torch.randn(2, 6, *size)
    with torch.inference_mode():
        expected = block.bn(block.conv(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")))
        found = fused.transposed(fused.fold(block))(x)
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"stacks": 0}, "stacks 0: 1 to 4 expected"),
        ({"stacks": 5}, "stacks 5: 1 to 4 expected"),
        ({"run": "fast"}, "run 'fast': one of eager, graphs, compile expected"),
        ({"run": "graphs"}, "records CUDA graphs, which cpu has not"),
    ],
)
def test_what_cannot_be_had_is_told(four, wish, told):
    with pytest.raises(ValueError, match=told):
        for_use(four, **wish)


def test_without_a_compiler_compiling_is_refused(four, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="needs a C\\+\\+ compiler"):
        for_use(four, run="compile")


def test_weights_beyond_a_dtype_are_told(four):
    network = copy.deepcopy(four)
    network.stem.conv.bn.running_var[0] = 0  # 1 / sqrt(eps), times a gain
    network.stem.conv.bn.weight.data[0] = 1e4
    assert for_use(network)(pictures(1, 64, 64)).isfinite().all()
    with pytest.raises(ValueError, match=r"as torch.float16, weights .* not finite: stem.conv"):
        for_use(network, dtype=torch.float16)


def test_it_can_be_compiled_whole():
    """Nothing in it breaks torch's view of it; what its backend makes of it takes too long to make here."""
    network = scattered(IMHN(stacks=2, channels=5, **SMALL))
    made = torch.compile(for_use(network), backend="eager", fullgraph=True, dynamic=False)
    images = pictures(2, 64, 128)
    assert (made(images) - plain_maps(network, images)).abs().max() < 1e-4


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs g++")
def test_what_is_compiled_finds_the_same():
    """Of one block alone: compiling a network takes half a minute."""
    block = fused.convolution(fused.fold(scattered(ConvBlock(3, 4, 3)))).requires_grad_(False)
    plain = nn.Sequential(block, nn.LeakyReLU(0.01))
    compiled = run_modes.prepared(copy.deepcopy(plain), "compile", torch.device("cpu"))
    x = torch.randn(1, 3, 6, 8)
    assert (compiled(x) - plain(x)).abs().max() < 1e-6


def test_few_numbers_of_pictures_are_made_ready_for(monkeypatch, four):
    """As many pictures go through it at once as wait: each number would be recorded or compiled anew."""
    shapes, network = set(), for_use(four)
    network.register_forward_pre_hook(lambda _, images: shapes.add(tuple(images[0].shape)))
    monkeypatch.setattr(network, "compile", lambda **_: None)  # takes half a minute
    made = run_modes.prepared(network, "compile", torch.device("cpu"))
    images = pictures(7, 64, 64)
    expected = plain_maps(four, images)
    for count in range(1, 8):
        found = made(images[:count])
        assert found.shape == expected[:count].shape
        assert (found - expected[:count]).abs().max() < 1e-4
    assert shapes == {(count, 64, 64, 3) for count in (1, 2, 4, 8)}


def test_the_least_recently_used_is_dropped():
    made = []
    newest = run_modes.Newest(lambda shape: made.append(shape) or shape, 2)
    for shape in [(1,), (2,), (1,), (3,), (1,), (2,), (2,)]:
        assert newest[shape] == shape
    assert made == [(1,), (2,), (3,), (2,)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_recorded_it_finds_the_same(four):
    made = for_use(four, device="cuda", run="graphs")
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        outputs = [made(pictures(*size).cuda()) for size in SIZES]
    for size, found in zip(SIZES, outputs, strict=True):
        assert (found.cpu() - plain_maps(four, pictures(*size))).abs().max() < 1e-3
