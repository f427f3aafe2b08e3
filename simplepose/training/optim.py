"""Optimizers, mixed precision, frozen parameters and the learning rate schedule.

The parameters and batch norm statistics of frozen parts do not change. The learning rate is a pure function
of the step.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from importlib.machinery import PathFinder
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from simplepose.config import TrainSettings
from simplepose.models.layers import DTYPES

MAX_NAMES_IN_ERROR = 5

FALLBACK_ADVICE = "use train.optimizer_backend=torch, which needs no other package"
APEX_SOURCE = "https://github.com/NVIDIA/apex, built with its CUDA extensions"

# train.optimizer -> class name and additional arguments (https://nvidia.github.io/apex/optimizers.html).
APEX_OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("FusedSGD", {}),
    "adamw": ("FusedAdam", {"adam_w_mode": True}),
}


def freeze(network: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Freeze parameters by name. Gradients still flow through them.

    Args:
        network: with converted batch norms, but neither wrapped nor compiled, which changes the names.
        patterns: case-sensitive patterns of parameter names; `*` also matches dots: "stem.*", "*.bn.*".

    Returns:
        The names of the frozen parameters, in the network's order.

    Raises:
        ValueError: a pattern matches no parameter; the message lists similar names.
    """
    parameters = dict(network.named_parameters())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            similar = ", ".join(_closest_names(pattern, list(parameters)))
            raise ValueError(f"train.freeze: {pattern!r} matches no parameter; similar names: {similar}")
    frozen = [name for name in parameters if any(fnmatchcase(name, pattern) for pattern in patterns)]
    for name in frozen:
        parameters[name].requires_grad_(False)
    return frozen


def is_frozen(module: nn.Module) -> bool:
    """Return whether a module has parameters, all of them frozen."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def find_frozen_batch_norms(network: nn.Module, freeze_all: bool = False) -> list[_BatchNorm]:
    """Find the batch norms whose statistics are frozen: those whose parameters are all frozen.

    Args:
        network: with frozen parameters.
        freeze_all: find every batch norm; its weight and bias are trained unless frozen.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    return [norm for norm in norms if freeze_all or is_frozen(norm)]


def set_training_mode(network: nn.Module, frozen_batch_norms: Iterable[_BatchNorm]) -> None:
    """Put a network into training mode, and its frozen batch norms into evaluation mode.

    A frozen batch norm thus keeps its statistics and normalizes with them.
    """
    network.train()
    for norm in frozen_batch_norms:
        norm.eval()


def _closest_names(pattern: str, names: Sequence[str]) -> list[str]:
    """Return the names, and patterns of whole parts (`stem.*`), that are most similar to a pattern."""
    split_names = [name.split(".") for name in names]
    patterns = {".".join(parts[:depth]) + ".*" for parts in split_names for depth in range(1, len(parts))}
    return difflib.get_close_matches(pattern, [*sorted(patterns, key=len), *names], MAX_NAMES_IN_ERROR, 0.0)


logger = logging.getLogger(__name__)

ADAM_SECOND_BETA = 0.999

# Prefix of the parameter names of a pretrained encoder.
ENCODER_PREFIX = "stem.encoder."

# Key of a parameter group's factor on the learning rate.
LR_FACTOR = "lr_factor"


def build_optimizer(network: nn.Module, settings: TrainSettings) -> Optimizer:
    """Build the optimizer that `settings` select, for the parameters of a network that are not frozen.

    Logs whether the optimizer is fused, and warns if a fused one is requested but not available.

    Args:
        network: on the device where it trains.
        settings: optimizer, learning_rate, encoder_lr_factor, momentum, weight_decay, fused and
            optimizer_backend matter.

    Raises:
        ValueError: all parameters are frozen, or apex's optimizer is requested but not available.
    """
    groups = _parameter_groups(network, settings)
    if not groups:
        raise ValueError("train.freeze leaves no parameter to train; use patterns that match fewer")
    use_apex = settings.fused and settings.optimizer_backend == "apex"
    build = _build_apex_optimizer if use_apex else _build_torch_optimizer
    optimizer = build(groups, settings)
    set_learning_rate(optimizer, settings.learning_rate)
    return optimizer


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Set the learning rate of each group to `learning_rate` times the group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get(LR_FACTOR, 1.0)


