"""The project's own HDF5 layout of training samples, version 2, and its reader.

N images, B bytes of image data, T people with keypoints of all images one after another, A annotated joints,
S samples, R remarks. Texts are UTF-8 of a fixed length, padded with zeros (HDF5 stores texts of variable
length where no checksum covers them, and a flipped bit there can make it read forever):

    attributes             format, version, store (compressed or raw), annotations (name of the json),
                           joints (A names)
    pictures/image_id      (N,) int64          pictures/file_name  (N,) text
    pictures/size_hw       (N, 2) int32        pictures/people_end (N,) int64 row of people/*
    pictures/data          (B,) uint8, for each image the image and then its masks
    pictures/data_end      (N,) int64 position in pictures/data
    pictures/image_bytes   (N,) int64 how many of its bytes are the image: the image file as it is (JPEG,
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
from typing import Any, Literal

import h5py
import numpy as np

from simplepose.data.record import NOBODY, Record, Remark, decode_picture, make_record

_MISS = np.array([0, 255, 0, 255], np.uint8)
_ALL = np.array([0, 0, 255, 255], np.uint8)
"""The masks' values by kind of pixel: 1 where mask_miss is set, plus 2 where mask_all is."""


def pack(mask_miss: np.ndarray, mask_all: np.ndarray) -> bytes:
    """Two (H, W) masks of 0 and 255 -> zlib of the run lengths (uint32, little-endian), then of each
    run's kind (uint8), row after row."""
    kinds = ((mask_miss & 1) | (mask_all & 2)).ravel()
    starts = np.concatenate([[0], np.flatnonzero(kinds[1:] != kinds[:-1]) + 1])
    lengths = np.diff(starts, append=kinds.size).astype("<u4")
    return zlib.compress(lengths.tobytes() + kinds[starts].tobytes())


