"""Atomic file writes: a file is complete or absent, even when the writer is killed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from simplepose.utils.files import check_output_file, create_temporary


def write(path: str | Path, write_content: Callable[[Path], None], fsync: bool = True) -> None:
    """Write a file under a temporary name beside `path`, flush it to the disk, then rename it.

    On return the file is on the disk under its final name, even if the power fails immediately.

    Args:
        path: the final path; an existing file is replaced.
        write_content: writes the content to the path that it is given.
        fsync: False lets the operating system decide when to flush. Suitable for the many small files of a
            run: a power failure may lose the last of them, a kill does not.

    Raises:
        ValueError: `path` is a folder, device, named pipe or socket, which is not replaced.
        OSError: it cannot be written; names `path`.
    """
    path = Path(path)
    check_output_file(path)
    temporary = path.with_name(path.name + ".partial")
    with add_path_to_errors(path):
        try:
            with create_temporary(temporary) as file:
                mode = os.fstat(file.fileno()).st_mode  # some writers create files only the owner may read
            write_content(temporary)
            temporary.chmod(mode)
            if fsync:
                flush_and_rename(temporary, path)
            else:
                os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def flush_and_rename(temporary: Path, path: Path) -> None:
    """Flush a complete file to the disk and rename it to its final name on the same file system."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _flush_folder(path.parent)


@contextlib.contextmanager
def add_path_to_errors(path: str | Path) -> Iterator[None]:
    """Add `path` to each OSError raised in the block; the errors of a full disk do not contain it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror or "cannot be written", str(path)) from error


def write_bytes(path: str | Path, content: bytes, fsync: bool = True) -> None:
    """Write bytes atomically; see `write`."""

    def write_content(temporary: Path) -> None:
        temporary.write_bytes(content)

    write(path, write_content, fsync)


def write_json(path: str | Path, value: Any) -> None:
    """Write plain values as JSON, atomically."""
    write_bytes(path, (json.dumps(value) + "\n").encode())


def _flush_folder(folder: Path) -> None:
    """Flush the folder's entries to the disk; until then a power failure may undo a rename."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # the folder may not be listed; on Windows no folder can be opened
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # the file system does not support it
            raise
    finally:
        os.close(descriptor)
