"""A fake device whose tensors are stored on the CPU, to record copies and synchronizations.

Code that mixes devices fails on it as on a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")  # a device type that torch has without a driver


class FakeDeviceTensor(torch.Tensor):
    """A tensor on the fake device; `cpu_tensor` has its values."""

    @staticmethod
    def __new__(cls, cpu_tensor: torch.Tensor) -> FakeDeviceTensor:
        return torch.Tensor._make_wrapper_subclass(
            cls, cpu_tensor.shape, strides=cpu_tensor.stride(), dtype=cpu_tensor.dtype, device=DEVICE
        )

    def __init__(self, cpu_tensor: torch.Tensor) -> None:
        self.cpu_tensor = cpu_tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} outside of `with PretendDevice()`")


class FakeDevice(TorchDispatchMode):
    """A context in which tensors can be copied `to(DEVICE)` and back.

    Attributes:
        copied_bytes: bytes of each copy from the device to the CPU, including reads of single numbers.
        synchronizations: other operations that synchronize with a GPU: results whose shape depends on values,
            and blocking copies to the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copied_bytes: list[int] = []
        self.synchronizations: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
        from_device = any(isinstance(tensor, FakeDeviceTensor) for tensor in tensors)
        target = kwargs.get("device")
        if target is not None:
            kwargs["device"] = torch.device("cpu")
        cpu_args, cpu_kwargs = tree_map(
            lambda x: x.cpu_tensor if isinstance(x, FakeDeviceTensor) else x, (args, kwargs)
        )
        result = func(*cpu_args, **cpu_kwargs)
        to_cpu = func is torch.ops.aten._to_copy.default and target == torch.device("cpu")
        if from_device and (to_cpu or func is torch.ops.aten._local_scalar_dense.default):
            self.copied_bytes.append(result.nbytes if to_cpu else tensors[0].nbytes)
            return result
        to_device = func is torch.ops.aten._to_copy.default and target == DEVICE
        if (from_device and _has_value_dependent_shape(func, tensors, kwargs)) or (
            to_device and not from_device and not kwargs.get("non_blocking")
        ):
            self.synchronizations.append(str(func))
        if from_device:  # as on a GPU, tensors without dimensions may come from the CPU
            assert all(isinstance(tensor, FakeDeviceTensor) or tensor.ndim == 0 for tensor in tensors), (
                f"{func}: mixed"
            )
        if from_device or target == DEVICE:
            return tree_map(lambda x: FakeDeviceTensor(x) if isinstance(x, torch.Tensor) else x, result)
        return result


def _has_value_dependent_shape(func: Any, tensors: list[torch.Tensor], kwargs: dict[str, Any]) -> bool:
    """Return whether the result's shape depends on values."""
    aten = torch.ops.aten
    if func in (aten.nonzero.default, aten.masked_select.default):
        return True
    if func is aten.repeat_interleave.Tensor:
        return kwargs.get("output_size") is None
    return func is aten.index.Tensor and any(tensor.dtype == torch.bool for tensor in tensors[1:])
