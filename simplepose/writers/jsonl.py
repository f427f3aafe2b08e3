"""JSON lines format: people.jsonl with one object per frame, written as soon as the frame is done.

A frame's record is {"frame", "file_name", "seconds", "width", "height", "people"}; each of its people is
{"id", "score", "box", "keypoints"}. The record of a frame that could not be read is
{"frame", "file_name", "error"}.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simplepose.frames import BadFrame, Frame
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton
from simplepose.utils import json_lines
from simplepose.writers import base
from simplepose.writers.append import AppendWriter
from simplepose.writers.base import ResultWriter
from simplepose.writers.naming import escape_name, unescape_name

JSONL_FILE = "people.jsonl"
_RECORD_START = b'{"frame": '


class JsonLinesWriter(ResultWriter):
    """Write one complete line per frame, at once, under the final file name. A killed run leaves its lines.

    frame: its number, from 0; file_name: escaped by `naming.escape_name`; seconds: null for images; id: null
    if not tracked; box: left, top, width, height of the found keypoints, pixels; keypoints: x, y, score per
    keypoint in annotated order, 0, 0, 0 if not found.

    Args:
        folder: for the file; it must exist.
        skeleton: the people's skeleton; any is supported.
        name: the file's name.

    Raises:
        OSError: the file cannot be created; names it.
    """

    def __init__(self, folder: str | Path, skeleton: Skeleton = COCO, name: str = JSONL_FILE) -> None:
        self._skeleton = skeleton
        self._file = AppendWriter(Path(folder) / name, use_partial_file=False)

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame: see `ResultWriter`."""
        people = base.sanitize(people, self._skeleton)
        entries = [
            {"id": person_id, "score": row["score"], "box": box, "keypoints": row["keypoints"]}
            for person_id, box, row in zip(
                base.person_ids(people), base.boxes_xywh(people), people.to_coco_rows(0), strict=True
            )
        ]
        height, width = frame.image.shape[:2]
        properties = {"seconds": base.timestamp(frame), "width": width, "height": height}
        self._add({**_record_header(frame), **properties, "people": entries})

    def skip(self, bad: BadFrame) -> None:
        """Add a frame that could not be read: see `ResultWriter`."""
        self._add({**_record_header(bad), "error": escape_name(bad.reason)})

    def close(self, keep: bool = True) -> None:
        """Flush the file to the disk. Its lines stay, whatever `keep` is."""
        self._file.close()

    def _add(self, record: dict[str, Any]) -> None:
        self._file.add(base.encode_json(record) + b"\n")


def _record_header(frame: Frame | BadFrame) -> dict[str, Any]:
    return {"frame": frame.number, "file_name": escape_name(frame.name)}


@dataclass(frozen=True)
class FrameRecord:
    """One line of a JSON lines file.

    Attributes:
        values: the parsed object.
        end: size of the file in bytes up to the end of this line.
    """

    values: dict[str, Any]
    end: int

    @property
    def number(self) -> int:
        """The frame's number."""
        return int(self.values["frame"])

    @property
    def name(self) -> str:
        """The file's unescaped name, which opens the file."""
        return unescape_name(self.values["file_name"])

    @property
    def error(self) -> str | None:
        """The reason why the frame could not be read or processed; None if it was."""
        return unescape_name(self.values["error"]) if "error" in self.values else None

    def frame(self) -> Frame | BadFrame:
        """Rebuild the frame, with a black image."""
        if self.error is not None:
            return BadFrame(self.number, self.name, self.error)
        size = (self.values["height"], self.values["width"], 3)
        seconds = self.values["seconds"]
        path = Path(self.name) if seconds is None else None
        black = np.broadcast_to(np.uint8(0), size)  # a view of one byte
        return Frame(self.number, self.name, black, seconds or 0.0, path)

    def people(self, joints: int) -> People:
        """Rebuild the frame's people; none if the frame could not be read.

        Args:
            joints: number of annotated keypoints per person.

        Raises:
            ValueError: a person has another number of keypoints.
        """
        entries = self.values.get("people", [])
        people = People.from_coco_rows(entries, joints)
        ids = [person["id"] for person in entries]
        tracked = bool(ids) and None not in ids
        return People(people.keypoints, people.scores, np.array(ids, np.int64) if tracked else None)


def read(path: str | Path) -> Iterator[FrameRecord]:
    """Read the records of a file in order, ignoring an incomplete last line.

    Another process may append to the file meanwhile. The last record's `end` is the size of the complete
    lines in bytes.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a line is not a record; names the file and the line.
    """
    lines = json_lines.read_lines(path)
    for line in lines:
        values = line.parse() if line.is_complete else None
        if values is not None and _is_record(values):
            yield FrameRecord(values, line.end)
        elif _is_truncated(line.content) and (not line.is_complete or next(lines, None) is None):
            return  # another process may be writing the rest of the line
        else:
            raise ValueError(
                f"{path}, line {line.number}: not a frame record; expected a JSON lines file of results"
            )


def _is_record(values: dict[str, Any]) -> bool:
    return isinstance(values.get("frame"), int) and isinstance(values.get("file_name"), str)


def _is_truncated(line: bytes) -> bool:
    """Return whether a file's last line is the start of a record, or what a power failure leaves of one."""
    return line.startswith(_RECORD_START[: len(line)]) or not line.strip(b"\0\n")
