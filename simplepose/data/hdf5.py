"""The file of training samples: the only code that knows its layout.

Layout of ours, version 1 (N pictures, T people with keypoints of all pictures one after another, S samples):

    attributes             format, version, annotations (the json's name), joints (A names)
    pictures/image_id      (N,) int64          pictures/file_name  (N,) text
    pictures/size_hw       (N, 2) int32        pictures/people_end (N,) int64 row of people/*
    pictures/encoded       (N,) bytes of the picture file (JPEG, PNG, ...)
    pictures/masks         (N,) bytes: zlib of the packed bits (row-major) of mask_miss > 0, then mask_all > 0
    people/keypoints       (T, A, 3) float32   people/box_xywh     (T, 4) float64
    samples/picture        (S,) int64 row of pictures/*
    samples/main_person    (S,) int64 counted within its picture

Picture n's people are the rows of people/* from people_end[n - 1] (0 for the first) to before people_end[n].

Every data set can grow, so a file may be written piece by piece. Files in the layout of the published code
are read too (`simplepose/data/hdf5_published.py`).
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import h5py
import numpy as np

from simplepose.data.hdf5_published import PublishedLayout
from simplepose.data.record import PreparedPicture, Record
from simplepose.skeleton import COCO

FORMAT, VERSION = "simplepose-samples", 1
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
    end, and removed when the block is left by an exception (Ctrl-C too).

    Args:
        path: of the file; its folder is made if need be, a file that is there is replaced.
        annotations: name of the json that the samples come from, kept as a remark.
    """

    def __init__(self, path: str | Path, annotations: str) -> None:
        self.path = Path(path)
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        if self.path.is_dir():
            raise ValueError(f"{self.path} is a folder; the name of a file to write is expected")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = h5py.File(self._temporary, "w")
        self._file.attrs.update(format=FORMAT, version=VERSION, annotations=annotations)
        self._file.attrs["joints"] = list(COCO.annotated)
        for name, (shape, dtype) in _DATASETS.items():
            self._file.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(256, *shape))

    def append(self, picture: PreparedPicture) -> None:
        """Add a picture and its samples."""
        row = len(self._file["pictures/image_id"])
        self._extend("people/keypoints", picture.keypoints)
        self._extend("people/box_xywh", picture.boxes_xywh)
        self._extend("samples/picture", np.full(len(picture.main_persons), row))
        self._extend("samples/main_person", picture.main_persons)
        self._extend("pictures/image_id", [picture.image_id])
        self._extend("pictures/file_name", [picture.file_name])
        self._extend("pictures/size_hw", [picture.mask_miss.shape])
        self._extend("pictures/people_end", [len(self._file["people/keypoints"])])
        self._extend_bytes("pictures/encoded", picture.encoded)
        masks = np.packbits(np.stack([picture.mask_miss, picture.mask_all]) > 0)
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
        finally:
            self._temporary.unlink(missing_ok=True)


class Layout(Protocol):
    """How one layout keeps its samples, asked of the open file."""

    def picture_ids(self, file: h5py.File) -> tuple[list[int], np.ndarray]:
        """The distinct picture ids, and (samples,) int64 which of them each sample is of."""

    def count(self, file: h5py.File) -> int:
        """How many samples the file holds."""

    def record(self, file: h5py.File, index: int) -> Record:
        """Sample `index`."""


class OwnLayout:
    """Version 1 of our layout."""

    def count(self, file: h5py.File) -> int:
        """How many samples the file holds."""
        return len(file["samples/picture"])

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


class SampleFile:
    """The training samples of one file, ours or in the published layout: `len(file)`, `file[i] -> Record`.

    Open only while samples are read, and in each process anew, so it may be handed to a loader's workers
    (by fork or by pickle).

    Args:
        path: of the HDF5 file.
        published_crop: the crop height that `scale_provided` of a published file refers to, 512 or 384.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut off, not a file of samples, of another version, or holds no sample.
    """

    def __init__(self, path: str | Path, published_crop: int = 512) -> None:
        self.path = Path(path)
        self._handle: h5py.File | None = None
        self._owner = 0
        if not self.path.is_file():
            raise FileNotFoundError(f"no file of training samples at {self.path}; {_PREPARE}")
        with self._opened() as file:
            self._layout = self._recognise(file, published_crop)
            try:
                self._count = self._layout.count(file)
                self._index: tuple[list[int], np.ndarray] | None = None
            except (KeyError, OSError) as error:
                raise ValueError(f"{self.path}: damaged ({error}); {_PREPARE}") from error
        if self._count == 0:
            raise ValueError(f"{self.path}: holds no sample; {_PREPARE}")

    def _opened(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise ValueError(f"{self.path}: cut off, or no HDF5 file ({error}); {_PREPARE}") from error

    def _recognise(self, file: h5py.File, published_crop: int) -> Layout:
        if file.attrs.get("format") == FORMAT:
            version = file.attrs.get("version")
            if version != VERSION:
                raise ValueError(f"{self.path}: layout version {version}, {VERSION} is expected; {_PREPARE}")
            return OwnLayout()
        if {"dataset", "images", "masks"} <= set(file):
            return PublishedLayout(published_crop)
        raise ValueError(f"{self.path}: an HDF5 file, but not of training samples; {_PREPARE}")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Record:
        """Sample `index`. Raises IndexError beyond the last, ValueError where the file is damaged."""
        if not 0 <= index < self._count:
            raise IndexError(f"{self.path}: sample {index} of {self._count}")
        try:
            return self._layout.record(self._file, index)
        except (OSError, KeyError, ValueError, zlib.error) as error:
            raise ValueError(f"{self.path}: sample {index} is damaged ({error}); {_PREPARE}") from error

    @property
    def _file(self) -> h5py.File:
        if self._handle is None or self._owner != os.getpid():
            self._handle, self._owner = self._opened(), os.getpid()
        return self._handle

    @property
    def pictures(self) -> list[int]:
        """The distinct picture ids."""
        return self._picture_ids[0]

    @property
    def sample_pictures(self) -> np.ndarray:
        """(samples,) int64: which of `pictures` each sample is of."""
        return self._picture_ids[1]

    @property
    def _picture_ids(self) -> tuple[list[int], np.ndarray]:
        if self._index is None:
            self._index = self._layout.picture_ids(self._file)
        return self._index

    def close(self) -> None:
        """Close the file; reading a sample opens it again."""
        if self._handle is not None and self._owner == os.getpid():
            self._handle.close()
        self._handle = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}


_PREPARE = "make it (again) with tools/prepare_coco.py"
