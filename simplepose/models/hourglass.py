"""One hourglass: down to stride 64 and back up, with a feature at each scale."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from simplepose.models.layers import ConvBlock, Residual

DEPTH = 4
"""How often an hourglass halves the resolution."""

SCALES = DEPTH + 1
"""Resolutions that the network is supervised at: strides 4, 8, 16, 32 and 64."""


def cropped(enlarged: Tensor, like: Tensor) -> Tensor:
    """(N, C, H, W) without the last row or column that `like`, (N, C', h, w), does not have."""
    return enlarged[..., : like.shape[2], : like.shape[3]]


class Level(nn.Module):
    """One depth of an hourglass, all but what lies below it."""

    def __init__(self, width: int, width_below: int, innermost: bool, encoded: bool) -> None:
        super().__init__()
        self.up = Residual(width, width)
        self.down = None if encoded else Residual(width, width_below)
        self.back = Residual(width_below, width)
        self.merge = ConvBlock(width, width, 3)
        self.innermost = Residual(width_below, width_below) if innermost else None


class Hourglass(nn.Module):
    """Features down to stride 64 and back up.

    Args:
        widths: channels at strides 4 to 64.
        encoded: scales, from stride 4 on, whose features an encoder gives; at the others the hourglass makes
            its own on the way down.
    """

    def __init__(self, widths: tuple[int, ...], encoded: int = 1) -> None:
        super().__init__()
        pairs = itertools.pairwise(widths)
        self.levels = nn.ModuleList(
            Level(w, below, depth == DEPTH - 1, depth + 1 < encoded) for depth, (w, below) in enumerate(pairs)
        )

    def forward(self, encoded: Sequence[Tensor]) -> list[Tensor]:
        """Run the hourglass. The size at stride 32 may be odd; the one at stride 64 is then rounded up.

        Args:
            encoded: the features that are given, (N, widths[j], H / 2^j, W / 2^j) for j = 0, ...

        Returns:
            The same for j = 0..4, finest first.
        """
        return self._run(encoded[0], encoded[1:], 0)

    def _run(self, x: Tensor, encoded: Sequence[Tensor], depth: int) -> list[Tensor]:
        level = cast(Level, self.levels[depth])
        low = encoded[0] if level.down is None else level.down(functional.max_pool2d(x, 2, ceil_mode=True))
        if level.innermost is not None:
            below = [level.innermost(low)]
        else:
            below = self._run(low, encoded[1:], depth + 1)
        enlarged = functional.interpolate(level.back(below[0]), scale_factor=2.0, mode="nearest")
        return [level.up(x) + level.merge(cropped(enlarged, x)), *below]
