"""Images as a source of frames: files, folders, patterns and text lists of paths."""

from __future__ import annotations

import codecs
import glob
import itertools
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simplepose.frames import BadFrame, Frame
from simplepose.image_io import decode
from simplepose.sources.source_options import SourceOptions

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


class UnreadablePicture(ValueError):
    """A file that gives no picture, and why; a run tells it and goes on without."""


def read(path: str | Path, upright: bool = True) -> np.ndarray:
    """Read one picture: grey, transparent and 16-bit ones too.

    Args:
        path: of the file.
        upright: as in `decoding.decode`; False for annotated pictures.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        UnreadablePicture: there is no such file, or no whole picture in it.
    """
    path = Path(path)
    if path.is_dir():
        raise UnreadablePicture(
            f"{path}: no picture in this folder ({', '.join(EXTENSIONS)}); those in folders inside it "
            f"are found by a pattern: {path}/**/*.jpg"
        )
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise UnreadablePicture(f"{path}: {error.strerror or error}") from error
    image = decode(encoded, upright)
    if image is None:
        raise UnreadablePicture(f"{path}: {len(encoded):,} bytes that are no picture OpenCV reads; cut off?")
    return image


class PictureSource:
    """A list of pictures as a source of frames; holds as many pictures at a time as it has readers.

    An unreadable one is a `BadFrame`. `start`, `every` and `max_frames` count the list's places.

    Args:
        pictures: what to read, in this order, each name once.
        options: `start`, `every`, `max_frames`, `upright` and `readers` matter.
        name: for people to read; default: how many pictures there are.

    Attributes:
        pictures: as above.
        numbers: the places of those that are read.
    """

    live = False
    frames_per_second: float | None = None

    def __init__(
        self,
        pictures: Sequence[Source],
        options: SourceOptions = SourceOptions(),  # noqa: B008 (frozen)
        name: str = "",
    ) -> None:
        self.pictures = pictures
        self._options = options
        self._closed = False
        self.name = name or f"{len(pictures):,} pictures"
        self.numbers: Sequence[int] = range(options.start, len(pictures), options.every)[: options.max_frames]
        self.total: int | None = len(self.numbers)

    def only(self, numbers: Sequence[int]) -> PictureSource:
        """The same list, of which only these places are read, in this order."""
        source = PictureSource(self.pictures, self._options, self.name)
        source.numbers, source.total = numbers, len(numbers)
        return source

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        """Read one after the other, or with several readers some ahead."""
        if self._options.readers == 1:
            yield from (self._read(number) for number in itertools.takewhile(self._open, self.numbers))
            return
        with ThreadPoolExecutor(self._options.readers, "reads pictures") as pool:
            ahead: deque[Future[Frame | BadFrame]] = deque()
            for number in itertools.takewhile(self._open, self.numbers):
                ahead.append(pool.submit(self._read, number))
                if len(ahead) > self._options.readers:
                    yield ahead.popleft().result()
            while ahead and not self._closed:
                yield ahead.popleft().result()

    def _open(self, _: int) -> bool:
        return not self._closed

    def _read(self, number: int) -> Frame | BadFrame:
        source = self.pictures[number]
        try:
            image = read(source.path, self._options.upright)
        except UnreadablePicture as fault:
            return BadFrame(number, source.name, str(fault))
        return Frame(number, source.name, image, path=source.path)

    def close(self) -> None:
        """End iteration; there is nothing to let go of."""
        self._closed = True
