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

    def step(self, optimizer: Optimizer, clip_norm: float = 0.0) -> bool:
        """Step the optimizer over the gradients, clipped to this norm (0: as they are); not yet zeroed.

        Returns:
            False when the step was left out, because fp16 gradients overflowed or the norm to clip to is
            not finite: then no weight has moved.
        """

    def state_dict(self) -> dict[str, Any]:
        """What must survive the run, as plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""


class TorchPrecision:
    """torch.amp: bf16 and fp16 by autocast, fp16 with a loss scale; fp32 changes nothing."""

    def __init__(self, device: torch.device, precision: str) -> None:
        self._device, self._dtype = device.type, DTYPES[precision]
        self._scaler = torch.amp.GradScaler(self._device, enabled=precision == "fp16")
        self._scale = self._scaler.get_scale()

    def autocast(self) -> AbstractContextManager[Any]:
        """See `MixedPrecision`."""
        return torch.autocast(self._device, self._dtype, enabled=self._dtype != torch.float32)

    def backward(self, loss: Tensor) -> None:
        """See `MixedPrecision`."""
        self._scaler.scale(loss).backward()

    def step(self, optimizer: Optimizer, clip_norm: float = 0.0) -> bool:
        """See `MixedPrecision`."""
        if clip_norm > 0:
            self._scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(_parameters(optimizer), clip_norm)
            if not self._scaler.is_enabled() and not norm.isfinite():
                return False
        self._scaler.step(optimizer)
        self._scaler.update()
        before, self._scale = self._scale, self._scaler.get_scale()
        return self._scale >= before  # only an overflow lowers it

    def state_dict(self) -> dict[str, Any]:
        """See `MixedPrecision`."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `MixedPrecision`."""
        self._scaler.load_state_dict(state)
        self._scale = self._scaler.get_scale()


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


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
