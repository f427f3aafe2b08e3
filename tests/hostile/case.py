"""A hostile case: the files, the command that reads them, and the outcome that is expected."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

# Exit statuses of the commands.
OK, SKIPPED, REFUSED = 0, 1, 2

# No line of output is longer, characters: a message does not repeat a hostile entry.
MAX_LINE_LENGTH = 1000

# What a message must not contain: text of libraries and of the interpreter. Allowed are numbers of system
# errors and HDF5's reason in our sentence; libpng writes its own line to standard error.
RAW_TEXT = re.compile(
    r"Traceback|\b\w+Error\(|\.py:\d+|\.(cc|cpp|hpp|h|c):\d+|cv2\.error|OpenCV\(|Assertion|terminate called"
    r"|HDF5-DIAG|H5[A-Z]\w+"
    r"|WeightsUnpickler|weights_only|torch\.load|inline_container|PytorchStreamReader"
    r"|[Ee]rror while deserializing"
    r"|libjpeg|Premature end of JPEG|\[(mov|avi|matroska|h264|mjpeg|mp3)[ ,@]|ffmpeg error"
    r"|inhomogeneous|cannot reshape|could not (convert|broadcast)|not subscriptable|has no attribute"
    r"|unsupported operand|must be (str|a string|real number|int|integer)|cannot be interpreted"
    r"|embedded null|argument of type|object is not|<class '|incompatible function"
)
OUT_OF_MEMORY = re.compile(r"MemoryError|bad_alloc|[Uu]nable to allocate|[Oo]ut of memory|not enough memory")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Expected:
    """The expected outcome.

    Attributes:
        statuses: allowed exit statuses.
        mentions: regular expressions, each of which the output must contain; with status 0 only if `always`.
        check: called with the case's folder if the status is 0 or 1; raises AssertionError on a wrong result.
        always: whether `mentions` also apply to status 0.
    """

    statuses: tuple[int, ...]
    mentions: tuple[str, ...] = ()
    check: Callable[[Path], None] | None = None
    always: bool = False

    def find_fault(self, status: int, output: str) -> str | None:
        """Return the first deviation of a command's exit status and output; None if there is none."""
        if status not in self.statuses:
            return f"expected exit status {' or '.join(map(str, self.statuses))}, got {status}"
        if found := OUT_OF_MEMORY.search(output):
            return f"memory limit reached: {found[0]}"
        if found := RAW_TEXT.search(output):
            return f"raw text of a library: {found[0]!r}"
        if found := CONTROL.search(output):
            return f"control character {found[0]!r}"
        if any(len(line) > MAX_LINE_LENGTH for line in re.split(r"[\n\r]", output)):
            return f"a line of more than {MAX_LINE_LENGTH} characters"
        required = self.mentions if status != OK or self.always else ()
        missing = [text for text in required if not re.search(text, output, re.IGNORECASE)]
        return f"the output does not mention {', '.join(missing)}" if missing else None


def refusal(*mentions: str) -> Expected:
    """Exit status 2, and a message with these regular expressions."""
    return Expected((REFUSED,), mentions)


def reported(*mentions: str, check: Callable[[Path], None] | None = None) -> Expected:
    """A refusal, or a skipped entry among others: both name it."""
    return Expected((SKIPPED, REFUSED), mentions, check)


def skip(*mentions: str, check: Callable[[Path], None] | None = None) -> Expected:
    """Exit status 1: the entry is skipped and named, the others are processed."""
    return Expected((SKIPPED,), mentions, check)


def value(check: Callable[[Path], None] | None = None, *mentions: str) -> Expected:
    """Exit status 0, and the right result; the output has these regular expressions."""
    return Expected((OK,), mentions, check, always=True)


def or_value(expected: Expected, check: Callable[[Path], None] | None = None) -> Expected:
    """Also allow exit status 0: the file is harmless, and a result exists."""
    return replace(expected, statuses=(OK, *expected.statuses), check=check or expected.check)


@dataclass(frozen=True)
class Case:
    """One hostile case. Commands run in the case's folder, beside the folder `base` of healthy inputs.

    Attributes:
        name: kind/command/what is wrong; unique.
        write: writes the files into the case's empty folder, and returns the command's arguments.
        command: `main` of a command, or a function of the public API: arguments -> exit status.
        expected: the expected outcome.
    """

    name: str
    write: Callable[[Path], Sequence[str]]
    command: Callable[[Sequence[str] | None], int]
    expected: Expected

    @property
    def kind(self) -> str:
        """The first part of the name."""
        return self.name.partition("/")[0]
