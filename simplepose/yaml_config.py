"""Strict conversion of YAML text to frozen dataclasses; errors name the key and line.

The bounds of a value are declared beside its field: `Annotated[int, Range(1, 64)]`. `check_fields` checks
types and bounds however the dataclass was built: each dataclass calls it in `__post_init__`.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import numbers
import types
import typing
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

import yaml

from simplepose.utils.deprecation import log_deprecated
from simplepose.utils.files import check_regular_file

T = TypeVar("T")
logger = logging.getLogger(__name__)

# A longer text, or a mapping with more keys, is refused: parsing it would take many seconds.
MAX_TEXT_CHARS = 200_000
MAX_KEYS = 200

# Longer values are shortened in messages.
MAX_VALUE_CHARS = 80

NO_ALIASES: Mapping[str, str] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Range:
    """Bounds of a number, or of the numbers in a tuple; NaN is outside of all bounds.

    Attributes:
        minimum, maximum: allowed values, both finite.
        exclusive: the minimum itself is not allowed.
        is_scale: messages state both bounds, since the maximum too has a meaning.
    """

    minimum: float
    maximum: float
    exclusive: bool = False
    is_scale: bool = False

    def check(self, value: Any, name: str, noun: str) -> None:
        """Raise ValueError if a number is outside of the bounds, or is NaN."""
        above = value > self.minimum or (value == self.minimum and not self.exclusive)
        if above and value <= self.maximum:
            return
        relation = (">" if self.exclusive else ">=", self.minimum) if not above else ("<=", self.maximum)
        expected = "{} {}".format(*relation)
        if self.is_scale:
            expected = f"from {self.minimum} to {self.maximum}"
        raise ValueError(f"{name}: expected {noun} {expected}, got {_format(value)}")


@dataclasses.dataclass(frozen=True)
class Length:
    """Largest number of values of a tuple, or of characters of a text."""

    maximum: int

    def check(self, count: int, name: str, noun: str) -> None:
        """Raise ValueError if there are more values."""
        if count > self.maximum:
            raise ValueError(f"{name}: expected at most {self.maximum} {noun}, got {count}")


def check_fields(settings: Any) -> None:
    """Check the types and bounds of all fields of a frozen dataclass, in its `__post_init__`.

    Lists become tuples and NumPy scalars become Python's numbers, so that equal settings are the same text.

    Raises:
        ValueError: a value has a wrong type or is out of bounds; the message starts with the field's name.
    """
    for name, kind in _field_types(settings.__class__).items():
        value = getattr(settings, name)
        checked = _check_value(kind, value, name)
        if checked is not value:
            object.__setattr__(settings, name, checked)


def read(
    kind: type[T],
    text: str,
    source: str,
    overrides: Iterable[str] = (),
    unknown: Literal["refuse", "warn"] = "refuse",
    aliases: Mapping[str, str] = NO_ALIASES,
    log_aliases: bool = True,
) -> T:
    """Build a dataclass from YAML text; missing keys keep their defaults.

    Args:
        kind: the dataclass; its fields are dataclasses, bool, int, float, str or Literal, tuples of these, or
            optional.
        text: the YAML document; empty means all defaults.
        source: name of the document in error messages, for example its path.
        overrides: "key.key=value" strings that override the text; values are YAML.
        unknown: "refuse" raises on an unknown key, "warn" ignores it and logs a warning.
        aliases: old names that are accepted too, and the new name of each: dotted keys of one mapping
            ("train.keep" and "train.keep_checkpoints"), or values ("a.key=old" and "a.key=new"). A key
            without a new name ("") is ignored.
        log_aliases: log each old name in the text, once per process; those in overrides are always logged.

    Raises:
        ValueError: names the source, the line, the key, and the expected and the actual value.
    """
    location = _Location(source, "", unknown)
    document = _compose(text, source) or _empty_mapping()
    node = _Aliases(aliases, log_aliases).replace_in(document, location)
    if isinstance(node, yaml.MappingNode):  # else _build raises
        node = _merge(node, _compose_overrides(overrides, _Aliases(aliases), location), location)
    return typing.cast(T, _build(kind, node, location))


def read_text(path: str | Path, content: str = "UTF-8 text") -> str:
    """Read the text of a YAML file; `content` describes it in messages.

    Raises:
        ValueError: it is no regular file, too long, or not UTF-8; names the file.
    """
    check_regular_file(path)
    size = Path(path).stat().st_size
    if size > 4 * MAX_TEXT_CHARS:
        raise ValueError(
            f"{path}: expected at most {MAX_TEXT_CHARS:,} characters of YAML, got {size:,} bytes"
        )
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected {content} ({error})") from error


def update(settings: T, overrides: Iterable[str], source: str, aliases: Mapping[str, str] = NO_ALIASES) -> T:
    """Replace the values of a dataclass that overrides state; all others are unchanged.

    Args and Raises: see `read`.
    """
    location = _Location(source, "", "refuse")
    node = _compose_overrides(overrides, _Aliases(aliases), location)
    return typing.cast(T, _build(type(settings), node, location, settings))


def write(settings: Any) -> str:
    """Format a dataclass as YAML text with every field."""
    return yaml.safe_dump(_to_plain(settings), sort_keys=False, default_flow_style=None, width=100)


@dataclasses.dataclass(frozen=True)
class _Location:
    """Where a value is: the document and the dotted key; and how to treat unknown keys."""

    source: str
    key: str
    unknown: Literal["refuse", "warn"]

    def at(self, key: str) -> _Location:
        return dataclasses.replace(self, key=f"{self.key}.{key}" if self.key else key)

    def error(self, node: yaml.Node, message: str) -> ValueError:
        mark = node.start_mark
        where = self.source if mark is None else f"{mark.name or self.source}, line {mark.line + 1}"
        return ValueError(f"{where}: {self.key + ': ' if self.key else ''}{message}")


@functools.cache
def _field_types(kind: Hashable) -> dict[str, Any]:
    """Return the type of each field of a dataclass, with its bounds."""
    return typing.get_type_hints(kind, include_extras=True)


def _check_value(kind: Any, value: Any, name: str, bounds: Range | None = None, noun: str = "a value") -> Any:
    """Check a value, and return it as the type that the field states."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        inner, limit = args
        if isinstance(limit, Length):
            _check_length(limit, value, name)
            return _check_value(inner, value, name, bounds, noun)
        return _check_value(inner, value, name, limit, noun)
    if origin in (typing.Union, types.UnionType):
        inner = next(arg for arg in args if arg is not type(None))
        return None if value is None else _check_value(inner, value, name, bounds, noun)
    if origin is tuple:
        return _check_tuple(args, value, name)
    if origin is Literal:
        if not (isinstance(value, str) and value in args):
            raise ValueError(f"{name}: expected one of {', '.join(args)}, got {_format(value)}")
        return value
    value = _check_type(kind, value, name)
    if bounds is not None:
        bounds.check(value, name, noun)
    return value


