"""Optimizers by name, in their fused form where there is one; frozen parameters; the learning rate schedule.

The parameters and batch norm statistics of a frozen part do not change. The learning rate is a pure function
of the step.
"""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from simplepose.config import TrainSettings
from simplepose.training import amp

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


logger = logging.getLogger(__name__)

ADAM_SECOND_BETA = 0.999

ENCODER = "stem.encoder."
"""How the names of a pretrained encoder's parameters begin."""

LR_FACTOR = "lr_factor"
"""A parameter group's own factor on the learning rate."""


def make_optimizer(network: nn.Module, settings: TrainSettings) -> Optimizer:
    """The optimizer that `settings` name, over the network's parameters that are not frozen.

    Whether it is fused is logged: a warning where it was asked for and is not to be had.

    Args:
        network: on the device where it trains.
        settings: optimizer, learning_rate, encoder_lr_factor, momentum, weight_decay, fused and amp_backend
            are read.

    Raises:
        ValueError: nothing is left to train; or apex's optimizer was asked for and cannot be had.
    """
    groups = _parameter_groups(network, settings)
    if not groups:
        raise ValueError("train.freeze leaves no parameter to train; give patterns that match fewer")
    make = _of_apex if settings.fused and settings.amp_backend == "apex" else _of_torch
    optimizer = make(groups, settings)
    set_learning_rate(optimizer, settings.learning_rate)
    return optimizer


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Set each group's learning rate: `learning_rate` times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get(LR_FACTOR, 1.0)


def _parameter_groups(network: nn.Module, settings: TrainSettings) -> list[dict[str, Any]]:
    """The trained parameters: the pretrained encoder's, if it has a factor of its own, and all others."""
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    encoder = (
        [name for name in trained if name.startswith(ENCODER)] if settings.encoder_lr_factor != 1 else []
    )
    others = [p for name, p in trained.items() if name not in encoder]
    groups = [
        {"params": others, LR_FACTOR: 1.0},
        {"params": [trained[name] for name in encoder], LR_FACTOR: settings.encoder_lr_factor},
    ]
    return [group for group in groups if group["params"]]


def _of_torch(groups: list[dict[str, Any]], settings: TrainSettings) -> Optimizer:
    parameters = [parameter for group in groups for parameter in group["params"]]
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[settings.optimizer]
    fused = settings.fused and _has_fused(kind, parameters[0])
    logger.info("optimizer %s of torch, %s", settings.optimizer, "fused" if fused else "not fused")
    optimizer = kind(groups, fused=fused or None, **_options(settings))  # None: torch chooses foreach or not
    if fused and settings.optimizer == "sgd" and settings.momentum > 0:
        for parameter in parameters:  # torch leaves it unset, not 0, where the first step is left out
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _has_fused(kind: Any, like: nn.Parameter) -> bool:
    """Whether torch has the kernel for a parameter's device and type: only a step tells."""
    probe = nn.Parameter(torch.zeros_like(like.reshape(-1)[:1]))
    probe.grad = torch.zeros_like(probe)
    try:
        kind([probe], lr=0.0, fused=True).step()
    except RuntimeError as error:
        logger.warning("train.fused: torch has no fused %s here: %s", kind.__name__, error)
        return False
    return True


def _of_apex(groups: list[dict[str, Any]], settings: TrainSettings) -> Optimizer:
    make = amp.fused_optimizer(settings.optimizer)
    device = groups[0]["params"][0].device
    if device.type != "cuda":
        raise ValueError(
            f"train.amp_backend=apex: apex's fused optimizers run on NVIDIA GPUs alone, the network is on "
            f"{device}; {amp.INSTEAD}"
        )
    logger.info("optimizer %s of apex, fused", settings.optimizer)
    return make(groups, **_options(settings))


def _options(settings: TrainSettings) -> dict[str, Any]:
    options = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adamw":
        return {**options, "betas": (settings.momentum, ADAM_SECOND_BETA)}
    return {**options, "momentum": settings.momentum}


def lr_at(step: int, steps_per_epoch: int, settings: TrainSettings, world_size: int = 1) -> float:
    """The learning rate of one optimiser step.

    Linear warm-up from 0, times `learning_rate` and the number of processes, times the factor of the
    named schedule:

    - "step": `step_factor` again each `step_epochs`; from `restart_epoch` on the count begins anew, each
      `restart_step_epochs`, so the rate jumps up there (as the released code has it).
    - "cosine": falls from 1 to 0 between the end of the warm-up and the last epoch.
    - "cyclic": falls in a line from 1 in a cycle's first step to `cycle_factor` in its last, again and
      again; the first cycle begins where the warm-up ends.

    Args:
        step: counted from 0.
        steps_per_epoch: optimiser steps of an epoch, at least 1.
        settings: lengths are in epochs, and are rounded to whole steps.
        world_size: processes that train together.
    """
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    if settings.schedule == "cosine":
        factor = _cosine(step - warmup, round(settings.epochs * steps_per_epoch) - warmup)
    elif settings.schedule == "cyclic":
        factor = _cyclic(step - warmup, _length(settings.cycle_epochs, steps_per_epoch), settings)
    else:
        factor = _step(step, steps_per_epoch, settings)
    return settings.learning_rate * world_size * min(1.0, (step + 1) / max(1, warmup)) * factor


def _cosine(done: int, steps: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(max(done / max(steps, 1), 0.0), 1.0)))


def _cyclic(done: int, cycle: int, settings: TrainSettings) -> float:
    share = max(done, 0) % cycle / max(cycle - 1, 1)
    return 1 + (settings.cycle_factor - 1) * share


def _step(step: int, steps_per_epoch: int, settings: TrainSettings) -> float:
    length = _length(settings.step_epochs, steps_per_epoch)
    if settings.restart_epoch is not None:
        restart = round(settings.restart_epoch * steps_per_epoch)
        if step >= restart:
            length = _length(settings.restart_step_epochs, steps_per_epoch)
            step -= restart
    return settings.step_factor ** (step // length)


def _length(epochs: float, steps_per_epoch: int) -> int:
    return max(1, round(epochs * steps_per_epoch))
