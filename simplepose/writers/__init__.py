"""Write results to files: one writer per format, all with the interface of `base.ResultWriter`.

with open_writers(["coco", "csv"], folder, skeleton) as results:
    results.write(frame, people)
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

from simplepose.frames import Frame
from simplepose.skeleton import COCO, Skeleton
from simplepose.utils.files import create_folder
from simplepose.writers import jsonl
from simplepose.writers.alphapose import AlphaPoseWriter
from simplepose.writers.base import MultiWriter, ResultWriter
from simplepose.writers.coco_results import CocoWriter
from simplepose.writers.csv_table import CsvWriter
from simplepose.writers.jsonl import JsonLinesWriter
from simplepose.writers.openpose import OpenPoseWriter

# Format name -> function that opens a writer in a folder. OpenPose writes a file per frame, so it has a
# subfolder.
FORMATS: dict[str, Callable[[Path, Skeleton], ResultWriter]] = {
    "coco": CocoWriter,
    "openpose": lambda folder, skeleton: OpenPoseWriter(folder / "openpose", skeleton),
    "alphapose": AlphaPoseWriter,
    "csv": CsvWriter,
    "jsonl": JsonLinesWriter,
}


def parse_formats(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of formats such as "coco,csv" and drop duplicates.

    Raises:
        ValueError: a format is unknown; lists the known ones.
    """
    formats = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",")))
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(f"unknown format {unknown[0]!r}; expected one or more of {', '.join(FORMATS)}")
    return formats


def open_writers(formats: Sequence[str], folder: str | Path, skeleton: Skeleton = COCO) -> MultiWriter:
    """Open a writer that writes several formats.

    Args:
        formats: keys of `FORMATS`, as `parse_formats` returns them.
        folder: for the files; created if it is missing.
        skeleton: the people's skeleton.

    Raises:
        ValueError: a format does not support the skeleton; files of an earlier run stay as they are.
        OSError: a file cannot be created; names it.
    """
    folder = Path(folder)
    create_folder(folder)
    writers: list[ResultWriter] = []
    try:
        for name in sorted(formats, key="jsonl".__eq__):  # jsonl last: it replaces an old file at once
            writers.append(FORMATS[name](folder, skeleton))
    except BaseException:
        MultiWriter(writers).close(keep=False)
        raise
    return MultiWriter(writers)


def merge(
    paths: Iterable[str | Path],
    writer: ResultWriter,
    skeleton: Skeleton = COCO,
    frame_numbers: Container[int] | None = None,
) -> int:
    """Merge JSON lines files into a writer, in the order of frame numbers and without duplicates.

    Images are not read again. One run, or the shards of several, can therefore be converted to any format.

    Args:
        paths: JSON lines files, each with its frames in ascending order.
        writer: receives the frames; it is not closed.
        skeleton: the people's skeleton.
        frame_numbers: the frames to write; None: all.

    Returns:
        The number of frames, including those that could not be read.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not a JSON lines file, or its people have another number of keypoints.
        OSError: as the writer raises it.
    """
    count, last = 0, None
    for record in heapq.merge(*map(jsonl.read, paths), key=lambda record: record.number):
        if record.number == last or (frame_numbers is not None and record.number not in frame_numbers):
            continue
        frame = record.frame()
        if isinstance(frame, Frame):
            writer.write(frame, record.people(len(skeleton.annotated)))
        else:
            writer.skip(frame)
        count, last = count + 1, record.number
    return count
