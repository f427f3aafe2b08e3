"""Averages of a network's weights over the steps: exponential (EMA), and equal weights (SWA)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from simplepose.config import TrainSettings


class Average(ABC):
    """An average of all entries of a network's state, batch norm statistics too; counters are copied.

    Args:
        network: not wrapped or compiled; its modules stay the ones they are.

    Attributes:
        state: the average, by the network's names, on its device; at first the network's own values.
        updates: how often the network was taken in.
    """

    def __init__(self, network: nn.Module) -> None:
        self.updates = 0
        self._places = _places(network)
        self.state = {name: entries[key].detach().clone() for name, (entries, key) in self._places.items()}
        self._floats = [name for name, tensor in self.state.items() if tensor.is_floating_point()]
        self._counters = [name for name, tensor in self.state.items() if not tensor.is_floating_point()]

    @abstractmethod
    def _share(self) -> float:
        """What update number `updates` counts for, 0 to 1."""

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network as it is now: a few kernels for all entries, and no wait for the device."""
        self.updates += 1
        torch._foreach_lerp_(self._averages(self._floats), self._network(self._floats), self._share())
        if self._counters:
            torch._foreach_copy_(self._averages(self._counters), self._network(self._counters))

    @contextmanager
    def exchanged(self) -> Iterator[None]:
        """Within the block the network has the average's values; what it does to them, the average keeps."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def state_dict(self) -> dict[str, Any]:
        """The average as plain values: "state" (tensors by name) and "updates"."""
        return {"state": self.state, "updates": self.updates}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Go on from `state_dict()` of an average of such a network."""
        self.updates = values["updates"]
        for name, tensor in self.state.items():
            tensor.copy_(values["state"][name])

    @torch.no_grad()
    def _exchange(self) -> None:
        averages, network = self._averages(list(self.state)), self._network(list(self.state))
        before = [tensor.clone() for tensor in network]
        torch._foreach_copy_(network, averages)
        torch._foreach_copy_(averages, before)

    def _averages(self, names: list[str]) -> list[Tensor]:
        return [self.state[name] for name in names]

    def _network(self, names: list[str]) -> list[Tensor]:
        return [entries[key] for entries, key in map(self._places.__getitem__, names)]


class MovingAverage(Average):
    """EMA: decay * average + (1 - decay) * network.

    Early on the decay is smaller, (1 + updates) / (10 + updates), so that the first weights are forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network)
        self.decay = decay

    def _share(self) -> float:
        return 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))


class RunningMean(Average):
    """SWA (arXiv:1803.05407): the mean of the networks taken in, all alike.

    Averaged weights need batch norm statistics of their own, after each update and before they are used:
    `with average.exchanged(): batch_norm.recompute(network, batches)`.
    """

    def _share(self) -> float:
        return 1 / self.updates


def is_due(epoch: int, settings: TrainSettings) -> bool:
    """Whether the SWA takes the weights in after `epoch` epochs: each swa_epochs from swa_start on."""
    if settings.swa_start is None or epoch <= settings.swa_start:
        return False
    return ((epoch - settings.swa_start) / settings.swa_epochs).is_integer()


def _places(network: nn.Module) -> dict[str, tuple[dict[str, Any], str]]:
    """Where each entry of the state lies: reading it there costs a small part of `state_dict()`."""
    kept = network.state_dict().keys()
    found = {
        f"{prefix}.{key}" if prefix else key: (entries, key)
        for prefix, module in network.named_modules()
        for entries in (module._parameters, module._buffers)
        for key in entries
    }
    return {name: found[name] for name in kept}
