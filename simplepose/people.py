"""The people detected in one image: the result type that all parts of the package exchange."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

# COCO's category id of a person.
PERSON_CATEGORY_ID = 1

# The id of a person whom tracking matches to no track, and whose score is too low to start one.
NO_ID = -1


@dataclass(frozen=True, eq=False)
class People:
    """P people with J keypoints each.

    Attributes:
        keypoints: (P, J, 3) float32 x, y, score; x and y in image pixels with pixel centers at integers,
            score in [0, 1]; 0, 0, 0 if a keypoint was not found. Keypoints are in the skeleton's annotated
            order (COCO: 17).
        scores: (P,) float32 confidence of each person; larger is better.
        ids: (P,) int64 track ids, equal for the same person in all frames of a video, from 0, or NO_ID; None
            if the people are not tracked.

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
                "People: expected keypoints of shape (P, J, 3) and scores of shape (P,), "
                f"got {keypoints.shape} and {scores.shape}"
            )
        object.__setattr__(self, "keypoints", keypoints)
        object.__setattr__(self, "scores", scores)
        if self.ids is not None:
            ids = np.asarray(self.ids, np.int64)
            if ids.shape != scores.shape:
                raise ValueError(f"People: expected ids of shape {scores.shape}, got {ids.shape}")
            object.__setattr__(self, "ids", ids)

    @classmethod
    def empty(cls, joints: int) -> People:
        """Return no people, for a skeleton with `joints` annotated keypoints."""
        return cls(np.zeros((0, joints, 3), np.float32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def found(self) -> np.ndarray:
        """(P, J) bool: which keypoints were found."""
        return self.keypoints[..., 2] > 0

    @property
    def boxes_xyxy(self) -> np.ndarray:
        """(P, 4) float32: the bounding box of each person's found keypoints, 0 if none was found."""
        return boxes_around(self.keypoints[..., :2], self.found).astype(np.float32, copy=False)

    def flipped(self, width: int, flip_order: np.ndarray) -> People:
        """Return the same people in the horizontally flipped image.

        Args:
            width: of the image, pixels.
            flip_order: (J,) the skeleton's `annotated_flip`.
        """
        keypoints = self.keypoints[:, flip_order].copy()
        keypoints[..., 0] = np.where(keypoints[..., 2] > 0, width - 1 - keypoints[..., 0], 0)
        return People(keypoints, self.scores, self.ids)

    def to_coco_rows(self, image_id: int | str) -> list[dict[str, Any]]:
        """Convert to COCO's keypoint result format, one row per person.

        The third value of a keypoint is its score. COCO's server reads it as v and ignores its value.

        Args:
            image_id: COCO's image id, or a file name if there is none.
        """
        return [
            {
                "image_id": image_id,
                "category_id": PERSON_CATEGORY_ID,
                "keypoints": [round(float(value), 3) for value in keypoints.ravel()],
                "score": round(float(score), 5),
            }
            for keypoints, score in zip(self.keypoints, self.scores, strict=True)
        ]

    @classmethod
    def from_coco_rows(cls, rows: Iterable[dict[str, Any]], joints: int) -> People:
        """Convert from COCO's keypoint result format: the inverse of `to_coco_rows`.

        Args:
            rows: of one image.
            joints: number of keypoints per person.

        Raises:
            ValueError: a row lacks a score or has another number of keypoints.
        """
        rows = list(rows)
        for row in rows:
            if len(row.get("keypoints", ())) != 3 * joints or "score" not in row:
                raise ValueError(f"COCO row: expected {3 * joints} keypoint values and a score, got {row}")
        keypoints = np.array([row["keypoints"] for row in rows], np.float32).reshape(-1, joints, 3)
        return cls(keypoints, np.array([row["score"] for row in rows], np.float32))


def boxes_around(xy: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Compute the bounding boxes of valid points.

    Args:
        xy: (P, J, 2) points.
        valid: (P, J) bool.

    Returns:
        (P, 4) x, y, x, y of the minimum and the maximum; 0 for a row without valid points.
    """
    low = np.where(valid[..., None], xy, np.inf).min(1, initial=np.inf)
    high = np.where(valid[..., None], xy, -np.inf).max(1, initial=-np.inf)
    boxes = np.concatenate([low, high], 1)
    return np.where(np.isfinite(boxes), boxes, 0)
