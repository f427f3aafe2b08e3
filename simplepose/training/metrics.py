"""Loss metrics of the training steps, accumulated on the device and read occasionally."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from simplepose.utils.distributed import World


@dataclass(frozen=True)
class StepMetrics:
    """Metrics of the steps since the last read, over all processes.

    Attributes:
        steps: number of applied steps.
        loss_sum: sum over the applied steps of the mean loss of a sample.
        parts: (S, 5) mean loss of a sample at each stack and scale.
        skipped: number of skipped steps.
        consecutive_skips: skipped steps in a row up to now, including those before the last read.
        last_unusable: the last loss that was not finite or exceeded the limit; NaN if there was none.
    """

    steps: float
    loss_sum: float
    parts: Tensor
    skipped: int
    consecutive_skips: int
    last_unusable: float

    @property
    def loss(self) -> float:
        """Mean loss of a sample; NaN if no step was applied."""
        return self.loss_sum / self.steps if self.steps else math.nan

    @property
    def by_scale(self) -> list[float]:
        """(5,) means over stacks."""
        return [float(value) for value in self.parts.mean(0)]

    @property
    def by_stack(self) -> list[float]:
        """(S,) means over scales."""
        return [float(value) for value in self.parts.mean(1)]


class LossMeter:
    """Accumulates the metrics of steps without waiting for the device; only `read` waits.

    Args:
        stacks: number of stacks S of the loss.
        scales: number of scales of the loss.
        device: where the metrics are accumulated.
    """

    def __init__(self, stacks: int, scales: int, device: torch.device) -> None:
        self._shape = (stacks, scales)
        self._sums = torch.zeros(
            2 + stacks * scales, device=device, dtype=torch.float64
        )  # steps, loss, parts
        self._step = torch.zeros_like(self._sums)
        self._skipped = torch.zeros((), device=device, dtype=torch.int64)
        self._consecutive_skips = torch.zeros((), device=device, dtype=torch.int64)
        self._last_unusable = torch.full((), float("nan"), device=device)

    @torch.no_grad()
    def add_batch(self, loss: Tensor, parts: Tensor, weight: float, usable: Tensor) -> None:
        """Add one batch of the current step.

        Args:
            loss: scalar, mean loss of a sample.
            parts: (S, 5) its parts.
            weight: share of the batch in the step, 0 to 1.
            usable: bool scalar, whether the loss is finite and within the limit.
        """
        self._step += weight * torch.cat([torch.ones_like(loss)[None], loss[None], parts.flatten()]).detach()
        self._last_unusable.copy_(torch.where(usable, self._last_unusable, loss.detach().float()))

    @torch.no_grad()
    def end_step(self, applied: Tensor) -> None:
        """End the current step; `applied` is a bool scalar, False if the step was skipped."""
        self._sums += torch.where(applied, self._step, 0.0)
        self._step.zero_()
        self._skipped += ~applied
        self._consecutive_skips.copy_(torch.where(applied, 0, self._consecutive_skips + 1))

    def read(self, world: World) -> StepMetrics:
        """Wait for the device, return the metrics and reset them; call it on all ranks at the same step."""
        sums = world.all_reduce_sum(self._sums) / world.size
        steps = sums[0].item()
        metrics = StepMetrics(
            steps=steps,
            loss_sum=sums[1].item(),
            parts=(sums[2:] / steps).reshape(self._shape),
            skipped=int(self._skipped.item()),
            consecutive_skips=int(self._consecutive_skips.item()),
            last_unusable=self._last_unusable.item(),
        )
        self._sums.zero_()
        self._skipped.zero_()
        return metrics

    def state_dict(self, world: World) -> dict[str, Tensor]:
        """Return the metrics that are not read yet, as means over processes; call it on all ranks."""
        return {**self._values(), "sums": world.all_reduce_sum(self._sums) / world.size}

    def load_state_dict(self, values: dict[str, Tensor]) -> None:
        """Restore the result of `state_dict()`, on each rank."""
        for name, tensor in self._values().items():
            tensor.copy_(values[name])

    def _values(self) -> dict[str, Tensor]:
        return {
            "sums": self._sums,
            "skipped": self._skipped,
            "in_a_row": self._consecutive_skips,
            "last_unusable": self._last_unusable,
        }
