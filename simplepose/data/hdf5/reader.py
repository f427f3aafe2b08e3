"""Read the training samples of an HDF5 file, in the project's layout or in the published one.

Only this package knows the contents of such a file. The layout of the published code: group `dataset` has
keys `%07d`, one sample each, a JSON text with `image` (a key of the other groups), `joints` (P, A, 3; main
person first; v: 0 hidden, 1 visible, others absent), `objpos` (P, 2; box centers) and `scale_provided` (P;
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

from simplepose.data.hdf5.layout import DAMAGE, VERSION, Contents, OwnSamples, is_ours
from simplepose.data.record import Record
from simplepose.skeleton import COCO


class PublishedSamples:
    """Reads the samples of an open file in the published layout.

    Args:
        file: open for reading.
        crop: height of the crop that `scale_provided` refers to, pixels.

    Attributes:
        joints: the names of the annotated joints: the layout keeps none, such files are of COCO.
    """

    joints = COCO.annotated

    def __init__(self, file: h5py.File, crop: int) -> None:
        self._file, self._crop = file, crop
        self._keys = sorted(file["dataset"])

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def pictures(self) -> np.ndarray:
        """(N,) int64: the distinct picture ids."""
        return self._picture_ids[0]

    @property
    def sample_pictures(self) -> np.ndarray:
        """(S,) int64: which of `pictures` each sample is of, as a position."""
        return self._picture_ids[1]

    def image_id(self, index: int) -> int:
        """The id of sample `index`'s picture."""
        return int(self._sample(index)["image"])

    def record(self, index: int) -> Record:
        """Sample `index`."""
        sample = self._sample(index)
        key = sample["image"]
        masks = self._file["masks"][key][()]
        x, y = np.asarray(sample["objpos"], np.float64).reshape(-1, 2)[0]
        return Record(
            image=self._file["images"][key][()],
            mask_miss=np.ascontiguousarray(masks[..., 0]),
            mask_all=np.ascontiguousarray(masks[..., 1]),
            keypoints=_coco_keypoints(np.array(sample["joints"], np.float32)),
            center_xy=(float(x), float(y)),
            height=float(np.ravel(sample["scale_provided"])[0]) * self._crop,
            image_id=int(key),
        )

    @cached_property
    def _picture_ids(self) -> tuple[np.ndarray, np.ndarray]:
        ids = np.array([self.image_id(index) for index in range(len(self))], np.int64)
        pictures, positions = np.unique(ids, return_inverse=True)
        return pictures, positions.astype(np.int64)

    def _sample(self, index: int) -> dict[str, Any]:
        return json.loads(self._file["dataset"][self._keys[index]][()])


def _coco_keypoints(joints: np.ndarray) -> np.ndarray:
    """(P, A, 3) with the published v -> with COCO's; absent ones 0, 0, 0; people without a keypoint go."""
    published_v = joints[..., 2]
    joints[..., 2] = np.select([published_v == 0, published_v == 1], [1, 2], 0)
    joints[joints[..., 2] == 0] = 0
    return joints[(joints[..., 2] > 0).any(1)]


T = TypeVar("T")
_PREPARE = "make it (again) with tools/prepare_coco.py"
_CHECK = "tools/prepare_coco.py --check tells what else is"


class BadRecord(ValueError):
    """One sample of a file cannot be read, though the file as a whole can.

    Attributes:
        index: the sample's.
        image_id: its picture's, None where not even that can be read.

    A loader makes the error of a worker anew from its text alone; it then knows neither.
    """

    def __init__(self, message: str, index: int = -1, image_id: int | None = None) -> None:
        super().__init__(message, index, image_id)
        self.index, self.image_id = index, image_id

    def __str__(self) -> str:
        return str(self.args[0])


