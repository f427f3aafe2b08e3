"""What the steps have shown, summed on the device and read now and then."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from simplepose.utils.distributed import World


@dataclass(frozen=True)
class Reading:
    """The steps since the last reading, of all processes.

    Attributes:
        steps: that were taken.
        loss_sum: over them, of a sample's mean loss.
        parts: (S, 5) the loss of each stack at each scale, a sample's.
        skipped: steps that changed nothing.
        skipped_in_a_row: up to now, also from before the last reading.
        last_unusable: the last loss that was not finite or beyond the limit; NaN if there was none.
    """

    steps: float
    loss_sum: float
    parts: Tensor
    skipped: int
    skipped_in_a_row: int
    last_unusable: float

    @property
    def loss(self) -> float:
        """A sample's mean; NaN where no step was taken."""
        return self.loss_sum / self.steps if self.steps else math.nan

    @property
    def by_scale(self) -> list[float]:
        """(5,) means over stacks."""
        return [float(value) for value in self.parts.mean(0)]

    @property
    def by_stack(self) -> list[float]:
        """(S,) means over scales."""
        return [float(value) for value in self.parts.mean(1)]


class Meter:
    """Takes the steps' numbers without waiting for the device; only `read` waits.

    Args:
        stacks, scales: of the loss's parts.
        device: where the numbers lie.
    """

    def __init__(self, stacks: int, scales: int, device: torch.device) -> None:
        self._shape = (stacks, scales)
        self._sums = torch.zeros(
            2 + stacks * scales, device=device, dtype=torch.float64
        )  # steps, loss, parts
        self._step = torch.zeros_like(self._sums)
        self._skipped = torch.zeros((), device=device, dtype=torch.int64)
        self._in_a_row = torch.zeros((), device=device, dtype=torch.int64)
        self._last_unusable = torch.full((), float("nan"), device=device)

    @torch.no_grad()
    def batch(self, loss: Tensor, parts: Tensor, share: float, usable: Tensor) -> None:
        """Take one batch, which is `share` of a step: its loss, and the parts (S, 5), a sample's."""
        self._step += share * torch.cat([torch.ones_like(loss)[None], loss[None], parts.flatten()]).detach()
        self._last_unusable.copy_(torch.where(usable, self._last_unusable, loss.detach().float()))

    @torch.no_grad()
    def step(self, taken: Tensor) -> None:
        """The batches since the last call were a step, which was `taken` or not (a bool scalar)."""
        self._sums += torch.where(taken, self._step, 0.0)
        self._step.zero_()
        self._skipped += ~taken
        self._in_a_row.copy_(torch.where(taken, 0, self._in_a_row + 1))

    def read(self, world: World) -> Reading:
        """Wait for the device, and begin anew; all processes at the same step."""
        sums = world.sums(self._sums) / world.size
        steps = sums[0].item()
        reading = Reading(
            steps=steps,
            loss_sum=sums[1].item(),
            parts=(sums[2:] / steps).reshape(self._shape),
            skipped=int(self._skipped.item()),
            skipped_in_a_row=int(self._in_a_row.item()),
            last_unusable=self._last_unusable.item(),
        )
        self._sums.zero_()
        self._skipped.zero_()
        return reading

    def state_dict(self, world: World) -> dict[str, Tensor]:
        """What is summed and not read yet, a process's mean, as plain tensors; all processes together."""
        return {**self._values(), "sums": world.sums(self._sums) / world.size}

    def load_state_dict(self, values: dict[str, Tensor]) -> None:
        """Go on from `state_dict()`, in each process."""
        for name, tensor in self._values().items():
            tensor.copy_(values[name])

    def _values(self) -> dict[str, Tensor]:
        return {
            "sums": self._sums,
            "skipped": self._skipped,
            "in_a_row": self._in_a_row,
            "last_unusable": self._last_unusable,
        }