def unpack(packed: bytes | np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The opposite of `pack`: mask_miss, mask_all, (H, W) uint8 of 0 and 255.

    Raises:
        ValueError, zlib.error: the bytes are no masks of that size.
    """
    plain = zlib.decompress(packed)
    runs, odd = divmod(len(plain), 5)
    lengths = np.frombuffer(plain, "<u4", runs)
    if odd or int(lengths.sum(dtype=np.uint64)) != height * width:
        raise ValueError(f"masks of {lengths.sum(dtype=np.uint64)} pixels, {height} x {width} expected")
    kinds = np.frombuffer(plain, np.uint8, runs, 4 * runs)
    mask_miss, mask_all = (np.repeat(values[kinds], lengths) for values in (_MISS, _ALL))
    return mask_miss.reshape(height, width), mask_all.reshape(height, width)


FORMAT, VERSION = "simplepose-samples", 2
DAMAGE = (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, zlib.error)
"""What h5py, zlib and the layouts raise on bytes that are not what they were."""

Store = Literal["compressed", "raw"]

DATA = "pictures/data"
PEOPLE = ("people/keypoints", "people/box_xywh")
COLUMNS: dict[str, Any] = {
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
"""The types of the columns that bear a checksum of their own."""


def is_ours(file: h5py.File) -> bool:
    """Whether a file has our layout, in any version."""
    return file.attrs.get("format") in (FORMAT, FORMAT.encode())  # version 1 wrote texts of any length


def checksum(data: np.ndarray, keypoints: np.ndarray, boxes_xywh: np.ndarray) -> np.uint64:
    """The sum, modulo 2**64, of the 64-bit words of a picture's bytes, and of its people's CRC-32s.

    Over the bytes a sum tells of damage in a fifth of a CRC's time, which a raw picture would notice.
    """
    whole = len(data) // 8 * 8
    words = int(data[:whole].view(np.uint64).sum(dtype=np.uint64)) + int.from_bytes(data[whole:], "little")
    return np.uint64((words + zlib.crc32(keypoints) + zlib.crc32(boxes_xywh)) % 2**64)


@dataclass(frozen=True)
class Contents:
    """What a file holds in all.

    Attributes:
        store: how the pictures are kept.
        people: with keypoints, each counted once.
        pictures_of_nobody: how many.
        raw_bytes: what the pictures and masks take in a raw store.
        remarks: what was left out or mended, in the json's order.
    """

    store: Store
    people: int
    pictures_of_nobody: int
    raw_bytes: int
    remarks: tuple[Remark, ...]


class OwnSamples:
    """Reads the samples of an open file in our layout.

    Attributes:
        joints: the names of the annotated joints.
        store: how the pictures are kept.

    Raises:
        ValueError: the tables of the file are not what was written; or another of DAMAGE.
    """

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self.joints: tuple[str, ...] = tuple(joint.decode() for joint in file.attrs["joints"])
        self.store: Store = file.attrs["store"].decode()
        self._data, self._keypoints, self._boxes = (file[name] for name in (DATA, *PEOPLE))
        self._image_id, self._size_hw = self._column("pictures/image_id"), self._column("pictures/size_hw")
        self._data_end, self._people_end = self._ends("pictures/data_end"), self._ends("pictures/people_end")
        self._image_bytes = self._column("pictures/image_bytes")
        self._checksum = self._column("pictures/checksum")
        self._picture, self._main_person = (
            self._column("samples/picture"),
            self._column("samples/main_person"),
        )

    def __len__(self) -> int:
        return len(self._picture)

    @property
    def pictures(self) -> np.ndarray:
        """(N,) int64: the distinct picture ids."""
        return self._image_id

    @property
    def sample_pictures(self) -> np.ndarray:
        """(S,) int64: which of `pictures` each sample is of, as a position."""
        return self._picture

    def image_id(self, index: int) -> int:
        """The id of sample `index`'s picture."""
        return int(self._image_id[self._picture[index]])

    def record(self, index: int) -> Record:
        """Sample `index`. Raises ValueError where its picture is not as it was written."""
        row = self._picture[index]
        data = self._data[self._data_end[row] : self._data_end[row + 1]]
        people = slice(self._people_end[row], self._people_end[row + 1])
        keypoints, boxes_xywh = self._keypoints[people], self._boxes[people]
        if checksum(data, keypoints, boxes_xywh) != self._checksum[row]:
            raise ValueError("its bytes are not those that were written")
        height, width = map(int, self._size_hw[row])
        image, masks = np.split(data, [self._image_bytes[row]])
        raw = self.store == "raw"
        image = image.reshape(height, width, 3) if raw else decode_picture(image, known=True)
        return make_record(
            int(self._image_id[row]),
            image,
            unpack(masks, height, width),
            keypoints,
            boxes_xywh,
            int(self._main_person[index]),
        )

    def is_intact(self) -> bool:
        """Whether all pictures and people are as they were written; takes the whole file into memory."""
        data, keypoints, boxes_xywh = self._data[()], self._keypoints[()], self._boxes[()]
        for row, expected in enumerate(self._checksum):
            its_bytes = slice(self._data_end[row], self._data_end[row + 1])
            people = slice(self._people_end[row], self._people_end[row + 1])
            if checksum(data[its_bytes], keypoints[people], boxes_xywh[people]) != expected:
                return False
        return True

    def contents(self) -> Contents:
        """What the file holds in all."""
        texts = (np.char.decode(self._column(f"remarks/{name}"), "utf-8") for name in ("kind", "detail"))
        columns = (self._column("remarks/image_id").tolist(), *(text.tolist() for text in texts))
        pixels = int(self._size_hw.astype(np.int64).prod(1).sum())
        return Contents(
            store=self.store,
            people=int(self._people_end[-1]),
            pictures_of_nobody=int((self._main_person == NOBODY).sum()),
            raw_bytes=int(3 * pixels + self._data_end[-1] - self._image_bytes.sum()),
            remarks=tuple(map(Remark, *columns)),
        )

    def _column(self, name: str) -> np.ndarray:
        column = self._file[name]
        values = column[()]
        if not np.issubdtype(values.dtype, COLUMNS[name]) or zlib.crc32(values) != column.attrs["crc32"]:
            raise ValueError(f"the values of {name} are not those that were written")
        return values

    def _ends(self, name: str) -> np.ndarray:
        """With a 0 in front: n's rows are those from [n] to before [n + 1]."""
        return np.concatenate([np.zeros(1, np.int64), self._column(name)])
