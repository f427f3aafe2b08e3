"""Checks of the groups and datasets of an HDF5 file before their values are read.

An HDF5 file can point to other files, and a few bytes of it can state terabytes. Only values that are in the
file itself, of the expected type and size, are read.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

# A dataset that occupies fewer bytes in the file than it has values (compressed, or not written) may be this
# large in memory, and so may a chunk.
MAX_UNSTORED_BYTES = 256 * 2**20

Shape = tuple[int | None, ...]


def read_texts(file: h5py.File, name: str) -> tuple[str, ...]:
    """Read an attribute of texts. Raises ValueError if it is missing or has other values."""
    if name not in file.attrs:
        raise ValueError(f"attribute {name}: expected texts, got no such attribute")
    values = np.atleast_1d(file.attrs[name])
    if values.dtype.kind != "S" or not values.size:
        raise ValueError(f"attribute {name}: expected texts, got {values.dtype}")
    return tuple(value.decode() for value in values.ravel().tolist())


def open_group(file: h5py.File, name: str) -> h5py.Group:
    """Return a group of a file. Raises ValueError if it is missing, a link or no group."""
    group = _follow(file, name)
    if not isinstance(group, h5py.Group):
        raise ValueError(f"{name}: expected a group")
    return group


def open_dataset(file: h5py.File, name: str, shape: Shape, dtype: Any = None) -> h5py.Dataset:
    """Return a dataset of a file, without reading it.

    Args:
        file: open for reading.
        name: path of the dataset.
        shape: expected sizes; None: any.
        dtype: expected dtype; np.bytes_: any texts of fixed length; None: a text of any kind.

    Raises:
        ValueError: it is missing or a link, its values are in another file, or its dtype or shape is
            another one.
    """
    dataset = _follow(file, name)
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{name}: expected a dataset")
    if dataset.is_virtual or dataset.external is not None:
        raise ValueError(f"{name}: expected values in this file, got values in other files")
    if not _is_of_type(dataset.dtype, dtype):
        raise ValueError(
            f"{name}: expected {'text' if dtype is None else np.dtype(dtype).name}, got another type"
        )
    sizes = dataset.shape
    if (
        sizes is None
        or len(sizes) != len(shape)
        or any(e not in (None, s) for e, s in zip(shape, sizes, strict=True))
    ):
        raise ValueError(f"{name}: expected the shape {_format(shape)}, got {sizes}")
    if dataset.chunks and np.prod(dataset.chunks, dtype=float) * dataset.dtype.itemsize > MAX_UNSTORED_BYTES:
        raise ValueError(f"{name}: expected chunks of at most {MAX_UNSTORED_BYTES:,} bytes")
    return dataset


def read(dataset: h5py.Dataset) -> Any:
    """Read all values of a dataset. Raises ValueError as `check_stored`."""
    check_stored(dataset)
    return dataset[()]


def check_stored(dataset: h5py.Dataset) -> None:
    """Raise ValueError if the values of a dataset need more memory than the file's size allows."""
    size = dataset.nbytes
    if size > max(dataset.id.get_storage_size(), MAX_UNSTORED_BYTES):
        raise ValueError(f"{dataset.name}: its {size:,} bytes are not in the file")


def check_ends(name: str, ends: np.ndarray, total: int) -> None:
    """Raise ValueError unless the ends of ranges are in order, from 0 to `total`."""
    if (np.diff(ends, prepend=0) < 0).any() or (len(ends) and not 0 <= ends[0] <= ends[-1] <= total):
        raise ValueError(f"{name}: expected ascending values from 0 to {total:,}")


def check_range(name: str, values: np.ndarray, low: Any, high: Any) -> None:
    """Raise ValueError unless low <= value < high for each value."""
    if not ((values >= low) & (values < high)).all():
        raise ValueError(f"{name}: values out of range")


def _follow(file: h5py.File, name: str) -> Any:
    """Return the object at a path whose parts are all in this file, not links."""
    item: Any = file
    for part in name.split("/"):
        link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            got = "no such object" if link is None else "a link"
            raise ValueError(f"{name}: expected an object of this file, got {got}")
        item = item[part]
    return item


def _is_of_type(actual: np.dtype[Any], expected: Any) -> bool:
    if expected is None:
        return h5py.check_string_dtype(actual) is not None
    if expected is np.bytes_:
        return actual.kind == "S"
    return actual == np.dtype(expected) and h5py.check_enum_dtype(actual) is None


def _format(shape: Shape) -> str:
    return " x ".join("N" if side is None else str(side) for side in shape) or "of a single value"
