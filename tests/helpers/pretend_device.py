"""A device that is not there: its tensors lie on the CPU but say otherwise, so that what crosses is seen.

Code that mixes up devices fails on it as on a GPU, and what it copies or waits for is counted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

NAME = torch.device("meta")  # one that torch knows and that needs no driver


class There(torch.Tensor):
    """A tensor of the device; `here` holds its values."""

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> There:
        return torch.Tensor._make_wrapper_subclass(
            cls, here.shape, strides=here.stride(), dtype=here.dtype, device=NAME
        )

    def __init__(self, here: torch.Tensor) -> None:
        self.here = here

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} outside of `with PretendDevice()`")


class PretendDevice(TorchDispatchMode):
    """While it is entered, tensors can be sent `to(NAME)` and back.

    Attributes:
        copied_here: bytes of each copy from the device to the CPU, single numbers that are read included.
        waits: what else makes the CPU wait for a GPU: shapes that values on it decide, and copies to it that
            were not asked to go on by themselves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copied_here: list[int] = []
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        given = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
        from_there = any(isinstance(tensor, There) for tensor in given)
        target = kwargs.get("device")
        if target is not None:
            kwargs["device"] = torch.device("cpu")
        here_args, here_kwargs = tree_map(lambda x: x.here if isinstance(x, There) else x, (args, kwargs))
        result = func(*here_args, **here_kwargs)
        to_here = func is torch.ops.aten._to_copy.default and target == torch.device("cpu")
        if from_there and (to_here or func is torch.ops.aten._local_scalar_dense.default):
            self.copied_here.append(result.nbytes if to_here else given[0].nbytes)
            return result
        to_there = func is torch.ops.aten._to_copy.default and target == NAME
        if (from_there and _shape_of_values(func, given, kwargs)) or (
            to_there and not from_there and not kwargs.get("non_blocking")
        ):
            self.waits.append(str(func))
        if from_there:  # as on a GPU, tensors without dimensions may come from the CPU
            assert all(isinstance(tensor, There) or tensor.ndim == 0 for tensor in given), f"{func}: mixed"
        if from_there or target == NAME:
            return tree_map(lambda x: There(x) if isinstance(x, torch.Tensor) else x, result)
        return result


def _shape_of_values(func: Any, given: list[torch.Tensor], kwargs: dict[str, Any]) -> bool:
    """Whether the result's shape depends on values."""
    aten = torch.ops.aten
    if func in (aten.nonzero.default, aten.masked_select.default):
        return True
    if func is aten.repeat_interleave.Tensor:
        return kwargs.get("output_size") is None
    return func is aten.index.Tensor and any(tensor.dtype == torch.bool for tensor in given[1:])
