"""One hourglass: down to stride 64 and back up, with a feature at each scale."""

from __future__ import annotations

import itertools
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from simplepose.models.layers import ConvBlock, Residual

DEPTH = 4
"""How often an hourglass halves the resolution."""

SCALES = DEPTH + 1
"""Resolutions that the network is supervised at: strides 4, 8, 16, 32 and 64."""


class Level(nn.Module):
    """One depth of an hourglass, all but what lies below it."""

    def __init__(self, width: int, width_below: int, innermost: bool) -> None:
        super().__init__()
        self.up = Residual(width, width)
        self.down = Residual(width, width_below)
        self.back = Residual(width_below, width)
        self.merge = ConvBlock(width, width, 3)
        self.innermost = Residual(width_below, width_below) if innermost else None


class Hourglass(nn.Module):
    """(N, widths[0], H, W) -> a feature at each scale, (N, widths[j], H / 2^j, W / 2^j) for j = 0..4."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = itertools.pairwise(widths)
        self.levels = nn.ModuleList(
            Level(w, below, depth == DEPTH - 1) for depth, (w, below) in enumerate(pairs)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Run the hourglass, finest feature first."""
        return self._run(x, 0)

    def _run(self, x: Tensor, depth: int) -> list[Tensor]:
        level = cast(Level, self.levels[depth])
        low = level.down(functional.max_pool2d(x, 2))
        below = [level.innermost(low)] if level.innermost is not None else self._run(low, depth + 1)
        back = level.merge(functional.interpolate(level.back(below[0]), scale_factor=2.0, mode="nearest"))
        return [level.up(x) + back, *below]
