"""Transfer weights from a checkpoint of another network: load matching layers, report the others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simplepose.models.layers import ConvBlock

MAX_PARTS_IN_REPORT = 6
"""Largest number of parts in a line of the report."""

TensorShape = tuple[int, ...]


@dataclass(frozen=True)
class TransferReport:
    """Which entries were loaded; `str` summarizes them in a few lines.

    Attributes:
        source: name of the source of the weights.
        loaded: the network's entries that were loaded.
        reset: the network's entries that the source has too, in a layer that does not match: shape in the
            source, shape in the network.
        missing: the network's entries that the source lacks. `missing` and `reset` entries keep their values.
        unused: the source's entries that the network lacks.
    """

    source: str
    loaded: tuple[str, ...]
    reset: dict[str, tuple[TensorShape, TensorShape]]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        network_names = [*self.loaded, *self.reset, *self.missing]
        lines = [f"{self.source}: {len(self.loaded)} of {len(network_names)} tensors loaded"]
        if self.reset:
            parts = Counter(self._add_shapes(part) for part in _group_by_part(self.reset, network_names))
            counted = [f"{count} {part}" for part, count in parts.items()]
            lines.append(f"  not loaded, of another shape: {_join_first(counted)}")
        if self.missing:
            lines.append(f"  not in the file: {_join_first(_group_by_part(self.missing, network_names))}")
        if self.unused:
            source_names = [*self.loaded, *self.reset, *self.unused]
            lines.append(f"  not used: {_join_first(_group_by_part(self.unused, source_names))}")
        return "\n".join(lines)

    def _add_shapes(self, part: str) -> str:
        """Format a part, with ? for stack and scale, and its first pair of different shapes."""
        pattern = re.sub(r"(?<=\.)\d+(?=\.)", "?", part)
        for name, (source, network) in self.reset.items():
            if source != network and name.startswith(part.removesuffix("*")):
                return f"{pattern} (expected {_format_shape(network)}, got {_format_shape(source)})"
        return pattern


def transfer(network: nn.Module, state: Mapping[str, Tensor], source: str) -> TransferReport:
    """Load each layer whose entries are all in `state` with the same shapes; keep the other layers unchanged.

    A layer is a ConvBlock (convolution and batch norm) or a single module; it is loaded completely or not at
    all. With a checkpoint of another skeleton, only the layers of the maps are not loaded.

    Args:
        network: changed in place; newly initialized, because layers that are not loaded keep their weights.
        state: state dict of another network, by this project's names.
        source: name of the source, for the report and error messages.

    Raises:
        ValueError: no layer matches.
    """
    entries = network.state_dict()
    layer_of = _map_entries_to_layers(network)
    mismatched = {
        layer_of[name] for name in entries if name not in state or state[name].shape != entries[name].shape
    }
    loaded = tuple(name for name in entries if layer_of[name] not in mismatched)
    if not loaded:
        raise ValueError(
            f"{source}: no layer matches the network; expected {_describe_first_entry(entries)}, "
            f"got {_describe_first_entry(state)}; use the same model settings"
        )
    with torch.no_grad():
        for name in loaded:
            entries[name].copy_(state[name])
    skipped = [name for name in entries if layer_of[name] in mismatched]
    return TransferReport(
        source,
        loaded,
        {name: (tuple(state[name].shape), tuple(entries[name].shape)) for name in skipped if name in state},
        tuple(name for name in skipped if name not in state),
        tuple(name for name in state if name not in entries),
    )


def _map_entries_to_layers(network: nn.Module) -> dict[str, str]:
    """Map each entry's name to the name of its layer."""
    blocks = {name for name, module in network.named_modules() if isinstance(module, ConvBlock)}
    layers = {}
    for name in network.state_dict():
        module = name.rpartition(".")[0]
        block = module.rpartition(".")[0]
        layers[name] = block if block in blocks else module
    return layers


def _list_prefixes(name: str) -> Iterator[str]:
    """Yield the prefixes of a dotted name: for "a.b.c" "a.", then "a.b."."""
    return (name[: index + 1] for index, letter in enumerate(name) if letter == ".")


def _group_by_part(names: Collection[str], all_names: Collection[str]) -> list[str]:
    """Replace names that form a complete part by the part: "heads.2.*"."""
    counts = Counter(prefix for name in names for prefix in _list_prefixes(name))
    totals = Counter(prefix for name in all_names for prefix in _list_prefixes(name))
    parts = {
        next(
            (f"{prefix}*" for prefix in _list_prefixes(name) if counts[prefix] == totals[prefix]), name
        ): None
        for name in names
    }
    return list(parts)


def _join_first(parts: list[str]) -> str:
    more = f" and {len(parts) - MAX_PARTS_IN_REPORT} more" if len(parts) > MAX_PARTS_IN_REPORT else ""
    return ", ".join(parts[:MAX_PARTS_IN_REPORT]) + more


def _format_shape(shape: TensorShape) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _describe_first_entry(state: Mapping[str, Tensor]) -> str:
    name, tensor = next(iter(state.items()), ("nothing", torch.empty(0)))
    return f"{name} {_format_shape(tuple(tensor.shape))}"
