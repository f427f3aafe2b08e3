"""Where a file is made in parts, so that it can be broken off and gone on with: a folder beside it.

NAME.h5.partial/lock             held by whoever makes NAME.h5
NAME.h5.partial/PLAN/00000.h5    the parts that are done; PLAN is the fingerprint of what is asked for,
NAME.h5.partial/PLAN/joined.h5   so that parts of another plan are never taken for its own
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path

PATIENCE = 10.0
"""Seconds that the processes of a killed preparation are waited for."""


class PartialFolder:
    """The folder of the file that is being made at `path`, and the right to make it until `close`.

    Args:
        path: of the file; its folder is made if need be.
        plan: the fingerprint of what is asked for.

    Attributes:
        replaced: whether parts of another plan were there, and are gone.

    Raises:
        ValueError: `path` is a folder.
        BlockingIOError: another process makes the file.
        OSError: the folder cannot be written to.
    """

    def __init__(self, path: Path, plan: str) -> None:
        if path.is_dir():
            raise ValueError(f"{path} is a folder; the name of a file to write is expected")
        self.path, self.folder = path, path.with_name(f"{path.name}.partial")
        self._lock = _lock(self.folder / "lock", f"another process makes {path}")
        self._plan = self.folder / plan
        others = [child for child in self.folder.iterdir() if child.is_dir() and child != self._plan]
        self.replaced = bool(others)
        for other in others:
            shutil.rmtree(other)
        self._plan.mkdir(exist_ok=True)

    def part(self, number: int) -> Path:
        """The path of a part, which is there once it is done."""
        return self._plan / f"{number:05d}.h5"

    @property
    def joined(self) -> Path:
        """Where the parts are joined."""
        return self._plan / "joined.h5"

    def finish(self) -> None:
        """Put what is joined in its place, whole and on the disk, and remove the folder."""
        with open(self.joined, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.joined, self.path)
        self.discard()

    def discard(self) -> None:
        """Remove the folder with all parts."""
        shutil.rmtree(self.folder)

    def close(self) -> None:
        """Let others make the file."""
        os.close(self._lock)


def write_part(path: Path, content: bytes) -> None:
    """Write a part, whole or not at all if the process is killed.

    The disk is not waited for, which would take longer the more others write; what a crash of the machine
    costs is noticed when the part is looked at again.
    """
    new = path.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, path)


def _lock(path: Path, otherwise: str) -> int:
    """The descriptor of a file that this process and those forked from it hold alone."""
    end = time.monotonic() + PATIENCE
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:  # whoever held it has removed the folder meanwhile
            pass
        except BlockingIOError as error:
            if time.monotonic() > end:
                os.close(descriptor)
                raise BlockingIOError(f"{otherwise}; wait for its end, or end it") from error
        os.close(descriptor)
        time.sleep(0.1)
