"""Reading one picture, and a list of pictures as a source of frames."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from simplepose.decoding import decode
from simplepose.frames import BadFrame, Frame
from simplepose.inference.sources.listing import EXTENSIONS, Source
from simplepose.inference.sources.options import SourceOptions


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
