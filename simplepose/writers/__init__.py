"""What was found, on the disk: one file a format, all with the interface of `writer.ResultWriter`.

with open_writers(["coco", "csv"], folder, skeleton) as results:
    results.write(frame, people)
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

from simplepose.frames import Frame
from simplepose.skeleton import COCO, Skeleton
from simplepose.writers import jsonl
from simplepose.writers.alphapose import AlphaPoseWriter
from simplepose.writers.base import ResultWriter, Several
from simplepose.writers.coco_results import CocoWriter
from simplepose.writers.csv_table import CsvWriter
from simplepose.writers.jsonl import JsonLinesWriter
from simplepose.writers.openpose import OpenPoseWriter

FORMATS: dict[str, Callable[[Path, Skeleton], ResultWriter]] = {
    "coco": CocoWriter,
    "openpose": lambda folder, skeleton: OpenPoseWriter(folder / "openpose", skeleton),
    "alphapose": AlphaPoseWriter,
    "csv": CsvWriter,
    "jsonl": JsonLinesWriter,
}
"""A writer for a folder by its format's name; OpenPose's many files have a folder of their own in it."""


def formats(names: str) -> tuple[str, ...]:
    """The formats in a list such as "coco,csv", each once.

    Raises:
        ValueError: one is unknown; lists those that there are.
    """
    chosen = tuple(dict.fromkeys(name.strip().lower() for name in names.split(",")))
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown:
        raise ValueError(f"unknown format {unknown[0]!r}; of {', '.join(FORMATS)}, one or several expected")
    return chosen


def open_writers(chosen: Sequence[str], folder: str | Path, skeleton: Skeleton = COCO) -> Several:
    """A writer of several formats.

    Args:
        chosen: keys of `FORMATS`, as `formats` gives them.
        folder: for the files; made where it is missing.
        skeleton: of the people.

    Raises:
        ValueError: a format cannot hold the skeleton; files of an earlier run stay as they are.
        OSError: a file cannot be made; names it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    writers: list[ResultWriter] = []
    try:
        for name in sorted(chosen, key="jsonl".__eq__):  # last: it replaces an old file at once
            writers.append(FORMATS[name](folder, skeleton))
    except BaseException:
        Several(writers).close(keep=False)
        raise
    return Several(writers)


def merge(
    parts: Iterable[str | Path],
    writer: ResultWriter,
    skeleton: Skeleton = COCO,
    wanted: Container[int] | None = None,
) -> int:
    """Write the frames of JSON lines files in the order of their numbers, each once.

    Nothing but the people is read again: so one run, or the parts of several, becomes any format.

    Args:
        parts: the files, each with its frames in ascending order.
        writer: stays open.
        skeleton: of the people.
        wanted: only frames of these numbers; None: all.

    Returns:
        How many frames there were, with those that could not be read.

    Raises:
        FileNotFoundError: a part is missing.
        ValueError: a part is no such file, or its people have another number of joints.
        OSError: as the writer raises it.
    """
    count, last = 0, None
    for record in heapq.merge(*map(jsonl.read, parts), key=lambda record: record.number):
        if record.number == last or (wanted is not None and record.number not in wanted):
            continue
        frame = record.frame()
        if isinstance(frame, Frame):
            writer.write(frame, record.people(len(skeleton.annotated)))
        else:
            writer.skip(frame)
        count, last = count + 1, record.number
    return count