def _check_length(limit: Length, value: Any, name: str) -> None:
    if isinstance(value, str | tuple | list):
        limit.check(len(value), name, "characters" if isinstance(value, str) else "values")


def _check_tuple(args: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list):
        raise ValueError(f"{name}: expected a list, got {_format(value)}")
    kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
    if len(kinds) != len(value):
        raise ValueError(f"{name}: expected a list of {len(kinds)} values, got {len(value)}")
    return tuple(
        _check_value(kind, item, name, noun="values") for kind, item in zip(kinds, value, strict=True)
    )


def _check_type(kind: type, value: Any, name: str) -> Any:
    """Return a value as `kind`, if it is one or can be converted without loss."""
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        if isinstance(value, str) and not value.isprintable():
            raise ValueError(f"{name}: expected printable characters, got {_format(value)}")
        return value
    if kind is int and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if kind is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        return _to_float(value, name)
    raise ValueError(f"{name}: expected {kind.__name__}, got {_format(value)}")


def _to_float(value: numbers.Real, name: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{name}: expected float, got {_format(value)}") from error


def _format(value: Any) -> str:
    """Format a value for a message, shortened and without control characters."""
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]} ..."


def _compose(text: str, source: str) -> yaml.Node | None:
    if len(text) > MAX_TEXT_CHARS:
        raise ValueError(
            f"{source}: expected at most {MAX_TEXT_CHARS:,} characters of YAML, got {len(text):,}"
        )
    try:
        loader = yaml.SafeLoader(text)
        loader.name = source
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"{source}, line {line}: not valid YAML: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{source}: not valid YAML: nested too deeply") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{source}: not valid YAML: {error}") from error


