"""Files that are written whole or not at all, whatever kills the writer."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def write(path: str | Path, write_to: Callable[[Path], None], flushed: bool = True) -> None:
    """Write a file under a temporary name beside `path`, flush it to the disk, and only then rename it.

    When this returns, the file lies on the disk under its name, even if the power fails at once.

    Args:
        path: the final name; a file that is there is replaced.
        write_to: writes the content to the path it is given.
        flushed: False leaves it to the system when the file reaches the disk: for the many small files of
            a run, of which a power cut, but no kill, may then cost the last.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # some writers leave a file that only its owner may read
        write_to(temporary)
        temporary.chmod(mode)
        if flushed:
            settle(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def settle(temporary: Path, path: Path) -> None:
    """Flush a file that is written to the disk, and give it its final name, in the same folder."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _flush_folder(path.parent)


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Within its block, an OSError names `path`, as those of a full disk do not."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror or "cannot be written", str(path)) from error


def write_bytes(path: str | Path, content: bytes, flushed: bool = True) -> None:
    """`write` for content that is at hand."""

    def write_to(temporary: Path) -> None:
        temporary.write_bytes(content)

    write(path, write_to, flushed)


def write_json(path: str | Path, value: Any) -> None:
    """Write plain values as JSON, whole or not at all."""
    write_bytes(path, (json.dumps(value) + "\n").encode())


def _flush_folder(folder: Path) -> None:
    """Bring the folder's list of names to the disk: until then a power cut may undo the renaming."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # folders that may not be listed; and Windows opens none
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot do it
            raise
    finally:
        os.close(descriptor)
