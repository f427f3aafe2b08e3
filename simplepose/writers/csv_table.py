"""CSV (RFC 4180, UTF-8): people.csv, a row a person."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simplepose.frames import BadFrame, Frame
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton
from simplepose.writers import base
from simplepose.writers.append import GrowingFile
from simplepose.writers.base import ResultWriter
from simplepose.writers.naming import to_text

TABLE = "people.csv"
FRAME_COLUMNS = ("frame", "file_name", "seconds", "width", "height", "error")
PERSON_COLUMNS = ("id", "score", "box_x", "box_y", "box_width", "box_height")


class CsvWriter(ResultWriter):
    """Writes a header and a row a person.

    Columns: frame (its number, from 0), file_name, seconds (empty for pictures), width, height, error; then
    id (empty where nobody was tracked), score, the box of the found joints (pixels), and x, y and score of
    each joint, for example left_wrist_x; three empty cells where a joint was not found. A frame with nobody
    has one row, whose cells of a person are empty; one that could not be read has one with its error.

    Args:
        folder: for the file; it must be there.
        skeleton: of the people; any.

    Raises:
        OSError: the file cannot be made; names it.
    """

    def __init__(self, folder: str | Path, skeleton: Skeleton = COCO) -> None:
        self._skeleton = skeleton
        self._nobody = [""] * (len(PERSON_COLUMNS) + 3 * len(skeleton.annotated))
        joints = [f"{joint}_{value}" for joint in skeleton.annotated for value in ("x", "y", "score")]
        self._table = GrowingFile(Path(folder) / TABLE, _rows([[*FRAME_COLUMNS, *PERSON_COLUMNS, *joints]]))

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame: see `ResultWriter`."""
        people = base.writable(people, self._skeleton)
        height, width = frame.image.shape[:2]
        time = base.seconds(frame)
        place = [frame.number, to_text(frame.name), "" if time is None else time, width, height, ""]
        known = ["" if each is None else each for each in base.ids(people)]
        persons = [
            [each, row["score"], *box, *_cells(row["keypoints"])]
            for each, box, row in zip(known, base.boxes_xywh(people), people.to_coco_rows(0), strict=True)
        ]
        self._table.add(_rows([[*place, *cells] for cells in persons or [self._nobody]]))

    def skip(self, bad: BadFrame) -> None:
        """Add a place that gave no picture: see `ResultWriter`."""
        place = [bad.number, to_text(bad.name), "", "", "", to_text(bad.reason) or "unreadable"]
        self._table.add(_rows([[*place, *self._nobody]]))

    def close(self, keep: bool = True) -> None:
        """Finish the file: see `ResultWriter`."""
        self._table.close(keep)


def _cells(keypoints: list[float]) -> list[float | str]:
    """x, y, score of one joint after the other; empty where the score is 0."""
    joints = zip(keypoints[::3], keypoints[1::3], keypoints[2::3], strict=True)
    return [cell for joint in joints for cell in (joint if joint[2] > 0 else ("", "", ""))]


def _rows(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
