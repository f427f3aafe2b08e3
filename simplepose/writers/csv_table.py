"""CSV format (RFC 4180, UTF-8): people.csv with one row per person."""

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
from simplepose.writers.append import AppendWriter
from simplepose.writers.base import ResultWriter
from simplepose.writers.naming import escape_name

CSV_FILE = "people.csv"
FRAME_COLUMNS = ("frame", "file_name", "seconds", "width", "height", "error")
PERSON_COLUMNS = ("id", "score", "box_x", "box_y", "box_width", "box_height")


class CsvWriter(ResultWriter):
    """Write a header and one row per person.

    Columns: frame (its number, from 0), file_name, seconds (empty for images), width, height, error; then
    id (empty if not tracked), score, the bounding box of the found keypoints (pixels), and x, y and score of
    each keypoint, for example left_wrist_x; three empty cells if a keypoint was not found. A frame without
    people has one row with empty person cells. A frame that could not be read has one row with its error.

    Args:
        folder: for the file; it must exist.
        skeleton: the people's skeleton; any is supported.

    Raises:
        OSError: the file cannot be created; names it.
    """

    def __init__(self, folder: str | Path, skeleton: Skeleton = COCO) -> None:
        self._skeleton = skeleton
        self._empty_cells = [""] * (len(PERSON_COLUMNS) + 3 * len(skeleton.annotated))
        keypoint_columns = [f"{name}_{value}" for name in skeleton.annotated for value in ("x", "y", "score")]
        header = _encode_rows([[*FRAME_COLUMNS, *PERSON_COLUMNS, *keypoint_columns]])
        self._file = AppendWriter(Path(folder) / CSV_FILE, header)

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame: see `ResultWriter`."""
        people = base.sanitize(people, self._skeleton)
        height, width = frame.image.shape[:2]
        seconds = base.timestamp(frame)
        frame_cells = [
            frame.number,
            escape_name(frame.name),
            "" if seconds is None else seconds,
            width,
            height,
            "",
        ]
        ids = ["" if person_id is None else person_id for person_id in base.person_ids(people)]
        person_rows = [
            [person_id, row["score"], *box, *_keypoint_cells(row["keypoints"])]
            for person_id, box, row in zip(ids, base.boxes_xywh(people), people.to_coco_rows(0), strict=True)
        ]
        self._file.add(_encode_rows([[*frame_cells, *cells] for cells in person_rows or [self._empty_cells]]))

    def skip(self, bad: BadFrame) -> None:
        """Add a frame that could not be read: see `ResultWriter`."""
        error = escape_name(bad.reason) or "unreadable"
        frame_cells = [bad.number, escape_name(bad.name), "", "", "", error]
        self._file.add(_encode_rows([[*frame_cells, *self._empty_cells]]))

    def close(self, keep: bool = True) -> None:
        """Close the file: see `ResultWriter`."""
        self._file.close(keep)


def _keypoint_cells(keypoints: list[float]) -> list[float | str]:
    """Return x, y, score of each keypoint in turn; empty cells if the score is 0."""
    triples = zip(keypoints[::3], keypoints[1::3], keypoints[2::3], strict=True)
    return [cell for triple in triples for cell in (triple if triple[2] > 0 else ("", "", ""))]


def _encode_rows(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
