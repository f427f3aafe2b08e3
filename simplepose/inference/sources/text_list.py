"""A text file that lists pictures, a path a line."""

from __future__ import annotations

import codecs
import os
from pathlib import Path


def listed(path: str | Path) -> list[Path]:
    """The paths in a text file: a picture, folder or pattern a line, blank lines left out.

    Paths are relative to the list's own folder, so that a list means the same from wherever it is read.
    They are the file system's own bytes, so any name can be listed; a line is never a comment.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no text, or names nothing.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such text file; one with a path a line is expected")
    text = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if b"\0" in text:
        raise ValueError(f"{path}: this is no text file; one with a path a line is expected")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path}: the list is empty; a path a line is expected")
    return [path.parent / os.fsdecode(line) for line in lines]
