"""Maps of a network in compressed files, so that settings of the grouping are compared without the network.

A folder has maps.json, which describes how the maps were made, and a file IMAGE_ID.npz for each image.
"""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np

from simplepose.utils import atomic
from simplepose.utils.files import create_folder

DESCRIPTION_FILE = "maps.json"


class MapCache:
    """Writes the maps of images to a folder, up to a total size. Safe to call from several threads.

    Args:
        folder: created if it is missing.
        description: plain values that the maps depend on.
        max_bytes: limit of the size of all files, also those that exist.
        processes: number of processes that write maps of different images to the folder; each writes its part
            of the rest. One of them must create its object before the others.

    Raises:
        ValueError: the folder has maps with another description.
        OSError: the folder cannot be created or written to.
    """

    def __init__(self, folder: Path, description: dict[str, Any], max_bytes: float, processes: int) -> None:
        self._folder, self._lock = folder, threading.Lock()
        create_folder(folder)
        path, content = folder / DESCRIPTION_FILE, json.dumps(description, sort_keys=True).encode()
        if path.exists() and path.read_bytes() != content:
            raise ValueError(
                f"{folder}: expected no maps, or those of this model and these settings; use another folder"
            )
        if not path.exists():
            atomic.write_bytes(path, content)
        self._free = (max_bytes - sum(file.stat().st_size for file in folder.glob("*.npz"))) / processes

    def write(self, image_id: int, values: np.ndarray, to_image: np.ndarray) -> None:
        """Write the maps of an image as float16, or skip them if the folder is full.

        Args:
            image_id: COCO's id.
            values: (C, h, w) maps.
            to_image: (2, 3) matrix from base pixels to image pixels.
        """
        buffer = io.BytesIO()
        np.savez_compressed(buffer, values=values.astype(np.float16), to_image=to_image)
        content, path = buffer.getvalue(), _path(self._folder, image_id)
        with self._lock:
            free = self._free + (path.stat().st_size if path.exists() else 0)
            if len(content) > free:
                return
            self._free = free - len(content)
        atomic.write_bytes(path, content, fsync=False)


def cached_ids(folder: Path) -> list[int]:
    """Return the ids of the images whose maps a folder has, in order.

    Raises:
        FileNotFoundError: the folder has no maps.
    """
    if not (folder / DESCRIPTION_FILE).is_file():
        raise FileNotFoundError(f"{folder}: expected maps of evaluate --cache-maps, found none")
    return sorted(int(path.stem) for path in folder.glob("*.npz"))


def read_maps(folder: Path, image_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Read the (C, h, w) float32 maps of an image, and the (2, 3) matrix from base pixels to image pixels."""
    with np.load(_path(folder, image_id)) as file:
        return file["values"].astype(np.float32), file["to_image"]


def _path(folder: Path, image_id: int) -> Path:
    return folder / f"{image_id:012d}.npz"
