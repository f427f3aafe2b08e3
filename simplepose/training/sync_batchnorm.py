"""Batch norm over the batches of all processes; torch has it for GPUs, here it is for CPUs too."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def synchronise(network: nn.Module, device: torch.device) -> None:
    """Let every batch norm of the network, in place, see the batches of all processes."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, _synchronised(child, device))


def _synchronised(norm: nn.BatchNorm2d, device: torch.device) -> nn.Module:
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(norm)
    new = BatchNormOverProcesses(norm.num_features, norm.eps, norm.momentum).to(norm.weight)
    new.load_state_dict(norm.state_dict())
    return new.train(norm.training)


class _Sum(torch.autograd.Function):
    """A tensor's sum over all processes; what each of them makes of it flows back to all."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(_, gradient)


class BatchNormOverProcesses(nn.BatchNorm2d):
    """Batch norm with the mean and variance of all processes' batches, each of the same size.

    The variance is the mean of squares about the common mean, so two exchanges are needed; gradients flow
    through both, as if all batches lay in one process.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        size = dist.get_world_size() if dist.is_initialized() else 1
        if not self.training or size == 1:
            return super().forward(input)
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        mean = _Sum.apply(values.mean((0, 2, 3))) / size
        centred = values - mean[:, None, None]
        variance = _Sum.apply(centred.square().mean((0, 2, 3))) / size
        if self.track_running_stats:
            self._remember(mean.detach(), variance.detach(), size * values[:, 0].numel())
        scale = (self.weight * torch.rsqrt(variance + self.eps))[:, None, None]
        return (centred * scale + self.bias[:, None, None]).to(input.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        momentum = self.momentum if self.momentum is not None else 1 / (self.num_batches_tracked.item() + 1)
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), momentum)
