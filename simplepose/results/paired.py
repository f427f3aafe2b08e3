"""Two files of one format: of the people, and of the frames that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from simplepose.results.growing import GrowingFile

LIST = (b"[\n", b",\n", b"\n]\n")
"""Head, between and tail of a JSON list."""


class PairedFiles:
    """A list of people and another of frames; people are in the one only if their frame is in the other.

    Args:
        people: the path of the first, a JSON list.
        frames: of the second.
        form: of the second: its head, what parts entries, and its tail.

    Raises:
        OSError: a file cannot be made; names it.
    """

    def __init__(self, people: Path, frames: Path, form: tuple[bytes, bytes, bytes] = LIST) -> None:
        self._people = GrowingFile(people, *LIST)
        try:
            self._frames = GrowingFile(frames, *form)
        except OSError:
            self._people.close(keep=False)
            raise

    def add(self, frame: bytes, people: Sequence[bytes] = ()) -> None:
        """Add a frame and who is in it: both or, where an OSError is raised that names the file, neither."""
        self._frames.add(frame)
        try:
            self._people.add(*people)
        except BaseException:  # the frame would be told to show nobody
            self._frames.undo()
            raise

    def close(self, keep: bool = True) -> None:
        """Close both, as `GrowingFile.close` does, also where the first fails."""
        try:
            self._people.close(keep)
        finally:
            self._frames.close(keep)
