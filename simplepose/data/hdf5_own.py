"""Our layout of the file of training samples, version 1: its writer and its reader.

N pictures, T people with keypoints of all pictures one after another, A annotated joints, S samples:

    attributes             format, version, annotations (the json's name), joints (A names)
    pictures/image_id      (N,) int64          pictures/file_name  (N,) text
    pictures/size_hw       (N, 2) int32        pictures/people_end (N,) int64 row of people/*
    pictures/encoded       (N,) bytes of the picture file (JPEG, PNG, ...)
    pictures/masks         (N,) bytes: zlib of the packed bits (row-major) of mask_miss > 0, then mask_all > 0
    people/keypoints       (T, A, 3) float32   people/box_xywh     (T, 4) float64
    samples/picture        (S,) int64 row of pictures/*
    samples/main_person    (S,) int64 counted within its picture

Picture n's people are the rows of people/* from people_end[n - 1] (0 for the first) to before people_end[n].
Every data set can grow, so a file can be written piece by piece.
"""

from __future__ import annotations

import os
import shutil
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from simplepose.data.record import PreparedPicture, Record
from simplepose.skeleton import COCO

FORMAT, VERSION = "simplepose-samples", 1
ROOM = 64 * 2**20
"""Bytes that must stay free on the disk: HDF5 writes some late, and crashes the process where it cannot."""

_BYTES = h5py.vlen_dtype(np.uint8)
_DATASETS: dict[str, tuple[tuple[int, ...], Any]] = {
    "pictures/image_id": ((), np.int64),
    "pictures/file_name": ((), h5py.string_dtype()),
    "pictures/size_hw": ((2,), np.int32),
    "pictures/people_end": ((), np.int64),
    "pictures/encoded": ((), _BYTES),
    "pictures/masks": ((), _BYTES),
    "people/keypoints": ((len(COCO.annotated), 3), np.float32),
    "people/box_xywh": ((4,), np.float64),
    "samples/picture": ((), np.int64),
    "samples/main_person": ((), np.int64),
}


class SampleWriter:
    """Writes a file of training samples; nothing appears under its name until all is written.

    Use as a context manager. What is written lies in a temporary file beside `path`, which is renamed at the
    end, and removed when the block is left by an exception (Ctrl-C too). A second writer of it is refused.

    Args:
        path: of the file; its folder is made if need be, a file that is there is replaced.
        annotations: name of the json that the samples come from, kept as a remark.

    Raises:
        ValueError: `path` is a folder.
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | Path, annotations: str) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise ValueError(f"{self.path} is a folder; the name of a file to write is expected")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self.path.with_name(f"{self.path.name}.partial")
        try:
            self._file = h5py.File(self._temporary, "w")
        except OSError as error:
            raise OSError(
                f"{self._temporary} cannot be written, or another process does ({error})"
            ) from error
        self._file.attrs.update(format=FORMAT, version=VERSION, annotations=annotations)
        self._file.attrs["joints"] = list(COCO.annotated)
        for name, (shape, dtype) in _DATASETS.items():
            self._file.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(256, *shape))

    def append(self, picture: PreparedPicture) -> None:
        """Add a picture and its samples. Raises OSError where the disk is nearly full."""
        free = shutil.disk_usage(self._temporary).free
        if free < ROOM + len(picture.encoded):
            raise OSError(
                f"{self.path} cannot be finished: {free:,} bytes are free on its disk; make room there"
            )
        row = len(self._file["pictures/image_id"])
        people_end = len(self._file["people/keypoints"]) + len(picture.keypoints)
        masks = np.packbits(np.stack([picture.mask_miss, picture.mask_all]) > 0)
        self._extend("people/keypoints", picture.keypoints)
        self._extend("people/box_xywh", picture.boxes_xywh)
        self._extend("samples/picture", [row] * len(picture.main_persons))
        self._extend("samples/main_person", picture.main_persons)
        self._extend("pictures/image_id", [picture.image_id])
        self._extend("pictures/file_name", [picture.file_name])
        self._extend("pictures/size_hw", [picture.mask_miss.shape])
        self._extend("pictures/people_end", [people_end])
        self._extend_bytes("pictures/encoded", picture.encoded)
        self._extend_bytes("pictures/masks", zlib.compress(masks.tobytes()))

    def _extend(self, name: str, values: Any) -> None:
        dataset = self._file[name]
        start = len(dataset)
        dataset.resize(start + len(values), axis=0)
        dataset[start:] = values

    def _extend_bytes(self, name: str, value: bytes) -> None:
        dataset = self._file[name]
        dataset.resize(len(dataset) + 1, axis=0)
        dataset[-1] = np.frombuffer(value, np.uint8)

    def __enter__(self) -> SampleWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        try:
            self._file.close()
            if kind is None:
                with open(self._temporary, "rb+") as file:
                    os.fsync(file.fileno())
                os.replace(self._temporary, self.path)
        except RuntimeError as fault:  # h5py's word for a write that failed when the file was closed
            raise OSError(f"{self.path} could not be written: {fault}") from fault
        finally:
            self._temporary.unlink(missing_ok=True)


class OwnLayout:
    """Reads what `SampleWriter` wrote."""

    def count(self, file: h5py.File) -> int:
        """How many samples the file holds."""
        return len(file["samples/picture"])

    def joints(self, file: h5py.File) -> tuple[str, ...]:
        """The names of the annotated joints."""
        return tuple(map(str, file.attrs["joints"]))

    def picture_ids(self, file: h5py.File) -> tuple[list[int], np.ndarray]:
        """The distinct picture ids, and (samples,) int64 which of them each sample is of."""
        return file["pictures/image_id"][()].tolist(), file["samples/picture"][()]

    def record(self, file: h5py.File, index: int) -> Record:
        """Sample `index`."""
        pictures, people = file["pictures"], file["people"]
        row = int(file["samples/picture"][index])
        start, end = int(pictures["people_end"][row - 1]) if row else 0, int(pictures["people_end"][row])
        height, width = pictures["size_hw"][row]
        packed = np.frombuffer(zlib.decompress(pictures["masks"][row].tobytes()), np.uint8)
        mask_miss, mask_all = np.unpackbits(packed, count=2 * height * width).reshape(2, height, width) * 255
        main_person = int(file["samples/main_person"][index])
        return PreparedPicture(
            image_id=int(pictures["image_id"][row]),
            file_name=pictures["file_name"].asstr()[row],
            encoded=pictures["encoded"][row].tobytes(),
            mask_miss=mask_miss,
            mask_all=mask_all,
            keypoints=people["keypoints"][start:end],
            boxes_xywh=people["box_xywh"][start:end],
            main_persons=(main_person,),
        ).record(main_person)
