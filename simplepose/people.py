"""The people found in one picture: the one currency of results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

PERSON_CATEGORY = 1
"""COCO's category id of a person."""

NO_ID = -1
"""The id of somebody whom tracking takes for nobody known, and is not sure enough of to begin with."""


@dataclass(frozen=True, eq=False)
class People:
    """P people with J joints each.

    Attributes:
        keypoints: (P, J, 3) float32 x, y, score; x and y in picture pixels with pixel
            centres at integers, score in [0, 1]; 0, 0, 0 where a joint was not found.
            Joints stand in the skeleton's annotated order (COCO: 17).
        scores: (P,) float32 confidence of each person, larger is better.
        ids: (P,) int64, the same person's over the frames of a video, from 0, or NO_ID; None where nobody was
            tracked.

    Raises:
        ValueError: the shapes do not fit together.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        keypoints = np.asarray(self.keypoints, np.float32)
        scores = np.asarray(self.scores, np.float32)
        if keypoints.ndim != 3 or keypoints.shape[2] != 3 or scores.shape != keypoints.shape[:1]:
            raise ValueError(
                f"People needs keypoints (P, J, 3) and scores (P,), got {keypoints.shape} and {scores.shape}"
            )
        object.__setattr__(self, "keypoints", keypoints)
        object.__setattr__(self, "scores", scores)
        if self.ids is not None:
            ids = np.asarray(self.ids, np.int64)
            if ids.shape != scores.shape:
                raise ValueError(f"People needs ids (P,) = {scores.shape}, got {ids.shape}")
            object.__setattr__(self, "ids", ids)

    @classmethod
    def nobody(cls, joints: int) -> People:
        """No people, of a skeleton with so many annotated joints."""
        return cls(np.zeros((0, joints, 3), np.float32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def found(self) -> np.ndarray:
        """(P, J) bool: which joints were found."""
        return self.keypoints[..., 2] > 0

    @property
    def boxes_xyxy(self) -> np.ndarray:
        """(P, 4) float32: the smallest box around each person's found joints, 0 where there are none."""
        return boxes_around(self.keypoints[..., :2], self.found).astype(np.float32, copy=False)

    def flipped(self, width: int, flip_order: np.ndarray) -> People:
        """The same people in the picture mirrored left to right.

        Args:
            width: of the picture, pixels.
            flip_order: (J,) the skeleton's `annotated_flip`.
        """
        keypoints = self.keypoints[:, flip_order].copy()
        keypoints[..., 0] = np.where(keypoints[..., 2] > 0, width - 1 - keypoints[..., 0], 0)
        return People(keypoints, self.scores, self.ids)

    def to_coco_rows(self, image_id: int | str) -> list[dict[str, Any]]:
        """One row a person in COCO's keypoint result format.

        The third value of a joint is its score (COCO's server reads it as v and ignores its size);
        `image_id` may be a file's name where there is no COCO id.
        """
        return [
            {
                "image_id": image_id,
                "category_id": PERSON_CATEGORY,
                "keypoints": [round(float(value), 3) for value in keypoints.ravel()],
                "score": round(float(score), 5),
            }
            for keypoints, score in zip(self.keypoints, self.scores, strict=True)
        ]

    @classmethod
    def from_coco_rows(cls, rows: Iterable[dict[str, Any]], joints: int) -> People:
        """The opposite of `to_coco_rows`, for the rows of one picture.

        Raises:
            ValueError: a row does not hold 3 * `joints` keypoint values and a score.
        """
        rows = list(rows)
        for row in rows:
            if len(row.get("keypoints", ())) != 3 * joints or "score" not in row:
                raise ValueError(f"a COCO row needs {3 * joints} keypoint values and a score, got {row}")
        keypoints = np.array([row["keypoints"] for row in rows], np.float32).reshape(-1, joints, 3)
        return cls(keypoints, np.array([row["score"] for row in rows], np.float32))


def boxes_around(xy: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(P, J, 2) and (P, J) bool -> (P, 4) x, y, x, y around the joints that are there; 0 where none is."""
    low = np.where(there[..., None], xy, np.inf).min(1, initial=np.inf)
    high = np.where(there[..., None], xy, -np.inf).max(1, initial=-np.inf)
    boxes = np.concatenate([low, high], 1)
    return np.where(np.isfinite(boxes), boxes, 0)
