"""Averages of a network's weights over training steps: exponential (EMA), and with equal weights (SWA)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from simplepose.config import TrainSettings


class WeightAverage(ABC):
    """An average of a network's state, including batch norm statistics; integer counters are copied.

    Args:
        network: neither wrapped nor compiled; its modules must not be replaced.

    Attributes:
        state: the average, by the network's state names, on its device; at first the network's own values.
        updates: number of updates.
    """

    def __init__(self, network: nn.Module) -> None:
        self.updates = 0
        self._entries = _state_entries(network)
        self.state = {name: owner[key].detach().clone() for name, (owner, key) in self._entries.items()}
        self._floats = [name for name, tensor in self.state.items() if tensor.is_floating_point()]
        self._counters = [name for name, tensor in self.state.items() if not tensor.is_floating_point()]

    @abstractmethod
    def _update_weight(self) -> float:
        """Return the weight of update number `updates`, 0 to 1."""

    @torch.no_grad()
    def update(self) -> None:
        """Add the network's current state, with a few kernels for all entries and no wait for the device."""
        self.updates += 1
        torch._foreach_lerp_(self._averages(self._floats), self._network(self._floats), self._update_weight())
        if self._counters:
            torch._foreach_copy_(self._averages(self._counters), self._network(self._counters))

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Load the average into the network within the block; changes to its state go to the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        """Return the average as plain values: "state" (tensors by name) and "updates"."""
        return {"state": self.state, "updates": self.updates}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Restore the `state_dict()` of an average of a network with the same state names."""
        self.updates = values["updates"]
        for name, tensor in self.state.items():
            tensor.copy_(values["state"][name])

    @torch.no_grad()
    def _swap(self) -> None:
        averages, network = self._averages(list(self.state)), self._network(list(self.state))
        saved = [tensor.clone() for tensor in network]
        torch._foreach_copy_(network, averages)
        torch._foreach_copy_(averages, saved)

    def _averages(self, names: list[str]) -> list[Tensor]:
        return [self.state[name] for name in names]

    def _network(self, names: list[str]) -> list[Tensor]:
        return [owner[key] for owner, key in map(self._entries.__getitem__, names)]


class EMA(WeightAverage):
    """Exponential moving average: decay * average + (1 - decay) * network.

    The decay is at most (1 + updates) / (10 + updates), so that the initial weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network)
        self.decay = decay

    def _update_weight(self) -> float:
        return 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))


class SWA(WeightAverage):
    """Stochastic weight averaging (arXiv:1803.05407): the mean of all added weights.

    The averaged weights need batch norm statistics of their own after each update, before they are used:
    `with average.swapped(): batch_norm.update_bn(network, batches)`.
    """

    def _update_weight(self) -> float:
        return 1 / self.updates


def is_swa_due(epoch: int, settings: TrainSettings) -> bool:
    """Return whether SWA adds the weights after `epoch` epochs: every swa_epochs, from swa_start on."""
    if settings.swa_start is None or epoch <= settings.swa_start:
        return False
    return ((epoch - settings.swa_start) / settings.swa_epochs).is_integer()


def _state_entries(network: nn.Module) -> dict[str, tuple[dict[str, Any], str]]:
    """Map each state name to the dict and key that store it; faster to read than `state_dict()`."""
    names = network.state_dict().keys()
    entries = {
        f"{prefix}.{key}" if prefix else key: (owner, key)
        for prefix, module in network.named_modules()
        for owner in (module._parameters, module._buffers)
        for key in owner
    }
    return {name: entries[name] for name in names}
