"""Pictures to look at: files, folders and patterns -> a list."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""What counts as a picture in a folder or pattern; a file that is named outright is always tried."""


@dataclass(frozen=True)
class Source:
    """One picture, not read yet.

    Attributes:
        path: of the file.
        name: what results call it: the file's name, or its path where two files share a name.
        image_id: what rows of results call it: COCO's id, or 1, 2, ... in the order of the run.
    """

    path: Path
    name: str
    image_id: int


def images(paths: Iterable[str | Path]) -> list[Source]:
    """List the pictures in files, folders (not those inside them) and patterns ("**" included).

    In the order of `paths`, sorted within each, each file once. What matches nothing stays in the
    list under its own name, so that reading it tells what is wrong.
    """
    files = {os.path.abspath(file): file for path in paths for file in _expand(Path(path))}
    shared = Counter(file.name for file in files.values())
    return [
        Source(file, file.name if shared[file.name] == 1 else file.as_posix(), number)
        for number, file in enumerate(files.values(), 1)
    ]


def _expand(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = path.iterdir() if path.is_dir() else map(Path, glob.iglob(str(path), recursive=True))
    return sorted(file for file in found if file.suffix.lower() in EXTENSIONS and file.is_file()) or [path]
