"""Share a run over images between several processes, and resume it after it was killed.

Each process appends its results as JSON lines to a shard in a common folder. An image is done if a shard has
its line. The process that finds all images done merges the shards into the results, and removes run.json, so
that no other process merges them again. The shards stay until the last process of the run closes: no process
loses a file that it has open, or a folder that it uses.
"""

from __future__ import annotations

import contextlib
import heapq
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from simplepose.skeleton import COCO, Skeleton
from simplepose.utils import atomic
from simplepose.utils.file_lock import acquire_lock, lock_in_folder, locked
from simplepose.writers import base, jsonl, merge
from simplepose.writers.base import ResultWriter
from simplepose.writers.jsonl import JsonLinesWriter

RUN_FILE = "run.json"

# The shard with the results of all earlier processes of the run.
RESUMED_SHARD = "part-before.jsonl"


class Shards:
    """The shards of one run, with one rank of the run locked by this process until `close`.

    The process of rank 0 must create its object before the others.

    Args:
        folder: of the shards; created if it is missing. Rank 0 deletes the shards of another run.
        run: plain values that identify the run: all that the results depend on, and the number of each image.
            Shards belong to a run with equal values.
        rank: of this process, from 0.
        skeleton: the people's skeleton.

    Attributes:
        replaced_other_run: whether the folder contained shards of another run.

    Raises:
        ValueError: a process of another run, or another process of this rank, uses the folder; or rank 0
            has another `run`.
        OSError: the folder cannot be created or written to.
    """

    def __init__(self, folder: Path, run: object, rank: int = 0, skeleton: Skeleton = COCO) -> None:
        self._folder, self._skeleton, self._rank = folder, skeleton, rank
        self._run_file = folder / RUN_FILE
        self._locked_message = (
            f"{folder}: in use by another process; wait until it has ended, or choose another folder"
        )
        self._lock = lock_in_folder(folder, f"rank-{rank}", self._locked_message)
        self.replaced_other_run = False
        try:
            fingerprint = json.dumps(run, sort_keys=True).encode()
            if rank:
                self._require_same_run(fingerprint)
            else:
                self._start_or_resume(fingerprint)
        except BaseException:
            self.close()
            raise

    def completed(self) -> dict[int, str | None]:
        """Return image number -> error message if it failed, else None, for the images that are done."""
        return {record.number: record.error for path in self._paths() for record in jsonl.read(path)}

    def open_writer(self) -> JsonLinesWriter:
        """Open this process's shard for results in ascending order of numbers. Call it once."""
        return JsonLinesWriter(self._folder, self._skeleton, name=f"part-{self._rank}.jsonl")

    def merge(self, numbers: Collection[int], open_results: Callable[[], ResultWriter]) -> None:
        """Write the completed ones of some images in order. If it fails, earlier results stay as they are."""
        results = open_results()
        try:
            merge(self._paths(), results, self._skeleton, numbers)
        except BaseException:
            results.close(keep=False)
            raise
        results.close()

    def finish(
        self, numbers: Collection[int], open_results: Callable[[], ResultWriter]
    ) -> dict[int, str | None] | None:
        """Merge the shards if all images are done and no other process has merged them.

        Args:
            numbers: of the images that the results must contain.
            open_results: opens the writer of the results.

        Returns:
            Image number -> error message of failed ones, or None. None if this process did not merge.
        """
        with self._exclusive_lock():
            completed = self.completed()
            if not self._run_file.exists() or any(number not in completed for number in numbers):
                return None
            self.merge(numbers, open_results)
            self._run_file.unlink()
            return {number: completed[number] for number in numbers}

    def close(self) -> None:
        """Release this rank, so that another process can use it. The last process deletes merged shards."""
        if not self._lock.is_locked:
            return
        with self._exclusive_lock():
            self._lock.release()
            if not self._run_file.exists() and self._remove_rank_files():
                self._delete_files()

    def _start_or_resume(self, fingerprint: bytes) -> None:
        """As rank 0, require that no other process uses the folder, and resume its run or delete it."""
        for path in self._folder.glob("rank-*"):
            if path.name != f"rank-{self._rank}":
                acquire_lock(path, self._locked_message).release()
        with self._exclusive_lock():
            previous = self._run_file.read_bytes() if self._run_file.exists() else None
            self.replaced_other_run = previous not in (None, fingerprint)
            if previous == fingerprint:
                self._combine()
            else:
                _delete(self._paths())
                atomic.write_bytes(self._run_file, fingerprint)

    def _require_same_run(self, fingerprint: bytes) -> None:
        """As any other rank, require that this process has the same images and settings as rank 0."""
        if self._run_file.read_bytes() != fingerprint:
            raise ValueError(
                f"{self._folder}: process {self._rank} has other images, another model or other settings "
                "than process 0; all processes of a run need the same"
            )

    def _combine(self) -> None:
        """Combine all shards into one, by number. Drops failed images, so that they are retried."""
        paths = self._paths()
        records = heapq.merge(*map(jsonl.read, paths), key=lambda record: record.number)

        def write_to(path: Path) -> None:
            with path.open("wb") as file:
                file.writelines(base.encode_json(r.values) + b"\n" for r in records if r.error is None)

        atomic.write(self._folder / RESUMED_SHARD, write_to)
        _delete(path for path in paths if path.name != RESUMED_SHARD)

    def _remove_rank_files(self) -> bool:
        """Remove the lock files of processes that have ended; returns whether all have."""
        try:
            for path in self._folder.glob("rank-*"):
                with locked(path, self._locked_message):
                    pass
        except ValueError:
            return False
        return True

    def _delete_files(self) -> None:
        """Delete the shards, and the folder unless it contains other files."""
        with contextlib.suppress(OSError):  # the results are complete; some systems cannot delete open files
            _delete([*self._paths(), self._folder / "lock"])
            self._folder.rmdir()

    @contextlib.contextmanager
    def _exclusive_lock(self) -> Iterator[None]:
        """Lock the folder against the run's other processes within the block. Requires the rank's lock."""
        # -1: wait without limit, as merging may take long
        lock = acquire_lock(self._folder / "lock", self._locked_message, timeout_s=-1)
        try:
            yield
        finally:
            lock.release()

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("part-*.jsonl"))


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
