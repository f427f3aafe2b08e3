"""Writes files of training samples in our layout: small ones at once, large ones joined from small ones."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from simplepose.data.hdf5 import layout
from simplepose.data.hdf5.layout import COLUMNS, DATA, FORMAT, PEOPLE, VERSION, Store, checksum
from simplepose.data.record import PreparedPicture, Remark
from simplepose.utils import parallel

Columns = dict[str, np.ndarray]

ROOM = 64 * 2**20
"""Bytes that must stay free on the disk."""

_HEADERS_WITH_CHECKSUMS = ("v108", "v108")
"""The form of HDF5's own headers, since its version 1.8."""

_LONGEST = 300
"""Characters of a remark's detail that are kept."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself; see `hdf5_own.py`."""

    joints: tuple[str, ...]
    annotations: str
    store: Store


def small_file(header: Header, pictures: Sequence[PreparedPicture], remarks: Sequence[Remark]) -> bytes:
    """The bytes of a file of these pictures; the same pictures give the same bytes."""
    data = [_data(picture, header.store) for picture in pictures]
    columns = _columns(header, pictures, data, remarks)
    with h5py.File("new", "w", driver="core", backing_store=False, libver=_HEADERS_WITH_CHECKSUMS) as file:
        _write(file, header, columns)[:] = np.concatenate([np.zeros(0, np.uint8), *data])
        file.flush()
        return file.id.get_file_image()


def join(
    header: Header, parts: Sequence[Path], path: Path, remarks: Sequence[Remark], processes: int
) -> Iterator[int]:
    """Write the file of all pictures of some parts, in their order, with some more remarks in front.

    Yields:
        The bytes that are written, a part at a time. The file is whole when there are no more.

    Raises:
        OSError: the disk is nearly full.
    """
    contents = [_columns(header, [], [], remarks), *map(_read_columns, parts)]
    sizes = [_data_size(content) for content in contents]
    columns = _concatenate(contents)
    total = sum(sizes) + sum(values.nbytes for values in columns.values())
    free = shutil.disk_usage(path.parent).free
    if free < total + ROOM:
        raise OSError(
            f"{path} of {total:,} bytes cannot be written: {free:,} are free on its disk; "
            "make room there, then give the same command again"
        )
    with h5py.File(path, "w", libver=_HEADERS_WITH_CHECKSUMS) as file:
        start = _write(file, header, columns).id.get_offset() or 0
    starts = start + np.cumsum(sizes)[:-1]
    copies = [_Copy(part, path, int(start)) for part, start in zip(parts, starts, strict=True)]
    yield from parallel.run(_copy, copies, processes)


@dataclass(frozen=True)
class _Copy:
    """A part whose bytes go to a place of the file that it is joined to."""

    part: Path
    path: Path
    start: int


def _copy(copy: _Copy) -> int:
    """How many bytes were copied."""
    with h5py.File(copy.part, "r") as source:
        data = source[DATA][()]
    with open(copy.path, "rb+") as file:
        file.seek(copy.start)
        file.write(data)
    return len(data)


def _data(picture: PreparedPicture, store: Store) -> np.ndarray:
    """A picture's bytes in the file: its image, then its masks."""
    masks = layout.pack(picture.mask_miss, picture.mask_all)
    image = picture.image.tobytes() if store == "raw" else picture.encoded
    return np.frombuffer(image + masks, np.uint8)


def _image_bytes(picture: PreparedPicture, store: Store) -> int:
    return picture.image.nbytes if store == "raw" else len(picture.encoded)


def _columns(
    header: Header, pictures: Sequence[PreparedPicture], data: Sequence[np.ndarray], remarks: Sequence[Remark]
) -> Columns:
    """All but the bytes of a file of these pictures; `data` are each one's bytes."""
    people = [np.zeros((0, len(header.joints), 3)), *(p.keypoints for p in pictures)]
    sums = [checksum(d, p.keypoints, p.boxes_xywh) for d, p in zip(data, pictures, strict=True)]
    values = {
        "pictures/image_id": [p.image_id for p in pictures],
        "pictures/file_name": [p.file_name.encode() for p in pictures],
        "pictures/size_hw": np.reshape([p.mask_all.shape for p in pictures], (-1, 2)),
        "pictures/people_end": np.cumsum([len(p.keypoints) for p in pictures]),
        "pictures/data_end": np.cumsum([len(d) for d in data]),
        "pictures/image_bytes": [_image_bytes(p, header.store) for p in pictures],
        "pictures/checksum": sums,
        "samples/picture": np.repeat(np.arange(len(pictures)), [len(p.main_persons) for p in pictures]),
        "samples/main_person": [row for p in pictures for row in p.main_persons],
        "remarks/image_id": [remark.image_id for remark in remarks],
        "remarks/kind": [remark.kind.encode() for remark in remarks],
        "remarks/detail": [remark.detail[:_LONGEST].encode() for remark in remarks],
    }
    columns = {name: np.array(values[name]).astype(dtype) for name, dtype in COLUMNS.items()}
    columns["people/keypoints"] = np.concatenate(people, dtype=np.float32)
    columns["people/box_xywh"] = np.concatenate([np.zeros((0, 4)), *(p.boxes_xywh for p in pictures)])
    return columns


def _read_columns(part: Path) -> Columns:
    with h5py.File(part, "r") as file:
        return {name: file[name][()] for name in (*COLUMNS, *PEOPLE)}


def _data_size(columns: Columns) -> int:
    """How many bytes the pictures of these columns have."""
    return int(columns["pictures/data_end"].max(initial=0))


def _concatenate(contents: Sequence[Columns]) -> Columns:
    """The columns of several files as those of one."""
    counts = {
        "pictures/people_end": [len(content["people/keypoints"]) for content in contents],
        "pictures/data_end": list(map(_data_size, contents)),
        "samples/picture": [len(content["pictures/image_id"]) for content in contents],
    }
    columns = {}
    for name in contents[0]:
        before = np.cumsum([0, *counts.get(name, [0] * len(contents))])
        pieces = [content[name] for content in contents]
        if name in counts:
            pieces = [piece + first for piece, first in zip(pieces, before[:-1], strict=True)]
        columns[name] = np.concatenate(pieces)
    return columns


def _write(file: h5py.File, header: Header, columns: Columns) -> h5py.Dataset:
    """Write all but the bytes, and make room for these in the data set that is returned."""
    texts = {"format": FORMAT, "store": header.store, "annotations": header.annotations}
    file.attrs.update({name: np.bytes_(text.encode()) for name, text in texts.items()}, version=VERSION)
    file.attrs["joints"] = np.array([joint.encode() for joint in header.joints])
    for name, values in columns.items():
        small = values.dtype.kind == "S" and values.size  # texts padded with zeros
        file.create_dataset(name, data=values, compression="gzip" if small else None)
        if name in COLUMNS:
            file[name].attrs["crc32"] = zlib.crc32(values)
    data = file.create_dataset(DATA, (_data_size(columns),), np.uint8)
    data[-1:] = 0  # HDF5 makes the room with the first byte that is written
    return data
