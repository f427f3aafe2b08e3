"""A folder that one process holds at a time."""

from __future__ import annotations

import errno
import logging
import sys
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)


def hold(folder: Path) -> IO[bytes]:
    """Hold a folder for as long as this process lives and what is returned is open.

    The system lets go of it however the process ends. The lock is one that forked processes do not inherit:
    one that reads samples, and outlives a killed run for a while, keeps nobody out.

    Raises:
        ValueError: another process holds it, on this machine or, where the file system tells, on another.
    """
    file = (folder / "lock").open("ab")
    if sys.platform == "win32":
        return file
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            file.close()
            raise ValueError(
                f"another process trains in {folder} now; wait for its end, or name another folder"
            ) from error
        logger.warning("%s cannot be locked (%s); let no other run use it", folder, error)
    return file
