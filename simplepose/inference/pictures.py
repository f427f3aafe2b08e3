"""A predictor over many pictures: go on past unreadable ones; whatever ends the run, keep what was found."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from simplepose import atomic
from simplepose.inference import sources
from simplepose.inference.sources import Source, UnreadablePicture
from simplepose.people import People


@dataclass
class Run:
    """What became of a run.

    Attributes:
        rows: the people found, in COCO's result format.
        done: pictures looked at.
        unreadable: what was wrong with each of the others that were tried.
        interrupted: Ctrl-C ended it early.
        failure: what else ended it early, for example a full disk.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    done: int = 0
    unreadable: list[UnreadablePicture] = field(default_factory=list)
    interrupted: bool = False
    failure: Exception | None = None

    @property
    def is_part(self) -> bool:
        """Whether something ended the run early."""
        return self.interrupted or self.failure is not None

    def raise_failure(self) -> None:
        """Raise what ended the run, if anything but Ctrl-C did; to be called when the rows are written."""
        if self.failure is not None:
            raise self.failure

    def __str__(self) -> str:
        told = f"{self.done:,} pictures, {len(self.rows):,} people"
        told += f"; {len(self.unreadable):,} pictures could not be read" if self.unreadable else ""
        if not self.is_part:
            return told
        return f"{told}; {'interrupted' if self.interrupted else 'failed'}, this is a part"


def find_people(
    predictor: Callable[[np.ndarray], People],
    pictures: Sequence[Source],
    upright: bool = True,
    on_found: Callable[[Source, np.ndarray, People], None] | None = None,
    bar: bool = True,
) -> Run:
    """Run a predictor over pictures, with a progress bar on stderr.

    Args:
        predictor: (H, W, 3) uint8 BGR -> People.
        pictures: what to read; an unreadable one is told on stderr and skipped.
        upright: as in `sources.read`; False for annotated pictures.
        on_found: called after each picture, for example to draw it.
        bar: whether there is one.

    Returns:
        What was found, also where the predictor or `on_found` failed: see `Run.failure`.

    Raises:
        ValueError: there were pictures, but none that could be read.
    """
    run = Run()
    try:
        for source in tqdm(pictures, unit=" pictures", disable=not bar):
            try:
                image = sources.read(source.path, upright)
            except UnreadablePicture as fault:
                tqdm.write(f"skipped {fault}", file=sys.stderr)
                run.unreadable.append(fault)
                continue
            people = predictor(image)
            run.rows += people.to_coco_rows(source.image_id)
            run.done += 1
            if on_found is not None:
                on_found(source, image, people)
    except KeyboardInterrupt:
        run.interrupted = True
    except Exception as failure:  # hours of results are not lost to one picture; the caller raises it later
        run.failure = failure
    if run.unreadable and not run.done and not run.is_part:
        raise ValueError(
            f"none of the {len(pictures):,} pictures could be read; the first: {run.unreadable[0]}"
        )
    return run


def write_json(path: Path, value: Any) -> None:
    """Write plain values as JSON: the whole file or, when killed half way, none of it."""
    atomic.write_bytes(path, (json.dumps(value) + "\n").encode())


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 BGR in the format that the path's suffix names, whole or not at all.

    Raises:
        ValueError: the format cannot hold the picture.
    """
    fits, encoded = cv2.imencode(path.suffix, image)
    if not fits:
        raise ValueError(f"{path}: a picture of {image.shape[1]} x {image.shape[0]} does not fit the format")
    atomic.write_bytes(path, encoded.tobytes())
