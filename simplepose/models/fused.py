"""The fused network: an IMHN reduced to what one stack's finest maps need, for inference.

The coarse heads and merges are used in training only: their outputs never reach a finer scale. In the rest,
batch norms are folded into convolutions and linear layers that follow one another are joined: a merge with
the maps before it becomes one 1x1 convolution, and upsampling with the 3x3 convolution after it one
transposed convolution. A folded layer is an `Affine` in float64 until `convolution` or `transposed` makes a
module of it: it is rounded once. No function here changes a module that it is given.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from simplepose.models import run_modes
from simplepose.models.imhn import IMHN, EncoderStem, Head, Hourglass, Level, Merge, Stem, cropped
from simplepose.models.layers import NEGATIVE_SLOPE, ConvBlock, Residual
from simplepose.models.run_modes import Run


class Affine(NamedTuple):
    """A convolution's weight (C', C, K, K) and bias (C',), float64 on the CPU."""

    weight: Tensor
    bias: Tensor


def fold(block: ConvBlock, factor: float = 1.0) -> Affine:
    """The convolution and the batch norm of a block, as in evaluation mode; its activation is left out.

    Args:
        block: as trained.
        factor: that the block's inputs are multiplied by first.
    """
    bn = block.bn
    mean, variance = _double(bn.running_mean), _double(bn.running_var)
    scale = _double(bn.weight) / torch.sqrt(variance + bn.eps)
    weight = _double(block.conv.weight) * scale[:, None, None, None]
    return Affine(weight * factor, _double(bn.bias) - mean * scale)


def as_affine(conv: nn.Conv2d) -> Affine:
    """A convolution that has a bias."""
    return Affine(_double(conv.weight), _double(conv.bias))


def chained(first: Affine, second: Affine) -> Affine:
    """Two 1x1 convolutions, one after the other."""
    after = second.weight[:, :, 0, 0]
    return Affine((after @ first.weight[:, :, 0, 0])[:, :, None, None], after @ first.bias + second.bias)


def added(a: Affine, b: Affine) -> Affine:
    """The sum of what two convolutions of one kernel size make of the same maps."""
    return Affine(a.weight + b.weight, a.bias + b.bias)


def convolution(layer: Affine, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """The module, float32; (N, C, H, W) -> (N, C', H, W) at stride 1."""
    outputs, inputs, kernel, _ = layer.weight.shape
    padding = dilation * (kernel - 1) // 2
    with torch.device("meta"):
        module = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, dilation=dilation)
    module.weight, module.bias = _parameter(layer.weight), _parameter(layer.bias)
    return module


def transposed(layer: Affine) -> nn.ConvTranspose2d:
    """Enlarging by 2 (nearest), then a 3x3 convolution: one module, float32; (N, C, H, W) -> (N, C', 2H, 2W).

    A cell of the enlarged maps sees 2 x 2 cells of the small ones: 4 of 9 products remain. To repeat cells is
    a transposed convolution itself, with a 2 x 2 box of ones; with the kernel after it, one of 4 x 4.
    """
    outputs, inputs = layer.weight.shape[:2]
    turned = layer.weight.flip(2, 3)  # a transposed convolution lays its kernel down, unturned
    box = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    kernels = functional.conv2d(turned.reshape(-1, 1, 3, 3), box, padding=1).reshape(outputs, inputs, 4, 4)
    with torch.device("meta"):
        module = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    module.weight, module.bias = _parameter(kernels.transpose(0, 1)), _parameter(layer.bias)
    return module


def _double(tensor: Tensor | None) -> Tensor:
    assert tensor is not None  # as torch's types allow; each of our layers has it
    return tensor.detach().to("cpu", torch.float64)


def _parameter(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.float().contiguous(), requires_grad=False)


BITS = 2.0**-8
"""What uint8 is multiplied by: exact in each dtype, as 1 / 255 is not. The first weights make good for it."""

ENLARGING_DEPTHS = 2
"""So many finest depths join enlarging and convolution. Below, reading the larger kernels would cost more."""


class Activated(nn.Module):
    """A linear layer and LeakyReLU."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer."""
        return functional.leaky_relu_(self.linear(x), NEGATIVE_SLOPE)


class FoldedResidual(nn.Module):
    """`layers.Residual`."""

    def __init__(self, plain: Residual) -> None:
        super().__init__()
        self.bottleneck = nn.Sequential(_folded(plain.reduce), _folded(plain.middle), _folded(plain.expand))
        self.skip = nn.Identity() if isinstance(plain.skip, nn.Identity) else _folded(plain.skip)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        return functional.leaky_relu_(self.bottleneck(x).add_(self.skip(x)), NEGATIVE_SLOPE)


class FoldedStem(nn.Module):
    """`imhn.Stem`, for pictures from 0 to 255 * BITS."""

    def __init__(self, plain: Stem) -> None:
        super().__init__()
        self.conv = _folded(plain.conv, 1 / (255 * BITS))
        self.residual1, self.residual2 = FoldedResidual(plain.residual1), FoldedResidual(plain.residual2)
        self.dilated = nn.Sequential(*(_folded(cast(ConvBlock, block)) for block in plain.dilated))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Run the stem."""
        x = self.residual2(functional.max_pool2d(self.residual1(self.conv(images)), 2))
        return [torch.cat([x, self.dilated(x)], 1)]


class FoldedEncoderStem(nn.Module):
    """`imhn.EncoderStem`, for images from 0 to 255 * BITS."""

    def __init__(self, plain: EncoderStem) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(plain.encoder)
        self.encoder.input_range = 255 * BITS
        self.laterals = nn.ModuleList(_folded(cast(ConvBlock, lateral)) for lateral in plain.laterals)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> a feature at each of the strides 4, 8, 16, 32."""
        return [lateral(x) for lateral, x in zip(self.laterals, self.encoder(images), strict=True)]


class FoldedLevel(nn.Module):
    """One depth of an hourglass and all below it: the features that are given -> the finest feature."""

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
        if depth < ENLARGING_DEPTHS:
            self.merge = Activated(transposed(fold(level.merge)))
        else:
            self.enlarge, self.merge = nn.Upsample(scale_factor=2), _folded(level.merge)

    def forward(self, encoded: Sequence[Tensor]) -> Tensor:
        """(N, C, H, W) and the coarser features that are given -> (N, C, H, W)."""
        x = encoded[0]
        low = encoded[1:] if self.down is None else [self.down(functional.max_pool2d(x, 2, ceil_mode=True))]
        innermost = not isinstance(self.below, FoldedLevel)
        enlarged = self.enlarge(self.back(self.below(low[0] if innermost else low)))
        return self.merge(cropped(enlarged, x) if innermost else enlarged).add_(self.up(x))


class NetworkForUse(nn.Module):
    """The finest maps of an IMHN's first stacks. Made by `for_use`."""

    def __init__(self, plain: IMHN, stacks: int) -> None:
        super().__init__()
        hourglasses = [cast(Hourglass, hourglass) for hourglass in plain.hourglasses[:stacks]]
        heads = [cast(Head, cast(nn.ModuleList, scales)[0]) for scales in plain.heads[:stacks]]
        merges = [cast(Merge, cast(nn.ModuleList, scales)[0]) for scales in plain.merges[: stacks - 1]]
        stem = plain.stem
        self.stem = FoldedEncoderStem(stem) if isinstance(stem, EncoderStem) else FoldedStem(stem)
        self.hourglasses = nn.ModuleList(FoldedLevel(hourglass) for hourglass in hourglasses)
        self.features = nn.ModuleList(_feature(head) for head in heads)
        self.merges = nn.ModuleList(_merge(*pair) for pair in zip(heads[:-1], merges, strict=True))
        self.maps = convolution(as_affine(heads[-1].maps))
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Find limbs and keypoints.

        Args:
            images: (N, H, W, 3) uint8 BGR on the network's device; H and W multiples of 32, at least 64.

        Returns:
            (N, C, H / 4, W / 4) in the network's dtype; channels_last in memory.
        """
        encoded = self.stem(images.permute(0, 3, 1, 2).to(self.maps.weight.dtype).mul_(BITS))
        x = encoded[0]
        feature = self.features[0](self.hourglasses[0](encoded))
        for hourglass, head, merge in zip(self.hourglasses[1:], self.features[1:], self.merges, strict=True):
            cache = merge(feature)
            x = x.add_(cache)
            feature = head(hourglass([x]).add_(cache))
        return self.maps(feature)


def for_use(
    network: IMHN,
    *,
    stacks: int | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    run: Run = "eager",
) -> nn.Module:
    """A network for use, with weights of its own; `network` is left as it is.

    Args:
        network: trained, anywhere.
        stacks: so many of its first stacks are used; fewer are faster and find less. None: all.
        dtype: of weights, sums and maps: torch.float32 (within 1e-4 of the plain network; less exact on a GPU
            where torch.backends.cudnn.allow_tf32 is left as it is), bfloat16 (within 4 % of the largest
            value) or float16 (within 0.6 %; slow on CPUs).
        device: where the network for use goes.
        run: "eager"; "graphs": on a GPU, recorded once for each shape and replayed (`recording.Graphs`);
            "compile": by torch.compile, at the first picture of each shape, which takes long; torch stops
            compiling after its limit of shapes (8 unless set otherwise) and runs others as they are. By both
            as 1, 2, 4, 8, ... pictures at once (`recording.FewSizes`).

    Returns:
        A module: see `NetworkForUse.forward`.

    Raises:
        ValueError: the network has no so many stacks; its weights exceed the dtype; `run` cannot be had here.
    """
    device, whole = torch.device(device), len(network.hourglasses)
    if stacks is not None and not 1 <= stacks <= whole:
        raise ValueError(f"stacks {stacks}: 1 to {whole} expected, as the network has")
    run_modes.require(run, device)
    made = NetworkForUse(network, stacks or whole).eval()
    memory: dict[str, Any] = {"memory_format": torch.channels_last}
    made.to(device, dtype, **memory)
    odd = [name for name, weight in made.named_parameters() if not weight.isfinite().all()]
    if odd:
        raise ValueError(f"as {dtype}, weights of the network are not finite: {', '.join(odd[:5])}")
    return run_modes.prepared(made, run, device)


def _folded(block: ConvBlock, factor: float = 1.0) -> nn.Module:
    conv = block.conv
    module = convolution(fold(block, factor), conv.stride[0], conv.dilation[0])
    return module if isinstance(block.activation, nn.Identity) else Activated(module)


def _feature(head: Head) -> nn.Module:
    return nn.Sequential(_folded(head.conv1), _folded(head.conv2), copy.deepcopy(head.squeeze))


def _merge(head: Head, merge: Merge) -> nn.Module:
    """A head's feature -> the next stack's cache, (N, C, H, W); the maps between are never made."""
    through_maps = chained(as_affine(head.maps), fold(merge.maps))
    return convolution(added(through_maps, fold(merge.features)))
