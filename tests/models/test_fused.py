"""The fused network: same maps as the plain network with less work; the plain network is not changed."""

import copy
import gc
import shutil

import fixed_weights
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from simplepose.inference import predictor
from simplepose.models import IMHN, checkpoints, fused, importers, run_modes
from simplepose.models.fused import fuse
from simplepose.models.layers import ConvBlock

SMALL = {"stem_width": 4, "width": 16, "growth": 6, "head_width": 12, "reduction": 4, "dilations": (2, 3)}
SIZES = [(2, 64, 64), (1, 64, 192), (3, 192, 128), (1, 96, 160)]


def randomize_weights(network: nn.Module) -> nn.Module:
    """Set random weights that keep the scale of activations, and batch norms with nontrivial parameters."""
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


def make_images(batch: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8, generator=generator)


@torch.inference_mode()
def compute_plain_maps(network: IMHN, images: torch.Tensor, stacks: int = 0) -> torch.Tensor:
    return network(images.permute(0, 3, 1, 2).float() / 255)[stacks - 1][0]


@pytest.fixture(scope="module")
def four() -> IMHN:
    return randomize_weights(IMHN(stacks=4, channels=7, **SMALL))


@pytest.fixture(scope="module")
def published_network() -> IMHN:
    with torch.device("meta"):
        network = IMHN().eval()
    network.load_state_dict(
        importers.from_published_state(fixed_weights.published_weights(), network), assign=True
    )
    return network


@pytest.fixture(scope="module")
def mobile() -> IMHN:
    return checkpoints.load(predictor.find_model("imhn_mobile")).network


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stacks", [1, 2, 3, 4])
def test_maps_of_each_stack_equal_the_plain_network(four, stacks, size):
    images = make_images(*size)
    expected = compute_plain_maps(four, images, stacks)
    found = fuse(four, stacks=stacks)(images)
    assert expected.std() > 0.1
    assert (found - expected).abs().max() < 1e-4


def test_mobile_network_with_one_stack(mobile):
    images = make_images(2, 128, 192)
    assert (fuse(mobile)(images) - compute_plain_maps(mobile, images)).abs().max() < 1e-5


def test_published_network(published_network):
    images = make_images(1, 64, 128)
    for stacks in (2, 4):
        found = fuse(published_network, stacks=stacks)(images)
        assert (found - compute_plain_maps(published_network, images, stacks)).abs().max() < 1e-4


def test_default_is_all_stacks_without_gradients(four):
    images = make_images(1, 64, 64)
    found = fuse(four)(images)
    assert torch.equal(found, fuse(four, stacks=4)(images))
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("name", "dtype", "bound"),
    [("four", torch.bfloat16, 0.04), ("four", torch.float16, 0.006), ("mobile", torch.float16, 0.006)],
)
def test_half_precision_is_close_to_float32(name, dtype, bound, request):
    """The bound is relative to the largest value; float16 has three more bits of precision."""
    network, images = request.getfixturevalue(name), make_images(2, 64, 128)
    expected = compute_plain_maps(network, images)
    fused_network = fuse(network, dtype=dtype)
    found = fused_network(images)
    assert {p.dtype for p in fused_network.parameters()} == {found.dtype} == {dtype}
    assert (found.float() - expected).abs().max() < bound * expected.abs().max()


def test_bf16_error_of_embedded_network_is_close_to_autocast(mobile):
    """The error of bf16 depends on the trained weights, so torch's autocast is the baseline."""
    images = make_images(2, 64, 128)
    expected = compute_plain_maps(mobile, images)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = compute_plain_maps(mobile, images)
    fused_network = fuse(mobile, dtype=torch.bfloat16)
    found = fused_network(images)
    assert {p.dtype for p in fused_network.parameters()} == {found.dtype} == {torch.bfloat16}
    assert (found.float() - expected).abs().mean() < 1.25 * (mixed.float() - expected).abs().mean()
    assert (found.float() - expected).abs().max() < 1.5 * (mixed.float() - expected).abs().max()


def split_parameters_by_use(network: IMHN) -> tuple[set[str], set[str]]:
    """Split parameters into those that the last stack's finest maps depend on, and the others."""
    network = copy.deepcopy(network).requires_grad_(True)
    network(torch.rand(2, 3, 64, 64))[-1][0].square().sum().backward()
    names = dict(network.named_parameters())
    needed = {name for name, p in names.items() if p.grad is not None and p.grad.any()}
    return needed, names.keys() - needed


def test_finest_maps_depend_on_all_parameters_but_coarse_heads_and_merges(four):
    needed, rest = split_parameters_by_use(four)
    coarse = {n for n in rest if n.split(".")[0] in ("heads", "merges") and n.split(".")[2] != "0"}
    assert rest == coarse
    assert not {n for n in needed if n.split(".")[0] in ("heads", "merges") and n.split(".")[2] != "0"}


def test_parameter_counts_of_coarse_heads_and_merges():
    with torch.device("meta"):
        plain = IMHN()
    coarse_heads = [sum(p.numel() for p in stack[1:].parameters()) for stack in plain.heads]
    coarse_merges = [sum(p.numel() for p in stack[1:].parameters()) for stack in plain.merges]
    assert coarse_heads == [7_757_064] * 4
    assert coarse_merges == [714_240] * 3
    assert sum(p.numel() for p in plain.parameters()) == 128_998_760


