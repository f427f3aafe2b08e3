"""Mixed precision with torch.amp."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from simplepose.models.layers import DTYPES


class MixedPrecision:
    """Casts in the forward pass, scales the loss if the number type needs it, and steps the optimizer.

    Autocast for bf16 and fp16, a dynamic loss scale for fp16, and neither for fp32.

    A step with gradients that are not finite is skipped in every precision. With fused optimizers only the
    device knows whether it was skipped: nothing waits for it.

    Args:
        device: where the network trains.
        precision: a value of train.precision.
    """

    def __init__(self, device: torch.device, precision: str) -> None:
        self._device, self._dtype = device.type, DTYPES[precision]
        self._dynamic_scale = precision == "fp16"
        self._scaler = (
            torch.amp.GradScaler(self._device)
            if self._dynamic_scale
            else torch.amp.GradScaler(self._device, init_scale=1.0)
        )

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which the network runs in the requested number type."""
        return torch.autocast(self._device, self._dtype, enabled=self._dtype != torch.float32)

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of a loss; several calls can precede one step."""
        self._scaler.scale(loss).backward()

    def step(self, optimizer: Optimizer, clip_norm: float = 0.0) -> Tensor:
        """Step the optimizer.

        Args:
            optimizer: of the network's parameters.
            clip_norm: maximum norm of the gradients; 0 disables clipping.

        Returns:
            A bool scalar on the device: False if the step was skipped because a gradient is not finite. The
            weights are then unchanged.
        """
        self._scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        applied = nn.utils.get_total_norm([p.grad for p in parameters], torch.inf).isfinite()
        if clip_norm > 0:
            nn.utils.clip_grad_norm_(parameters, clip_norm)
        self._scaler.step(optimizer)
        self._scaler.update(None if self._dynamic_scale else 1.0)
        return applied

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint needs, as plain values."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict()`."""
        self._scaler.load_state_dict(state)
