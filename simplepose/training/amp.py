"""Mixed precision behind one interface for torch.amp and NVIDIA apex, and apex's fused optimizers.

If apex is requested but not installed, an error names it; there is no silent fallback. Another package has
the same name (a toolkit for web pages): it is recognized by the contents of its folder, before any of its
code runs.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.machinery import PathFinder
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from simplepose.config import TrainSettings
from simplepose.models.layers import DTYPES

FALLBACK_ADVICE = "use train.amp_backend=torch, which needs no other package"
APEX_SOURCE = "https://github.com/NVIDIA/apex, built with its CUDA extensions"

# train.optimizer -> class name and additional arguments (https://nvidia.github.io/apex/optimizers.html).
FUSED_OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("FusedSGD", {}),
    "adamw": ("FusedAdam", {"adam_w_mode": True}),
}

# The functions of apex.amp that are used (https://nvidia.github.io/apex/amp.html).
REQUIRED_AMP_FUNCTIONS = ("initialize", "scale_loss", "master_params", "state_dict", "load_state_dict")


def fused_optimizer(name: str) -> Callable[..., Optimizer]:
    """Return a constructor of apex's fused optimizer that takes torch's arguments.

    Args:
        name: a value of train.optimizer.

    Raises:
        ValueError: a part of NVIDIA apex is missing; the message names it and the alternative.
    """
    class_name, options = FUSED_OPTIMIZERS[name]
    module = _import_apex_module("apex.optimizers")
    if not hasattr(module, class_name):
        raise _apex_error(f"apex.optimizers of {_locate_apex()} has no {class_name}")
    _import_apex_module("amp_C")
    return functools.partial(getattr(module, class_name), **options)


class ApexPrecision:
    """fp16 by apex.amp at opt level O1: float32 weights and dynamic loss scaling.

    apex patches torch's functions for the whole process, once. The network and the optimizer remain the same
    objects. The methods are those of `MixedPrecision`.

    Args:
        network: on its GPU, before it is wrapped for distributed training.
        optimizer: of the network's parameters; load its state after this.

    Raises:
        ValueError: a part of NVIDIA apex is missing; the message names it and the alternative.
    """

    def __init__(self, network: nn.Module, optimizer: Optimizer) -> None:
        self._amp = _import_apex_module("apex.amp")
        missing = [name for name in REQUIRED_AMP_FUNCTIONS if not hasattr(self._amp, name)]
        if missing:
            raise _apex_error(f"apex.amp of {_locate_apex()} has no {', '.join(missing)}")
        returned = self._amp.initialize(network, optimizer, opt_level="O1", verbosity=0)
        if returned[0] is not network or returned[1] is not optimizer:
            raise _apex_error(
                f"apex.amp of {_locate_apex()} replaces the network or the optimizer, which O1 should not do"
            )
        self._optimizer = optimizer
        self._steps = 0
        optimizer.register_step_post_hook(self._count_step)  # apex skips a step by replacing `step` once

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a null context: apex's casts are always active."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Accumulate the unscaled gradients of a loss."""
        with self._amp.scale_loss(loss, self._optimizer) as scaled:
            scaled.backward()

    def step(self, optimizer: Optimizer, clip_norm: float = 0.0) -> Tensor:
        """Clip and step; returns False if apex skipped the step because gradients overflowed."""
        if clip_norm > 0:
            nn.utils.clip_grad_norm_(self._amp.master_params(optimizer), clip_norm)
        before = self._steps
        optimizer.step()
        return torch.tensor(self._steps > before, device=optimizer.param_groups[0]["params"][0].device)

    def state_dict(self) -> dict[str, Any]:
        """Return the loss scale and the number of steps since it changed, as plain values."""
        return dict(self._amp.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict()`."""
        self._amp.load_state_dict(state)

    def _count_step(self, *_: Any) -> None:
        self._steps += 1


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
            raise _apex_error(f"{location} has no module {name}{_missing_reason(name)}") from error
        raise _apex_error(
            f"{name} of {location} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _missing_reason(name: str) -> str:
    reasons = {
        "apex.amp": " (newer versions have none)",
        "amp_C": " (it was built without its CUDA extensions)",
    }
    return reasons.get(name, "")


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
    return ValueError(f"train.amp_backend=apex: {problem}; {FALLBACK_ADVICE}")


class MixedPrecision(Protocol):
    """Casts in the forward pass, scales the loss if the number type needs it, and steps the optimizer."""

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which the network runs in the requested number type."""

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of a loss; several calls can precede one step."""

    def step(self, optimizer: Optimizer, clip_norm: float = 0.0) -> Tensor:
        """Step the optimizer.

        Args:
            optimizer: of the network's parameters.
            clip_norm: maximum norm of the gradients; 0 disables clipping.

        Returns:
            A bool scalar on the device: False if the step was skipped because a gradient is not finite. The
            weights are then unchanged.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint needs, as plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict()`."""


class TorchPrecision:
    """torch.amp: autocast for bf16 and fp16, a dynamic loss scale for fp16, and neither for fp32.

    A step with gradients that are not finite is skipped in every precision. With fused optimizers only the
    device knows whether it was skipped: nothing waits for it.
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
        """See `MixedPrecision`."""
        return torch.autocast(self._device, self._dtype, enabled=self._dtype != torch.float32)

    def backward(self, loss: Tensor) -> None:
        """See `MixedPrecision`."""
        self._scaler.scale(loss).backward()

    def step(self, optimizer: Optimizer, clip_norm: float = 0.0) -> Tensor:
        """See `MixedPrecision`."""
        self._scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        applied = nn.utils.get_total_norm([p.grad for p in parameters], torch.inf).isfinite()
        if clip_norm > 0:
            nn.utils.clip_grad_norm_(parameters, clip_norm)
        self._scaler.step(optimizer)
        self._scaler.update(None if self._dynamic_scale else 1.0)
        return applied

    def state_dict(self) -> dict[str, Any]:
        """See `MixedPrecision`."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `MixedPrecision`."""
        self._scaler.load_state_dict(state)


def build_precision(
    network: nn.Module, optimizer: Optimizer, settings: TrainSettings, device: torch.device
) -> MixedPrecision:
    """Build the mixed precision that train.precision and train.amp_backend select.

    Args:
        network: on `device`, before it is wrapped for distributed training.
        optimizer: of the network's parameters, before its state is loaded.
        settings: training settings.
        device: where the network trains.

    Raises:
        ValueError: apex is requested but not available; the message states why and names the alternative.
    """
    if settings.amp_backend == "torch" or settings.precision == "fp32":
        return TorchPrecision(device, settings.precision)
    if settings.precision != "fp16":
        raise ValueError(
            f"train.amp_backend=apex: apex.amp supports fp16 only, train.precision is {settings.precision}; "
            f"{FALLBACK_ADVICE}"
        )
    if device.type != "cuda":
        raise ValueError(
            f"train.amp_backend=apex: apex.amp runs on NVIDIA GPUs only, the device is {device}; "
            f"{FALLBACK_ADVICE}"
        )
    return ApexPrecision(network, optimizer)
