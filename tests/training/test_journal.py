"""The journal: torn, full, resumed, it tells each step once."""

import json
import math

import pytest
from full_disk import files_of_at_most, run_on_small_disk

from simplepose.training.loggers import Journal, read


@pytest.fixture
def path(tmp_path):
    """Where the journal lies."""
    return tmp_path / "journal.jsonl"


def write(path, steps, resume_step=0, tag=""):
    journal = Journal(path, resume_step)
    for step in steps:
        journal.write(kind="step", step=step, tag=tag)
    journal.close()


def told(path, kind="step"):
    return [(line["step"], line["tag"]) for line in read(path) if line["kind"] == kind]


def test_what_is_written_is_read(path):
    line = {"kind": "step", "step": 3, "loss": 1.25, "scales": [1.0, 2.0], "gpu_memory_gib": None}
    note = {"kind": "note", "text": "Überschrift\nsecond line"}
    journal = Journal(path)
    journal.write(**line)
    assert read(path) == [line]  # while the run goes on
    journal.write(**note)
    journal.close()
    assert read(path) == [line, note]
    assert len(path.read_text().splitlines()) == 2


def test_numbers_that_are_none_are_null_so_that_any_json_reader_reads(path):
    journal = Journal(path)
    journal.write(kind="step", step=1, loss=math.nan, scales=[math.inf, 1.0], more={"a": (-math.inf,)})
    journal.close()

    def refuse(name):
        raise AssertionError(name)

    assert json.loads(path.read_text(), parse_constant=refuse)["scales"] == [None, 1.0]
    assert read(path)[0]["loss"] is None
    assert read(path)[0]["more"] == {"a": [None]}


def test_a_resumed_run_tells_each_step_once(path):
    write(path, [1, 2, 3, 4, 5], tag="first")
    write(path, [4, 5, 6, 7], resume_step=3, tag="second")
    write(path, [6, 7], resume_step=5, tag="third")
    expected = [(n, "first") for n in (1, 2, 3)] + [(n, "second") for n in (4, 5)]
    assert told(path) == [*expected, (6, "third"), (7, "third")]
    assert [line["step"] for line in read(path) if line["kind"] == "resume"] == [3, 5]


def test_a_run_resumed_from_further_back_supersedes_what_was_resumed_before(path):
    write(path, [1, 2, 3], tag="first")
    write(path, [3, 4], resume_step=2, tag="second")
    write(path, [2, 3], resume_step=1, tag="third")
    assert told(path) == [(1, "first"), (2, "third"), (3, "third")]
    assert [line["step"] for line in read(path) if line["kind"] == "resume"] == [1]


def test_a_run_that_begins_again_from_nothing_supersedes_all(path):
    write(path, [1, 2], tag="first")
    write(path, [1], tag="second")
    assert told(path) == [(1, "second")]


def test_a_line_told_before_and_after_a_resume_at_its_own_step_is_one(path):
    first = Journal(path)
    first.write(kind="step", step=5, tag="a")
    first.write(kind="epoch", step=5, tag="a")
    first.write(kind="note", text="stays")
    first.close()
    again = Journal(path, 5)
    again.write(kind="epoch", step=5, tag="b")
    again.close()
    assert told(path) == [(5, "a")]
    assert told(path, "epoch") == [(5, "b")]
    assert sum(line["kind"] == "note" for line in read(path)) == 1


@pytest.mark.parametrize(
    "end",
    [
        b'{"kind": "step", "st',
        b"\0" * 300,
        b"\xff\xfe\n",
        b'{"kind": "step", "step": 3}',
        b"[" * 99999,
        b"7\n",
    ],
)
def test_a_torn_end_is_cut_off_and_the_run_goes_on(path, end, caplog):
    write(path, [1, 2])
    whole = path.read_bytes()
    path.write_bytes(whole + end)
    journal = Journal(path, 2)
    assert "torn line" in caplog.text
    journal.write(kind="step", step=3, tag="")
    journal.close()
    assert path.read_bytes().startswith(whole + b'{"kind": "resume", "step": 2}\n')
    assert [line["step"] for line in read(path)] == [1, 2, 2, 3]


def test_a_journal_of_nothing_but_a_torn_line_begins_anew(path):
    path.write_bytes(b'{"kind"')
    write(path, [1])
    assert told(path) == [(1, "")]


@pytest.mark.parametrize(
    "odd", [b"{}\n", b"null\n", b"half a li{\n", b'{"kind": "step"}\n', b'{"kind": "resume"}\n']
)
def test_odd_lines_in_the_middle_are_passed_over(path, odd, caplog):
    write(path, [1])
    path.write_bytes(path.read_bytes() + odd)
    with path.open("a") as file:
        file.write('{"kind": "step", "step": 2, "tag": ""}\n')
    assert told(path) == [(1, ""), (2, "")]
    assert "line 2" in caplog.text


def test_no_journal_and_an_empty_one(path):
    with pytest.raises(FileNotFoundError, match=r"journal\.jsonl not found; the folder of a run"):
        read(path)
    path.touch()
    assert read(path) == []


def test_a_file_that_may_not_grow_costs_lines_but_not_the_run(path, caplog):
    journal = Journal(path)
    journal.write(kind="step", step=1, tag="")
    with files_of_at_most(path.stat().st_size + 10):
        journal.write(kind="step", step=2, tag="")
        journal.write(kind="step", step=3, tag="")
    journal.write(kind="step", step=4, tag="")
    journal.close()
    assert caplog.text.count("lacks lines") == 1
    assert told(path) == [(1, ""), (4, "")]


FILL_THE_DISK = """
import sys
from pathlib import Path
from simplepose.training.loggers import Journal, read

folder = Path(sys.argv[1])
journal = Journal(folder / "journal.jsonl")
for step in range(2000):
    journal.write(kind="step", step=step, text="x" * 100)
found = read(folder / "journal.jsonl")
print([line["step"] for line in found] == list(range(len(found))), 0 < len(found) < 2000)
"""


def test_a_full_disk_costs_lines_but_not_the_run(tmp_path):
    assert run_on_small_disk(FILL_THE_DISK, 10**5, str(tmp_path)) == "True True\n"
