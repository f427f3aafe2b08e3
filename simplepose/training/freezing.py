"""Parts of a network that are not trained: their weights stay, and so do their batch norms' statistics."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from types import MethodType

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

SHOWN = 5
"""Names that an error lists at most."""


def freeze(network: nn.Module, patterns: Sequence[str], batchnorm: bool = False) -> list[str]:
    """Freeze parameters by name, and batch norms' statistics.

    A batch norm whose parameters are all frozen stays in evaluation mode: it keeps its statistics and
    normalises with them, even after `network.train()`. Gradients still flow through frozen parts.

    Args:
        network: as it trains (batch norms converted, but not yet wrapped or compiled: that changes names).
        patterns: of parameters' names, case and all, `*` also matching dots: "stem.*", "*.bn.*".
        batchnorm: every batch norm stays in evaluation mode; its weight and bias are trained unless frozen.

    Returns:
        The names of the frozen parameters, in the network's order.

    Raises:
        ValueError: a pattern that matches no parameter; near names are listed.
    """
    parameters = dict(network.named_parameters())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            near = ", ".join(_near(pattern, list(parameters)))
            raise ValueError(f"train.freeze: {pattern!r} matches no parameter; near: {near}")
    frozen = [name for name in parameters if any(fnmatchcase(name, pattern) for pattern in patterns)]
    for name in frozen:
        parameters[name].requires_grad_(False)
    for module in network.modules():
        if isinstance(module, _BatchNorm) and (batchnorm or is_frozen(module)):
            _stay_in_evaluation(module)
    return frozen


def is_frozen(module: nn.Module) -> bool:
    """Whether a module has parameters, and none that is trained."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def _stay_in_evaluation(norm: _BatchNorm) -> None:
    """From now on `train()` leaves this one in evaluation mode."""
    norm.train = MethodType(_stay, norm)  # type: ignore[method-assign]
    norm.eval()


def _stay(norm: nn.Module, mode: bool = True) -> nn.Module:
    return nn.Module.train(norm, False)


def _near(pattern: str, names: Sequence[str]) -> list[str]:
    """Names, and patterns of whole parts, that look like a pattern."""
    parts = [name.split(".") for name in names]
    whole = {".".join(part[:depth]) + ".*" for part in parts for depth in range(1, len(part))}
    return difflib.get_close_matches(pattern, [*sorted(whole, key=len), *names], SHOWN, 0.0)
