"""The building blocks of the networks, activation checkpointing, and the names of their dtypes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Precisions. Trained weights are fp32. Training runs the others under autocast; a fused network has its
weights in that dtype."""


NEGATIVE_SLOPE = 0.01
"""Slope of every LeakyReLU in IMHN."""


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
        """(N, inputs, H, W) -> (N, outputs, H', W')."""
        activated: Tensor = self.activation(self.bn(self.conv(x)))
        return activated


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
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        activated: Tensor = self.activation(self.expand(self.middle(self.reduce(x))) + self.skip(x))
        return activated


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate computed from all channels' means (arXiv:1709.01507).

    Args:
        channels: of input and output.
        hidden: units between the two linear layers.
        slope: of the LeakyReLU between them; 0: ReLU.
    """

    def __init__(self, channels: int, hidden: int, slope: float = NEGATIVE_SLOPE) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, hidden)
        self.activation = nn.LeakyReLU(slope, inplace=True)
        self.expand = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        gate = self.expand(self.activation(self.reduce(x.mean((2, 3)))))
        return x * torch.sigmoid(gate)[:, :, None, None]


def run_checkpointed(module: nn.Module, *inputs: Any) -> Any:
    """Run a module with activation checkpointing: the backward pass recomputes its activations.

    Only the inputs are stored. Batch norms count each batch once, although the module runs twice.
    """
    return checkpoint(
        module,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _frozen_running_stats(module)),
    )


@contextmanager
def _frozen_running_stats(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norms unchanged within the block.

    They stay in training mode, so that the same tensors are saved for the backward pass.
    """
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.sub_(1)
