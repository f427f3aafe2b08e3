"""Checks of paths before they are opened, creation of temporary files, and file names in messages."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

# Longest line in a message, characters.
MAX_LINE_LENGTH = 800

# Kinds of files. All but the first may have no end, or block the process that opens them.
_KINDS = (
    (stat.S_ISREG, "a regular file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


def describe_kind(path: Path) -> str:
    """Name the kind of a path, such as "a named pipe (FIFO)", without opening it."""
    try:
        return _kind(path.stat().st_mode)
    except OSError:
        return "a link to a missing file" if path.is_symlink() else "missing"


def check_regular_file(path: str | Path) -> None:
    """Check that a path is a regular file, or a link to one, without opening it.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the path is a folder, device, named pipe or socket; names the path and the kind.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{printable(path)}: no such file") from error
    if not stat.S_ISREG(mode):
        raise ValueError(f"{printable(path)}: expected a regular file, got {_kind(mode)}")


class OutputFileError(OSError, ValueError):
    """A path for output is no file: an invalid argument, and in a long run an output that fails."""


def check_output_file(path: str | Path) -> None:
    """Check that a path is free or a regular file, so that writing to it replaces nothing else.

    Raises:
        OutputFileError: the path is a folder, device, named pipe or socket; names the path and the kind.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # free, or an error that names the path when the file is created
    if not stat.S_ISREG(mode):
        raise OutputFileError(f"{printable(path)}: expected the name of a file to write, got {_kind(mode)}")


def create_folder(path: Path) -> None:
    """Create a folder for output, with its parents, unless it exists.

    Raises:
        OSError: the path or a parent is another kind of file, or the folder cannot be created; names it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        found = next(file for file in (path, *path.parents) if os.path.lexists(file))
        reason = f"expected a folder for output, got {describe_kind(found)}"
        raise type(error)(error.errno, reason, str(found)) from error


def create_temporary(path: Path) -> BinaryIO:
    """Create a temporary file under a fixed name and open it for reading and writing.

    A file or link of that name, for example of a killed run, is removed first; the new file is created
    exclusively. A link that another user planted is therefore never written through.

    Raises:
        OSError: the file cannot be created; names it.
    """
    path.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "w+b", buffering=0)


def printable(text: str | Path) -> str:
    r"""Escape control characters of a file name or message, so that it is one harmless line in a terminal.

    A newline becomes \n, ESC \x1b, an undecodable byte \udcNN; everything else is unchanged. Of a longer text
    than MAX_LINE_LENGTH, the middle is left out.
    """
    text = _shorten(str(text), 4 * MAX_LINE_LENGTH)
    return _shorten(text if text.isprintable() else "".join(map(_escape, text)), MAX_LINE_LENGTH)


def _shorten(text: str, length: int) -> str:
    """Leave out the middle of a text that is longer than `length`."""
    return text if len(text) <= length else f"{text[: length // 2 - 5]} ... {text[-(length // 2) :]}"


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "surrogatepass").decode()


def _kind(mode: int) -> str:
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "a special file")
