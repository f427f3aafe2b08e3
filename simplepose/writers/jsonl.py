"""JSON lines: people.jsonl, an object a frame, there as soon as the frame is done.

A record of a frame is {"frame", "file_name", "seconds", "width", "height", "people"}, each of its people
{"id", "score", "box", "keypoints"}; of one that could not be read {"frame", "file_name", "error"}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simplepose.frames import BadFrame, Frame
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton
from simplepose.writers import base
from simplepose.writers.append import GrowingFile
from simplepose.writers.base import ResultWriter
from simplepose.writers.naming import from_text, to_text

LINES = "people.jsonl"
_BEGINNING = b'{"frame": '


class JsonLinesWriter(ResultWriter):
    """Writes a line a frame, whole, at once, under the final name: a run that is killed leaves its lines.

    frame: its number, from 0; file_name: as `naming.to_text` writes it; seconds: null for pictures; id:
    null where nobody was tracked; box: left, top, width, height of the found joints, pixels; keypoints: x,
    y, score a joint in annotated order, 0, 0, 0 where not found.

    Args:
        folder: for the file; it must be there.
        skeleton: of the people; any.
        name: the file's.

    Raises:
        OSError: the file cannot be made; names it.
    """

    def __init__(self, folder: str | Path, skeleton: Skeleton = COCO, name: str = LINES) -> None:
        self._skeleton = skeleton
        self._lines = GrowingFile(Path(folder) / name, aside=False)

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame: see `ResultWriter`."""
        people = base.writable(people, self._skeleton)
        persons = [
            {"id": known, "score": row["score"], "box": box, "keypoints": row["keypoints"]}
            for known, box, row in zip(
                base.ids(people), base.boxes_xywh(people), people.to_coco_rows(0), strict=True
            )
        ]
        height, width = frame.image.shape[:2]
        seen = {"seconds": base.seconds(frame), "width": width, "height": height}
        self._add({**_place(frame), **seen, "people": persons})

    def skip(self, bad: BadFrame) -> None:
        """Add a place that gave no picture: see `ResultWriter`."""
        self._add({**_place(bad), "error": to_text(bad.reason)})

    def close(self, keep: bool = True) -> None:
        """Flush the file to the disk; its lines stay in any case."""
        self._lines.close()

    def _add(self, record: dict[str, Any]) -> None:
        self._lines.add(base.encode(record) + b"\n")


def _place(frame: Frame | BadFrame) -> dict[str, Any]:
    return {"frame": frame.number, "file_name": to_text(frame.name)}


@dataclass(frozen=True)
class Record:
    """A line that was read.

    Attributes:
        values: the object.
        end: bytes of the file up to the end of this line.
    """

    values: dict[str, Any]
    end: int

    @property
    def number(self) -> int:
        """The frame's."""
        return int(self.values["frame"])

    @property
    def name(self) -> str:
        """The file's name, as it opens the file."""
        return from_text(self.values["file_name"])

    @property
    def error(self) -> str | None:
        """Why the frame could not be read, or failed; None where it did not."""
        return from_text(self.values["error"]) if "error" in self.values else None

    def frame(self) -> Frame | BadFrame:
        """The frame again, its picture black."""
        if self.error is not None:
            return BadFrame(self.number, self.name, self.error)
        size = (self.values["height"], self.values["width"], 3)
        seconds = self.values["seconds"]
        path = Path(self.name) if seconds is None else None
        black = np.broadcast_to(np.uint8(0), size)  # takes no memory
        return Frame(self.number, self.name, black, seconds or 0.0, path)

    def people(self, joints: int) -> People:
        """Its people, with so many annotated joints; nobody where the frame could not be read.

        Raises:
            ValueError: a person has another number of joints.
        """
        persons = self.values.get("people", [])
        people = People.from_coco_rows(persons, joints)
        known = [person["id"] for person in persons]
        tracked = bool(known) and None not in known
        return People(people.keypoints, people.scores, np.array(known, np.int64) if tracked else None)


def read(path: str | Path) -> Iterator[Record]:
    """The records of a file, in its order, one after the other; a part of a line at its end is left out.

    Another process may write to the file meanwhile.

    The last one's `end` is how many bytes of the file are whole lines.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is no record; names the file and the line.
    """
    end = 0
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, 1):
            values = _parsed(line)
            end += len(line)
            if values is not None:
                yield Record(values, end)
            elif (line.endswith(b"\n") and file.read(1)) or not _is_torn(line):
                raise ValueError(
                    f"{path}, line {number}: no record of a frame; a file of JSON lines expected"
                )
            else:
                return  # another process may just be writing the rest


def _is_torn(line: bytes) -> bool:
    """Whether a file's last line is the beginning of a record, or what a power cut may leave of one."""
    return line.startswith(_BEGINNING[: len(line)]) or not line.strip(b"\0\n")


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line's object, None where it is torn or no record."""
    if not line.endswith(b"\n"):
        return None
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):  # the latter: "[" without end
        return None
    if not isinstance(values, dict) or not isinstance(values.get("frame"), int):
        return None
    return values if isinstance(values.get("file_name"), str) else None
