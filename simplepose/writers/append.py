"""Files that are complete after each record that is appended, one file or a pair of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from simplepose.utils import atomic


class GrowingFile:
    """Between a head and a tail, entries: each added with one write, over the tail, which follows it again.

    So the file can be read at any time, a kill included, but for the moment of a write. One that fails
    is undone. Entries go to the system at once and are not kept in memory.

    Args:
        path: the final name, taken at `close`; until then, if `aside`, it is that name and ".partial".
        head, between, tail: what begins the file, parts entries, and ends it.
        aside: False: it has its final name from the start.

    Raises:
        OSError: the file cannot be made; names it.
    """

    def __init__(
        self,
        path: str | Path,
        head: bytes = b"",
        between: bytes = b"",
        tail: bytes = b"",
        aside: bool = True,
    ) -> None:
        self.path = Path(path)
        self._aside = aside
        self._grows = self.path.with_name(self.path.name + ".partial") if self._aside else self.path
        self._between, self._tail = between, tail
        self._end, self._empty = 0, True
        with atomic.naming(self.path):
            self._file = self._grows.open("wb", buffering=0)
            try:
                self._put(head + tail)
                self._end += len(head)
                self._restore()
            except OSError:
                self._discard()
                raise
        self._before = self._end, self._empty

    def add(self, *entries: bytes) -> None:
        """Add entries: all of them or, where an OSError is raised that names the file, none."""
        if not entries:
            self._before = self._end, self._empty
            return
        content = (b"" if self._empty else self._between) + self._between.join(entries)
        with atomic.naming(self.path):
            try:
                self._put(content + self._tail)
            except OSError:
                self._restore()
                raise
        self._before = self._end, self._empty
        self._end, self._empty = self._end + len(content), False

    def undo(self) -> None:
        """Take the last `add` back; once."""
        self._end, self._empty = self._before
        with atomic.naming(self.path):
            self._restore()

    def close(self, keep: bool = True) -> None:
        """Flush the file to the disk and give it its final name.

        Args:
            keep: False deletes it instead, unless it grew under its final name.

        Raises:
            OSError: it cannot; names the file.
        """
        if self._file.closed:
            return
        with atomic.naming(self.path):
            if self._aside and not keep:
                self._discard()
                return
            try:
                self._restore()  # whatever an interrupt left half done
            finally:
                self._file.close()
            atomic.settle(self._grows, self.path)

    def _discard(self) -> None:
        self._file.close()
        if self._aside:
            self._grows.unlink(missing_ok=True)

    def _put(self, content: bytes) -> None:
        """Write at the end of the entries."""
        self._file.seek(self._end)
        rest = memoryview(content)
        while rest:  # a full disk takes a part first, and then raises
            rest = rest[self._file.write(rest) :]

    def _restore(self) -> None:
        """Let the tail follow the entries: over bytes that the file has already, then cut what is beyond."""
        self._put(self._tail)
        self._file.truncate(self._end + len(self._tail))


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
