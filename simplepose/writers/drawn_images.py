"""Write drawn images, one file each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from simplepose.frames import Frame
from simplepose.utils import atomic
from simplepose.writers.naming import FileNames

JPEG_SUFFIXES, PNG_SUFFIX = (".jpg", ".jpeg"), ".png"


class ImageFolderWriter:
    """Write images into a folder, atomically, under names that `naming.FileNames` chooses.

    The output for a JPEG or for a frame of a video is a JPEG; all others are PNG.

    Args:
        folder: for the images; created if it is missing.
        sources: all images of this run, if they are known. None of them is overwritten, and each output name
            is independent of which images are written and in which order. The image that a frame comes from
            is never overwritten.

    Raises:
        OSError: the folder cannot be created; names it.
    """

    def __init__(self, folder: str | Path, sources: Iterable[str | Path] = ()) -> None:
        paths = [Path(source) for source in sources]
        self._names = FileNames(folder, PNG_SUFFIX, paths)
        self._outputs = {path: self._names.image_path(path, _output_suffix(path)) for path in paths}
        Path(folder).mkdir(parents=True, exist_ok=True)

    def output_path(self, source: Path) -> Path:
        """Return the output file for one of the `sources`, whether or not it has been written."""
        return self._outputs[source]

    def write(self, frame: Frame, image: np.ndarray) -> Path:
        """Write the drawn image of a frame.

        Args:
            image: (H, W, 3) uint8 BGR.

        Returns:
            The path of the file.

        Raises:
            ValueError: the format does not support an image of this size.
            OSError: it cannot be written, for example because the disk is full; names the file.
        """
        suffix = JPEG_SUFFIXES[0] if frame.path is None else _output_suffix(frame.path)
        path = self._outputs.get(frame.path) if frame.path else None
        path = path or self._names.path(frame, suffix)
        write_image(path, image)
        return path


def write_image(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 BGR atomically in the format of the path's suffix.

    Raises:
        ValueError, OSError: as `ImageFolderWriter.write`.
    """
    encodable, encoded = _encode(path.suffix, image)
    if not encodable:
        raise ValueError(
            f"{path}: an image of {image.shape[1]} x {image.shape[0]} pixels does not fit the format"
        )
    with atomic.add_path_to_errors(path):
        atomic.write_bytes(path, encoded.tobytes(), fsync=False)


def _output_suffix(source: Path) -> str:
    return source.suffix if source.suffix.lower() in JPEG_SUFFIXES else PNG_SUFFIX


def _encode(suffix: str, image: np.ndarray) -> tuple[bool, np.ndarray]:
    try:
        return cv2.imencode(suffix.lower(), image)
    except cv2.error:
        return False, np.zeros(0, np.uint8)
