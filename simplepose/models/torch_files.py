"""Check a torch file before torch loads it: its size, and what its pickle contains.

torch allocates whatever sizes a file states. This check reads only the pickle, without running code: each
object of it is a placeholder.
"""

from __future__ import annotations

import collections
import functools
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

ZIP_START = b"PK\x03\x04"

# Files of torch < 1.6 are no zip files: four pickles (this number, the protocol, the byte order, the
# content), then the bytes of the storages.
LEGACY_MAGIC, LEGACY_PICKLES = 0x1950A86A20F9469CFC6C, 4

# A larger pickle has no place in a checkpoint: tensors are stored beside it.
MAX_PICKLE_BYTES = 64 * 2**20

# Bytes of an item in each type of storage.
STORAGE_ITEM_BYTES = {
    "torch.DoubleStorage": 8,
    "torch.FloatStorage": 4,
    "torch.HalfStorage": 2,
    "torch.BFloat16Storage": 2,
    "torch.LongStorage": 8,
    "torch.IntStorage": 4,
    "torch.ShortStorage": 2,
    "torch.CharStorage": 1,
    "torch.ByteStorage": 1,
    "torch.BoolStorage": 1,
    "torch.storage.UntypedStorage": 1,
}

ALLOWED_GLOBALS = frozenset(
    {
        *STORAGE_ITEM_BYTES,
        "collections.OrderedDict",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch.Size",
        "torch.device",
        *(str(dtype) for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)),
    }
)


def check_content(path: Path) -> None:
    """Check that a torch file has only plain tensors and values, which fit into its size.

    Raises:
        ValueError: the file contains other objects, compressed entries or larger tensors, or is not readable.
    """
    with path.open("rb") as file:
        start = file.read(len(ZIP_START))
        file.seek(0)
        scan = _scan_zip if start == ZIP_START else _scan_legacy
        try:
            content, foreign = scan(path, file)
        except _ContentError as error:
            raise ValueError(f"{path}: {error}") from error
        except Exception as error:  # unpicklers raise any type of exception on invalid bytes
            raise ValueError(f"{path}: not a readable torch checkpoint, perhaps truncated") from error
    if foreign:
        entry, name = _find_foreign(content) or ("the file", foreign[0])
        raise ValueError(
            f"{path}: expected only plain tensors and values, got code or other objects: {entry} contains "
            f"{name!r}; save the checkpoint again without it, or with plain numbers"
        )


class _ContentError(ValueError):
    """The file asks for more than it has."""


class _Object:
    """Placeholder of an object in a pickle."""

    name, is_allowed = "", True

    def __new__(cls, *args: Any) -> _Object:
        self = super().__new__(cls)
        self.args = args
        return self

    def __init__(self, *args: Any) -> None:
        self.args: tuple[Any, ...] = args

    def __setstate__(self, state: Any) -> None:
        """Ignore the state."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore an item."""

    def append(self, value: Any) -> None:
        """Ignore a value."""


class _Scanner(pickle.Unpickler):
    """Unpickles to plain values and placeholders.

    Args:
        file: the pickle.
        storage_bytes: number of bytes of each storage in a zip file; None if the file has them at its end.
        max_bytes: of all storages together.

    Attributes:
        foreign: names of the globals that a plain file does not have.
    """

    def __init__(self, file: BinaryIO, storage_bytes: dict[str, int] | None, max_bytes: int) -> None:
        super().__init__(file, encoding="utf-8")
        self.foreign: list[str] = []
        self._storage_bytes, self._max_bytes = storage_bytes, max_bytes
        self._sizes: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return a placeholder of a class or function."""
        full_name = f"{module}.{name}"
        if full_name == "collections.OrderedDict":
            return collections.OrderedDict
        if full_name not in ALLOWED_GLOBALS:
            self.foreign.append(full_name)
        return _placeholder_type(full_name)

    def persistent_load(self, pid: Any) -> Any:
        """Check the size of a storage."""
        kind, storage_type, key, _, count = pid[:5]
        if kind != "storage" or not isinstance(count, int) or count < 0:
            raise _ContentError("not a readable torch checkpoint: a storage has no valid size")
        self._sizes[key] = count * STORAGE_ITEM_BYTES[storage_type.name]
        stored = self._max_bytes if self._storage_bytes is None else self._storage_bytes.get(key, 0)
        if self._sizes[key] > stored or sum(self._sizes.values()) > self._max_bytes:
            raise _ContentError(
                f"storage {key!r}: expected at most the {stored:,} bytes in the file, "
                f"got a size of {self._sizes[key]:,} bytes"
            )
        return None


@functools.lru_cache(maxsize=1000)
def _placeholder_type(full_name: str) -> type[_Object]:
    return type("_Object", (_Object,), {"name": full_name, "is_allowed": full_name in ALLOWED_GLOBALS})


def _scan_zip(path: Path, file: BinaryIO) -> tuple[Any, list[str]]:
    """Scan a file of torch >= 1.6: a zip file, whose entries are not compressed."""
    size = path.stat().st_size
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = {entry.filename for entry in entries}
        plain = all(e.compress_type == zipfile.ZIP_STORED and e.compress_size == e.file_size for e in entries)
        total = sum(entry.file_size for entry in entries)
        if not plain or total > size or len(names) != len(entries):
            raise _ContentError(
                f"expected distinct, uncompressed entries of at most {size:,} bytes, as torch.save writes "
                f"them, got {total:,} bytes in {len(entries):,} entries"
            )
        pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE_BYTES:
            raise _ContentError(f"expected one data.pkl of at most {MAX_PICKLE_BYTES:,} bytes")
        data = f"{pickles[0].filename.removesuffix('data.pkl')}data/"
        storages = {
            e.filename.removeprefix(data): e.file_size for e in entries if e.filename.startswith(data)
        }
        scanner = _Scanner(io.BytesIO(archive.read(pickles[0])), storages, size)
        return scanner.load(), scanner.foreign


def _scan_legacy(path: Path, file: BinaryIO) -> tuple[Any, list[str]]:
    """Scan a file of torch < 1.6: pickles one after another, then the storages."""
    foreign: list[str] = []
    content = None
    for number in range(LEGACY_PICKLES):
        scanner = _Scanner(file, None, path.stat().st_size)
        content = scanner.load()
        foreign += scanner.foreign
        if foreign or (number == 0 and content != LEGACY_MAGIC):
            break
    else:
        return content, foreign
    if not foreign:
        raise _ContentError("not a readable torch checkpoint, perhaps truncated")
    return content, foreign


def _find_foreign(content: Any) -> tuple[str, str] | None:
    """Find the first object that a plain file does not have: the path of its entry, and its type."""
    visited: set[int] = set()
    pending: list[tuple[str, Any]] = [("the file", content)]
    while pending:
        entry, value = pending.pop()
        if id(value) in visited:
            continue
        visited.add(id(value))
        placeholder = value if isinstance(value, type) else type(value)
        if issubclass(placeholder, _Object) and not placeholder.is_allowed:
            return entry, placeholder.name
        if isinstance(value, dict):
            prefix = "" if entry == "the file" else f"{entry}."
            pending += [
                (f"{prefix}{key if isinstance(key, str) else repr(key)}", v) for key, v in value.items()
            ]
        elif isinstance(value, list | tuple | _Object):
            pending += [(entry, item) for item in (value.args if isinstance(value, _Object) else value)]
    return None
