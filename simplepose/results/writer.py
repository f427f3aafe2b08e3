"""The one interface of what keeps results, and several of them as one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, TypeVar

from simplepose.frames import BadFrame, Frame
from simplepose.people import People

Self = TypeVar("Self", bound="ResultWriter")


class ResultWriter(Protocol):
    """Keeps the people of frame after frame in one format; used by one thread at a time.

    Each frame that is written or skipped leaves a record, also where nobody was found. What lies on the
    disk grows, the memory does not (but for the names of pictures that files are named after).

    After an error the writer is as it was before the call: what it holds stays valid, and may be closed.
    A `with` block closes it however the block ends, so that an interrupted run keeps what it found.
    """

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame.

        Raises:
            OSError: it cannot be written, for example to a full disk; names the file.
        """
        ...

    def skip(self, bad: BadFrame) -> None:
        """Add a place of the source that gave no picture. Raises OSError as `write` does."""
        ...

    def close(self, keep: bool = True) -> None:
        """Bring what was written to the disk, under its final name; a second call does nothing.

        Args:
            keep: False throws away what has no final name yet, and leaves a file of an earlier run.

        Raises:
            OSError: as `write` does.
        """
        ...

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Several(ResultWriter):
    """Hands everything to all of some writers; after an error those before the failing one have the frame."""

    def __init__(self, writers: Sequence[ResultWriter]) -> None:
        self.writers = tuple(writers)

    def write(self, frame: Frame, people: People) -> None:
        """Add a frame to each, in their order."""
        for writer in self.writers:
            writer.write(frame, people)

    def skip(self, bad: BadFrame) -> None:
        """Add a place without a picture to each."""
        for writer in self.writers:
            writer.skip(bad)

    def close(self, keep: bool = True) -> None:
        """Close each, also where one before it failed; the last error is raised, with those before it."""
        with contextlib.ExitStack() as stack:
            for writer in reversed(self.writers):
                stack.callback(writer.close, keep)
