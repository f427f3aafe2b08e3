"""Weights from a checkpoint of another network: every layer that fits is taken whole, the rest is told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simplepose.models.layers import ConvBlock

SHOWN = 6
"""Parts that a line of the report names at most."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Report:
    """What became of each entry; `str` tells it in a few lines.

    Attributes:
        source: what the weights came from.
        loaded: the network's entries that were taken.
        reset: its entries that the source has too, but of a layer that does not fit: shape there, shape here.
        missing: its entries that the source lacks. These and `reset` keep their values.
        unused: the source's entries that the network has not.
    """

    source: str
    loaded: tuple[str, ...]
    reset: dict[str, tuple[Shape, Shape]]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        here = [*self.loaded, *self.reset, *self.missing]
        lines = [f"{self.source}: {len(self.loaded)} of {len(here)} tensors loaded"]
        if self.reset:
            parts = Counter(self._with_shapes(part) for part in _parts(self.reset, here))
            told = [f"{count} {part}" for part, count in parts.items()]
            lines.append(f"  reset, of another shape: {_first(told)}")
        if self.missing:
            lines.append(f"  reset, not in it: {_first(_parts(self.missing, here))}")
        if self.unused:
            there = [*self.loaded, *self.reset, *self.unused]
            lines.append(f"  not used: {_first(_parts(self.unused, there))}")
        return "\n".join(lines)

    def _with_shapes(self, part: str) -> str:
        """A part, of whichever stack and scale, with the first shapes in it that differ."""
        pattern = re.sub(r"(?<=\.)\d+(?=\.)", "?", part)
        for name, (was, here) in self.reset.items():
            if was != here and name.startswith(part.removesuffix("*")):
                return f"{pattern} ({_shown(was)} there, {_shown(here)} here)"
        return pattern


def transfer(network: nn.Module, state: Mapping[str, Tensor], source: str) -> Report:
    """Load every layer of which each entry is in `state` with the same shape; leave the others as they are.

    A layer is a ConvBlock (convolution and batch norm), or else one module: none is loaded by half. A network
    for another skeleton so keeps all but the maps' own layers.

    Args:
        network: changed in place; fresh, so that what does not fit begins as in any training.
        state: of another network, by this project's names.
        source: what to call it.

    Raises:
        ValueError: not one layer fits.
    """
    own = network.state_dict()
    layer_of = _layers(network)
    unfit = {layer_of[name] for name in own if name not in state or state[name].shape != own[name].shape}
    loaded = tuple(name for name in own if layer_of[name] not in unfit)
    if not loaded:
        raise ValueError(
            f"{source}: not one layer fits the network; "
            f"it has {_example(state)}, the network has {_example(own)}; give it the same model settings"
        )
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(state[name])
    left = [name for name in own if layer_of[name] in unfit]
    return Report(
        source,
        loaded,
        {name: (tuple(state[name].shape), tuple(own[name].shape)) for name in left if name in state},
        tuple(name for name in left if name not in state),
        tuple(name for name in state if name not in own),
    )


def _layers(network: nn.Module) -> dict[str, str]:
    """Each entry's layer."""
    blocks = {name for name, module in network.named_modules() if isinstance(module, ConvBlock)}
    layers = {}
    for name in network.state_dict():
        module = name.rpartition(".")[0]
        block = module.rpartition(".")[0]
        layers[name] = block if block in blocks else module
    return layers


def _prefixes(name: str) -> Iterator[str]:
    """Of "a.b.c": "a.", then "a.b."."""
    return (name[: place + 1] for place, letter in enumerate(name) if letter == ".")


def _parts(names: Collection[str], among: Collection[str]) -> list[str]:
    """Names told by the parts that they make up whole: "heads.2.*"."""
    counts = Counter(prefix for name in names for prefix in _prefixes(name))
    whole = Counter(prefix for name in among for prefix in _prefixes(name))
    told = {
        next((f"{prefix}*" for prefix in _prefixes(name) if counts[prefix] == whole[prefix]), name): None
        for name in names
    }
    return list(told)


def _first(parts: list[str]) -> str:
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return ", ".join(parts[:SHOWN]) + more


def _shown(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "one value"


def _example(state: Mapping[str, Tensor]) -> str:
    name, tensor = next(iter(state.items()), ("nothing", torch.empty(0)))
    return f"{name} {_shown(tuple(tensor.shape))}"
