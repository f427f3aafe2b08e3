"""The one way through mixed precision: the same five methods, whoever does the casting and scaling."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from simplepose.config import Train
from simplepose.models.precision import DTYPES
from simplepose.training.apex import INSTEAD, ApexPrecision


class MixedPrecision(Protocol):
    """Casts within the forward pass, scales the loss where the type needs it, and steps."""

    def autocast(self) -> AbstractContextManager[Any]:
        """Within it the network runs in the type that was asked for."""

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients to those that are there; several may make one step."""

    def step(self, optimizer: Optimizer, clip_norm: float = 0.0) -> Tensor:
        """Step the optimizer over the gradients, clipped to this norm (0: as they are).

        Returns:
            A bool scalar on the device: false when the step was left out, because a gradient is not finite:
            then no weight has moved.
        """

    def state_dict(self) -> dict[str, Any]:
        """What must survive the run, as plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""


class TorchPrecision:
    """torch.amp: bf16 and fp16 by autocast, fp16 with a loss scale that adapts; fp32 changes nothing.

    A step over gradients that are not finite is left out in every precision, and with fused optimizers the
    device alone knows: nothing waits for it.
    """

    def __init__(self, device: torch.device, precision: str) -> None:
        self._device, self._dtype = device.type, DTYPES[precision]
        self._adapts = precision == "fp16"
        self._scaler = (
            torch.amp.GradScaler(self._device)
            if self._adapts
            else torch.amp.GradScaler(self._device, init_scale=1.0)
        )

    def autocast(self) -> AbstractContextManager[Any]:
        """See `MixedPrecision`."""
        return torch.autocast(self._device, self._dtype, enabled=self._dtype != torch.float32)

    def backward(self, loss: Tensor) -> None:
        """See `MixedPrecision`."""
        self._scaler.scale(loss).backward()

    def step(self, optimizer: Optimizer, clip_norm: float = 0.0) -> Tensor:
        """See `MixedPrecision`."""
        self._scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        taken = nn.utils.get_total_norm([p.grad for p in parameters], torch.inf).isfinite()
        if clip_norm > 0:
            nn.utils.clip_grad_norm_(parameters, clip_norm)
        self._scaler.step(optimizer)
        self._scaler.update(None if self._adapts else 1.0)
        return taken

    def state_dict(self) -> dict[str, Any]:
        """See `MixedPrecision`."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `MixedPrecision`."""
        self._scaler.load_state_dict(state)


def prepare(
    network: nn.Module, optimizer: Optimizer, settings: Train, device: torch.device
) -> MixedPrecision:
    """Mixed precision as train.precision and train.amp_backend say.

    Args:
        network: on `device`, not yet wrapped for several processes.
        optimizer: of its parameters, its state not yet loaded.
        settings: of the run.
        device: where the network trains.

    Raises:
        ValueError: apex was asked for and cannot do it; says what is missing and what to use instead.
    """
    if settings.amp_backend == "torch" or settings.precision == "fp32":
        return TorchPrecision(device, settings.precision)
    if settings.precision != "fp16":
        raise ValueError(
            f"train.amp_backend=apex: apex.amp has fp16 alone, train.precision is {settings.precision}; "
            f"{INSTEAD}"
        )
    if device.type != "cuda":
        raise ValueError(
            f"train.amp_backend=apex: apex.amp runs on NVIDIA GPUs alone, the device is {device}; {INSTEAD}"
        )
    return ApexPrecision(network, optimizer)
