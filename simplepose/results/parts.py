"""A run over pictures that several processes share, that can be killed at any moment, and that then goes on.

Each process keeps what it has done as JSON lines in a folder of parts; a picture whose line is there is done.
Whoever finds all of them done makes the results out of the parts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

from simplepose import atomic
from simplepose.holding import hold
from simplepose.results import jsonl, merge
from simplepose.results.jsonl import JsonLinesWriter
from simplepose.results.writer import ResultWriter
from simplepose.skeleton import COCO, Skeleton

RUN = "run.json"

PATIENCE = 600.0
"""Seconds that a process waits for another that makes the results."""


class Parts:
    """What the processes of one run have done, and the right to be one of them until `close`.

    Args:
        folder: of the parts; made where it is missing. Parts of another run in it are thrown away.
        run: says what makes the results what they are, and which picture has which number: plain values.
            Parts belong to the run that says the same.
        rank: of this process, from 0.
        skeleton: of the people.

    Attributes:
        replaced: whether parts of another run were there.

    Raises:
        ValueError: another process has this rank.
        OSError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, run: object, rank: int = 0, skeleton: Skeleton = COCO) -> None:
        self._folder, self._skeleton, self._rank = folder, skeleton, rank
        folder.mkdir(parents=True, exist_ok=True)
        in_use = f"{folder}: another process works on this part now; wait for its end, or name another folder"
        self._held = hold(folder / f"rank-{rank}", in_use)
        said = json.dumps(run, sort_keys=True).encode()
        with self._alone():
            before = (folder / RUN).read_bytes() if (folder / RUN).exists() else None
            self.replaced = before not in (None, said)
            if before != said:
                for path in self._paths():
                    path.unlink()
                atomic.write_bytes(folder / RUN, said)

    def done(self) -> set[int]:
        """The numbers of the pictures that are done, by all processes."""
        return {record.number for path in self._paths() for record in jsonl.read(path)}

    def writer(self) -> JsonLinesWriter:
        """For what this process does; it goes on after what this rank did before."""
        return JsonLinesWriter(self._folder, self._skeleton, append=True, name=f"part-{self._rank}.jsonl")

    def merge(self, open_results: Callable[[], ResultWriter]) -> int:
        """Write what is done, by number, each picture once; returns how many."""
        with open_results() as results:
            return merge(self._paths(), results, self._skeleton)

    def finish(self, pictures: int, open_results: Callable[[], ResultWriter]) -> bool:
        """Make the results if all of so many pictures are done and nobody else has; then remove the parts.

        Returns:
            Whether this process did it.
        """
        try:
            with self._alone():
                if len(self.done()) < pictures:
                    return False
                self.merge(open_results)
                shutil.rmtree(self._folder)
                return True
        except FileNotFoundError:
            if self._folder.exists():
                raise
            return False

    def close(self) -> None:
        """Let another process have this rank."""
        self._held.close()

    def _alone(self) -> IO[bytes]:
        return hold(self._folder / "lock", f"{self._folder}: another process holds it for too long", PATIENCE)

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("part-*.jsonl"))
