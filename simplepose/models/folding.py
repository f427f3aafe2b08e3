"""Linear layers that follow one another, as one: factors, batch norms, enlarging, chains of 1x1 convolutions.

A layer is `Affine`, in float64, until `convolution` or `transposed` makes a module of it: it is rounded once.
Nothing here changes a module that it is given.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from simplepose.models.layers import ConvBlock


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
