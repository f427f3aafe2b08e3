"""Drawn pictures, each in a file of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from simplepose.frames import Frame
from simplepose.utils import atomic
from simplepose.writers.naming import FileNames

JPEG, PNG = (".jpg", ".jpeg"), ".png"


class PictureFolder:
    """Writes pictures named as `naming.FileNames` says, each whole or not at all.

    What is drawn over a JPEG, or over a frame of a video, becomes one; all else is PNG.

    Args:
        folder: for the pictures; made where it is missing.
        sources: all pictures of this run, where they are known: none of them is overwritten, and what each
            file is called does not depend on which of them are written, or in which order. The one that a
            frame comes from is never overwritten.

    Raises:
        OSError: the folder cannot be made; names it.
    """

    def __init__(self, folder: str | Path, sources: Iterable[str | Path] = ()) -> None:
        paths = [Path(source) for source in sources]
        self._names = FileNames(folder, PNG, paths)
        self._given = {path: self._names.of_picture(path, _ending(path)) for path in paths}
        Path(folder).mkdir(parents=True, exist_ok=True)

    def path_of(self, source: Path) -> Path:
        """The file that is drawn over one of the `sources`, written or not."""
        return self._given[source]

    def write(self, frame: Frame, image: np.ndarray) -> Path:
        """Write what was drawn over a frame.

        Args:
            image: (H, W, 3) uint8 BGR.

        Returns:
            Its file.

        Raises:
            ValueError: the format cannot hold a picture of that size.
            OSError: it cannot be written, for example to a full disk; names the file.
        """
        ending = JPEG[0] if frame.path is None else _ending(frame.path)
        path = self._given.get(frame.path) if frame.path else None
        path = path or self._names.path(frame, ending)
        write_picture(path, image)
        return path


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 BGR in the format that the path's suffix names, whole or not at all.

    Raises:
        ValueError, OSError: as `PictureFolder.write`.
    """
    fits, encoded = _encode(path.suffix, image)
    if not fits:
        raise ValueError(f"{path}: a picture of {image.shape[1]} x {image.shape[0]} does not fit the format")
    with atomic.naming(path):
        atomic.write_bytes(path, encoded.tobytes(), flushed=False)


def _ending(picture: Path) -> str:
    return picture.suffix if picture.suffix.lower() in JPEG else PNG


def _encode(suffix: str, image: np.ndarray) -> tuple[bool, np.ndarray]:
    try:
        return cv2.imencode(suffix.lower(), image)
    except cv2.error:
        return False, np.zeros(0, np.uint8)
