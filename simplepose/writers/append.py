"""Append-only files that are complete after each record, alone or as a pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from simplepose.utils import atomic
from simplepose.utils.files import check_output_file, create_temporary


class AppendWriter:
    """Append entries to a file that has a header, separators between the entries and a footer.

    Each `add` overwrites the footer with the new entries and the footer again, in one write. The file is
    therefore valid at any time except during a write, even if the process is killed. A failed write is
    undone. Entries go to the operating system at once and are not kept in memory.

    Args:
        path: the final name of the file.
        header: the first bytes of the file.
        separator: the bytes between two entries.
        footer: the last bytes of the file.
        use_partial_file: whether the file is named `path` + ".partial" until `close` renames it to `path`.
            False: it has its final name from the start.

    Raises:
        ValueError: the path is a folder, device, named pipe or socket.
        OSError: the file cannot be created; names it.
    """

    def __init__(
        self,
        path: str | Path,
        header: bytes = b"",
        separator: bytes = b"",
        footer: bytes = b"",
        use_partial_file: bool = True,
    ) -> None:
        self.path = Path(path)
        self._use_partial_file = use_partial_file
        self._write_path = self.path.with_name(self.path.name + ".partial") if use_partial_file else self.path
        self._separator, self._footer = separator, footer
        self._end, self._empty = 0, True
        check_output_file(self.path)
        with atomic.add_path_to_errors(self.path):
            self._file = create_temporary(self._write_path)
            try:
                self._write_at_end(header + footer)
                self._end += len(header)
                self._restore_footer()
            except OSError:
                self._discard()
                raise
        self._previous = self._end, self._empty

    def add(self, *entries: bytes) -> None:
        """Append entries. If it raises an OSError, which names the file, none of them is added."""
        if not entries:
            self._previous = self._end, self._empty
            return
        content = (b"" if self._empty else self._separator) + self._separator.join(entries)
        with atomic.add_path_to_errors(self.path):
            try:
                self._write_at_end(content + self._footer)
            except OSError:
                self._restore_footer()
                raise
        self._previous = self._end, self._empty
        self._end, self._empty = self._end + len(content), False

    def undo(self) -> None:
        """Remove the entries of the last `add`. Only one `add` can be undone."""
        self._end, self._empty = self._previous
        with atomic.add_path_to_errors(self.path):
            self._restore_footer()

    def close(self, keep: bool = True) -> None:
        """Flush the file to the disk and give it its final name.

        Args:
            keep: False deletes the file instead, unless it has had its final name from the start.

        Raises:
            OSError: the file cannot be flushed or renamed; names it.
        """
        if self._file.closed:
            return
        with atomic.add_path_to_errors(self.path):
            if self._use_partial_file and not keep:
                self._discard()
                return
            try:
                self._restore_footer()  # repairs an interrupted write
            finally:
                self._file.close()
            atomic.flush_and_rename(self._write_path, self.path)

    def _discard(self) -> None:
        self._file.close()
        if self._use_partial_file:
            self._write_path.unlink(missing_ok=True)

    def _write_at_end(self, content: bytes) -> None:
        """Write after the last entry."""
        self._file.seek(self._end)
        rest = memoryview(content)
        while rest:  # a full disk accepts a part first, and then raises
            rest = rest[self._file.write(rest) :]

    def _restore_footer(self) -> None:
        """Write the footer after the last entry and cut what follows. Needs no additional disk space."""
        self._write_at_end(self._footer)
        self._file.truncate(self._end + len(self._footer))


# Header, separator and footer of a JSON list.
JSON_LIST = (b"[\n", b",\n", b"\n]\n")


class PairedFiles:
    """A file of people and a file of frames. People are added only together with their frame.

    Args:
        people: path of the people's file, a JSON list.
        frames: path of the frames' file.
        frames_layout: header, separator and footer of the frames' file.

    Raises:
        OSError: a file cannot be created; names it.
    """

    def __init__(
        self, people: Path, frames: Path, frames_layout: tuple[bytes, bytes, bytes] = JSON_LIST
    ) -> None:
        self._people = AppendWriter(people, *JSON_LIST)
        try:
            self._frames = AppendWriter(frames, *frames_layout)
        except OSError:
            self._people.close(keep=False)
            raise

    def add(self, frame: bytes, people: Sequence[bytes] = ()) -> None:
        """Add a frame and its people. If it raises an OSError, which names the file, neither is added."""
        self._frames.add(frame)
        try:
            self._people.add(*people)
        except BaseException:  # otherwise the frame would be listed without its people
            self._frames.undo()
            raise

    def close(self, keep: bool = True) -> None:
        """Close both files as `AppendWriter.close` does. The second is closed even if the first fails."""
        try:
            self._people.close(keep)
        finally:
            self._frames.close(keep)
