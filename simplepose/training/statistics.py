"""A network's buffers (batch norm's statistics), put back where a step comes to nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Statistics:
    """Remembers a network's buffers, and puts them back without asking the device what it decided."""

    def __init__(self, network: nn.Module) -> None:
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for buffer in network.buffers():
            by_type.setdefault(buffer.dtype, []).append(buffer)
        self._groups = list(by_type.values())
        self._before: list[Tensor] = []

    @torch.no_grad()
    def remember(self) -> None:
        """Keep what the buffers hold now."""
        self._before = [_flat(buffers) for buffers in self._groups]

    @torch.no_grad()
    def settle(self, kept: Tensor) -> None:
        """Put the buffers back, unless `kept`, a bool scalar on their device, is true."""
        for buffers, before in zip(self._groups, self._before, strict=True):
            flat = torch.where(kept, _flat(buffers), before)
            parts = flat.split([buffer.numel() for buffer in buffers])
            torch._foreach_copy_(buffers, [p.view_as(b) for p, b in zip(parts, buffers, strict=True)])


def _flat(buffers: list[Tensor]) -> Tensor:
    return torch.cat([buffer.reshape(-1) for buffer in buffers])
