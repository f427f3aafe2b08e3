"""Locks between processes, through the `filelock` package, which supports Windows too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

# How often a folder is created again if other processes remove it.
MAX_FOLDER_ATTEMPTS = 100


def acquire_lock(path: Path, message: str, timeout_s: float = 0.0) -> BaseFileLock:
    """Lock a file, which is created if missing, until `release` or the end of the process.

    The operating system releases the lock however the process ends. The owner may remove the file: processes
    that wait for it then lock a new one.

    Args:
        path: the lock file; its content does not matter.
        message: text of the error if another process has the lock.
        timeout_s: seconds to wait for the lock.

    Raises:
        ValueError: another process has the lock.
        FileNotFoundError: the folder does not exist.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder")
    lock = FileLock(path, timeout=timeout_s, thread_local=False)
    try:
        lock.acquire(poll_interval=0.02)
    except Timeout as error:
        raise ValueError(message) from error
    return lock


def lock_in_folder(folder: Path, name: str, message: str, timeout_s: float = 0.0) -> BaseFileLock:
    """Create a folder if it is missing, and lock a file in it.

    The previous owner may remove the folder meanwhile; it must lock the file that it removes.

    Args:
        folder: the folder.
        name: of the lock file.
        message, timeout_s: those of `acquire_lock`.

    Raises:
        ValueError: another process has the lock.
        OSError: the folder cannot be created or written to.
    """
    attempts = 0
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return acquire_lock(folder / name, message, timeout_s)
        except (FileExistsError, FileNotFoundError):  # the previous owner has just removed the folder
            attempts += 1
            if attempts == MAX_FOLDER_ATTEMPTS:
                raise


@contextlib.contextmanager
def locked(path: Path, message: str) -> Iterator[None]:
    """Lock a file within the block and remove it at the end.

    Args and errors are those of `acquire_lock`.
    """
    lock = acquire_lock(path, message)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows does not remove an open file
            path.unlink()
        lock.release()
