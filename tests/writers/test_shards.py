"""Shards of a run: after kills and with any number of processes, each requested image is there once."""

import io
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import result_readers

from simplepose.frames import BadFrame, Frame
from simplepose.people import People
from simplepose.writers import jsonl, open_writers
from simplepose.writers.shards import Shards

LOCK_SCRIPT = """
import sys
from pathlib import Path
from simplepose.utils.file_lock import acquire_lock
lock = acquire_lock(Path(sys.argv[1]), "locked")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "parts"


def write_records(shards, numbers, failing=()):
    """Write one record per image."""
    with shards.open_writer() as lines:
        for number in numbers:
            if number in failing:
                lines.skip(BadFrame(number, f"{number}.jpg", f"failed on {number}"))
            else:
                lines.write(Frame(number, f"{number}.jpg", np.zeros((4, 6, 3), np.uint8)), People.empty(17))


def results_opener(folder):
    return lambda: open_writers(["jsonl", "csv"], folder.parent / "out")


def written_numbers(folder):
    return [record.number for record in jsonl.read(folder.parent / "out/people.jsonl")]


def test_run_resumes_with_more_or_fewer_processes(folder):
    """First two processes, one of them slow; then one; then three."""
    first = [Shards(folder, "run"), Shards(folder, "run", 1)]
    write_records(first[0], range(0, 20, 2))
    write_records(first[1], [1, 3])
    (folder / "part-1.jsonl").open("ab").write(b'{"frame": 5')
    for shards in first:
        shards.close()
    single = Shards(folder, "run")
    assert single.completed() == dict.fromkeys([*range(0, 20, 2), 1, 3])
    write_records(single, [5, 7])
    single.close()
    last = [Shards(folder, "run", rank) for rank in range(3)]
    for shards, numbers in zip(last, ([9, 15], [11, 17], [13, 19]), strict=True):
        assert shards.finish(range(20), results_opener(folder)) is None
        write_records(shards, numbers)
    assert last[1].finish(range(20), results_opener(folder)) == dict.fromkeys(range(20))
    assert written_numbers(folder) == list(range(20))
    assert last[0].finish(range(20), results_opener(folder)) is None
    for shards in last:
        assert folder.exists(), "the last process that closes deletes it"
        shards.close()
    assert not folder.exists()


@pytest.mark.parametrize("first_turns", list(itertools.combinations(range(8), 4)))
def test_every_interleaving_of_two_processes_merges_once(folder, first_turns):
    """Two processes with four steps each: write, close the writer, finish, close. All 70 orders."""
    merged = []

    def process(rank):
        shards = Shards(folder, "run", rank)
        yield
        writer = shards.open_writer()
        writer.skip(BadFrame(rank, f"{rank}.jpg", "unreadable"))
        yield
        writer.close()
        yield
        merged.append(shards.finish([0, 1], results_opener(folder)))
        yield
        shards.close()
        yield

    processes = [process(0), process(1)]
    for each in processes:
        next(each)  # as in `open_run`, both have joined before one can finish
    for turn in range(8):
        next(processes[turn not in first_turns])
    assert len([outcomes for outcomes in merged if outcomes]) == 1
    assert written_numbers(folder) == [0, 1]
    assert not folder.exists()


def test_only_requested_images_are_required_and_written(folder):
    """Images of an earlier run with another --start are neither required nor in the results."""
    shards = Shards(folder, "run")
    write_records(shards, range(10))
    shards.close()
    shards = Shards(folder, "run")
    write_records(shards, [10, 12])
    assert shards.finish(range(8, 16, 2), results_opener(folder)) is None
    shards.close()
    shards = Shards(folder, "run")
    write_records(shards, [14])
    assert set(shards.finish(range(8, 16, 2), results_opener(folder))) == {8, 10, 12, 14}
    assert written_numbers(folder) == [8, 10, 12, 14]


def test_failed_images_are_retried_and_reported_by_finish(folder):
    shards = Shards(folder, "run")
    write_records(shards, range(6), failing=(2, 4))
    shards.close()
    shards = Shards(folder, "run")
    assert set(shards.completed()) == {0, 1, 3, 5}
    write_records(shards, [2, 4], failing=(4,))
    merged = shards.finish(range(6), results_opener(folder))
    assert {number: error for number, error in merged.items() if error} == {4: "failed on 4"}
    assert len(result_readers.csv_table(folder.parent / "out")) == 6


def test_shards_of_another_run_are_deleted_and_other_files_stay(folder):
    folder.mkdir()
    (folder / "wheel.jpg").write_bytes(b"an image of the user")
    shards = Shards(folder, "one run")
    write_records(shards, [0, 1])
    shards.close()
    shards = Shards(folder, "another")
    assert shards.replaced_other_run
    assert shards.completed() == {}
    write_records(shards, [0])
    assert shards.finish([0], results_opener(folder)) is not None
    shards.close()
    assert [path.name for path in folder.iterdir()] == ["wheel.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks on Windows")
@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize("run", ["run", "another"])
def test_locked_shards_are_not_deleted(folder, rank, run):
    shards = Shards(folder, "run")
    write_records(shards, [0, 1])
    shards.close()
    with subprocess.Popen(
        [sys.executable, "-c", LOCK_SCRIPT, str(folder / f"rank-{rank}")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as locker:
        assert locker.stdout.readline() == b"locked\n"
        with pytest.raises(ValueError, match="in use by another process"):
            Shards(folder, run)
        assert len(list(jsonl.read(folder / "part-0.jsonl"))) == 2
        locker.stdin.close()
    assert len(Shards(folder, "run").completed()) == 2


def test_processes_with_different_images_are_rejected(folder):
    Shards(folder, "run")
    with pytest.raises(ValueError, match="process 1 has other images"):
        Shards(folder, "another", 1)


def test_failed_merge_leaves_old_results(folder):
    out = folder.parent / "out"
    with open_writers(["coco"], out) as earlier:
        earlier.skip(BadFrame(0, "0.jpg", "of an earlier run"))
    old = {path.name: path.read_bytes() for path in out.iterdir()}
    shards = Shards(folder, "run")
    write_records(shards, [0, 1])
    (folder / "part-7.jsonl").write_text("not a record\n" * 2)

    with pytest.raises(ValueError, match=r"part-7.jsonl, line 1"):
        shards.merge([0, 1], lambda: open_writers(["coco"], out))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == old


class GrowingFile(io.RawIOBase):
    """A file that ends for a moment while another process is appending to it."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def readable(self):
        return True

    def readinto(self, buffer):
        piece = self.pieces.pop(0) if self.pieces else b""
        buffer[: len(piece)] = piece
        return len(piece)


def test_line_that_is_being_written_is_ignored(monkeypatch):
    line = b'{"frame": %d, "file_name": "a.jpg", "error": "x"}\n'
    for length in (1, 12, 30):
        file = GrowingFile(line % 0 + (line % 1)[:length], b"", (line % 1)[length:])
        monkeypatch.setattr(Path, "open", lambda *_, file=file: io.BufferedReader(file))
        assert [record.number for record in jsonl.read("people.jsonl")] == [0]