def _parameter_groups(network: nn.Module, settings: TrainSettings) -> list[dict[str, Any]]:
    """Group the trained parameters: the encoder's, if they have their own factor, and all others."""
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    encoder = (
        [name for name in trained if name.startswith(ENCODER_PREFIX)]
        if settings.encoder_lr_factor != 1
        else []
    )
    others = [p for name, p in trained.items() if name not in encoder]
    groups = [
        {"params": others, LR_FACTOR: 1.0},
        {"params": [trained[name] for name in encoder], LR_FACTOR: settings.encoder_lr_factor},
    ]
    return [group for group in groups if group["params"]]


def _build_torch_optimizer(groups: list[dict[str, Any]], settings: TrainSettings) -> Optimizer:
    parameters = [parameter for group in groups for parameter in group["params"]]
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[settings.optimizer]
    fused = settings.fused and _supports_fused(kind, parameters[0])
    logger.info("optimizer %s of torch, %s", settings.optimizer, "fused" if fused else "not fused")
    # fused=None: torch chooses foreach or not
    optimizer: Optimizer = kind(groups, fused=fused or None, **_optimizer_options(settings))
    if fused and settings.optimizer == "sgd" and settings.momentum > 0:
        for parameter in parameters:  # torch leaves it unset, not 0, if the first step is skipped
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _supports_fused(kind: Any, like: nn.Parameter) -> bool:
    """Return whether torch has a fused kernel for a parameter's device and type; only a step shows it."""
    probe = nn.Parameter(torch.zeros_like(like.reshape(-1)[:1]))
    probe.grad = torch.zeros_like(probe)
    try:
        kind([probe], lr=0.0, fused=True).step()
    except RuntimeError as error:
        logger.warning("train.fused: torch has no fused %s here: %s", kind.__name__, error)
        return False
    return True


def _build_apex_optimizer(groups: list[dict[str, Any]], settings: TrainSettings) -> Optimizer:
    build = apex_optimizer(settings.optimizer)
    device = groups[0]["params"][0].device
    if device.type != "cuda":
        raise ValueError(
            f"train.optimizer_backend=apex: apex's fused optimizers run on NVIDIA GPUs only, the network is "
            f"on {device}; {FALLBACK_ADVICE}"
        )
    logger.info("optimizer %s of apex, fused", settings.optimizer)
    return build(groups, **_optimizer_options(settings))


def apex_optimizer(name: str) -> Callable[..., Optimizer]:
    """Return a constructor of NVIDIA apex's fused optimizer that takes torch's arguments.

    Another package has the same name (a toolkit for web pages): it is recognized by the contents of its
    folder, before any of its code runs.

    Args:
        name: a value of train.optimizer.

    Raises:
        ValueError: a part of NVIDIA apex is missing; the message names it and the alternative.
    """
    class_name, options = APEX_OPTIMIZERS[name]
    module = _import_apex_module("apex.optimizers")
    if not hasattr(module, class_name):
        raise _apex_error(f"apex.optimizers of {_locate_apex()} has no {class_name}")
    _import_apex_module("amp_C")
    return functools.partial(getattr(module, class_name), **options)


