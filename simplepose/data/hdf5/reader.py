"""Read the training samples of an HDF5 file, in the project's layout or in the published one.

Only this package knows the contents of such a file. The layout of the published code: group `dataset` has
keys `%07d`, one sample each, a JSON text with `image` (a key of the other groups), `joints` (P, A, 3; main
person first; v: 0 occluded, 1 visible, others absent), `objpos` (P, 2; box centers) and `scale_provided` (P;
box heights divided by the crop's). Group `images` has COCO ids as keys, `%012d`; (H, W, 3) uint8 BGR. Group
`masks` has the same keys; (H, W, 2) uint8: mask_miss, mask_all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import h5py
import numpy as np

from simplepose.coco_json import show
from simplepose.data.hdf5 import checks
from simplepose.data.hdf5.layout import DAMAGE_ERRORS, VERSION, FileContents, NativeSamples, is_native_layout
from simplepose.data.record import Record, check_record
from simplepose.image_io import MAX_PIXELS
from simplepose.skeleton import COCO
from simplepose.utils.files import check_regular_file, printable


class PublishedSamples:
    """Read the samples of an open file in the published layout.

    Args:
        file: open for reading.
        crop: height of the crop that `scale_provided` refers to, pixels.

    Attributes:
        joints: the names of the annotated joints. The layout does not store them; such files are of COCO.
    """

    joints = COCO.annotated

    def __init__(self, file: h5py.File, crop: int) -> None:
        self._file, self._crop = file, crop
        for group in ("images", "masks"):
            checks.open_group(file, group)
        self._keys = sorted(checks.open_group(file, "dataset"))

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def image_ids(self) -> np.ndarray:
        """(N,) int64: the distinct image ids."""
        return self._ids_and_rows[0]

    @property
    def sample_image_rows(self) -> np.ndarray:
        """(S,) int64: the index into `image_ids` of each sample's image."""
        return self._ids_and_rows[1]

    def image_id(self, index: int) -> int:
        """Return the id of the image of sample `index`."""
        return int(self._read_sample(index)["image"])

    def record(self, index: int) -> Record:
        """Read sample `index`."""
        sample = self._read_sample(index)
        key = sample["image"]
        image, masks = self._read_pixels(f"images/{key}", 3), self._read_pixels(f"masks/{key}", 2)
        joints = _parse_numbers(sample, "joints", (len(self.joints), 3))
        x, y = _parse_numbers(sample, "objpos", (2,))[0]
        scale = _parse_numbers(sample, "scale_provided", ())[0]
        record = Record(
            image=image,
            mask_miss=np.ascontiguousarray(masks[..., 0]),
            mask_all=np.ascontiguousarray(masks[..., 1]),
            keypoints=_to_coco_keypoints(joints.astype(np.float32)),
            center_xy=(float(x), float(y)),
            height=float(scale) * self._crop,
            image_id=int(key),
        )
        check_record(record, len(self.joints))
        return record

    @cached_property
    def _ids_and_rows(self) -> tuple[np.ndarray, np.ndarray]:
        ids = np.array([self._read_id(index) for index in range(len(self))], np.int64)
        distinct, rows = np.unique(ids, return_inverse=True)
        return distinct, rows.astype(np.int64)

    def _read_sample(self, index: int) -> dict[str, Any]:
        name = f"dataset/{self._keys[index]}"
        text = checks.read(checks.open_dataset(self._file, name, ()))
        try:
            sample = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name}: expected a json text, got {show(text)}") from error
        if not isinstance(sample, dict):
            raise ValueError(f"{name}: expected a json object, got {show(sample)}")
        key = sample.get("image")
        if not (isinstance(key, str) and key.isdecimal() and int(key) < 2**63):
            raise ValueError(f"{name}: image: expected an image id as text, got {show(key)}")
        return sample

    def _read_id(self, index: int) -> int:
        """Return the id of a sample's image; a negative one if the sample is damaged, so that others load."""
        try:
            return self.image_id(index)
        except DAMAGE_ERRORS:
            return -1 - index

    def _read_pixels(self, name: str, channels: int) -> np.ndarray:
        """Read (H, W, channels) uint8."""
        dataset = checks.open_dataset(self._file, name, (None, None, channels), np.uint8)
        if dataset.shape[0] * dataset.shape[1] > MAX_PIXELS:
            raise ValueError(f"{name}: expected at most {MAX_PIXELS:,} pixels, got {dataset.shape}")
        pixels: np.ndarray = checks.read(dataset)
        return pixels


