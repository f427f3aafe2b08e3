"""Files that end in their own SHA-256, so that any change of any bit is seen.

The seal is the last 40 bytes: b"SPSHA256", then the 32 bytes of the hash of all that comes before them. It
lies in the file itself because a file beside it could be lost, or be of another save. torch.load, like
other readers of zip files, passes over it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from simplepose import atomic

MARK = b"SPSHA256"
LENGTH = len(MARK) + hashlib.sha256().digest_size
PIECE = 2**20
"""Bytes that are read at once."""


class _Stream:
    """A binary file for writing only, whose content is hashed on its way.

    Attributes:
        failure: the first error that writing met, which some writers hide behind one of their own.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.failure: OSError | None = None

    def write(self, content: bytes | memoryview) -> int:
        """Write and hash; returns the number of bytes."""
        self._hash.update(content)
        try:
            return self._file.write(content)
        except OSError as error:
            self.failure = self.failure or error
            raise

    def flush(self) -> None:
        """Nothing: what is written in part is of no use to anyone."""

    def seal(self) -> bytes:
        """The seal of what was written so far."""
        return MARK + self._hash.digest()


def write(path: str | Path, write_to: Callable[[IO[bytes]], None]) -> None:
    """Write a file whole or not at all, as `atomic.write`, and seal it.

    Args:
        path: the final name; a file that is there is replaced.
        write_to: writes the content to the stream it is given, by `write` and `flush` alone.

    Raises:
        OSError: the disk is full or failing; `path` is as it was.
    """

    def write_sealed(temporary: Path) -> None:
        with temporary.open("wb") as file:
            stream = _Stream(file)
            try:
                write_to(cast(IO[bytes], stream))  # all that torch.save calls
            except Exception:
                if stream.failure is not None:
                    raise stream.failure from None  # torch.save makes of it a RuntimeError about positions
                raise
            file.write(stream.seal())

    atomic.write(path, write_sealed)


def check(path: str | Path) -> None:
    """Read a file through and compare it with its seal.

    Raises:
        ValueError: the file has no seal at its end, or another content than was sealed.
        OSError: it cannot be read.
    """
    path = Path(path)
    left, found = path.stat().st_size - LENGTH, hashlib.sha256()
    with path.open("rb") as file:
        while left > 0 and (piece := file.read(min(left, PIECE))):
            found.update(piece)
            left -= len(piece)
        seal = file.read()
    if len(seal) != LENGTH or not seal.startswith(MARK):
        raise ValueError(f"{path} does not end in its hash; it was cut, or not written by this version")
    if seal != MARK + found.digest():
        raise ValueError(f"{path} is damaged: its content does not have the hash it was written with")