def _import_apex_module(name: str) -> Any:
    """Import a module of NVIDIA apex.

    Raises:
        ValueError: apex is not installed, is another package of that name, or has no such module.
    """
    location = _locate_apex()
    try:
        return importlib.import_module(name)
    except Exception as error:  # an apex that does not match this torch fails in many ways
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            reason = " (it was built without its CUDA extensions)" if name == "amp_C" else ""
            raise _apex_error(f"{location} has no module {name}{reason}") from error
        raise _apex_error(
            f"{name} of {location} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _locate_apex() -> str:
    """Describe NVIDIA apex and its folder for error messages, without importing it.

    Raises:
        ValueError: apex is not installed, or is another package of that name.
    """
    spec = importlib.util.find_spec("apex")
    if spec is None:
        raise _apex_error(f"the package apex is not installed; NVIDIA's is at {APEX_SOURCE}")
    folders = list(spec.submodule_search_locations or ())
    if PathFinder.find_spec("apex.multi_tensor_apply", folders) is None:
        raise _apex_error(
            f"the package apex in {', '.join(folders) or spec.origin} is not NVIDIA's, it has no "
            f"apex.multi_tensor_apply (pip installs another project under this name); NVIDIA's is at "
            f"{APEX_SOURCE}"
        )
    return f"NVIDIA apex in {folders[0]}"


def _apex_error(problem: str) -> ValueError:
    return ValueError(f"train.optimizer_backend=apex: {problem}; {FALLBACK_ADVICE}")


def _optimizer_options(settings: TrainSettings) -> dict[str, Any]:
    options = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adamw":
        return {**options, "betas": (settings.momentum, ADAM_SECOND_BETA)}
    return {**options, "momentum": settings.momentum}


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


def learning_rate_at(step: int, steps_per_epoch: int, settings: TrainSettings, world_size: int = 1) -> float:
    """Return the learning rate of one optimizer step.

    It is `learning_rate` times the number of processes, with linear warm-up from 0, times the factor of the
    schedule:

    - "step": multiplied by `step_factor` at each of the `milestones`. Without milestones every `step_epochs`;
      at `restart_epoch` the count starts again, with `restart_step_epochs`, so the rate jumps up there (as in
      the released code).
    - "cosine": falls from 1 to 0 between the end of the warm-up and the last epoch.
    - "cyclic": falls linearly from 1 in the first step of a cycle to `cycle_factor` in its last step, in
      every cycle; the first cycle starts at the end of the warm-up.

    Args:
        step: index of the step, from 0.
        steps_per_epoch: optimizer steps in an epoch, at least 1.
        settings: lengths are in epochs and are rounded to whole steps.
        world_size: number of processes that train together.
    """
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    if settings.schedule == "cosine":
        factor = _cosine_factor(step - warmup, round(settings.epochs * steps_per_epoch) - warmup)
    elif settings.schedule == "cyclic":
        factor = _cyclic_factor(step - warmup, _to_steps(settings.cycle_epochs, steps_per_epoch), settings)
    else:
        factor = _step_factor(step, steps_per_epoch, settings)
    return settings.learning_rate * world_size * min(1.0, (step + 1) / max(1, warmup)) * factor


def _cosine_factor(done: int, steps: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(max(done / max(steps, 1), 0.0), 1.0)))


def _cyclic_factor(done: int, cycle: int, settings: TrainSettings) -> float:
    fraction = max(done, 0) % cycle / max(cycle - 1, 1)
    return 1 + (settings.cycle_factor - 1) * fraction


def _step_factor(step: int, steps_per_epoch: int, settings: TrainSettings) -> float:
    if settings.milestones:
        passed = sum(step >= round(epoch * steps_per_epoch) for epoch in settings.milestones)
        return settings.step_factor**passed
    length = _to_steps(settings.step_epochs, steps_per_epoch)
    if settings.restart_epoch is not None:
        restart = round(settings.restart_epoch * steps_per_epoch)
        if step >= restart:
            length = _to_steps(settings.restart_step_epochs, steps_per_epoch)
            step -= restart
    return settings.step_factor ** (step // length)


def _to_steps(epochs: float, steps_per_epoch: int) -> int:
    return max(1, round(epochs * steps_per_epoch))