def _parse_numbers(sample: dict[str, Any], key: str, row: tuple[int, ...]) -> np.ndarray:
    """Convert a list of a sample to (P, *row) numbers, P >= 1.

    Raises:
        ValueError: it is missing, or has another shape or other values; names it.
    """
    values = sample.get(key)
    try:
        array = np.array(values)
    except ValueError:  # lists of different lengths
        array = np.empty(0)
    if array.dtype.kind not in "iuf" or array.shape[1:] != row or not array.size:
        shape = " x ".join(map(str, ("P", *row)))
        raise ValueError(f"{key}: expected {shape} numbers, P >= 1, got {show(values)}")
    return array


def _to_coco_keypoints(joints: np.ndarray) -> np.ndarray:
    """Convert the published v of (P, A, 3) joints to COCO's.

    Absent joints become 0, 0, 0; people without a keypoint are removed.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    if not np.isfinite(joints).all():
        raise ValueError("a keypoint is NaN or infinite")
    published_v = joints[..., 2]
    joints[..., 2] = np.select([published_v == 0, published_v == 1], [1, 2], 0)
    joints[joints[..., 2] == 0] = 0
    return joints[(joints[..., 2] > 0).any(1)]


T = TypeVar("T")
_PREPARE_HINT = "create it (again) with tools/prepare_coco.py"
_CHECK_HINT = "tools/prepare_coco.py --check reports all damage"


class DamagedRecordError(ValueError):
    """One sample of a file cannot be read, though the file as a whole can.

    Attributes:
        index: of the sample.
        image_id: of its image; None if it cannot be read.
    """

    def __init__(self, message: str, index: int = -1, image_id: int | None = None) -> None:
        super().__init__(message, index, image_id)
        self.index, self.image_id = index, image_id

    def __str__(self) -> str:
        return str(self.args[0])


class SampleReader(Protocol):
    """Reads the samples of an open file; one implementation for each layout."""

    def __len__(self) -> int: ...

    @property
    def joints(self) -> tuple[str, ...]:
        """The names of the annotated joints."""

    @property
    def image_ids(self) -> np.ndarray:
        """(N,) int64: the distinct image ids."""

    @property
    def sample_image_rows(self) -> np.ndarray:
        """(S,) int64: the index into `image_ids` of each sample's image."""

    def image_id(self, index: int) -> int:
        """Return the id of the image of sample `index`."""

    def record(self, index: int) -> Record:
        """Read sample `index`."""


