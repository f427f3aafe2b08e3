"""OpenPose's format: one JSON file per frame, as its --write_json writes them.

Version 1.3 with the keypoint order BODY_25, OpenPose's default, as documented in
https://github.com/CMU-Perceptual-Computing-Lab/openpose/blob/master/doc/02_output.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simplepose.frames import BadFrame, Frame
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton
from simplepose.utils import atomic
from simplepose.writers import base
from simplepose.writers.base import ResultWriter
from simplepose.writers.naming import FileNames, escape_name

VERSION = 1.3

# The person_id of a person who is not tracked.
UNTRACKED_ID = -1

BODY_25 = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow"),
    *("left_wrist", "mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee"),
    *("left_ankle", "right_eye", "left_eye", "right_ear", "left_ear", "left_big_toe", "left_small_toe"),
    *("left_heel", "right_big_toe", "right_small_toe", "right_heel"),
)

# Keypoints that are computed if the skeleton lacks them: the midpoint of two others, with the lower score.
MIDPOINTS = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}

# Keypoints that a skeleton must have: without them neck, hip and most of BODY_25 are undefined.
REQUIRED_KEYPOINTS = [f"{side}_{part}" for part in ("shoulder", "hip") for side in ("left", "right")]

# Keys of body parts that SimplePose does not detect; always empty lists.
_EMPTY_KEYS = (
    *("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d", "pose_keypoints_3d"),
    *("face_keypoints_3d", "hand_left_keypoints_3d", "hand_right_keypoints_3d"),
)


class OpenPoseWriter(ResultWriter):
    """Write NAME_keypoints.json for an image, VIDEO_000000000123_keypoints.json for a video frame (from 0).

    A frame without people has a file with an empty list of people. A frame that could not be read, also an
    image, has a file named after its name and number, with an empty list and its `error`. A person has
    person_id ([-1] if not tracked) and pose_keypoints_2d: x, y, score of BODY_25's 25 keypoints, 0, 0, 0 if
    not found. Face, hands and 3-D are empty lists. OpenPose has no person score.

    Args:
        folder: for the files; created if it is missing.
        skeleton: the people's skeleton. Keypoints are matched by name: those that BODY_25 lacks are dropped,
            and those that the skeleton lacks are not found, except midpoints.

    Raises:
        ValueError: the skeleton lacks a shoulder or hip of BODY_25.
        OSError: the folder cannot be created; names it.
    """

    def __init__(self, folder: str | Path, skeleton: Skeleton = COCO) -> None:
        missing = [name for name in REQUIRED_KEYPOINTS if name not in skeleton.annotated]
        if missing:
            raise ValueError(
                f"OpenPose's format needs a body of 25 keypoints; skeleton {skeleton.name!r} has no "
                f"{', '.join(missing)}: choose another format"
            )
        self._skeleton = skeleton
        self._names = FileNames(folder, "_keypoints.json")
        Path(folder).mkdir(parents=True, exist_ok=True)

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame: see `ResultWriter`."""
        people = base.sanitize(people, self._skeleton)
        entries = [
            {
                "person_id": [UNTRACKED_ID if person_id is None else person_id],
                "pose_keypoints_2d": [round(float(value), 3) for value in keypoints.ravel()],
                **{name: [] for name in _EMPTY_KEYS},
            }
            for keypoints, person_id in zip(
                to_body_25(people, self._skeleton), base.person_ids(people), strict=True
            )
        ]
        self._write_file(self._names.path(frame), {"version": VERSION, "people": entries})

    def skip(self, bad: BadFrame) -> None:
        """Add a frame that could not be read: see `ResultWriter`."""
        record = {"version": VERSION, "people": [], "error": escape_name(bad.reason)}
        self._write_file(self._names.path(bad), record)

    def close(self, keep: bool = True) -> None:
        """Do nothing: each file is complete when its frame is written."""

    @staticmethod
    def _write_file(path: Path, record: dict[str, object]) -> None:
        with atomic.add_path_to_errors(path):
            atomic.write_bytes(path, base.encode_json(record) + b"\n", fsync=False)


def to_body_25(people: People, skeleton: Skeleton) -> np.ndarray:
    """Convert keypoints to BODY_25's order: (P, 25, 3) float32 x, y, score, 0 if not found."""
    by_name = {name: people.keypoints[:, i] for i, name in enumerate(skeleton.annotated)}
    for name, (a, b) in MIDPOINTS.items():
        by_name.setdefault(name, _midpoint(by_name[a], by_name[b]))
    not_found = np.zeros((len(people), 3), np.float32)
    return np.stack([by_name.get(name, not_found) for name in BODY_25], 1)


def _midpoint(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the (P, 3) midpoints of two keypoints; 0 unless both are found."""
    middle = np.concatenate([a[:, :2] / 2 + b[:, :2] / 2, np.minimum(a[:, 2:], b[:, 2:])], 1)
    return np.where(middle[:, 2:] > 0, middle, 0)
