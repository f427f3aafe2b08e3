"""Pictures to look at: files, folders and patterns -> a list; and files for what is drawn over them."""

from __future__ import annotations

import glob
import itertools
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


def output_paths(pictures: Iterable[Source], folder: Path) -> dict[int, Path]:
    """A file in `folder` for what is drawn over each picture, by image id.

    Named after the picture (JPEG stays JPEG, all else is PNG); a number is added where two pictures,
    or one of the pictures themselves, would have that file.
    """
    pictures = list(pictures)
    taken = {_key(source.path) for source in pictures}
    paths = {}
    for source in pictures:
        suffix = source.path.suffix if source.path.suffix.lower() in (".jpg", ".jpeg") else ".png"
        names = (f"{source.path.stem}{f'_{n}' if n > 1 else ''}{suffix}" for n in itertools.count(1))
        paths[source.image_id] = next(folder / name for name in names if _key(folder / name) not in taken)
        taken.add(_key(paths[source.image_id]))
    return paths


def _key(path: Path) -> str:
    """Equal for paths of one file; some file systems take A.jpg and a.jpg for one."""
    return os.path.abspath(path).lower()
