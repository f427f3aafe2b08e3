"""OpenPose's format: one JSON a frame, as its --write_json makes them.

Version 1.3 and the order BODY_25, OpenPose's default, as its documentation describes them
(https://github.com/CMU-Perceptual-Computing-Lab/openpose/blob/master/doc/02_output.md).
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
from simplepose.writers.naming import FileNames, to_text

VERSION = 1.3
UNTRACKED = -1
"""The person_id of someone whom nobody tracked."""

BODY_25 = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow"),
    *("left_wrist", "mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee"),
    *("left_ankle", "right_eye", "left_eye", "right_ear", "left_ear", "left_big_toe", "left_small_toe"),
    *("left_heel", "right_big_toe", "right_small_toe", "right_heel"),
)
MIDPOINTS = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}
"""Where a skeleton does not have the joint: it lies midway, with the lower of the two scores."""

NEEDED = [f"{side}_{part}" for part in ("shoulder", "hip") for side in ("left", "right")]
"""Without these there is neither neck nor hip, and little of BODY_25."""

_NOT_LOOKED_FOR = (
    *("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d", "pose_keypoints_3d"),
    *("face_keypoints_3d", "hand_left_keypoints_3d", "hand_right_keypoints_3d"),
)


class OpenPoseWriter(ResultWriter):
    """Writes NAME_keypoints.json for a picture, VIDEO_000000000123_keypoints.json for a frame (from 0).

    A frame with nobody has its file, with an empty list of people. So has one that could not be read, also
    a picture, under its name and number, with its `error` beside the empty list. A person has
    person_id ([-1] where nobody was tracked) and pose_keypoints_2d: x, y, score of BODY_25's 25 joints,
    0, 0, 0 where not found; face, hands and 3-D are empty lists. OpenPose has no score of a person.

    Args:
        folder: for the files; made where it is missing.
        skeleton: of the people: joints go by name. Those that BODY_25 lacks are left out, and those
            that the skeleton lacks are not found, but for midpoints.

    Raises:
        ValueError: the skeleton has no joints called as BODY_25's shoulders and hips.
        OSError: the folder cannot be made; names it.
    """

    def __init__(self, folder: str | Path, skeleton: Skeleton = COCO) -> None:
        missing = [name for name in NEEDED if name not in skeleton.annotated]
        if missing:
            raise ValueError(
                f"OpenPose's format holds a body of 25 joints; skeleton {skeleton.name!r} has no "
                f"{', '.join(missing)}: choose another format"
            )
        self._skeleton = skeleton
        self._names = FileNames(folder, "_keypoints.json")
        Path(folder).mkdir(parents=True, exist_ok=True)

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame: see `ResultWriter`."""
        people = base.writable(people, self._skeleton)
        persons = [
            {
                "person_id": [UNTRACKED if known is None else known],
                "pose_keypoints_2d": [round(float(value), 3) for value in joints.ravel()],
                **{name: [] for name in _NOT_LOOKED_FOR},
            }
            for joints, known in zip(body_25(people, self._skeleton), base.ids(people), strict=True)
        ]
        self._put(self._names.path(frame), {"version": VERSION, "people": persons})

    def skip(self, bad: BadFrame) -> None:
        """Add a place that gave no picture: see `ResultWriter`."""
        record = {"version": VERSION, "people": [], "error": to_text(bad.reason)}
        self._put(self._names.path(bad), record)

    def close(self, keep: bool = True) -> None:
        """Nothing is left to do: each file is finished when its frame is written."""

    @staticmethod
    def _put(path: Path, record: dict[str, object]) -> None:
        with atomic.naming(path):
            atomic.write_bytes(path, base.encode(record) + b"\n", flushed=False)


def body_25(people: People, skeleton: Skeleton) -> np.ndarray:
    """People's joints in BODY_25's order: (P, 25, 3) float32 x, y, score, 0 where not found."""
    of = {name: people.keypoints[:, i] for i, name in enumerate(skeleton.annotated)}
    for name, (a, b) in MIDPOINTS.items():
        of.setdefault(name, _midway(of[a], of[b]))
    nowhere = np.zeros((len(people), 3), np.float32)
    return np.stack([of.get(name, nowhere) for name in BODY_25], 1)


def _midway(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(P, 3) joints between two, where both are found."""
    middle = np.concatenate([a[:, :2] / 2 + b[:, :2] / 2, np.minimum(a[:, 2:], b[:, 2:])], 1)
    return np.where(middle[:, 2:] > 0, middle, 0)
