"""Exclusive and shared file locks between processes."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

# Seconds between two attempts to acquire a lock.
RETRY_DELAY_S = 0.02


def acquire_lock(path: Path, message: str, timeout_s: float = 0.0, shared: bool = False) -> IO[bytes]:
    """Lock a file, which is created if missing, until the returned file is closed or the process ends.

    The operating system releases the lock however the process ends. Forked processes do not inherit it, so a
    child that outlives its killed parent does not block other processes. A process with an exclusive lock may
    remove the file. On Windows nothing is locked.

    Args:
        path: the lock file; its content does not matter.
        message: text of the error if another process has the lock.
        timeout_s: seconds to wait for the lock.
        shared: acquire a shared lock, which several processes can have at once.

    Raises:
        ValueError: another process has the lock, on this machine or, if the file system supports it, on
            another one.
    """
    file = path.open("a+b")  # a shared lock requires read access
    if sys.platform == "win32":
        return file
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.lockf(file, kind | fcntl.LOCK_NB)
            if _is_same_file(file, path):
                return file
            file.close()  # its owner has removed it; other processes lock the new file at this path
            file = path.open("a+b")
            continue
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                logger.warning("%s: cannot be locked (%s); let no other process use it", path, error)
                return file
            if time.monotonic() >= deadline:
                file.close()
                raise ValueError(message) from error
        time.sleep(RETRY_DELAY_S)


@contextlib.contextmanager
def locked(path: Path, message: str, shared: bool = False) -> Iterator[None]:
    """Lock a file within the block; the last process that has the lock removes the file.

    Args and errors are those of `acquire_lock`.
    """
    file = acquire_lock(path, message, shared=shared)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):  # another process has the lock, or the system refuses
            file.close()  # before the exclusive lock: else neither of two shared owners would be the last
            with acquire_lock(path, message):
                path.unlink()


def _is_same_file(file: IO[bytes], path: Path) -> bool:
    """Return whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
