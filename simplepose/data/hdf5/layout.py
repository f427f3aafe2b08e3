"""The project's own HDF5 layout of training samples, version 2, and its reader.

N images, B bytes of image data, T people with keypoints of all images one after another, A annotated joints,
S samples, R issues. Texts are UTF-8 of a fixed length, padded with zeros (HDF5 stores texts of
variable length where no checksum covers them, and a flipped bit there can make it read forever):

    attributes             format, version, store (compressed or raw), annotations (name of the json),
                           joints (A names)
    pictures/image_id      (N,) int64          pictures/file_name  (N,) text
    pictures/size_hw       (N, 2) int32        pictures/people_end (N,) int64 row of people/*
    pictures/data          (B,) uint8, for each image the image and then its masks
    pictures/data_end      (N,) int64 position in pictures/data
    pictures/image_bytes   (N,) int64 number of its bytes that are the image: the image file as it is (JPEG,
                           PNG, ...) in a compressed store, H x W x 3 BGR in a raw one; the rest are the
                           masks, run-length encoded
    pictures/checksum      (N,) uint64 of its bytes and people, see `checksum`
    people/keypoints       (T, A, 3) float32   people/box_xywh     (T, 4) float64
    samples/picture        (S,) int64 row of pictures/*
    samples/main_person    (S,) int64 counted within its image, -1 in an image without people
    remarks/image_id       (R,) int64          remarks/kind, remarks/detail (R,) text
                           what was skipped or repaired, for all requested images

The bytes and people of image n begin where those of n - 1 end (0 for the first). All datasets except the
bytes and the people have an attribute crc32 of their values.

The two masks of an image are stored as the lengths of the runs of equal pixels. Over 439 photographs of
COCO's own size this takes 0.7 kB an image and 0.04 ms to read. Packed bits under zlib took 0.8 kB and
0.15 ms, COCO's run lengths 1.1 kB and 0.66 ms, a 1-bit PNG 4.0 kB and 0.62 ms.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Literal, cast

import cv2
import h5py
import numpy as np

from simplepose.data.hdf5 import checks
from simplepose.data.record import NO_PERSON, Issue, Record, build_record, check_record, decode_image
from simplepose.image_io import MAX_PIXELS

# Mask values by kind of pixel. The kind is 1 where mask_miss is set, plus 2 where mask_all is set.
_MASK_MISS_VALUES = np.array([0, 255, 0, 255], np.uint8)
_MASK_ALL_VALUES = np.array([0, 0, 255, 255], np.uint8)


def pack_masks(mask_miss: np.ndarray, mask_all: np.ndarray) -> bytes:
    """Run-length encode two (H, W) masks of 0 and 255.

    Returns:
        zlib of the run lengths (uint32, little-endian), then of each run's kind (uint8), row by row.
    """
    kinds = ((mask_miss & 1) | (mask_all & 2)).ravel()
    starts = np.concatenate([[0], np.flatnonzero(kinds[1:] != kinds[:-1]) + 1])
    lengths = np.diff(starts, append=kinds.size).astype("<u4")
    return zlib.compress(lengths.tobytes() + kinds[starts].tobytes())


def unpack_masks(packed: bytes | np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Unpack the masks of `pack_masks`: mask_miss, mask_all, (H, W) uint8 of 0 and 255.

    Raises:
        ValueError, zlib.error: the bytes are not masks of that size.
    """
    decompressor = zlib.decompressobj()
    plain = decompressor.decompress(bytes(packed), 5 * height * width)  # a run has at least one pixel
    if not decompressor.eof:
        raise ValueError(f"expected masks of {height} x {width} pixels, got truncated or more data")
    runs, remainder = divmod(len(plain), 5)
    lengths = np.frombuffer(plain, "<u4", runs)
    if remainder or int(lengths.sum(dtype=np.uint64)) != height * width:
        raise ValueError(
            f"expected masks of {height} x {width} pixels, got {lengths.sum(dtype=np.uint64)} pixels"
        )
    kinds = np.frombuffer(plain, np.uint8, runs, 4 * runs)
    mask_miss, mask_all = (
        np.repeat(values[kinds], lengths) for values in (_MASK_MISS_VALUES, _MASK_ALL_VALUES)
    )
    return mask_miss.reshape(height, width), mask_all.reshape(height, width)


FORMAT, VERSION = "simplepose-samples", 2

