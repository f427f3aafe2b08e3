"""The run's diary: one JSON object a line, readable while the run goes on and after it was killed.

Its kinds of line (a number that is not finite is written as null):

* step: step, epoch (with its fraction), loss, scales [5], stacks [S], lr, samples_per_second, data_wait
  (share of the time, 0 to 1), gpu_memory_gib (or null), skipped (steps so far);
* epoch: epoch, step, loss, val_loss (or null);
* ap: epoch, step, ap, ap50;
* resume: step; lines before it that tell of later steps are superseded;
* note: text.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class Journal:
    """Appends to a file, and hands each line to the system at once, so that a kill costs at most one.

    A full disk costs lines, with a warning, but never the run.

    Args:
        path: a last line that a kill has torn is cut off, with a warning.
        resume_step: steps done when the run begins or goes on.
    """

    def __init__(self, path: Path, resume_step: int = 0) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._failing = False
        _cut_torn_end(path)
        if self._file.seek(0, 2) > 0:
            self.write(kind="resume", step=resume_step)

    def write(self, **values: Any) -> None:
        """Add a line."""
        line = (json.dumps(_finite(values), allow_nan=False) + "\n").encode()
        before = self._file.seek(0, 2)
        try:
            if self._file.write(line) < len(line):
                raise OSError("only a part of the line was written, perhaps the disk is full")
            self._failing = False
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(before)
            if not self._failing:
                logger.warning("%s lacks lines from here on: %s", self._path, error)
            self._failing = True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal, in order, without those that a resumed run told anew.

    What is no line of a journal, such as a torn end, is passed over with a warning.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; the folder of a run, as train writes it, is expected")
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, line in enumerate(_lines(path)):
        if line["kind"] == "resume":
            kept = {key: old for key, old in kept.items() if old.get("step", 0) <= line["step"]}
        told_once = line["kind"] in ("step", "epoch", "ap")  # before and after a resume at that very step
        kept[(line["kind"], line["step"]) if told_once else (number,)] = line
    return list(kept.values())


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            values = _parsed(line)
            if values is None:
                logger.warning("%s, line %d: no line of a journal, perhaps torn; passed over", path, number)
            else:
                yield values


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line's values, or None where it is torn, or lacks what each line of its kind has."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):  # the latter: "[" without end
        return None
    if not isinstance(values, dict) or "kind" not in values:
        return None
    return values if values["kind"] == "note" or isinstance(values.get("step"), int) else None


def _cut_torn_end(path: Path) -> None:
    """Cut off the last line where it cannot be read."""
    last = b""
    with path.open("rb") as file:
        for line in file:
            last = line
    if last and (not last.endswith(b"\n") or _parsed(last) is None):
        logger.warning("%s ends in a torn line, which is cut off", path)
        with path.open("rb+") as file:
            file.truncate(path.stat().st_size - len(last))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value
