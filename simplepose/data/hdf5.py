"""The training samples of one HDF5 file, whichever layout it has.

Only this file and the two layouts (`hdf5_own.py`, `hdf5_published.py`) know what lies in such a file.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import h5py
import numpy as np

from simplepose.data.hdf5_own import FORMAT, VERSION, OwnLayout
from simplepose.data.hdf5_published import PublishedLayout
from simplepose.data.record import Record

T = TypeVar("T")
_PREPARE = "make it (again) with tools/prepare_coco.py"
_DAMAGE = (OSError, RuntimeError, LookupError, TypeError, ValueError, zlib.error)
"""What h5py, zlib and the layouts raise on bytes that are not what they were."""


class Layout(Protocol):
    """How one layout keeps its samples, asked of the open file."""

    def count(self, file: h5py.File) -> int:
        """How many samples the file holds."""

    def joints(self, file: h5py.File) -> tuple[str, ...]:
        """The names of the annotated joints."""

    def picture_ids(self, file: h5py.File) -> tuple[list[int], np.ndarray]:
        """The distinct picture ids, and (samples,) int64 which of them each sample is of."""

    def record(self, file: h5py.File, index: int) -> Record:
        """Sample `index`."""


class SampleFile:
    """The training samples of one file, in our layout or the published one: `len(file)`, `file[i] -> Record`.

    Only reading samples leaves the file open, and a process that finds it open from before a fork closes it
    first, since HDF5 would hand out the descriptor that it shares with its parent. So a SampleFile may be
    handed to a loader's workers, by fork or by pickle.

    Args:
        path: of the HDF5 file.
        published_crop: the crop height in pixels that `scale_provided` of a published file refers to: 512,
            or 384 in a file made for the 384 x 384 phase. Files of ours need no such thing.

    Attributes:
        joints: the names of the annotated joints, in the order of the records' keypoints.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut off, not a file of samples, of another version, or holds no sample.
    """

    def __init__(self, path: str | Path, published_crop: int = 512) -> None:
        self.path = Path(path)
        self._handle: h5py.File | None = None
        self._owner = 0
        self._picture_ids: tuple[list[int], np.ndarray] | None = None
        if not self.path.is_file():
            raise FileNotFoundError(f"no file of training samples at {self.path}; {_PREPARE}")
        with self._opened() as file:
            self._layout = self._recognise(file, published_crop)
            try:
                self._count, self.joints = self._layout.count(file), self._layout.joints(file)
            except _DAMAGE as error:
                raise self._damaged(error) from error
        if self._count == 0:
            raise ValueError(f"{self.path}: holds no sample; {_PREPARE}")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Record:
        """Sample `index`. Raises IndexError where there is none, ValueError where the file is damaged."""
        if not 0 <= index < self._count:
            raise IndexError(f"{self.path}: sample {index} of {self._count}")
        return self._read(lambda file: self._layout.record(file, index))

    @property
    def pictures(self) -> list[int]:
        """The distinct picture ids."""
        return self._read_picture_ids()[0]

    @property
    def sample_pictures(self) -> np.ndarray:
        """(samples,) int64: which of `pictures` each sample is of, as a position in that list."""
        return self._read_picture_ids()[1]

    def close(self) -> None:
        """Close the file; reading a sample opens it again."""
        if self._handle is not None:
            self._handle.close()
        self._handle = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def _read_picture_ids(self) -> tuple[list[int], np.ndarray]:
        if self._picture_ids is None:
            try:
                with self._opened() as file:
                    self._picture_ids = self._layout.picture_ids(file)
            except _DAMAGE as error:
                raise self._damaged(error) from error
        return self._picture_ids

    def _read(self, what: Callable[[h5py.File], T]) -> T:
        if self._handle is None or self._owner != os.getpid():
            self.close()
            self._handle, self._owner = self._opened(), os.getpid()
        try:
            return what(self._handle)
        except _DAMAGE as error:
            raise self._damaged(error) from error

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

    def _damaged(self, error: Exception) -> ValueError:
        return ValueError(f"{self.path}: damaged ({error}); {_PREPARE}")