# What h5py, zlib, OpenCV and the layouts raise on damaged bytes.
DAMAGE_ERRORS = (
    *(
        OSError,
        RuntimeError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        MemoryError,
    ),
    *(zlib.error, cv2.error),
)

Store = Literal["compressed", "raw"]

IMAGE_DATA = "pictures/data"
PEOPLE_DATASETS = ("people/keypoints", "people/box_xywh")

# Types of the columns, each of which has a checksum of its own.
COLUMN_TYPES: dict[str, Any] = {
    "pictures/image_id": np.int64,
    "pictures/file_name": np.bytes_,
    "pictures/size_hw": np.int32,
    "pictures/people_end": np.int64,
    "pictures/data_end": np.int64,
    "pictures/image_bytes": np.int64,
    "pictures/checksum": np.uint64,
    "samples/picture": np.int64,
    "samples/main_person": np.int64,
    "remarks/image_id": np.int64,
    "remarks/kind": np.bytes_,
    "remarks/detail": np.bytes_,
}


def is_native_layout(file: h5py.File) -> bool:
    """Whether a file has the project's own layout, in any version."""
    return file.attrs.get("format") in (FORMAT, FORMAT.encode())  # version 1 wrote texts of any length


def checksum(data: np.ndarray, keypoints: np.ndarray, boxes_xywh: np.ndarray) -> np.uint64:
    """Add the 64-bit words of an image's bytes and the CRC-32s of its people, modulo 2**64.

    The sum takes a fifth of the time of a CRC over the bytes, which matters for raw images.
    """
    whole = len(data) // 8 * 8
    words = int(data[:whole].view(np.uint64).sum(dtype=np.uint64)) + int.from_bytes(data[whole:], "little")
    total = words + zlib.crc32(keypoints.data) + zlib.crc32(boxes_xywh.data)
    checksum: np.uint64 = np.uint64(total % 2**64)
    return checksum


@dataclass(frozen=True)
class FileContents:
    """Summary of a file.

    Attributes:
        store: how the images are stored.
        people: number of people with keypoints, each counted once.
        images_without_people: number of such images.
        raw_bytes: size of the images and masks in a raw store.
        issues: what was skipped or repaired, in the json's order.
    """

    store: Store
    people: int
    images_without_people: int
    raw_bytes: int
    issues: tuple[Issue, ...]


