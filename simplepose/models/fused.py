"""The fused network: a network reduced to the layers that the finest maps depend on, for inference.

The coarse heads and merges are used in training only: their outputs never reach a finer scale. In the other
layers, batch norms are folded into convolutions, and consecutive linear layers are joined. A merge and the
maps before it become one 1x1 convolution. Upsampling and the 3x3 convolution after it become one transposed
convolution. A folded layer is a `FoldedConv` in float64 until `build_conv` or `build_upsampling_conv` makes a
module of it, so that it is rounded only once. No function here changes its input module.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from simplepose.models import run_modes
from simplepose.models.fastpose import FastPose
from simplepose.models.imhn import IMHN, EncoderStem, Head, Hourglass, Level, Merge, Stem, crop_like
from simplepose.models.layers import NEGATIVE_SLOPE, ConvBlock, Residual
from simplepose.models.run_modes import RunMode


class FoldedConv(NamedTuple):
    """A convolution's weight (C', C, K, K) and bias (C',), float64 on the CPU."""

    weight: Tensor
    bias: Tensor


def fold_batchnorm(block: ConvBlock, factor: float = 1.0) -> FoldedConv:
    """Fold a block's batch norm, in evaluation mode, into its convolution; the activation is left out.

    Args:
        block: a trained block.
        factor: scale of the block's inputs.
    """
    bn = block.bn
    mean, variance = _to_float64(bn.running_mean), _to_float64(bn.running_var)
    scale = _to_float64(bn.weight) / torch.sqrt(variance + bn.eps)
    weight = _to_float64(block.conv.weight) * scale[:, None, None, None]
    return FoldedConv(weight * factor, _to_float64(bn.bias) - mean * scale)


def to_folded_conv(conv: nn.Conv2d) -> FoldedConv:
    """Convert a convolution with bias."""
    return FoldedConv(_to_float64(conv.weight), _to_float64(conv.bias))


def compose_pointwise_convs(first: FoldedConv, second: FoldedConv) -> FoldedConv:
    """Compose two consecutive 1x1 convolutions into one."""
    after = second.weight[:, :, 0, 0]
    return FoldedConv((after @ first.weight[:, :, 0, 0])[:, :, None, None], after @ first.bias + second.bias)


def add_convs(a: FoldedConv, b: FoldedConv) -> FoldedConv:
    """Add two convolutions of the same kernel size that read the same maps."""
    return FoldedConv(a.weight + b.weight, a.bias + b.bias)


def build_conv(layer: FoldedConv, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Build the float32 module; (N, C, H, W) -> (N, C', H, W) at stride 1."""
    outputs, inputs, kernel, _ = layer.weight.shape
    padding = dilation * (kernel - 1) // 2
    with torch.device("meta"):
        module = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, dilation=dilation)
    module.weight, module.bias = _parameter(layer.weight), _parameter(layer.bias)
    return module


def build_upsampling_conv(layer: FoldedConv) -> nn.ConvTranspose2d:
    """Build one float32 module for nearest upsampling by 2 and a 3x3 convolution.

    The module maps (N, C, H, W) to (N, C', 2H, 2W).
    A cell of the upsampled maps depends on 2 x 2 cells of the small ones: 4 of 9 products remain. Nearest
    upsampling is a transposed convolution with a 2 x 2 kernel of ones. Composed with the 3x3 kernel, it is a
    transposed convolution with a 4 x 4 kernel.
    """
    outputs, inputs = layer.weight.shape[:2]
    flipped = layer.weight.flip(2, 3)  # a transposed convolution applies its kernel flipped
    box = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    kernels = functional.conv2d(flipped.reshape(-1, 1, 3, 3), box, padding=1).reshape(outputs, inputs, 4, 4)
    with torch.device("meta"):
        module = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    module.weight, module.bias = _parameter(kernels.transpose(0, 1)), _parameter(layer.bias)
    return module


def _to_float64(tensor: Tensor | None) -> Tensor:
    assert tensor is not None  # torch's types allow None; all layers of this project have these tensors
    return tensor.detach().to("cpu", torch.float64)


def _parameter(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.float().contiguous(), requires_grad=False)


UINT8_SCALE = 2.0**-8
"""Scale of uint8 images: exact in each dtype, unlike 1 / 255. The first layer's weights compensate for it."""

NUM_FUSED_UPSAMPLING_DEPTHS = 2
"""Finest depths with joined upsampling and convolution. Elsewhere, reading the larger kernels costs more."""


class LeakyReLULayer(nn.Module):
    """A linear layer followed by LeakyReLU."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H', W')."""
        return functional.leaky_relu_(self.linear(x), NEGATIVE_SLOPE)


class FoldedResidual(nn.Module):
    """`layers.Residual` with folded batch norms."""

    def __init__(self, plain: Residual) -> None:
        super().__init__()
        self.bottleneck = nn.Sequential(
            _build_folded(plain.reduce), _build_folded(plain.middle), _build_folded(plain.expand)
        )
        self.skip = nn.Identity() if isinstance(plain.skip, nn.Identity) else _build_folded(plain.skip)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        return functional.leaky_relu_(self.bottleneck(x).add_(self.skip(x)), NEGATIVE_SLOPE)


class FoldedStem(nn.Module):
    """`imhn.Stem` with folded batch norms, for images in [0, 255 * UINT8_SCALE]."""

    def __init__(self, plain: Stem) -> None:
        super().__init__()
        self.conv = _build_folded(plain.conv, 1 / (255 * UINT8_SCALE))
        self.residual1, self.residual2 = FoldedResidual(plain.residual1), FoldedResidual(plain.residual2)
        self.dilated = nn.Sequential(*(_build_folded(cast(ConvBlock, block)) for block in plain.dilated))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> one feature map at stride 4."""
        x = self.residual2(functional.max_pool2d(self.residual1(self.conv(images)), 2))
        return [torch.cat([x, self.dilated(x)], 1)]


class FoldedEncoderStem(nn.Module):
    """`imhn.EncoderStem` with folded batch norms, for images in [0, 255 * UINT8_SCALE]."""

    def __init__(self, plain: EncoderStem) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(plain.encoder)
        self.encoder.input_range = 255 * UINT8_SCALE
        self.laterals = nn.ModuleList(_build_folded(cast(ConvBlock, lateral)) for lateral in plain.laterals)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> feature maps at strides 4, 8, 16, 32."""
        return [lateral(x) for lateral, x in zip(self.laterals, self.encoder(images), strict=True)]


class FoldedLevel(nn.Module):
    """One depth of an hourglass and all depths below it; computes the finest feature map."""

    def __init__(self, plain: Hourglass, depth: int = 0) -> None:
        super().__init__()
        level = cast(Level, plain.levels[depth])
        self.up = FoldedResidual(level.up)
        self.down = None if level.down is None else FoldedResidual(level.down)
        innermost = level.innermost
        self.below = FoldedLevel(plain, depth + 1) if innermost is None else FoldedResidual(innermost)
        self.back = FoldedResidual(level.back)
        self.merge: nn.Module
        self.enlarge: nn.Module = nn.Identity()
        if depth < NUM_FUSED_UPSAMPLING_DEPTHS:
            self.merge = LeakyReLULayer(build_upsampling_conv(fold_batchnorm(level.merge)))
        else:
            self.enlarge, self.merge = nn.Upsample(scale_factor=2), _build_folded(level.merge)

    def forward(self, encoded: Sequence[Tensor]) -> Tensor:
        """(N, C, H, W) and the encoder's coarser feature maps, if any -> (N, C, H, W)."""
        x = encoded[0]
        low = encoded[1:] if self.down is None else [self.down(functional.max_pool2d(x, 2, ceil_mode=True))]
        innermost = not isinstance(self.below, FoldedLevel)
        upsampled = self.enlarge(self.back(self.below(low[0] if innermost else low)))
        merged: Tensor = self.merge(crop_like(upsampled, x) if innermost else upsampled)
        return merged.add_(self.up(x))


class FusedIMHN(nn.Module):
    """A fused IMHN that computes the finest maps of its last used stack. Built by `fuse`."""

    def __init__(self, plain: IMHN, stacks: int) -> None:
        super().__init__()
        hourglasses = [cast(Hourglass, hourglass) for hourglass in plain.hourglasses[:stacks]]
        heads = [cast(Head, cast(nn.ModuleList, scales)[0]) for scales in plain.heads[:stacks]]
        merges = [cast(Merge, cast(nn.ModuleList, scales)[0]) for scales in plain.merges[: stacks - 1]]
        stem = plain.stem
        self.stem = FoldedEncoderStem(stem) if isinstance(stem, EncoderStem) else FoldedStem(stem)
        self.hourglasses = nn.ModuleList(FoldedLevel(hourglass) for hourglass in hourglasses)
        self.features = nn.ModuleList(_build_feature_layers(head) for head in heads)
        self.merges = nn.ModuleList(_build_merge(*pair) for pair in zip(heads[:-1], merges, strict=True))
        self.maps = build_conv(to_folded_conv(heads[-1].maps))
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Compute limb maps and heatmaps.

        Args:
            images: (N, H, W, 3) uint8 BGR on the network's device; H and W multiples of 32, at least 64.

        Returns:
            Maps (N, C, H / 4, W / 4) in the network's dtype; channels_last memory format.
        """
        encoded = self.stem(images.permute(0, 3, 1, 2).to(self.maps.weight.dtype).mul_(UINT8_SCALE))
        x = encoded[0]
        feature = self.features[0](self.hourglasses[0](encoded))
        for hourglass, head, merge in zip(self.hourglasses[1:], self.features[1:], self.merges, strict=True):
            cache = merge(feature)
            x = x.add_(cache)
            feature = head(hourglass([x]).add_(cache))
        maps: Tensor = self.maps(feature)
        return maps


class FusedFastPose(nn.Module):
    """A FastPose with folded batch norms. Built by `fuse`."""

    def __init__(self, plain: FastPose) -> None:
        super().__init__()
        self.network = copy.deepcopy(plain)
        self.network.stem.encoder.input_range = 255 * UINT8_SCALE
        _fold_blocks(self.network)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Compute heatmaps, (N, A, H / 4, W / 4); see `FusedIMHN.forward`."""
        dtype = self.network.maps.weight.dtype
        maps: Tensor = self.network(images.permute(0, 3, 1, 2).to(dtype).mul_(UINT8_SCALE))[0][0]
        return maps


def fuse(
    network: IMHN | FastPose,
    *,
    stacks: int | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    run: RunMode = "eager",
) -> nn.Module:
    """Build a fused network with its own weights; `network` is not changed.

    Args:
        network: a trained network on any device.
        stacks: number of stacks to use, from the first on; fewer are faster and less accurate. None: all.
        dtype: of weights, sums and maps: torch.float32 (within 1e-4 of the plain network; less exact on a GPU
            unless torch.backends.cudnn.allow_tf32 is turned off), bfloat16 (within 4 % of the largest
            value) or float16 (within 0.6 %; slow on CPUs).
        device: device of the fused network.
        run: "eager"; "graphs": CUDA graphs, captured once per shape and replayed (`run_modes.CudaGraphs`);
            "compile": torch.compile at the first batch of each shape, which is slow. torch stops compiling
            after its limit of shapes (8 by default) and runs other shapes eagerly. "graphs" and "compile"
            run batches of 1, 2, 4, 8, ... images (`run_modes.PowerOfTwoBatches`).

    Returns:
        A module: see `FusedIMHN.forward`.

    Raises:
        ValueError: the network has fewer stacks, its weights exceed the dtype, or `run` is unavailable.
    """
    device, num_stacks = torch.device(device), network.stacks
    if stacks is not None and not 1 <= stacks <= num_stacks:
        raise ValueError(f"stacks: expected 1 to {num_stacks} (the network's stacks), got {stacks}")
    run_modes.check_run_mode(run, device)
    if isinstance(network, FastPose):
        fused: nn.Module = FusedFastPose(network).eval()
    else:
        fused = FusedIMHN(network, stacks or num_stacks).eval()
    memory_format: dict[str, Any] = {"memory_format": torch.channels_last}
    fused.to(device, dtype, **memory_format)
    non_finite = [name for name, weight in fused.named_parameters() if not weight.isfinite().all()]
    if non_finite:
        raise ValueError(
            f"expected finite weights in {dtype}, got NaN or infinity in {', '.join(non_finite[:5])}"
        )
    return run_modes.apply_run_mode(fused, run, device)


def _fold_blocks(module: nn.Module) -> None:
    """Replace each ConvBlock in a module by its folded form."""
    for name, child in module.named_children():
        if isinstance(child, ConvBlock):
            setattr(module, name, _build_folded(child))
        else:
            _fold_blocks(child)


def _build_folded(block: ConvBlock, factor: float = 1.0) -> nn.Module:
    conv = block.conv
    module = build_conv(fold_batchnorm(block, factor), conv.stride[0], conv.dilation[0])
    return module if isinstance(block.activation, nn.Identity) else LeakyReLULayer(module)


def _build_feature_layers(head: Head) -> nn.Module:
    return nn.Sequential(_build_folded(head.conv1), _build_folded(head.conv2), copy.deepcopy(head.squeeze))


def _build_merge(head: Head, merge: Merge) -> nn.Module:
    """Build the convolution from a head's feature map to the next stack's cache, without the maps between."""
    through_maps = compose_pointwise_convs(to_folded_conv(head.maps), fold_batchnorm(merge.maps))
    return build_conv(add_convs(through_maps, fold_batchnorm(merge.features)))
