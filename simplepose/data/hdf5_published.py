"""Reads training samples in the HDF5 layout of the published code.

Group `dataset`: keys `%07d`, one sample each, a JSON text with `image` (a key of the other groups), `joints`
(P, A, 3; main person first; v: 0 hidden, 1 visible, others absent), `objpos` (P, 2; box centres) and
`scale_provided` (P; box heights divided by the crop's). Group `images`: keys are COCO ids, `%012d`; (H, W, 3)
uint8 BGR. Group `masks`: the same keys; (H, W, 2) uint8: mask_miss, mask_all.
"""

from __future__ import annotations

import json
from typing import Any

import h5py
import numpy as np

from simplepose.data.record import Record
from simplepose.skeleton import COCO


class PublishedLayout:
    """The published layout.

    Args:
        crop: height of the crop that `scale_provided` refers to, pixels.
    """

    def __init__(self, crop: int) -> None:
        self.crop = crop
        self._keys: list[str] | None = None

    def count(self, file: h5py.File) -> int:
        """How many samples the file holds."""
        return len(file["dataset"])

    def joints(self, file: h5py.File) -> tuple[str, ...]:
        """The names of the annotated joints: the layout keeps none, such files are of COCO."""
        return COCO.annotated

    def picture_ids(self, file: h5py.File) -> tuple[list[int], np.ndarray]:
        """The distinct picture ids, and (samples,) int64 which of them each sample is of."""
        ids = [int(self._sample(file, index)["image"]) for index in range(self.count(file))]
        pictures, positions = np.unique(ids, return_inverse=True)
        return pictures.tolist(), positions.astype(np.int64)

    def record(self, file: h5py.File, index: int) -> Record:
        """Sample `index`."""
        sample = self._sample(file, index)
        key = sample["image"]
        masks = file["masks"][key][()]
        x, y = np.asarray(sample["objpos"], np.float64).reshape(-1, 2)[0]
        return Record(
            image=file["images"][key][()],
            mask_miss=np.ascontiguousarray(masks[..., 0]),
            mask_all=np.ascontiguousarray(masks[..., 1]),
            keypoints=_coco_keypoints(np.array(sample["joints"], np.float32)),
            center_xy=(float(x), float(y)),
            height=float(np.ravel(sample["scale_provided"])[0]) * self.crop,
            image_id=int(key),
        )

    def _sample(self, file: h5py.File, index: int) -> dict[str, Any]:
        if self._keys is None:
            self._keys = sorted(file["dataset"])
        return json.loads(file["dataset"][self._keys[index]][()])


def _coco_keypoints(joints: np.ndarray) -> np.ndarray:
    """(P, A, 3) with the published v -> with COCO's; absent ones 0, 0, 0; people without a keypoint go."""
    published_v = joints[..., 2]
    joints[..., 2] = np.select([published_v == 0, published_v == 1], [1, 2], 0)
    joints[joints[..., 2] == 0] = 0
    return joints[(joints[..., 2] > 0).any(1)]
