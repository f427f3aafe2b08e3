"""The building blocks of the networks, and the names of their dtypes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Precisions. Trained weights are fp32. Training runs the others under autocast; a fused network has its
weights in that dtype."""


NEGATIVE_SLOPE = 0.01
"""Slope of every LeakyReLU in the network."""


class ConvBlock(nn.Module):
    """Convolution that keeps the size at stride 1, batch norm, LeakyReLU; (N, C, H, W) -> (N, C', H', W')."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        activate: bool = True,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=padding, dilation=dilation, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs)
        self.activation = nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True) if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(self.conv(x)))


class Residual(nn.Module):
    """Bottleneck of three convolutions with a shortcut; (N, inputs, H, W) -> (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.reduce = ConvBlock(inputs, outputs // 2, 1)
        self.middle = ConvBlock(outputs // 2, outputs // 2, 3)
        self.expand = ConvBlock(outputs // 2, outputs, 1, activate=False)
        self.skip = nn.Identity() if inputs == outputs else ConvBlock(inputs, outputs, 1, activate=False)
        self.activation = nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.expand(self.middle(self.reduce(x))) + self.skip(x))


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate computed from all channels' means (arXiv:1709.01507)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, hidden)
        self.activation = nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)
        self.expand = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        gate = self.expand(self.activation(self.reduce(x.mean((2, 3)))))
        return x * torch.sigmoid(gate)[:, :, None, None]
