"""Reads training samples in the HDF5 layout of the published code.

Group `dataset`: keys `%07d`, one sample each, a JSON text with `image` (a key of the other groups), `joints`
(P, A, 3; main person first; v: 0 hidden, 1 visible, others absent), `objpos` (P, 2; box centres) and
`scale_provided` (P; box heights divided by the crop's). Group `images`: keys are COCO ids, `%012d`; (H, W, 3)
uint8 BGR. Group `masks`: the same keys; (H, W, 2) uint8: mask_miss, mask_all.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

import h5py
import numpy as np

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
