"""Images as a source of frames: files, folders, patterns and text lists of paths."""

from __future__ import annotations

import codecs
import glob
import itertools
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simplepose import image_io
from simplepose.frames import BadFrame, Frame
from simplepose.image_formats import IMAGE_EXTENSIONS
from simplepose.image_io import MAX_PIXELS, ImageError, describe_other_size
from simplepose.sources.source_options import SourceOptions
from simplepose.utils.files import check_regular_file


@dataclass(frozen=True)
class ImageFile:
    """An image file that is not read yet.

    Attributes:
        path: of the file.
        name: its name in results: the file's name, or its path if two files share the name.
        image_id: its id in results: COCO's id, or 1, 2, ... in the order of the run.
        annotated_hw: height and width of its annotations (None: any); an image of another size is not read.
    """

    path: Path
    name: str
    image_id: int
    annotated_hw: tuple[int, int] | None = None


def list_images(
    paths: Iterable[str | Path], log: Callable[[str], None] = lambda line: None
) -> list[ImageFile]:
    """List the images in files, folders (without subfolders) and patterns ("**" included).

    A file that is given by name is an image whatever its extension; in a folder or pattern, the extension or
    the content decides. Names that start with a dot are ignored there. The list is in the order of `paths`,
    sorted within each, with each file once. A path that matches nothing stays in the list under its own name;
    reading it raises an error with the reason.

    Args:
        paths: of files and folders, and patterns. The part of a pattern that exists is not a pattern, also if
            it contains brackets.
        log: called with one line for each folder or pattern that contains other files or subfolders: their
            number, names and formats.
    """
    files = {os.path.abspath(file): file for path in paths for file in _expand(Path(path), log)}
    name_counts = Counter(file.name for file in files.values())
    return [
        ImageFile(file, file.name if name_counts[file.name] == 1 else file.as_posix(), number)
        for number, file in enumerate(files.values(), 1)
    ]


def _expand(path: Path, log: Callable[[str], None]) -> list[Path]:
    """List the images of one path; the path itself if there is none."""
    is_folder = path.is_dir()
    if path.exists() and not is_folder:
        return [path]
    files = path.iterdir() if is_folder else map(Path, glob.iglob(_escape_existing(path), recursive=True))
    images: list[Path] = []
    others: list[Path] = []
    for file in sorted(files):
        if file.name.startswith("."):
            continue
        if image_io.is_image_file(file):
            images.append(file)
        elif is_folder or not file.is_dir():  # "**" matches folders, but does not mean them
            others.append(file)
    if others:
        log(image_io.describe_others(path, others))
    return images or [path]


def _escape_existing(pattern: Path) -> str:
    """Escape the folders at the start of a pattern that exist under these very names."""
    for folder in pattern.parents:  # the longest first
        if folder.exists():
            return os.path.join(glob.escape(str(folder)), pattern.relative_to(folder))
    return str(pattern)


def read_image_list(path: str | Path) -> list[Path]:
    """Read a text file with the path of an image, folder or pattern on each line; blank lines are skipped.

    Paths are relative to the folder of the text file, so that a list means the same in every working
    directory. They are raw bytes of the file system, so that any name can be listed. No line is a comment.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is not a text file, is empty, or is a device or named pipe.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        check_regular_file(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such text file; expected one with a path on each line")
    text = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if b"\0" in text:
        raise ValueError(f"{path}: not a text file; expected one with a path on each line")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path}: the list is empty; expected a path on each line")
    return [path.parent / os.fsdecode(line) for line in lines]


class UnreadableImageError(ValueError):
    """An image file cannot be read; the message has the reason. A run logs it and continues with the next."""


def read_image(path: str | Path, upright: bool = True, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read one image; also gray, transparent and deep ones.

    Args:
        path: of the file.
        upright, max_pixels: see `image_io.decode`; upright is False for annotated images.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        UnreadableImageError: the file does not exist, is a device or pipe, or is not a complete image within
            the limit.
    """
    path = Path(path)
    if path.is_dir():
        raise UnreadableImageError(
            f"{path}: no image in this folder ({', '.join(IMAGE_EXTENSIONS)}); use a pattern for images in "
            f"subfolders: {path}/**/*.jpg"
        )
    try:
        encoded = image_io.read_bytes(path)
    except OSError as error:
        raise UnreadableImageError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UnreadableImageError(str(error)) from error
    try:
        return image_io.decode(encoded, upright, max_pixels=max_pixels)
    except ImageError as error:
        hint = ", or raise the limit (--max-pixels)" if error.kind == image_io.TOO_LARGE else ""
        raise UnreadableImageError(f"{path}: {error}{hint}") from error


class ImageSource:
    """A list of image files as a source of frames.

    It keeps at most as many images in memory as it has readers. An unreadable image is a `BadFrame`. `start`,
    `every` and `max_frames` count positions in the list.

    Args:
        images: the files in the order in which they are read; names are unique.
        options: `start`, `every`, `max_frames`, `upright`, `readers` and `max_pixels` apply.
        name: for messages; default: the number of images.

    Attributes:
        images: see Args.
        indices: positions in `images` of the files to read.
    """

    live = False
    frames_per_second: float | None = None
    dropped = 0

    def __init__(
        self,
        images: Sequence[ImageFile],
        options: SourceOptions = SourceOptions(),  # noqa: B008 (frozen)
        name: str = "",
    ) -> None:
        self.images = images
        self._options = options
        self._closed = False
        self.name = name or f"{len(images):,} images"
        self.indices: Sequence[int] = range(options.start, len(images), options.every)[: options.max_frames]
        self.total: int | None = len(self.indices)

    def subset(self, indices: Sequence[int]) -> ImageSource:
        """Return a source that reads only these positions of the same list, in this order."""
        source = ImageSource(self.images, self._options, self.name)
        source.indices, source.total = indices, len(indices)
        return source

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        """Read the images in order; with several readers, some images are read in advance."""
        if self._options.readers == 1:
            yield from (self._read(index) for index in itertools.takewhile(self._is_open, self.indices))
            return
        with ThreadPoolExecutor(self._options.readers, "read images") as pool:
            pending: deque[Future[Frame | BadFrame]] = deque()
            for index in itertools.takewhile(self._is_open, self.indices):
                pending.append(pool.submit(self._read, index))
                if len(pending) > self._options.readers:
                    yield pending.popleft().result()
            while pending and not self._closed:
                yield pending.popleft().result()

    def _is_open(self, _: int) -> bool:
        return not self._closed

    def _read(self, index: int) -> Frame | BadFrame:
        file = self.images[index]
        try:
            image = read_image(file.path, self._options.upright, self._options.max_pixels)
            if file.annotated_hw not in (None, image.shape[:2]):
                upright = read_image(file.path)
                detail = describe_other_size(image.shape[:2], upright.shape[:2], file.annotated_hw)
                raise UnreadableImageError(f"{file.path} {detail}")
        except UnreadableImageError as error:
            return BadFrame(index, file.name, str(error))
        return Frame(index, file.name, image, path=file.path)

    def close(self) -> None:
        """End the iteration; no resources are open between images."""
        self._closed = True
