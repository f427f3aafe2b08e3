"""Reading of append-only files of JSON lines.

The last line may be truncated: another process may be writing it, or was killed while it did.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class JsonLine(NamedTuple):
    """One line of a file, valid or not.

    Attributes:
        number: of the line, from 1.
        content: the line's bytes, with its line feed; a truncated last line has none.
        end: size of the file in bytes up to the end of this line.
    """

    number: int
    content: bytes
    end: int

    @property
    def is_complete(self) -> bool:
        """Whether the line ends with a line feed."""
        return self.content.endswith(b"\n")

    def parse(self) -> dict[str, Any] | None:
        """Return the line's JSON object; None if it is not one."""
        try:
            values = json.loads(self.content)
        except (ValueError, RecursionError):  # RecursionError: deeply nested lists
            return None
        return values if isinstance(values, dict) else None


def read_lines(path: str | Path) -> Iterator[JsonLine]:
    """Read the lines of a file in order.

    Raises:
        FileNotFoundError: the file does not exist.
    """
    end = 0
    with Path(path).open("rb") as file:
        for number, content in enumerate(file, 1):
            end += len(content)
            yield JsonLine(number, content, end)