class SampleFile:
    """The training samples of one file, in either layout: `len(file)`, `file[i] -> Record`.

    Only reading samples leaves the file open. A process that inherited the open file from a fork closes it
    first, since HDF5 would share the descriptor with the parent process. So a SampleFile may be passed to the
    workers of a loader, by fork or by pickle.

    Args:
        path: of the HDF5 file.
        published_crop: the crop height in pixels that `scale_provided` of a published file refers to: 512,
            or 384 in a file made for the 384 x 384 phase. Files in the project's layout ignore it.
        every_person: each person with keypoints gives a sample, not only the main persons. Files in the
            published layout, which have no boxes of the others, ignore it.

    Attributes:
        joints: the names of the annotated joints, in the order of the records' keypoints.
        every_person: see Args.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is truncated, not a file of samples, of another version, damaged, or has no
            sample.
    """

    def __init__(self, path: str | Path, published_crop: int = 512, every_person: bool = False) -> None:
        self.path, self.published_crop, self.every_person = Path(path), published_crop, every_person
        self._handle: h5py.File | None = None
        self._reader: SampleReader | None = None
        self._owner_pid = 0
        self._ids_and_rows: tuple[list[int], np.ndarray] | None = None
        if not self.path.exists():
            raise FileNotFoundError(f"no file of training samples at {self.path}; {_PREPARE_HINT}")
        check_regular_file(self.path)
        self._count, self.joints = self._query(lambda reader: (len(reader), reader.joints))
        if self._count == 0:
            raise ValueError(f"{self.path}: has no samples; {_PREPARE_HINT}")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Record:
        """Read sample `index`.

        Raises:
            IndexError: the index is out of range.
            DamagedRecordError: the sample is damaged.
            ValueError: the file was damaged since it was opened.
        """
        if not 0 <= index < self._count:
            raise IndexError(f"{self.path}: sample index {index}, expected 0 to {self._count - 1}")
        reader = self._open_reader()
        try:
            return reader.record(index)
        except DAMAGE_ERRORS as error:
            image_id = _try_image_id(reader, index)
            reason = printable(str(error))
            message = (
                f"{self.path}: sample {index}, of image {image_id}, is damaged ({reason}); {_CHECK_HINT}"
            )
            raise DamagedRecordError(message, index, image_id) from error

    @property
    def image_ids(self) -> list[int]:
        """The distinct image ids."""
        return self._read_ids_and_rows()[0]

    @property
    def sample_image_rows(self) -> np.ndarray:
        """(samples,) int64: the index into `image_ids` of each sample's image."""
        return self._read_ids_and_rows()[1]

    def contents(self) -> FileContents | None:
        """Summarize the file, with the issues of its preparation; None in the published layout."""
        return self._query(lambda reader: reader.contents() if isinstance(reader, NativeSamples) else None)

    def close(self) -> None:
        """Close the file; reading a sample opens it again."""
        if self._handle is not None:
            self._handle.close()
        self._handle = self._reader = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_reader": None}

    def _read_ids_and_rows(self) -> tuple[list[int], np.ndarray]:
        if self._ids_and_rows is None:
            self._ids_and_rows = self._query(lambda r: (r.image_ids.tolist(), r.sample_image_rows))
        return self._ids_and_rows

    def _query(self, function: Callable[[SampleReader], T]) -> T:
        """Open the file, call a function with its reader, close the file, and return the result."""
        with self._open_file() as file:
            reader = self._create_reader(file)
            try:
                return function(reader)
            except DAMAGE_ERRORS as error:
                raise self._damaged_error(error) from error

    def _open_reader(self) -> SampleReader:
        if self._reader is None or self._owner_pid != os.getpid():
            self.close()
            self._handle, self._owner_pid = self._open_file(), os.getpid()
            self._reader = self._create_reader(self._handle)
        return self._reader

    def _open_file(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise ValueError(
                f"{self.path}: truncated, or not an HDF5 file ({error}); {_PREPARE_HINT}"
            ) from error

    def _create_reader(self, file: h5py.File) -> SampleReader:
        """Create the reader of the file's layout. Raises ValueError if the file has neither layout."""
        try:
            if is_native_layout(file):
                version = file.attrs.get("version")
                if version == VERSION:
                    return NativeSamples(file, self.every_person)
                fault = f"expected version {VERSION} of the layout, got version {version}"
            elif {"dataset", "images", "masks"} <= set(file):
                return PublishedSamples(file, self.published_crop)
            else:
                fault = "an HDF5 file, but not of training samples"
        except DAMAGE_ERRORS as error:
            raise self._damaged_error(error) from error
        raise ValueError(f"{self.path}: {fault}; {_PREPARE_HINT}")

    def _damaged_error(self, error: Exception) -> ValueError:
        return ValueError(f"{self.path}: damaged ({printable(str(error))}); {_PREPARE_HINT}")


def _try_image_id(reader: SampleReader, index: int) -> int | None:
    try:
        return reader.image_id(index)
    except DAMAGE_ERRORS:
        return None
