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


def hold(path: Path, otherwise: str, patience: float = 0.0, shared: bool = False) -> IO[bytes]:
    """Hold a file, made where it is missing, for as long as this process lives and what is returned is open.

    The system lets go of it however the process ends. The lock is one that forked processes do not inherit:
    one that outlives its killed parent for a while keeps nobody out.

    Args:
        path: of the file; its content does not matter.
        otherwise: what is told where another process holds it.
        patience: seconds to wait for that one.
        shared: others may hold it as well, if they share it too.

    Who holds a file and does not share it may remove it.

    Raises:
        ValueError: another process holds it, on this machine or, where the file system tells, on another.
    """
    file = path.open("a+b")  # a shared lock is for those who may read
    if sys.platform == "win32":
        return file
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.lockf(file, kind | fcntl.LOCK_NB)
            if _is_at(file, path):
                return file
            file.close()  # who held it has removed it; others hold what lies there now
            file = path.open("a+b")
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
def held(path: Path, otherwise: str, shared: bool = False) -> Iterator[None]:
    """`hold` for the length of a block; the file is removed in its end, by the last of those who share it."""
    file = hold(path, otherwise, shared=shared)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):  # others hold it; or the system does
            file.close()  # of two who end together and both still share it, neither would be the last
            with hold(path, otherwise):
                path.unlink()


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file still lies at its path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
