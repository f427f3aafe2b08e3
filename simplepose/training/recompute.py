"""Activation checkpointing: parts forget what they computed, and compute it again for the gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from simplepose.models.imhn import IMHN


def recompute(network: IMHN) -> None:
    """Let the stem, each hourglass and each head keep nothing but their inputs until the gradients need it.

    Batch norm counts a batch once, although it sees it twice.
    """
    heads = [head for stack in network.heads for head in cast(nn.ModuleList, stack)]
    for part in (network.stem, *network.hourglasses, *heads):
        part.forward = _forgetful(part, part.forward)


def _forgetful(part: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(part)

    def forget_between(*inputs: Tensor) -> Any:
        return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)

    return forget_between


@contextmanager
def _statistics_kept(part: nn.Module) -> Iterator[None]:
    """Batch norms keep their statistics; the same tensors are kept for the gradients, though."""
    norms = [module for module in part.modules() if isinstance(module, _BatchNorm) and module.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.sub_(1)
