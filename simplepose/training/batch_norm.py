"""Batch norm statistics: restored after a skipped step, computed for averaged weights, synchronized.

Torch synchronizes batch norm over processes on GPUs only; `BatchNormOverProcesses` does so on CPUs too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from simplepose.training.optim import is_frozen


class Statistics:
    """Remembers a network's buffers, and puts them back without asking the device what it decided."""

    def __init__(self, network: nn.Module) -> None:
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for buffer in network.buffers():
            by_type.setdefault(buffer.dtype, []).append(buffer)
        self._groups = list(by_type.values())
        self._before: list[Tensor] = []

    @torch.no_grad()
    def remember(self) -> None:
        """Keep what the buffers hold now."""
        self._before = [_flat(buffers) for buffers in self._groups]

    @torch.no_grad()
    def settle(self, kept: Tensor) -> None:
        """Put the buffers back, unless `kept`, a bool scalar on their device, is true."""
        for buffers, before in zip(self._groups, self._before, strict=True):
            flat = torch.where(kept, _flat(buffers), before)
            parts = flat.split([buffer.numel() for buffer in buffers])
            torch._foreach_copy_(buffers, [p.view_as(b) for p, b in zip(parts, buffers, strict=True)])


def _flat(buffers: list[Tensor]) -> Tensor:
    return torch.cat([buffer.reshape(-1) for buffer in buffers])


class _Moments:
    """Count, mean and summed squared deviations of each channel of all that a batch norm was given."""

    def __init__(self, norm: _BatchNorm) -> None:
        self.norm, self.count = norm, 0
        self.mean = torch.zeros_like(cast(Tensor, norm.running_mean))
        self.deviations = torch.zeros_like(self.mean)

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Take in a batch (N, C, ...) as a forward pre-hook, by Chan et al.'s update."""
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
def recompute(
    network: nn.Module, batches: Iterable[Tensor], sums: Callable[[Tensor], Tensor] = _identity
) -> None:
    """Set each batch norm's statistics to the mean and variance of all that it is given by these batches.

    Batches of any sizes count sample by sample, as if they had been one; while they pass, each is normalised
    by its own statistics. Batch norms whose parameters are all frozen keep theirs; momentum and modes stay.

    Args:
        network: with the weights that the statistics are for; not compiled.
        batches: its inputs, on its device, under the autocast that the caller wants.
        sums: adds up a tensor over all processes, element by element, where each gives batches of its own.

    Raises:
        ValueError: there is not one batch.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    moments = [_Moments(norm) for norm in norms if norm.running_mean is not None and not is_frozen(norm)]
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
    _settle(moments, sums)


def _settle(moments: list[_Moments], sums: Callable[[Tensor], Tensor]) -> None:
    """Bring the moments of all processes together, and into the batch norms."""
    sizes = [len(one.mean) for one in moments]
    counts = torch.tensor([one.count for one in moments], dtype=torch.float64)
    counts = counts.repeat_interleave(torch.tensor(sizes, dtype=torch.long))
    means = torch.cat([one.mean for one in moments]).cpu().double()
    deviations = torch.cat([one.deviations for one in moments]).cpu().double()
    totals = sums(counts)
    if not totals.any():
        raise ValueError("recomputing batch norm statistics: not one batch was given")
    common = sums(counts * means) / totals.clamp(min=1)
    deviations = sums(deviations + counts * (means - common) ** 2)
    variances = deviations / (totals - 1).clamp(min=1)
    for one, mean, variance, total in zip(
        moments, common.split(sizes), variances.split(sizes), totals.split(sizes), strict=True
    ):
        if total[0] > 0:
            cast(Tensor, one.norm.running_mean).copy_(mean)
            cast(Tensor, one.norm.running_var).copy_(variance)


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
