"""A run over pictures that several processes share, that can be killed at any moment, and that then goes on.

Each process keeps what it has done as JSON lines in a folder of parts; a picture whose line is there is done.
Whoever finds all of them done makes the results out of the parts.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import math
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import IO

from simplepose.skeleton import COCO, Skeleton
from simplepose.utils import atomic
from simplepose.utils.file_lock import hold
from simplepose.writers import base, jsonl, merge
from simplepose.writers.base import ResultWriter
from simplepose.writers.jsonl import JsonLinesWriter

RUN, BEFORE = "run.json", "part-before.jsonl"


class Parts:
    """What the processes of one run have done, and the right to be one of them until `close`.

    The first process, of rank 0, comes before the others.

    Args:
        folder: of the parts; made where it is missing. The first process throws away parts of another run.
        run: says what makes the results what they are, and which picture has which number: plain values.
            Parts belong to the run that says the same.
        rank: of this process, from 0.
        skeleton: of the people.

    Attributes:
        replaced: whether parts of another run were there.

    Raises:
        ValueError: a process of another run, or one of this rank, works here; or the first says otherwise.
        OSError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, run: object, rank: int = 0, skeleton: Skeleton = COCO) -> None:
        self._folder, self._skeleton, self._rank = folder, skeleton, rank
        self._in_use = f"{folder}: another process works here now; wait for its end, or name another folder"
        folder.mkdir(parents=True, exist_ok=True)
        self._held = hold(folder / f"rank-{rank}", self._in_use)
        self.replaced = False
        try:
            said = json.dumps(run, sort_keys=True).encode()
            if rank:
                self._require(said)
            else:
                self._begin(said)
        except BaseException:
            self.close()
            raise

    def done(self) -> dict[int, str | None]:
        """The numbers of the pictures that are done, by all processes; of those that failed, why."""
        return {record.number: record.error for path in self._paths() for record in jsonl.read(path)}

    def writer(self) -> JsonLinesWriter:
        """For what this process does, in the order of the numbers; once."""
        return JsonLinesWriter(self._folder, self._skeleton, name=f"part-{self._rank}.jsonl")

    def merge(self, wanted: Collection[int], open_results: Callable[[], ResultWriter]) -> None:
        """Write what is done of the wanted numbers, in their order; results are whole, or those of before."""
        results = open_results()
        try:
            merge(self._paths(), results, self._skeleton, wanted)
        except BaseException:
            results.close(keep=False)
            raise
        results.close()

    def finish(
        self, wanted: Collection[int], open_results: Callable[[], ResultWriter]
    ) -> dict[int, str | None] | None:
        """Make the results if all wanted numbers are done and nobody else has; then remove the parts.

        Returns:
            If this process did it: the wanted numbers, and why those failed that did.
        """
        try:
            with self._alone():
                done = self.done()
                if any(number not in done for number in wanted):
                    return None
                self.merge(wanted, open_results)
                self._clear()
                return {number: done[number] for number in wanted}
        except FileNotFoundError:
            if self._folder.exists():
                raise
            return None

    def close(self) -> None:
        """Let another process have this rank."""
        self._held.close()

    def _begin(self, said: bytes) -> None:
        """As the first process: nobody else works here, and what lies here becomes this run's or goes."""
        for path in self._folder.glob("rank-*"):
            if path.name != f"rank-{self._rank}":
                hold(path, self._in_use).close()
        with self._alone():
            before = (self._folder / RUN).read_bytes() if (self._folder / RUN).exists() else None
            self.replaced = before not in (None, said)
            if before == said:
                self._collect()
            else:
                _remove(self._paths())
                atomic.write_bytes(self._folder / RUN, said)

    def _require(self, said: bytes) -> None:
        """As one of the others: this process looks at the same pictures in the same way."""
        if (self._folder / RUN).read_bytes() != said:
            raise ValueError(
                f"{self._folder}: process {self._rank} sees other pictures, another model or other settings "
                "than the first; the processes of a run need the same"
            )

    def _collect(self) -> None:
        """One part of all, by number; what failed is left out, to be tried again."""
        paths = self._paths()
        records = heapq.merge(*map(jsonl.read, paths), key=lambda record: record.number)

        def write_to(path: Path) -> None:
            with path.open("wb") as file:
                file.writelines(base.encode(r.values) + b"\n" for r in records if r.error is None)

        atomic.write(self._folder / BEFORE, write_to)
        _remove(path for path in paths if path.name != BEFORE)

    def _clear(self) -> None:
        """Remove what was made here, and the folder unless it holds something else."""
        with contextlib.suppress(OSError):  # results are there; some systems keep files that are open
            _remove([self._folder / RUN, *self._paths(), *self._folder.glob("rank-*"), self._folder / "lock"])
            self._folder.rmdir()

    def _alone(self) -> IO[bytes]:
        return hold(self._folder / "lock", self._in_use, math.inf)  # whoever makes the results takes long

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("part-*.jsonl"))


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
