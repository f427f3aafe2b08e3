"""AlphaPose's result format: alphapose-results.json, a list with one entry per person.

https://github.com/MVIG-SJTU/AlphaPose/blob/master/docs/output.md; `box` and `idx` follow its issues 750, 761
and 1007, the score follows issue 921.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simplepose.frames import BadFrame, Frame
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton
from simplepose.writers import base
from simplepose.writers.append import PairedFiles
from simplepose.writers.base import ResultWriter
from simplepose.writers.naming import escape_name

RESULTS_FILE, FRAMES_FILE = "alphapose-results.json", "alphapose-frames.json"

# Weight of the best keypoint's score in a person's score.
BEST_KEYPOINT_WEIGHT = 1.25

# The idx that AlphaPose writes for each person when tracking is off.
UNTRACKED_ID = 0


class AlphaPoseWriter(ResultWriter):
    """Write AlphaPose's result format.

    There are two files:

    * alphapose-results.json: a list with one entry per person: image_id (the image's name; NUMBER.jpg,
      from 0, for a frame of a video), category_id (1), keypoints (x, y, score per keypoint, annotated order;
      0, 0, 0 if not found), score, box (left, top, width, height of the found keypoints, pixels) and idx (the
      person's id; 0 if not tracked). The score is on AlphaPose's scale, about 0 to 3.25: the mean of the
      keypoint scores, plus 1.25 times the best keypoint score, plus our person score in place of the
      detector's box score;
    * alphapose-frames.json, which also lists frames without people: a list with one entry per frame: frame
      (its number), file_name, image_id, width, height; or frame, file_name and error.

    Args:
        folder: for the files; it must exist.
        skeleton: the people's skeleton. Any is supported: AlphaPose's own have 17, 26 or 136 keypoints.

    Raises:
        OSError: a file cannot be created; names it.
    """

    def __init__(self, folder: str | Path, skeleton: Skeleton = COCO) -> None:
        self._skeleton = skeleton
        self._files = PairedFiles(Path(folder) / RESULTS_FILE, Path(folder) / FRAMES_FILE)

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame: see `ResultWriter`."""
        people = base.sanitize(people, self._skeleton)
        image_id = escape_name(frame.name) if frame.path else f"{frame.number}.jpg"
        rows = [
            base.encode_json(
                {**row, "score": score, "box": box, "idx": UNTRACKED_ID if person_id is None else person_id}
            )
            for row, score, box, person_id in zip(
                people.to_coco_rows(image_id),
                _alphapose_scores(people),
                base.boxes_xywh(people),
                base.person_ids(people),
                strict=True,
            )
        ]
        height, width = frame.image.shape[:2]
        entry = {"frame": frame.number, "file_name": escape_name(frame.name), "image_id": image_id}
        self._files.add(base.encode_json({**entry, "width": width, "height": height}), rows)

    def skip(self, bad: BadFrame) -> None:
        """Add a frame that could not be read: see `ResultWriter`."""
        entry = {"frame": bad.number, "file_name": escape_name(bad.name), "error": escape_name(bad.reason)}
        self._files.add(base.encode_json(entry))

    def close(self, keep: bool = True) -> None:
        """Close the files: see `ResultWriter`."""
        self._files.close(keep)


def _alphapose_scores(people: People) -> list[float]:
    """Compute each person's score on AlphaPose's scale."""
    keypoint_scores = people.keypoints[..., 2].astype(np.float64)
    scores = keypoint_scores.mean(1) + BEST_KEYPOINT_WEIGHT * keypoint_scores.max(1) + people.scores
    rounded: list[float] = np.round(scores, 5).tolist()
    return rounded
