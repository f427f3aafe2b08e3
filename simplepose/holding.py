"""What one process holds at a time."""

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

AGAIN = 0.02
"""Seconds until the next try, where one is patient."""


def hold(path: Path, otherwise: str, patience: float = 0.0) -> IO[bytes]:
    """Hold a file, made where it is missing, for as long as this process lives and what is returned is open.

    The system lets go of it however the process ends. The lock is one that forked processes do not inherit:
    one that outlives its killed parent for a while keeps nobody out.

    Args:
        path: of the file; its content does not matter.
        otherwise: what is told where another process holds it.
        patience: seconds to wait for that one.

    Who holds a file may remove it.

    Raises:
        ValueError: another process holds it, on this machine or, where the file system tells, on another.
    """
    file = path.open("ab")
    if sys.platform == "win32":
        return file
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                return file
            file.close()  # who held it has removed it; others hold what lies there now
            file = path.open("ab")
            continue
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                logger.warning("%s cannot be locked (%s); let no other process use it", path, error)
                return file
            if time.monotonic() >= end:
                file.close()
                raise ValueError(otherwise) from error
        time.sleep(AGAIN)


@contextlib.contextmanager
def held(path: Path, otherwise: str) -> Iterator[None]:
    """`hold` for the length of a block; the file is removed in its end."""
    with hold(path, otherwise):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # some systems keep files that are open
                path.unlink()


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file still lies at its path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
