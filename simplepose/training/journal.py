"""The run's diary: one JSON object a line, readable while the run goes on and after it was killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Journal:
    """Appends to a file; each line is flushed at once."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, **values: Any) -> None:
        """Add a line."""
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