@pytest.mark.parametrize("stacks", [1, 4])
def test_fused_network_has_fewer_flops(published_network, stacks):
    fused_network = fuse(published_network, stacks=stacks).to("meta")
    images = make_images(1, 64, 64).to("meta")
    with torch.device("meta"), FlopCounterMode(display=False) as plain_counter:
        compute_plain_maps(IMHN().eval(), images)
    with FlopCounterMode(display=False) as fused_counter:
        fused_network(images)
    assert fused_counter.get_total_flops() < (0.74 if stacks == 4 else 0.27) * plain_counter.get_total_flops()


def test_fuse_does_not_change_the_plain_network(four):
    before = copy.deepcopy(four.state_dict())
    fused_network = fuse(four, dtype=torch.bfloat16)
    fused_network(make_images(1, 64, 64))
    for parameter in fused_network.parameters():
        parameter.zero_()
    after = four.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(p.requires_grad and p.dtype == torch.float32 for p in four.parameters())


def test_fused_network_does_not_keep_unused_modules(four):
    network = fuse(copy.deepcopy(four), stacks=1)
    gc.collect()
    count = sum(p.numel() for p in network.parameters())
    assert count < sum(p.numel() for p in four.parameters()) / 3
    assert not [m for m in network.modules() if isinstance(m, IMHN | ConvBlock | nn.BatchNorm2d)]


@pytest.mark.parametrize("activate", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 3)])
def test_upsampling_and_convolution_as_one_layer(size, activate):
    block = randomize_weights(ConvBlock(6, 4, 3, activate=activate))
    x = torch.randn(2, 6, *size)
    with torch.inference_mode():
        expected = block.bn(block.conv(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")))
        found = fused.build_upsampling_conv(fused.fold_batchnorm(block))(x)
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stacks": 0}, r"stacks: expected 1 to 4 .*, got 0"),
        ({"stacks": 5}, r"stacks: expected 1 to 4 .*, got 5"),
        ({"run": "fast"}, "run: expected one of eager, graphs, compile, got 'fast'"),
        ({"run": "graphs"}, "run 'graphs': expected a CUDA device, got cpu"),
    ],
)
def test_invalid_options_are_errors(four, options, message):
    with pytest.raises(ValueError, match=message):
        fuse(four, **options)


def test_compile_without_a_compiler_is_an_error(four, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match=r"run 'compile': expected a C\+\+ compiler"):
        fuse(four, run="compile")


def test_weights_beyond_the_range_of_a_dtype_are_an_error(four):
    network = copy.deepcopy(four)
    network.stem.conv.bn.running_var[0] = 0  # 1 / sqrt(eps), times a gain
    network.stem.conv.bn.weight.data[0] = 1e4
    assert fuse(network)(make_images(1, 64, 64)).isfinite().all()
    with pytest.raises(
        ValueError, match=r"finite weights in torch.float16, got NaN or infinity in stem.conv"
    ):
        fuse(network, dtype=torch.float16)


def test_fused_network_compiles_as_one_graph():
    """Only tracing, without graph breaks: compilation by the default backend takes too long for a test."""
    network = randomize_weights(IMHN(stacks=2, channels=5, **SMALL))
    fused_network = torch.compile(fuse(network), backend="eager", fullgraph=True, dynamic=False)
    images = make_images(2, 64, 128)
    assert (fused_network(images) - compute_plain_maps(network, images)).abs().max() < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs g++")
def test_compiled_block_has_the_same_output():
    """Of one block: compiling a whole network takes half a minute."""
    block = fused.build_conv(fused.fold_batchnorm(randomize_weights(ConvBlock(3, 4, 3)))).requires_grad_(
        False
    )
    plain = nn.Sequential(block, nn.LeakyReLU(0.01))
    compiled = run_modes.apply_run_mode(copy.deepcopy(plain), "compile", torch.device("cpu"))
    x = torch.randn(1, 3, 6, 8)
    assert (compiled(x) - plain(x)).abs().max() < 1e-6


def test_batches_are_padded_to_powers_of_two(monkeypatch, four):
    """Without padding, each batch size would be captured or compiled separately."""
    shapes, network = set(), fuse(four)
    network.register_forward_pre_hook(lambda _, images: shapes.add(tuple(images[0].shape)))
    monkeypatch.setattr(network, "compile", lambda **_: None)  # takes half a minute
    fused_network = run_modes.apply_run_mode(network, "compile", torch.device("cpu"))
    images = make_images(7, 64, 64)
    expected = compute_plain_maps(four, images)
    for count in range(1, 8):
        found = fused_network(images[:count])
        assert found.shape == expected[:count].shape
        assert (found - expected[:count]).abs().max() < 1e-4
    assert shapes == {(count, 64, 64, 3) for count in (1, 2, 4, 8)}


def test_lru_cache_drops_the_least_recently_used():
    built = []
    cache = run_modes.LRUCache(lambda shape: built.append(shape) or shape, 2)
    for shape in [(1,), (2,), (1,), (3,), (1,), (2,), (2,)]:
        assert cache[shape] == shape
    assert built == [(1,), (2,), (3,), (2,)]


@pytest.mark.gpu
def test_cuda_graphs_have_the_same_output(four):
    fused_network = fuse(four, device="cuda", run="graphs")
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        outputs = [fused_network(make_images(*size).cuda()) for size in SIZES]
    for size, found in zip(SIZES, outputs, strict=True):
        assert (found.cpu() - compute_plain_maps(four, make_images(*size))).abs().max() < 1e-3