class NativeSamples:
    """Read the samples of an open file in the project's own layout.

    Args:
        file: open for reading.
        every_person: each person with keypoints gives a sample, not only the main persons.

    Attributes:
        joints: the names of the annotated joints.
        store: how the images are stored.

    Raises:
        ValueError: the tables of the file are damaged; or another of DAMAGE_ERRORS.
    """

    def __init__(self, file: h5py.File, every_person: bool = False) -> None:
        self._file = file
        self.joints: tuple[str, ...] = checks.read_texts(file, "joints")
        self.store = cast(Store, checks.read_texts(file, "store")[0])
        self._data = checks.open_dataset(file, IMAGE_DATA, (None,), np.uint8)
        self._keypoints, self._boxes = (
            checks.open_dataset(file, name, (None, *shape), dtype)
            for name, shape, dtype in zip(
                PEOPLE_DATASETS, ((len(self.joints), 3), (4,)), (np.float32, np.float64), strict=True
            )
        )
        for dataset in (self._data, self._keypoints, self._boxes):
            checks.check_stored(dataset)
        self._image_ids, self._size_hw = self._column("pictures/image_id"), self._column("pictures/size_hw")
        self._data_ends, self._people_ends = (
            self._ends("pictures/data_end", len(self._data)),
            self._ends("pictures/people_end", min(len(self._keypoints), len(self._boxes))),
        )
        self._image_bytes = self._column("pictures/image_bytes")
        self._checksums = self._column("pictures/checksum")
        self._image_rows = self._column("samples/picture")
        self._main_persons = self._column("samples/main_person")
        self._check_tables()
        if every_person:
            counts = np.diff(self._people_ends)
            self._image_rows = np.repeat(np.arange(len(counts)), counts)
            self._main_persons = np.arange(self._people_ends[-1]) - self._people_ends[self._image_rows]

    def __len__(self) -> int:
        return len(self._image_rows)

    @property
    def image_ids(self) -> np.ndarray:
        """(N,) int64: the distinct image ids."""
        return self._image_ids

    @property
    def sample_image_rows(self) -> np.ndarray:
        """(S,) int64: the index into `image_ids` of each sample's image."""
        return self._image_rows

    def image_id(self, index: int) -> int:
        """Return the id of the image of sample `index`."""
        return int(self._image_ids[self._image_rows[index]])

    def record(self, index: int) -> Record:
        """Read sample `index`. Raises ValueError if its image is damaged."""
        row = self._image_rows[index]
        data = self._data[self._data_ends[row] : self._data_ends[row + 1]]
        people = slice(self._people_ends[row], self._people_ends[row + 1])
        keypoints, boxes_xywh = self._keypoints[people], self._boxes[people]
        if checksum(data, keypoints, boxes_xywh) != self._checksums[row]:
            raise ValueError("its bytes do not match their checksum")
        height, width = map(int, self._size_hw[row])
        image, masks = np.split(data, [self._image_bytes[row]])
        raw = self.store == "raw"
        image = (
            image.reshape(height, width, 3)
            if raw
            else decode_image(image, validated=True, max_pixels=height * width)
        )
        if image.shape[:2] != (height, width):
            raise ValueError(f"expected an image of {height} x {width} pixels, got {image.shape[:2]}")
        record = build_record(
            int(self._image_ids[row]),
            image,
            unpack_masks(masks, height, width),
            keypoints,
            boxes_xywh,
            int(self._main_persons[index]),
        )
        check_record(record, len(self.joints))
        return record

    def is_intact(self) -> bool:
        """Whether all images and people match their checksums; loads the whole file into memory."""
        data, keypoints, boxes_xywh = self._data[()], self._keypoints[()], self._boxes[()]
        for row, expected in enumerate(self._checksums):
            of_image = slice(self._data_ends[row], self._data_ends[row + 1])
            people = slice(self._people_ends[row], self._people_ends[row + 1])
            if checksum(data[of_image], keypoints[people], boxes_xywh[people]) != expected:
                return False
        return True

    def contents(self) -> FileContents:
        """Summarize the file."""
        texts = (np.char.decode(self._column(f"remarks/{name}"), "utf-8") for name in ("kind", "detail"))
        columns = (self._column("remarks/image_id").tolist(), *(text.tolist() for text in texts))
        pixels = int(self._size_hw.astype(np.int64).prod(1).sum())
        return FileContents(
            store=self.store,
            people=int(self._people_ends[-1]),
            images_without_people=int((self._main_persons == NO_PERSON).sum()),
            raw_bytes=int(3 * pixels + self._data_ends[-1] - self._image_bytes.sum()),
            issues=tuple(map(Issue, *columns)),
        )

    def _check_tables(self) -> None:
        """Raise ValueError unless all tables have fitting lengths, and indices and sizes in range."""
        images, samples = len(self._image_ids), len(self._image_rows)
        of_images = (
            self._size_hw,
            self._data_ends[1:],
            self._people_ends[1:],
            self._image_bytes,
            self._checksums,
        )
        if any(len(column) != images for column in of_images) or len(self._main_persons) != samples:
            raise ValueError("its tables have different lengths")
        if self.store not in ("compressed", "raw"):
            raise ValueError("store: expected compressed or raw")
        checks.check_range("samples/picture", self._image_rows, 0, images)
        people = np.diff(self._people_ends)[self._image_rows]
        checks.check_range("samples/main_person", self._main_persons, NO_PERSON, people)
        checks.check_range("pictures/image_bytes", self._image_bytes, 0, np.diff(self._data_ends) + 1)
        checks.check_range("pictures/size_hw", self._size_hw, 1, MAX_PIXELS + 1)
        pixels = self._size_hw.astype(np.int64).prod(1)
        checks.check_range("pictures/size_hw", pixels, 1, MAX_PIXELS + 1)

    def _column(self, name: str) -> np.ndarray:
        shape = (None, 2) if name == "pictures/size_hw" else (None,)
        column = checks.open_dataset(self._file, name, shape, COLUMN_TYPES[name])
        values: np.ndarray = checks.read(column)
        if zlib.crc32(values.data) != column.attrs["crc32"]:
            raise ValueError(f"the values of {name} do not match their checksum")
        return values

    def _ends(self, name: str, total: int) -> np.ndarray:
        """Return a column of ends with a leading 0: image n has the range from [n] to [n + 1], exclusive."""
        ends = self._column(name)
        checks.check_ends(name, ends, total)
        return np.concatenate([np.zeros(1, np.int64), ends])
