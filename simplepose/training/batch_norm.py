"""Batch norm statistics: restored after a skipped step, computed for averaged weights, synchronized.

torch synchronizes batch norm over processes on GPUs only; `DistributedBatchNorm2d` does so on CPUs too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from simplepose.training.optim import is_frozen


class BatchNormSnapshot:
    """Saves a network's buffers and restores them after a skipped step, without waiting for the device."""

    def __init__(self, network: nn.Module) -> None:
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for buffer in network.buffers():
            by_dtype.setdefault(buffer.dtype, []).append(buffer)
        self._groups = list(by_dtype.values())
        self._saved: list[Tensor] = []

    @torch.no_grad()
    def save(self) -> None:
        """Save the current values of the buffers."""
        self._saved = [_flatten(buffers) for buffers in self._groups]

    @torch.no_grad()
    def restore_if_skipped(self, applied: Tensor) -> None:
        """Restore the saved values unless the step was applied.

        Args:
            applied: bool scalar on the buffers' device.
        """
        for buffers, saved in zip(self._groups, self._saved, strict=True):
            flat = torch.where(applied, _flatten(buffers), saved)
            parts = flat.split([buffer.numel() for buffer in buffers])
            torch._foreach_copy_(buffers, [p.view_as(b) for p, b in zip(parts, buffers, strict=True)])


def _flatten(buffers: list[Tensor]) -> Tensor:
    return torch.cat([buffer.reshape(-1) for buffer in buffers])


class _RunningMoments:
    """Count, mean and sum of squared deviations of each channel over all inputs of a batch norm."""

    def __init__(self, norm: _BatchNorm) -> None:
        self.norm, self.count = norm, 0
        self.mean = torch.zeros_like(cast(Tensor, norm.running_mean))
        self.deviations = torch.zeros_like(self.mean)

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Add a batch (N, C, ...) as a forward pre-hook, by the update of Chan et al."""
        batch = inputs[0].detach().float()
        count = batch.numel() // batch.shape[1]
        variance, mean = torch.var_mean(batch, [d for d in range(batch.ndim) if d != 1], correction=0)
        difference, total = mean - self.mean, self.count + count
        self.mean += difference * (count / total)
        self.deviations += variance * count + difference**2 * (self.count * count / total)
        self.count = total


def _identity(values: Tensor) -> Tensor:
    return values


@torch.no_grad()
def update_bn(
    network: nn.Module, batches: Iterable[Tensor], all_reduce_sum: Callable[[Tensor], Tensor] = _identity
) -> None:
    """Set the statistics of each batch norm to the mean and variance of its inputs over all batches.

    The result is that of one large batch, whatever the sizes of the batches. Meanwhile each batch is
    normalized by its own statistics. Batch norms whose parameters are all frozen are left unchanged; momentum
    and training modes are too.

    Args:
        network: with the weights that the statistics are for; not compiled.
        batches: inputs of the network, on its device; autocast is the caller's choice.
        all_reduce_sum: elementwise sum of a tensor over all processes, if each has batches of its own.

    Raises:
        ValueError: there are no batches.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    moments = [
        _RunningMoments(norm) for norm in norms if norm.running_mean is not None and not is_frozen(norm)
    ]
    if not moments:
        return
    modes = {module: module.training for module in network.modules()}
    hooks = [one.norm.register_forward_pre_hook(one) for one in moments]
    try:
        network.eval()
        for one in moments:
            one.norm.training = True
        for batch in batches:
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    _reduce_moments(moments, all_reduce_sum)


def _reduce_moments(moments: list[_RunningMoments], all_reduce_sum: Callable[[Tensor], Tensor]) -> None:
    """Combine the moments of all processes and write them into the batch norms."""
    sizes = [len(one.mean) for one in moments]
    counts = torch.tensor([one.count for one in moments], dtype=torch.float64)
    counts = counts.repeat_interleave(torch.tensor(sizes, dtype=torch.long))
    means = torch.cat([one.mean for one in moments]).cpu().double()
    deviations = torch.cat([one.deviations for one in moments]).cpu().double()
    totals = all_reduce_sum(counts)
    if not totals.any():
        raise ValueError("batch norm statistics: expected at least 1 batch, got 0")
    global_means = all_reduce_sum(counts * means) / totals.clamp(min=1)
    deviations = all_reduce_sum(deviations + counts * (means - global_means) ** 2)
    variances = deviations / (totals - 1).clamp(min=1)
    for one, mean, variance, total in zip(
        moments, global_means.split(sizes), variances.split(sizes), totals.split(sizes), strict=True
    ):
        if total[0] > 0:
            cast(Tensor, one.norm.running_mean).copy_(mean)
            cast(Tensor, one.norm.running_var).copy_(variance)


def convert_batchnorm(network: nn.Module, device: torch.device) -> None:
    """Replace every batch norm of the network, in place, by one that is synchronized over all processes."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, _convert_layer(child, device))


def _convert_layer(norm: nn.BatchNorm2d, device: torch.device) -> nn.Module:
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)
        return converted
    new = DistributedBatchNorm2d(norm.num_features, norm.eps, norm.momentum).to(norm.weight)
    new.load_state_dict(norm.state_dict())
    return new.train(norm.training)


class _AllReduceSum(torch.autograd.Function):
    """Sum of a tensor over all processes; the backward pass sums the gradients of all processes."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _AllReduceSum.forward(_, gradient)


class DistributedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the mean and variance over the batches of all processes, which have equal sizes.

    The variance is computed about the global mean, which takes two reductions. Gradients flow through both,
    as if one process had all batches.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize a batch (N, C, H, W)."""
        size = dist.get_world_size() if dist.is_initialized() else 1
        if not self.training or size == 1:
            return super().forward(input)
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        mean = _AllReduceSum.apply(values.mean((0, 2, 3))) / size
        centered = values - mean[:, None, None]
        variance = _AllReduceSum.apply(centered.square().mean((0, 2, 3))) / size
        if self.track_running_stats:
            self._update_running_stats(mean.detach(), variance.detach(), size * values[:, 0].numel())
        scale = (self.weight * torch.rsqrt(variance + self.eps))[:, None, None]
        normalized: Tensor = centered * scale + self.bias[:, None, None]
        return normalized.to(input.dtype)

    def _update_running_stats(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        momentum = self.momentum if self.momentum is not None else 1 / (self.num_batches_tracked.item() + 1)
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), momentum)
