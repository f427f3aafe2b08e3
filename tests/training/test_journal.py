"""The journal: each step once, even after truncation, a full disk or a resume."""

import json
import math

import pytest
from full_disk import limit_file_size, run_on_small_disk

from simplepose.training.loggers import JournalSink, read_journal


@pytest.fixture
def path(tmp_path):
    """Path of the journal."""
    return tmp_path / "journal.jsonl"


def write(path, steps, resume_step=0, tag=""):
    journal = JournalSink(path, resume_step)
    for step in steps:
        journal.write({"kind": "step", "step": step, "tag": tag})
    journal.close()


def steps_and_tags(path, kind="step"):
    return [(line["step"], line["tag"]) for line in read_journal(path) if line["kind"] == kind]


def test_read_returns_what_was_written(path):
    line = {"kind": "step", "step": 3, "loss": 1.25, "scales": [1.0, 2.0], "gpu_memory_gib": None}
    note = {"kind": "note", "text": "Überschrift\nsecond line"}
    journal = JournalSink(path)
    journal.write(line)
    assert read_journal(path) == [line]  # during the run
    journal.write(note)
    journal.close()
    assert read_journal(path) == [line, note]
    assert len(path.read_text().splitlines()) == 2


def test_non_finite_numbers_are_null_in_standard_json(path):
    journal = JournalSink(path)
    journal.write(
        {"kind": "step", "step": 1, "loss": math.nan, "scales": [math.inf, 1.0], "more": {"a": (-math.inf,)}}
    )
    journal.close()

    def refuse(name):
        raise AssertionError(name)

    assert json.loads(path.read_text(), parse_constant=refuse)["scales"] == [None, 1.0]
    assert read_journal(path)[0]["loss"] is None
    assert read_journal(path)[0]["more"] == {"a": [None]}


def test_resumed_run_has_each_step_once(path):
    write(path, [1, 2, 3, 4, 5], tag="first")
    write(path, [4, 5, 6, 7], resume_step=3, tag="second")
    write(path, [6, 7], resume_step=5, tag="third")
    expected = [(n, "first") for n in (1, 2, 3)] + [(n, "second") for n in (4, 5)]
    assert steps_and_tags(path) == [*expected, (6, "third"), (7, "third")]
    assert [line["step"] for line in read_journal(path) if line["kind"] == "resume"] == [3, 5]


def test_resume_from_an_earlier_step_supersedes_previous_resumes(path):
    write(path, [1, 2, 3], tag="first")
    write(path, [3, 4], resume_step=2, tag="second")
    write(path, [2, 3], resume_step=1, tag="third")
    assert steps_and_tags(path) == [(1, "first"), (2, "third"), (3, "third")]
    assert [line["step"] for line in read_journal(path) if line["kind"] == "resume"] == [1]


def test_restart_from_step_0_supersedes_all(path):
    write(path, [1, 2], tag="first")
    write(path, [1], tag="second")
    assert steps_and_tags(path) == [(1, "second")]


def test_line_repeated_by_a_resume_at_its_step_is_read_once(path):
    first = JournalSink(path)
    first.write({"kind": "step", "step": 5, "tag": "a"})
    first.write({"kind": "epoch", "step": 5, "tag": "a"})
    first.write({"kind": "note", "text": "stays"})
    first.close()
    resumed = JournalSink(path, 5)
    resumed.write({"kind": "epoch", "step": 5, "tag": "b"})
    resumed.close()
    assert steps_and_tags(path) == [(5, "a")]
    assert steps_and_tags(path, "epoch") == [(5, "b")]
    assert sum(line["kind"] == "note" for line in read_journal(path)) == 1


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
def test_truncated_last_line_is_removed(path, end, caplog):
    write(path, [1, 2])
    complete = path.read_bytes()
    path.write_bytes(complete + end)
    journal = JournalSink(path, 2)
    assert "the last line is truncated" in caplog.text
    journal.write({"kind": "step", "step": 3, "tag": ""})
    journal.close()
    assert path.read_bytes().startswith(complete + b'{"kind": "resume", "step": 2}\n')
    assert [line["step"] for line in read_journal(path)] == [1, 2, 2, 3]


def test_journal_with_only_a_truncated_line(path):
    path.write_bytes(b'{"kind"')
    write(path, [1])
    assert steps_and_tags(path) == [(1, "")]


@pytest.mark.parametrize(
    "invalid", [b"{}\n", b"null\n", b"half a li{\n", b'{"kind": "step"}\n', b'{"kind": "resume"}\n']
)
def test_invalid_lines_in_the_middle_are_skipped(path, invalid, caplog):
    write(path, [1])
    path.write_bytes(path.read_bytes() + invalid)
    with path.open("a") as file:
        file.write('{"kind": "step", "step": 2, "tag": ""}\n')
    assert steps_and_tags(path) == [(1, ""), (2, "")]
    assert "line 2" in caplog.text


def test_missing_and_empty_journal(path):
    with pytest.raises(
        FileNotFoundError, match=r"journal\.jsonl not found; expected the folder of a training run"
    ):
        read_journal(path)
    path.touch()
    assert read_journal(path) == []


def test_file_size_limit_loses_lines_but_does_not_end_the_run(path, caplog):
    journal = JournalSink(path)
    journal.write({"kind": "step", "step": 1, "tag": ""})
    with limit_file_size(path.stat().st_size + 10):
        journal.write({"kind": "step", "step": 2, "tag": ""})
        journal.write({"kind": "step", "step": 3, "tag": ""})
    journal.write({"kind": "step", "step": 4, "tag": ""})
    journal.close()
    assert caplog.text.count("lines are lost") == 1
    assert steps_and_tags(path) == [(1, ""), (4, "")]


FILL_THE_DISK = """
import sys
from pathlib import Path
from simplepose.training.loggers import JournalSink, read_journal

folder = Path(sys.argv[1])
journal = JournalSink(folder / "journal.jsonl")
for step in range(2000):
    journal.write({"kind": "step", "step": step, "text": "x" * 100})
found = read_journal(folder / "journal.jsonl")
print([line["step"] for line in found] == list(range(len(found))), 0 < len(found) < 2000)
"""


def test_full_disk_loses_lines_but_does_not_end_the_run(tmp_path):
    assert run_on_small_disk(FILL_THE_DISK, 10**5, str(tmp_path)) == "True True\n"
