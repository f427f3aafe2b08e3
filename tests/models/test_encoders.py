"""Pretrained encoders: TensorFlow's padding, published channels, and an IMHN with an encoder."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from repo_paths import CONFIGS
from slow_tfjs import same_padding
from torch import nn

from simplepose import config
from simplepose.cli import convert_checkpoint, run_command
from simplepose.config import Settings
from simplepose.models import IMHN, checkpoints
from simplepose.models.checkpoints import Model
from simplepose.models.encoders import MobileNetV2, SamePaddingConv2d, make_divisible
from simplepose.models.fused import fuse
from simplepose.skeleton import COCO
from simplepose.training.optim import freeze

SMALL = {"stem_width": 4, "width": 16, "growth": 4, "head_width": 12, "reduction": 4, "dilations": (2,)}
ENCODER = {"encoder": "mobilenet_v2", "encoder_multiplier": 0.25}


def build_random_network(stacks: int) -> IMHN:
    """Build a network with weights that keep the scale of activations, and nontrivial batch norms."""
    torch.manual_seed(stacks)
    network = IMHN(stacks=stacks, channels=COCO.channels, **SMALL, **ENCODER)
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            if not name.startswith("stem.encoder."):
                nn.init.normal_(module.weight, 0, module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.1)
    return network.eval()


@pytest.fixture(scope="module")
def networks() -> dict[int, IMHN]:
    return {stacks: build_random_network(stacks) for stacks in (1, 2)}


def make_images(height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8, generator=generator)


@torch.inference_mode()
def compute_plain_maps(network: IMHN, images: torch.Tensor, stacks: int = 0) -> torch.Tensor:
    return network(images.permute(0, 3, 1, 2).float() / 255)[stacks - 1][0]


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        *((1, 8), (8, 8), (12, 16), (16, 16), (20, 24), (36, 40), (48, 48)),
        *((8.8, 8), (8.9, 16), (17.7, 16), (17.8, 24)),  # 8 and 16 are below 0.9 of 8.9 and 17.8
    ],
)
def test_channels_are_rounded_as_in_the_paper(channels, expected):
    assert make_divisible(channels) == expected


def test_movenet_encoder_channels_and_parameters():
    with torch.device("meta"):
        encoder = MobileNetV2(1.5)
    projected = [block.project.out_channels for block in encoder.blocks]
    widths = [encoder.conv.out_channels, *(width for width, _ in itertools.groupby(projected))]
    assert widths == [48, 24, 40, 48, 96, 144, 240, 480]
    assert encoder.last.out_channels == 1280
    assert len(projected) == 17
    assert encoder.channels == [40 + 24 + 96 + 96, 48 + 24, 144 + 32, 1280]
    assert [number for number, block in enumerate(encoder.blocks) if block.shortcut] == [
        *(2, 4, 5, 7, 8, 9, 11, 12, 14, 15)
    ]
    heads = sum(parameter.numel() for parameter in encoder.heads.parameters())
    assert heads == 2 * (9 * 24 + 24 * 96 + 96)
    assert sum(parameter.numel() for parameter in encoder.parameters()) - heads == 4_698_920


@pytest.mark.parametrize("multiplier", [0.25, 1.5])
@pytest.mark.parametrize("size", [(32, 32), (64, 160), (96, 32)])
def test_feature_shapes_at_strides_4_to_32(size, multiplier):
    encoder = MobileNetV2(multiplier)
    with torch.inference_mode():
        features = encoder(torch.zeros(2, 3, *size))
    assert [tuple(feature.shape) for feature in features] == [
        (2, channels, size[0] // stride, size[1] // stride)
        for channels, stride in zip(encoder.channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize(
    ("kernel", "stride", "depthwise"), [(3, 2, False), (3, 2, True), (3, 1, True), (1, 1, False)]
)
@pytest.mark.parametrize("size", [(2, 2), (4, 6), (10, 8)])
def test_padding_equals_tensorflow_same(size, kernel, stride, depthwise):
    torch.manual_seed(0)
    convolution = SamePaddingConv2d(2, 2, kernel, stride, depthwise).double()
    x = torch.randn(1, 2, *size, dtype=torch.float64)
    weight, bias = convolution.weight.detach().numpy(), convolution.bias.detach().numpy()
    (top, _), (left, _) = (same_padding(side, kernel, stride) for side in size)
    expected = np.zeros((2, size[0] // stride, size[1] // stride))
    for out, row, column in np.ndindex(expected.shape):
        expected[out, row, column] = bias[out]
        for i, j in itertools.product(range(kernel), repeat=2):
            y, z = row * stride + i - top, column * stride + j - left
            if 0 <= y < size[0] and 0 <= z < size[1]:
                read = x[0, out : out + 1, y, z] if depthwise else x[0, :, y, z]
                expected[out, row, column] += weight[out, :, i, j] @ read.numpy()
    found = convolution(x)[0].detach().numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-12


def test_initialized_encoder_keeps_the_scale_of_activations():
    torch.manual_seed(0)
    encoder = MobileNetV2(0.5)
    encoder.reset_parameters()
    with torch.inference_mode():
        features = encoder(torch.rand(2, 3, 64, 96))
    assert all(0.02 < feature.std() < 50 for feature in features)


@pytest.mark.parametrize("stacks", [1, 2])
def test_outputs_at_five_scales(networks, stacks):
    with torch.inference_mode():
        outputs = networks[stacks](torch.rand(1, 3, 64, 192))
    shapes = [(1, COCO.channels, 64 // s, 192 // s) for s in (4, 8, 16, 32, 64)]
    assert [[tuple(maps.shape) for maps in stack] for stack in outputs] == [shapes] * stacks


def test_only_the_first_hourglass_uses_the_encoder(networks):
    names = networks[2].state_dict().keys()
    downs = sorted({name.split(".down.")[0] for name in names if ".down." in name})
    assert downs == ["hourglasses.0.levels.3", *(f"hourglasses.1.levels.{depth}" for depth in range(4))]


def test_encoder_changes_only_state_entries_of_the_stem():
    plain_names, names = (
        set(network.state_dict()) for network in (IMHN(stacks=2, **SMALL), IMHN(stacks=2, **SMALL, **ENCODER))
    )
    assert not any("encoder" in name or "laterals" in name for name in plain_names)
    assert {name.split(".")[0] for name in names - plain_names} == {"stem"}


@pytest.mark.parametrize("size", [(64, 64), (64, 192), (192, 128)])
@pytest.mark.parametrize("stacks", [1, 2])
def test_fused_network_has_the_same_maps(networks, stacks, size):
    images = make_images(*size)
    expected = compute_plain_maps(networks[stacks], images)
    assert expected.std() > 0.1
    assert (fuse(networks[stacks])(images) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_fused_network_with_the_first_stack_only(networks):
    images = make_images(64, 128)
    expected = compute_plain_maps(networks[2], images, stacks=1)
    assert (fuse(networks[2], stacks=1)(images) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_fuse_does_not_change_the_network(networks):
    before = copy.deepcopy(networks[1].state_dict())
    fused = fuse(networks[1])
    first = fused(make_images(64, 64))
    for parameter in fused.parameters():
        parameter.zero_()
    assert networks[1].stem.encoder.input_range == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in networks[1].state_dict().items())
    assert torch.equal(fuse(networks[1])(make_images(64, 64)), first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_save_and_load_round_trip(networks, tmp_path, dtype):
    settings = replace(Settings(), model=replace(Settings().model, stacks=2, **SMALL, **ENCODER))
    model, path = Model(networks[2], settings, COCO), tmp_path / "network.safetensors"
    checkpoints.save_safetensors(path, model, dtype)
    loaded = checkpoints.load(path)
    assert loaded.settings == settings
    expected = {
        name: tensor.to(dtype).float() if tensor.is_floating_point() else tensor
        for name, tensor in model.network.state_dict().items()
    }
    found = loaded.network.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    images = make_images(64, 64)
    maps, before = fuse(loaded.network)(images), compute_plain_maps(model.network, images)
    assert (maps - before).abs().max() < (1e-4 if dtype == torch.float32 else 1e-2) * before.abs().max()


def test_network_with_encoder_cannot_be_converted_to_the_published_format(networks, tmp_path, capsys):
    settings = replace(Settings(), model=replace(Settings().model, stacks=1, **SMALL, **ENCODER))
    checkpoints.save_safetensors(tmp_path / "a.safetensors", Model(networks[1], settings, COCO))
    assert (
        run_command(convert_checkpoint.main, [str(tmp_path / "a.safetensors"), str(tmp_path / "a.pth")]) == 2
    )
    assert "expected a network with model.encoder=hourglass, got mobilenet_v2" in capsys.readouterr().err
    assert not (tmp_path / "a.pth").exists()


def test_all_parameters_but_the_frozen_get_gradients(networks):
    network = copy.deepcopy(networks[2]).train()
    network.zero_grad()
    frozen = freeze(network, ["stem.encoder.conv.*", "stem.encoder.blocks.?.*"])
    assert len(frozen) == 2 + 4 + 9 * 6
    outputs = network(torch.rand(2, 3, 64, 64))
    sum(maps.square().mean() for stack in outputs for maps in stack).backward()
    for name, parameter in network.named_parameters():
        if name in frozen:
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


def test_mobile_config_freezes_the_encoder_alone():
    settings = config.load(CONFIGS / "imhn_mobile.yaml")
    with torch.device("meta"):
        network = IMHN.from_settings(settings.model, COCO.channels)
    frozen = freeze(network, settings.train.freeze)
    encoder = [name for name, _ in network.named_parameters() if name.startswith("stem.encoder.")]
    assert frozen == encoder
    assert len(encoder) == 127


@pytest.mark.parametrize("value", ["0", "-1", ".nan", ".inf"])
def test_multiplier_that_is_not_positive_is_an_error(value):
    with pytest.raises(ValueError, match="encoder_multiplier"):
        config.load(CONFIGS / "imhn_mobile.yaml", [f"model.encoder_multiplier={value}"])


@pytest.mark.parametrize("stacks", [1, 2])
def test_removing_coarse_heads_keeps_the_finest_maps(networks, stacks, tmp_path):
    settings = Settings(model=config.ModelSettings(stacks=stacks, **SMALL, **ENCODER))
    target = tmp_path / "small.safetensors"
    checkpoints.save_safetensors(tmp_path / "all.safetensors", Model(networks[stacks], settings, COCO))
    assert (
        run_command(convert_checkpoint.main, [str(tmp_path / "all.safetensors"), str(target), "--finest"])
        == 0
    )
    small = checkpoints.load(target)
    assert target.stat().st_size < (tmp_path / "all.safetensors").stat().st_size
    images = make_images(64, 128)
    found = small.network(images.permute(0, 3, 1, 2).float() / 255)
    assert [len(maps) for maps in found] == [1] * stacks
    assert torch.equal(compute_plain_maps(networks[stacks], images), found[-1][0])
    assert small.settings.loss.scale_weights == settings.loss.scale_weights[:1]
