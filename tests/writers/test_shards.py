"""Parts of a run: whatever was killed, and whoever goes on, each picture that was asked for is there once."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import result_readers

from simplepose.frames import BadFrame, Frame
from simplepose.people import People
from simplepose.writers import jsonl, open_writers
from simplepose.writers.shards import Parts

HOLDER = """
import sys
from pathlib import Path
from simplepose.utils.file_lock import hold
held = hold(Path(sys.argv[1]), "held")
print("holds", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "parts"


def do(parts, numbers, failing=()):
    """Write a record of each."""
    with parts.writer() as lines:
        for number in numbers:
            if number in failing:
                lines.skip(BadFrame(number, f"{number}.jpg", f"no luck with {number}"))
            else:
                lines.write(Frame(number, f"{number}.jpg", np.zeros((4, 6, 3), np.uint8)), People.nobody(17))


def results(folder):
    return lambda: open_writers(["jsonl", "csv"], folder.parent / "out")


def written(folder):
    return [record.number for record in jsonl.read(folder.parent / "out/people.jsonl")]


def test_more_processes_and_fewer_go_on_in_order(folder):
    """First two, of which one was slow; then one; then three."""
    first = [Parts(folder, "run"), Parts(folder, "run", 1)]
    do(first[0], range(0, 20, 2))
    do(first[1], [1, 3])
    (folder / "part-1.jsonl").open("ab").write(b'{"frame": 5')
    for parts in first:
        parts.close()
    alone = Parts(folder, "run")
    assert alone.done() == dict.fromkeys([*range(0, 20, 2), 1, 3])
    do(alone, [5, 7])
    alone.close()
    last = [Parts(folder, "run", rank) for rank in range(3)]
    for parts, numbers in zip(last, ([9, 15], [11, 17], [13, 19]), strict=True):
        assert parts.finish(range(20), results(folder)) is None
        do(parts, numbers)
    assert last[1].finish(range(20), results(folder)) == dict.fromkeys(range(20))
    assert written(folder) == list(range(20))
    assert not folder.exists()
    assert last[0].finish(range(20), results(folder)) is None


def test_only_what_is_asked_for_is_waited_for_and_written(folder):
    """Numbers of an earlier run with another --start are neither counted nor among the results."""
    parts = Parts(folder, "run")
    do(parts, range(10))
    parts.close()
    parts = Parts(folder, "run")
    do(parts, [10, 12])
    assert parts.finish(range(8, 16, 2), results(folder)) is None
    parts.close()
    parts = Parts(folder, "run")
    do(parts, [14])
    assert set(parts.finish(range(8, 16, 2), results(folder))) == {8, 10, 12, 14}
    assert written(folder) == [8, 10, 12, 14]


def test_what_failed_is_tried_again_and_told_by_who_makes_the_results(folder):
    parts = Parts(folder, "run")
    do(parts, range(6), failing=(2, 4))
    parts.close()
    parts = Parts(folder, "run")
    assert set(parts.done()) == {0, 1, 3, 5}
    do(parts, [2, 4], failing=(4,))
    made = parts.finish(range(6), results(folder))
    assert {number: why for number, why in made.items() if why} == {4: "no luck with 4"}
    assert len(result_readers.csv_table(folder.parent / "out")) == 6


def test_what_another_run_left_goes_and_what_is_not_ours_stays(folder):
    folder.mkdir()
    (folder / "wheel.jpg").write_bytes(b"somebody's picture of a part")
    parts = Parts(folder, "one run")
    do(parts, [0, 1])
    parts.close()
    parts = Parts(folder, "another")
    assert parts.replaced
    assert parts.done() == {}
    do(parts, [0])
    assert parts.finish([0], results(folder)) is not None
    assert [path.name for path in folder.iterdir()] == ["wheel.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is held there")
@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize("run", ["run", "another"])
def test_who_still_works_here_is_not_robbed(folder, rank, run):
    parts = Parts(folder, "run")
    do(parts, [0, 1])
    parts.close()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder / f"rank-{rank}")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout.readline() == b"holds\n"
        with pytest.raises(ValueError, match="another process works here now"):
            Parts(folder, run)
        assert len(list(jsonl.read(folder / "part-0.jsonl"))) == 2
        holder.stdin.close()
    assert len(Parts(folder, "run").done()) == 2


def test_processes_that_see_different_pictures_are_told(folder):
    Parts(folder, "run")
    with pytest.raises(ValueError, match="process 1 sees other pictures"):
        Parts(folder, "another", 1)


def test_results_that_cannot_be_whole_leave_those_of_before(folder):
    out = folder.parent / "out"
    with open_writers(["coco"], out) as before:
        before.skip(BadFrame(0, "0.jpg", "of an earlier run"))
    kept = {path.name: path.read_bytes() for path in out.iterdir()}
    parts = Parts(folder, "run")
    do(parts, [0, 1])
    (folder / "part-7.jsonl").write_text("no record\n" * 2)

    with pytest.raises(ValueError, match=r"part-7.jsonl, line 1"):
        parts.merge([0, 1], lambda: open_writers(["coco"], out))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == kept


class Growing(io.RawIOBase):
    """A file that ends for a moment, where another process is about to go on."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def readable(self):
        return True

    def readinto(self, room):
        piece = self.pieces.pop(0) if self.pieces else b""
        room[: len(piece)] = piece
        return len(piece)


def test_a_line_that_is_being_written_is_none_yet(monkeypatch):
    line = b'{"frame": %d, "file_name": "a.jpg", "error": "x"}\n'
    for kept in (1, 12, 30):
        file = Growing(line % 0 + (line % 1)[:kept], b"", (line % 1)[kept:])
        monkeypatch.setattr(Path, "open", lambda *_, file=file: io.BufferedReader(file))
        assert [record.number for record in jsonl.read("people.jsonl")] == [0]
