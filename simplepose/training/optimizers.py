"""Optimizers by name, in their fused form where there is one."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from simplepose.config import Train
from simplepose.training import apex

logger = logging.getLogger(__name__)

ADAM_SECOND_BETA = 0.999

ENCODER = "stem.encoder."
"""How the names of a pretrained encoder's parameters begin."""

LR_FACTOR = "lr_factor"
"""A parameter group's own factor on the learning rate."""


def make_optimizer(network: nn.Module, settings: Train) -> Optimizer:
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


def _parameter_groups(network: nn.Module, settings: Train) -> list[dict[str, Any]]:
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


def _of_torch(groups: list[dict[str, Any]], settings: Train) -> Optimizer:
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


def _of_apex(groups: list[dict[str, Any]], settings: Train) -> Optimizer:
    make = apex.fused_optimizer(settings.optimizer)
    device = groups[0]["params"][0].device
    if device.type != "cuda":
        raise ValueError(
            f"train.amp_backend=apex: apex's fused optimizers run on NVIDIA GPUs alone, the network is on "
            f"{device}; {apex.INSTEAD}"
        )
    logger.info("optimizer %s of apex, fused", settings.optimizer)
    return make(groups, **_options(settings))


def _options(settings: Train) -> dict[str, Any]:
    options = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adamw":
        return {**options, "betas": (settings.momentum, ADAM_SECOND_BETA)}
    return {**options, "momentum": settings.momentum}