def _empty_mapping() -> yaml.MappingNode:
    return yaml.MappingNode("tag:yaml.org,2002:map", [])


@dataclasses.dataclass(frozen=True)
class _Aliases:
    """Old names and the new name of each, see `read`; and whether to log the old ones."""

    names: Mapping[str, str]
    log: bool = True

    def replace_in(self, node: yaml.Node, location: _Location) -> yaml.Node:
        """Replace the old keys and values in a mapping, and in the mappings in it."""
        if not isinstance(node, yaml.MappingNode):
            return node
        given = {key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
        items = [
            self._replace_in_item(key, value, given, location)
            for key, value in node.value
            if not self._is_removed(key, location)
        ]
        return yaml.MappingNode(node.tag, items, node.start_mark, node.end_mark)

    def _is_removed(self, key: yaml.Node, location: _Location) -> bool:
        return isinstance(key, yaml.ScalarNode) and self._replace(location.at(key.value).key) == ""

    def _replace_in_item(
        self, key: yaml.Node, value: yaml.Node, given: set[str], location: _Location
    ) -> tuple[yaml.Node, yaml.Node]:
        if not isinstance(key, yaml.ScalarNode):
            return key, value
        dotted_key = self._replace(location.at(key.value).key)
        name = dotted_key.removeprefix(f"{location.key}.")
        if name != key.value and name in given:
            raise location.error(key, f"{key.value!r} is the old name of {name!r}; give only {name!r}")
        if isinstance(value, yaml.ScalarNode):
            setting = self._replace(f"{dotted_key}={value.value}")
            value = _with_value(value, setting.removeprefix(f"{dotted_key}="))
        elif any(old.startswith(f"{dotted_key}.") for old in self.names):
            value = self.replace_in(value, location.at(name))
        return _with_value(key, name), value

    def _replace(self, old: str) -> str:
        new = self.names.get(old, old)
        if self.log and new != old:
            log_deprecated(old, new)
        return new


def _with_value(node: yaml.ScalarNode, value: str) -> yaml.ScalarNode:
    return node if node.value == value else yaml.ScalarNode(node.tag, value, node.start_mark, node.end_mark)


def _compose_overrides(overrides: Iterable[str], aliases: _Aliases, location: _Location) -> yaml.Node:
    """Parse overrides to one node, with the new names; a later override replaces an earlier one."""
    node: yaml.Node = _empty_mapping()
    for override in overrides:
        node = _merge(node, _override_node(override), location)
    return aliases.replace_in(node, location)


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


def _items(node: yaml.MappingNode, location: _Location) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Key node and value node by the text of the key."""
    if len(node.value) > MAX_KEYS:
        raise location.error(node, f"expected at most {MAX_KEYS} keys, got {len(node.value)}")
    items: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise location.error(key, f"expected a setting name as key, got {_describe(key)}")
        if key.value in items:
            raise location.error(key, f"key {key.value!r} is given twice")
        items[key.value] = (key, value)
    return items


def _merge(old: yaml.Node, new: yaml.Node, location: _Location) -> yaml.Node:
    """Merge `new` into `old`: mappings are merged, other nodes are replaced."""
    if not (isinstance(old, yaml.MappingNode) and isinstance(new, yaml.MappingNode)):
        return new
    items = _items(old, location)
    for name, (key, value) in _items(new, location).items():
        existing = items.get(name)
        items[name] = (key, value if existing is None else _merge(existing[1], value, location.at(name)))
    return yaml.MappingNode(old.tag, list(items.values()), start_mark=old.start_mark)


def _build(kind: Any, node: yaml.Node, location: _Location, base: Any = None) -> Any:
    """Build a value; a dataclass takes the values that the node does not have from `base`, if given."""
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, node, location, base)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        if isinstance(args[1], Length) and isinstance(node, yaml.SequenceNode):
            _check_count(args[1], node, location)
        return _build(args[0], node, location)
    if origin in (typing.Union, types.UnionType):
        inner = next(arg for arg in args if arg is not type(None))
        return None if node.tag.endswith(":null") else _build(inner, node, location)
    if origin is tuple:
        return _build_tuple(args, node, location)
    if origin is typing.Literal:
        if not isinstance(node, yaml.ScalarNode) or node.value not in args:
            raise location.error(node, f"expected one of {', '.join(args)}, got {_describe(node)}")
        return node.value
    return _build_scalar(kind, node, location)


def _build_dataclass(kind: Any, node: yaml.Node, location: _Location, base: Any) -> Any:
    if not isinstance(node, yaml.MappingNode):
        raise location.error(node, f"expected a mapping of keys to values, got {_describe(node)}")
    hints = _field_types(kind)
    items, values = _items(node, location), {}
    for name, (key, value) in items.items():
        if name in hints:
            values[name] = _build(hints[name], value, location.at(name), getattr(base, name, None))
            continue
        error = location.error(key, f"unknown key {name!r}; expected one of {', '.join(hints)}")
        if location.unknown == "refuse":
            raise error
        logger.warning("%s; ignored", error)
    fields = dataclasses.fields(kind)
    required = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
    if base is None and required - set(values):
        raise location.error(node, f"missing keys: {', '.join(sorted(required - set(values)))}")
    try:
        return kind(**values) if base is None else dataclasses.replace(base, **values)
    except ValueError as error:
        message = str(error)
        _, culprit = items.get(message.partition(":")[0], (node, node))  # "name: expected ..."
        raise location.error(culprit, message) from error


def _check_count(limit: Length, node: yaml.SequenceNode, location: _Location) -> None:
    if len(node.value) > limit.maximum:
        raise location.error(node, f"expected at most {limit.maximum} values, got {len(node.value)}")


def _build_tuple(args: tuple[Any, ...], node: yaml.Node, location: _Location) -> tuple[Any, ...]:
    if not isinstance(node, yaml.SequenceNode):
        raise location.error(node, f"expected a list, got {_describe(node)}")
    kinds = [args[0]] * len(node.value) if args[-1] is Ellipsis else list(args)
    if len(kinds) != len(node.value):
        raise location.error(node, f"expected a list of {len(kinds)} values, got {len(node.value)}")
    return tuple(_build(kind, value, location) for kind, value in zip(kinds, node.value, strict=True))


def _build_scalar(kind: type, node: yaml.Node, location: _Location) -> Any:
    try:
        value = yaml.safe_load(yaml.serialize(node)) if isinstance(node, yaml.ScalarNode) else node
        if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
            value = float(value)  # YAML 1.1 parses 1e-4 as text (only 1.0e-4 is a number)
    except Exception as error:  # unknown tags, and values that do not fit their tags
        raise location.error(node, f"expected {kind.__name__}, got {_describe(node)}") from error
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise location.error(node, f"expected {kind.__name__}, got {_describe(node)}")
    return value


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        tag = node.tag if node.tag.startswith("!") else ""
        return f"{tag} {_format(node.value)}".strip()
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [_to_plain(item) for item in value] if isinstance(value, tuple) else value
