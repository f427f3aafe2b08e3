"""AlphaPose's format: alphapose-results.json, a list with an entry a person.

https://github.com/MVIG-SJTU/AlphaPose/blob/master/docs/output.md; `box` and `idx` as its issues 750, 761
and 1007 show and explain them, the score as issue 921 does.
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
from simplepose.writers.naming import to_text

PEOPLE, FRAMES = "alphapose-results.json", "alphapose-frames.json"

BEST_JOINT = 1.25
"""How much the best joint's score adds to a person's."""

UNTRACKED = 0
"""The idx that AlphaPose gives everybody without tracking."""


class AlphaPoseWriter(ResultWriter):
    """Writes two files:

    * alphapose-results.json: a list with an entry a person: image_id (the picture's name; NUMBER.jpg, from
      0, for a frame of a video), category_id (1), keypoints (x, y, score a joint, annotated order; 0, 0, 0
      where not found), score, box (left, top, width, height of the found joints, pixels) and idx (the id; 0
      where nobody was tracked). The score is on AlphaPose's scale, about 0 to 3.25: the joints' mean,
      1.25 times the best joint's and, in the place of a detector's score of a box, ours of the person;
    * alphapose-frames.json, for the frames with nobody, which the first cannot hold: a list with an entry a
      frame: frame (its number), file_name, image_id, width, height; or frame, file_name and error.

    Args:
        folder: for the files; it must be there.
        skeleton: of the people; any: AlphaPose's own lists have 17, 26 or 136 joints too.

    Raises:
        OSError: a file cannot be made; names it.
    """

    def __init__(self, folder: str | Path, skeleton: Skeleton = COCO) -> None:
        self._skeleton = skeleton
        self._files = PairedFiles(Path(folder) / PEOPLE, Path(folder) / FRAMES)

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame: see `ResultWriter`."""
        people = base.writable(people, self._skeleton)
        image_id = to_text(frame.name) if frame.path else f"{frame.number}.jpg"
        rows = [
            base.encode({**row, "score": score, "box": box, "idx": UNTRACKED if known is None else known})
            for row, score, box, known in zip(
                people.to_coco_rows(image_id),
                _scores(people),
                base.boxes_xywh(people),
                base.ids(people),
                strict=True,
            )
        ]
        height, width = frame.image.shape[:2]
        place = {"frame": frame.number, "file_name": to_text(frame.name), "image_id": image_id}
        self._files.add(base.encode({**place, "width": width, "height": height}), rows)

    def skip(self, bad: BadFrame) -> None:
        """Add a place that gave no picture: see `ResultWriter`."""
        place = {"frame": bad.number, "file_name": to_text(bad.name), "error": to_text(bad.reason)}
        self._files.add(base.encode(place))

    def close(self, keep: bool = True) -> None:
        """Finish the files: see `ResultWriter`."""
        self._files.close(keep)


def _scores(people: People) -> list[float]:
    """Each person's score on AlphaPose's scale."""
    joints = people.keypoints[..., 2].astype(np.float64)
    scores: list[float] = np.round(joints.mean(1) + BEST_JOINT * joints.max(1) + people.scores, 5).tolist()
    return scores
