"""YAML text -> frozen dataclasses, strictly: an unknown key or a wrong type is refused by name and line."""

from __future__ import annotations

import dataclasses
import logging
import types
import typing
from collections.abc import Iterable
from typing import Any, Literal, TypeVar

import yaml

T = TypeVar("T")
logger = logging.getLogger(__name__)


def read(
    kind: type[T],
    text: str,
    source: str,
    overrides: Iterable[str] = (),
    unknown: Literal["refuse", "warn"] = "refuse",
) -> T:
    """Build a `kind` from YAML text; what the text leaves out keeps its default.

    Args:
        kind: a dataclass whose fields are dataclasses, bool, int, float, str, Literal,
            tuples of them, or one of them or None.
        text: the YAML document; empty means all defaults.
        source: what to call the document in errors, for example its path.
        overrides: "key.key=value" strings that win over the text; values are YAML.
        unknown: what an unknown key meets: it is refused, or left out and a warning logged.

    Raises:
        ValueError: names the source, the line, the key, what was got and what was expected.
    """
    node = _compose(text, source)
    if node is None:
        node = yaml.MappingNode("tag:yaml.org,2002:map", [])
    place = _Place(source, "", unknown)
    for override in overrides:
        node = _merge(node, _override_node(override), place)
    value = _build(kind, node, place)
    return typing.cast(T, value)


def write(settings: Any) -> str:
    """The YAML text of a dataclass, every field stated."""
    return yaml.safe_dump(_plain(settings), sort_keys=False, default_flow_style=None, width=100)


@dataclasses.dataclass(frozen=True)
class _Place:
    source: str
    key: str
    unknown: Literal["refuse", "warn"]

    def at(self, key: str) -> _Place:
        return dataclasses.replace(self, key=f"{self.key}.{key}" if self.key else key)

    def error(self, node: yaml.Node, message: str) -> ValueError:
        mark = node.start_mark
        where = self.source if mark is None else f"{mark.name or self.source}, line {mark.line + 1}"
        return ValueError(f"{where}: {self.key + ': ' if self.key else ''}{message}")


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        loader = yaml.SafeLoader(text)
        loader.name = source
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"{source}, line {line}: not valid YAML: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{source}: not valid YAML: {error}") from error


def _override_node(override: str) -> yaml.Node:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ValueError(f"--set {override!r}: expected key=value, for example --set train.epochs=10")
    source = f"--set {override}"
    node = _compose(value, source) or _scalar("null", source)
    for part in reversed(key.strip().split(".")):
        mark = node.start_mark
        node = yaml.MappingNode("tag:yaml.org,2002:map", [(_scalar(part, source), node)], start_mark=mark)
    return node


def _scalar(value: str, source: str) -> yaml.ScalarNode:
    mark = yaml.Mark(source, 0, 0, 0, None, 0)
    tag = "tag:yaml.org,2002:null" if value == "null" else "tag:yaml.org,2002:str"
    return yaml.ScalarNode(tag, value, start_mark=mark)


def _items(node: yaml.MappingNode, place: _Place) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Key and value by the key's text."""
    items: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise place.error(key, f"the name of a setting expected as key, got {_shown(key)}")
        if key.value in items:
            raise place.error(key, f"key {key.value!r} is given twice")
        items[key.value] = (key, value)
    return items


def _merge(old: yaml.Node, new: yaml.Node, place: _Place) -> yaml.Node:
    """`new` laid over `old`: mappings are merged, anything else is replaced."""
    if not (isinstance(old, yaml.MappingNode) and isinstance(new, yaml.MappingNode)):
        return new
    items = _items(old, place)
    for name, (key, value) in _items(new, place).items():
        known = items.get(name)
        items[name] = (key, value if known is None else _merge(known[1], value, place.at(name)))
    return yaml.MappingNode(old.tag, list(items.values()), start_mark=old.start_mark)


def _build(kind: Any, node: yaml.Node, place: _Place) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, node, place)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        chosen = next(arg for arg in args if arg is not type(None))
        return None if node.tag.endswith(":null") else _build(chosen, node, place)
    if origin is tuple:
        return _build_tuple(args, node, place)
    if origin is typing.Literal:
        if not isinstance(node, yaml.ScalarNode) or node.value not in args:
            raise place.error(node, f"one of {', '.join(args)} expected, got {_shown(node)}")
        return node.value
    return _build_scalar(kind, node, place)


def _build_dataclass(kind: Any, node: yaml.Node, place: _Place) -> Any:
    if not isinstance(node, yaml.MappingNode):
        raise place.error(node, f"a mapping of keys to values expected, got {_shown(node)}")
    hints = typing.get_type_hints(kind)
    values = {}
    for name, (key, value) in _items(node, place).items():
        if name in hints:
            values[name] = _build(hints[name], value, place.at(name))
            continue
        fault = place.error(key, f"unknown key {name!r}; known here: {', '.join(hints)}")
        if place.unknown == "refuse":
            raise fault
        logger.warning("%s; it is left out", fault)
    fields = dataclasses.fields(kind)
    needed = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
    if needed - set(values):
        raise place.error(node, f"missing keys: {', '.join(sorted(needed - set(values)))}")
    try:
        return kind(**values)
    except ValueError as error:
        raise place.error(node, str(error)) from error


def _build_tuple(args: tuple[Any, ...], node: yaml.Node, place: _Place) -> tuple[Any, ...]:
    if not isinstance(node, yaml.SequenceNode):
        raise place.error(node, f"a list expected, got {_shown(node)}")
    kinds = [args[0]] * len(node.value) if args[-1] is Ellipsis else list(args)
    if len(kinds) != len(node.value):
        raise place.error(node, f"a list of {len(kinds)} expected, got {len(node.value)} values")
    return tuple(_build(kind, value, place) for kind, value in zip(kinds, node.value, strict=True))


def _build_scalar(kind: type, node: yaml.Node, place: _Place) -> Any:
    try:
        value = yaml.safe_load(yaml.serialize(node)) if isinstance(node, yaml.ScalarNode) else node
        if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
            value = float(value)  # YAML 1.1 reads 1e-4 as text (it wants 1.0e-4); people mean the number
    except Exception as error:  # tags that YAML does not know, and values that their tags do not allow
        raise place.error(node, f"{kind.__name__} expected, got {_shown(node)}") from error
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise place.error(node, f"{kind.__name__} expected, got {_shown(node)}")
    return value


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        own = node.tag if node.tag.startswith("!") else ""
        return f"{own} {node.value!r}".strip()
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
