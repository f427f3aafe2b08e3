"""The exponential moving average of a network's weights and batch norm statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MovingAverage:
    """Keeps decay * average + (1 - decay) * network, entry by entry of the network's state.

    Early on the decay is smaller, (1 + updates) / (10 + updates), so that the first weights are forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor, 1 - decay)
            else:
                self.state[name].copy_(tensor)

    def load(self, state: dict[str, Tensor], updates: int) -> None:
        """Go on from a checkpoint's average."""
        self.updates = updates
        for name, tensor in self.state.items():
            tensor.copy_(state[name])
