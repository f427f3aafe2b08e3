"""Write HDF5 files of training samples: small files at once, large files joined from small ones."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from simplepose.data.hdf5 import layout
from simplepose.data.hdf5.layout import (
    COLUMN_TYPES,
    FORMAT,
    IMAGE_DATA,
    PEOPLE_DATASETS,
    VERSION,
    Store,
    checksum,
)
from simplepose.data.record import Issue, PreparedImage
from simplepose.utils import parallel

Columns = dict[str, np.ndarray]

# Bytes that must stay free on the disk.
MIN_FREE_DISK_BYTES = 64 * 2**20

# Version of HDF5's own headers: since 1.8 they have checksums.
_LIBVER = ("v108", "v108")

# Longer details of issues are truncated.
MAX_DETAIL_CHARS = 300


@dataclass(frozen=True)
class FileHeader:
    """The attributes of a file; see `layout.py`."""

    joints: tuple[str, ...]
    annotations: str
    store: Store


def build_file(header: FileHeader, images: Sequence[PreparedImage], issues: Sequence[Issue]) -> bytes:
    """Build the bytes of a file with these images; deterministic."""
    data = [_image_data(image, header.store) for image in images]
    columns = _build_columns(header, images, data, issues)
    with h5py.File("new", "w", driver="core", backing_store=False, libver=_LIBVER) as file:
        _write_tables(file, header, columns)[:] = np.concatenate([np.zeros(0, np.uint8), *data])
        file.flush()
        content: bytes = file.id.get_file_image()
        return content


def join_files(
    header: FileHeader, parts: Sequence[Path], path: Path, issues: Sequence[Issue], processes: int
) -> Iterator[int]:
    """Write a file of all images of several files, in their order.

    Args:
        issues: additional issues, before those of the parts.

    Yields:
        The number of bytes written, after each part. The file is complete at the end of the iteration.

    Raises:
        OSError: the disk is nearly full.
    """
    contents = [_build_columns(header, [], [], issues), *map(_read_columns, parts)]
    sizes = [_data_size(content) for content in contents]
    columns = _concatenate(contents)
    total = sum(sizes) + sum(values.nbytes for values in columns.values())
    free = shutil.disk_usage(path.parent).free
    if free < total + MIN_FREE_DISK_BYTES:
        raise OSError(
            f"{path}: cannot write {total:,} bytes, the disk has {free:,} bytes free; "
            "free some space, then run the same command again"
        )
    path.unlink(missing_ok=True)  # of a killed run
    with h5py.File(path, "x", libver=_LIBVER) as file:
        offset = _write_tables(file, header, columns).id.get_offset() or 0
    offsets = offset + np.cumsum(sizes)[:-1]
    tasks = [_CopyTask(part, path, int(offset)) for part, offset in zip(parts, offsets, strict=True)]
    yield from parallel.map_unordered(_copy_part, tasks, processes)


@dataclass(frozen=True)
class _CopyTask:
    """Copy the image data of a part to an offset of the joined file."""

    part: Path
    path: Path
    offset: int


def _copy_part(task: _CopyTask) -> int:
    """Run a copy task; returns the number of bytes."""
    with h5py.File(task.part, "r") as source:
        data = source[IMAGE_DATA][()]
    with open(task.path, "rb+") as file:
        file.seek(task.offset)
        file.write(data)
    return len(data)


def _image_data(image: PreparedImage, store: Store) -> np.ndarray:
    """Return the bytes of an image in the file: the image, then its masks."""
    masks = layout.pack_masks(image.mask_miss, image.mask_all)
    encoded = image.image.tobytes() if store == "raw" else image.encoded
    return np.frombuffer(encoded + masks, np.uint8)


def _image_bytes(image: PreparedImage, store: Store) -> int:
    return image.image.nbytes if store == "raw" else len(image.encoded)


def _build_columns(
    header: FileHeader, images: Sequence[PreparedImage], data: Sequence[np.ndarray], issues: Sequence[Issue]
) -> Columns:
    """Build all columns except the image data; `data` are the bytes of each image."""
    people = [np.zeros((0, len(header.joints), 3)), *(p.keypoints for p in images)]
    checksums = [checksum(d, p.keypoints, p.boxes_xywh) for d, p in zip(data, images, strict=True)]
    values = {
        "pictures/image_id": [p.image_id for p in images],
        "pictures/file_name": [p.file_name.encode() for p in images],
        "pictures/size_hw": np.reshape([p.mask_all.shape for p in images], (-1, 2)),
        "pictures/people_end": np.cumsum([len(p.keypoints) for p in images]),
        "pictures/data_end": np.cumsum([len(d) for d in data]),
        "pictures/image_bytes": [_image_bytes(p, header.store) for p in images],
        "pictures/checksum": checksums,
        "samples/picture": np.repeat(np.arange(len(images)), [len(p.main_persons) for p in images]),
        "samples/main_person": [row for p in images for row in p.main_persons],
        "remarks/image_id": [issue.image_id for issue in issues],
        "remarks/kind": [issue.kind.encode() for issue in issues],
        "remarks/detail": [issue.detail[:MAX_DETAIL_CHARS].encode() for issue in issues],
    }
    columns = {name: np.array(values[name]).astype(dtype) for name, dtype in COLUMN_TYPES.items()}
    columns["people/keypoints"] = np.concatenate(people, dtype=np.float32)
    columns["people/box_xywh"] = np.concatenate([np.zeros((0, 4)), *(p.boxes_xywh for p in images)])
    return columns


def _read_columns(part: Path) -> Columns:
    with h5py.File(part, "r") as file:
        return {name: file[name][()] for name in (*COLUMN_TYPES, *PEOPLE_DATASETS)}


def _data_size(columns: Columns) -> int:
    """Count the bytes of all images."""
    return int(columns["pictures/data_end"].max(initial=0))


def _concatenate(contents: Sequence[Columns]) -> Columns:
    """Concatenate the columns of several files; shift the columns that index others."""
    lengths = {
        "pictures/people_end": [len(content["people/keypoints"]) for content in contents],
        "pictures/data_end": list(map(_data_size, contents)),
        "samples/picture": [len(content["pictures/image_id"]) for content in contents],
    }
    columns = {}
    for name in contents[0]:
        pieces = [content[name] for content in contents]
        if name in lengths:
            offsets = np.cumsum([0, *lengths[name]])[:-1]
            pieces = [piece + offset for piece, offset in zip(pieces, offsets, strict=True)]
        columns[name] = np.concatenate(pieces)
    return columns


def _write_tables(file: h5py.File, header: FileHeader, columns: Columns) -> h5py.Dataset:
    """Write everything except the image data; return the dataset, allocated, for the image data."""
    texts = {"format": FORMAT, "store": header.store, "annotations": header.annotations}
    file.attrs.update({name: np.bytes_(text.encode()) for name, text in texts.items()}, version=VERSION)
    file.attrs["joints"] = np.array([joint.encode() for joint in header.joints])
    for name, values in columns.items():
        compress = values.dtype.kind == "S" and values.size  # texts padded with zeros
        file.create_dataset(name, data=values, compression="gzip" if compress else None)
        if name in COLUMN_TYPES:
            file[name].attrs["crc32"] = zlib.crc32(values.data)
    data = file.create_dataset(IMAGE_DATA, (_data_size(columns),), np.uint8)
    data[-1:] = 0  # HDF5 allocates the space when the first byte is written
    return data