class Samples(Protocol):
    """The samples of an open file, as each layout reads them."""

    def __len__(self) -> int: ...

    @property
    def joints(self) -> tuple[str, ...]:
        """The names of the annotated joints."""

    @property
    def pictures(self) -> np.ndarray:
        """(N,) int64: the distinct picture ids."""

    @property
    def sample_pictures(self) -> np.ndarray:
        """(S,) int64: which of `pictures` each sample is of, as a position."""

    def image_id(self, index: int) -> int:
        """The id of sample `index`'s picture."""

    def record(self, index: int) -> Record:
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
        ValueError: it is cut off, not a file of samples, of another version, damaged, or holds no sample.
    """

    def __init__(self, path: str | Path, published_crop: int = 512) -> None:
        self.path, self.published_crop = Path(path), published_crop
        self._handle: h5py.File | None = None
        self._samples: Samples | None = None
        self._owner = 0
        self._picture_ids: tuple[list[int], np.ndarray] | None = None
        if not self.path.is_file():
            raise FileNotFoundError(f"no file of training samples at {self.path}; {_PREPARE}")
        self._count, self.joints = self._ask(lambda samples: (len(samples), samples.joints))
        if self._count == 0:
            raise ValueError(f"{self.path}: holds no sample; {_PREPARE}")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Record:
        """Sample `index`.

        Raises:
            IndexError: there is none.
            BadRecord: it is damaged.
            ValueError: the file is not what it was.
        """
        if not 0 <= index < self._count:
            raise IndexError(f"{self.path}: sample {index} of {self._count}")
        samples = self._opened_samples()
        try:
            return samples.record(index)
        except DAMAGE as error:
            image_id = _image_id(samples, index)
            message = f"{self.path}: sample {index}, of picture {image_id}, is damaged ({error}); {_CHECK}"
            raise BadRecord(message, index, image_id) from error

    @property
    def pictures(self) -> list[int]:
        """The distinct picture ids."""
        return self._read_picture_ids()[0]

    @property
    def sample_pictures(self) -> np.ndarray:
        """(samples,) int64: which of `pictures` each sample is of, as a position in that list."""
        return self._read_picture_ids()[1]

    def contents(self) -> Contents | None:
        """What the file holds in all, and what was left out of it; None in the published layout."""
        return self._ask(lambda samples: samples.contents() if isinstance(samples, OwnSamples) else None)

    def close(self) -> None:
        """Close the file; reading a sample opens it again."""
        if self._handle is not None:
            self._handle.close()
        self._handle = self._samples = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_samples": None}

    def _read_picture_ids(self) -> tuple[list[int], np.ndarray]:
        if self._picture_ids is None:
            self._picture_ids = self._ask(lambda s: (s.pictures.tolist(), s.sample_pictures))
        return self._picture_ids

    def _ask(self, what: Callable[[Samples], T]) -> T:
        """An answer of the file, which is not left open."""
        with self._opened() as file:
            samples = self._recognise(file)
            try:
                return what(samples)
            except DAMAGE as error:
                raise self._damaged(error) from error

    def _opened_samples(self) -> Samples:
        if self._samples is None or self._owner != os.getpid():
            self.close()
            self._handle, self._owner = self._opened(), os.getpid()
            self._samples = self._recognise(self._handle)
        return self._samples

    def _opened(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise ValueError(f"{self.path}: cut off, or no HDF5 file ({error}); {_PREPARE}") from error

    def _recognise(self, file: h5py.File) -> Samples:
        """The layout's reader, or a ValueError that says what the file is instead."""
        try:
            if is_ours(file):
                version = file.attrs.get("version")
                if version == VERSION:
                    return OwnSamples(file)
                fault = f"version {version} of the layout; this program reads version {VERSION}"
            elif {"dataset", "images", "masks"} <= set(file):
                return PublishedSamples(file, self.published_crop)
            else:
                fault = "an HDF5 file, but not of training samples"
        except DAMAGE as error:
            raise self._damaged(error) from error
        raise ValueError(f"{self.path}: {fault}; {_PREPARE}")

    def _damaged(self, error: Exception) -> ValueError:
        return ValueError(f"{self.path}: damaged ({error}); {_PREPARE}")


def _image_id(samples: Samples, index: int) -> int | None:
    try:
        return samples.image_id(index)
    except DAMAGE:
        return None
