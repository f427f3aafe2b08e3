"""Mixed precision: the same five methods for torch.amp and NVIDIA apex, and apex's fused optimizers.

If apex is requested and not installed, that is an error that names it; nothing else replaces it. Another
package has the same name (a toolkit for web pages): it is recognized by the contents of its folder,
before any of its code runs.
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

INSTEAD = "use train.amp_backend=torch, which needs no other package"
SOURCE = "https://github.com/NVIDIA/apex, built with its CUDA extensions"

FUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("FusedSGD", {}),
    "adamw": ("FusedAdam", {"adam_w_mode": True}),
}
"""train.optimizer -> class and further arguments (https://nvidia.github.io/apex/optimizers.html)."""

AMP_FUNCTIONS = ("initialize", "scale_loss", "master_params", "state_dict", "load_state_dict")
"""What is used of apex.amp, as https://nvidia.github.io/apex/amp.html documents it."""


def fused_optimizer(name: str) -> Callable[..., Optimizer]:
    """Makes apex's fused optimizer, with torch's arguments, for one of train.optimizer's names.

    Raises:
        ValueError: says which part of NVIDIA apex is missing, and what to use instead.
    """
    kind, options = FUSED[name]
    module = _module("apex.optimizers")
    if not hasattr(module, kind):
        raise _missing(f"apex.optimizers of {_where()} has no {kind}")
    _module("amp_C")
    return functools.partial(getattr(module, kind), **options)


class ApexPrecision:
    """fp16 by apex.amp at opt level O1: the weights stay float32, the loss is scaled as far as it goes.

    apex patches torch's functions for the whole process, once; the network and the optimizer stay the
    objects that they are. Methods as in `mixed_precision.MixedPrecision`.

    Args:
        network: on its GPU, not yet wrapped for several processes.
        optimizer: of its parameters; its own state is loaded after this.

    Raises:
        ValueError: says which part of NVIDIA apex is missing, and what to use instead.
    """

    def __init__(self, network: nn.Module, optimizer: Optimizer) -> None:
        self._amp = _module("apex.amp")
        lacking = [name for name in AMP_FUNCTIONS if not hasattr(self._amp, name)]
        if lacking:
            raise _missing(f"apex.amp of {_where()} has no {', '.join(lacking)}")
        returned = self._amp.initialize(network, optimizer, opt_level="O1", verbosity=0)
        if returned[0] is not network or returned[1] is not optimizer:
            raise _missing(f"apex.amp of {_where()} replaces the network or the optimizer, as O1 should not")
        self._optimizer = optimizer
        self._steps = 0
        optimizer.register_step_post_hook(self._count)  # apex leaves a step out by replacing `step` for once

    def autocast(self) -> AbstractContextManager[Any]:
        """Nothing to enter: apex's casts are always on."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, unscaled."""
        with self._amp.scale_loss(loss, self._optimizer) as scaled:
            scaled.backward()

    def step(self, optimizer: Optimizer, clip_norm: float = 0.0) -> Tensor:
        """Clip, step; False where apex left the step out, because gradients overflowed."""
        if clip_norm > 0:
            nn.utils.clip_grad_norm_(self._amp.master_params(optimizer), clip_norm)
        before = self._steps
        optimizer.step()
        return torch.tensor(self._steps > before, device=optimizer.param_groups[0]["params"][0].device)

    def state_dict(self) -> dict[str, Any]:
        """The loss scale and how long it has held, as plain values."""
        return dict(self._amp.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self._amp.load_state_dict(state)

    def _count(self, *_: Any) -> None:
        self._steps += 1


def _module(name: str) -> Any:
    """Import a module of NVIDIA apex.

    Raises:
        ValueError: there is no apex, another package of that name, or no such module in it.
    """
    where = _where()
    try:
        return importlib.import_module(name)
    except Exception as error:  # an apex that does not fit this torch fails in any way
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            raise _missing(f"{where} has no module {name}{_why(name)}") from error
        raise _missing(f"{name} of {where} cannot be imported: {type(error).__name__}: {error}") from error


def _why(name: str) -> str:
    reasons = {
        "apex.amp": " (newer versions have none)",
        "amp_C": " (it was built without its CUDA extensions)",
    }
    return reasons.get(name, "")


def _where() -> str:
    """NVIDIA apex and its folder, for errors; nothing is imported."""
    spec = importlib.util.find_spec("apex")
    if spec is None:
        raise _missing(f"no package apex is installed; NVIDIA's is {SOURCE}")
    folders = list(spec.submodule_search_locations or ())
    if PathFinder.find_spec("apex.multi_tensor_apply", folders) is None:
        raise _missing(
            f"the package apex in {', '.join(folders) or spec.origin} is not NVIDIA's, it has no "
            f"apex.multi_tensor_apply (pip installs another project under this name); NVIDIA's is {SOURCE}"
        )
    return f"NVIDIA apex in {folders[0]}"


def _missing(what: str) -> ValueError:
    return ValueError(f"train.amp_backend=apex: {what}; {INSTEAD}")


class MixedPrecision(Protocol):
    """Casts within the forward pass, scales the loss where the type needs it, and steps."""

    def autocast(self) -> AbstractContextManager[Any]:
        """Within it the network runs in the type that was asked for."""

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients to those that are there; several may make one step."""

    def step(self, optimizer: Optimizer, clip_norm: float = 0.0) -> Tensor:
        """Step the optimizer over the gradients, clipped to this norm (0: as they are).

        Returns:
            A bool scalar on the device: false when the step was left out, because a gradient is not finite:
            then no weight has moved.
        """

    def state_dict(self) -> dict[str, Any]:
        """What must survive the run, as plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""


class TorchPrecision:
    """torch.amp: bf16 and fp16 by autocast, fp16 with a loss scale that adapts; fp32 changes nothing.

    A step over gradients that are not finite is left out in every precision, and with fused optimizers the
    device alone knows: nothing waits for it.
    """

    def __init__(self, device: torch.device, precision: str) -> None:
        self._device, self._dtype = device.type, DTYPES[precision]
        self._adapts = precision == "fp16"
        self._scaler = (
            torch.amp.GradScaler(self._device)
            if self._adapts
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
        taken = nn.utils.get_total_norm([p.grad for p in parameters], torch.inf).isfinite()
        if clip_norm > 0:
            nn.utils.clip_grad_norm_(parameters, clip_norm)
        self._scaler.step(optimizer)
        self._scaler.update(None if self._adapts else 1.0)
        return taken

    def state_dict(self) -> dict[str, Any]:
        """See `MixedPrecision`."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `MixedPrecision`."""
        self._scaler.load_state_dict(state)


def prepare(
    network: nn.Module, optimizer: Optimizer, settings: TrainSettings, device: torch.device
) -> MixedPrecision:
    """Mixed precision as train.precision and train.amp_backend say.

    Args:
        network: on `device`, not yet wrapped for several processes.
        optimizer: of its parameters, its state not yet loaded.
        settings: of the run.
        device: where the network trains.

    Raises:
        ValueError: apex was asked for and cannot do it; says what is missing and what to use instead.
    """
    if settings.amp_backend == "torch" or settings.precision == "fp32":
        return TorchPrecision(device, settings.precision)
    if settings.precision != "fp16":
        raise ValueError(
            f"train.amp_backend=apex: apex.amp has fp16 alone, train.precision is {settings.precision}; "
            f"{INSTEAD}"
        )
    if device.type != "cuda":
        raise ValueError(
            f"train.amp_backend=apex: apex.amp runs on NVIDIA GPUs alone, the device is {device}; {INSTEAD}"
        )
    return ApexPrecision(network, optimizer)
