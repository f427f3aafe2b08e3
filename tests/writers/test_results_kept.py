"""Results survive full disks, kills, interrupts, truncated lines and invalid folders."""

import errno
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import full_disk
import numpy as np
import pytest
from repo_paths import ROOT
from result_readers import READERS

from simplepose.frames import BadFrame, Frame
from simplepose.people import People
from simplepose.writers import FORMATS, jsonl, open_writers
from simplepose.writers.append import AppendWriter, PairedFiles
from simplepose.writers.jsonl import JsonLinesWriter

BLACK = np.zeros((48, 64, 3), np.uint8)


def video_frame(number):
    return Frame(number, "clip.mp4", BLACK, seconds=number / 25)


def two_people(number):
    return People(np.full((2, 17, 3), (number % 640, 10, 0.5)), np.full(2, 0.5))


def is_complete(found):
    """Return whether the frames are consecutive from 0, each with two people."""
    return sorted(found) == list(range(len(found))) and all(len(people) == 2 for people in found.values())


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "openpose"])
def test_file_size_limit_leaves_complete_frames(tmp_path, name):
    def write_until_full(writer):
        for number in range(10_000):
            attempted.append(number)
            writer.write(video_frame(number), two_people(number))

    attempted = []
    with open_writers([name], tmp_path) as writer:
        with full_disk.limit_file_size(20_000), pytest.raises(OSError, match=r"people|results") as caught:
            write_until_full(writer)
        writer.write(video_frame(attempted[-1]), two_people(0))  # there is space again
    assert caught.value.errno == errno.EFBIG
    assert Path(caught.value.filename).parent == tmp_path
    found = READERS[name](tmp_path)
    assert is_complete(found)
    assert len(found) == len(attempted) > 1


FILL_DISK_SCRIPT = """
import sys
from pathlib import Path
import numpy as np
sys.path[:0] = ["tests/helpers", "tests/writers"]
from result_readers import READERS
from test_results_kept import two_people, video_frame, is_complete
from simplepose.writers import FORMATS, open_writers

for name in FORMATS:
    folder = Path(sys.argv[1]) / name
    with open_writers([name], folder) as writer:
        try:
            for number in range(10_000):
                writer.write(video_frame(number), two_people(number))
        except OSError as error:
            assert error.errno == 28 and str(folder) in error.filename, error
    found = READERS[name](folder)
    if name == "openpose":
        found = {int(key.rpartition("_")[2]): people for key, people in found.items()}
    assert is_complete(found) and len(found) == number, (name, len(found), number)
    partial = [path for path in folder.rglob("*.partial")]
    assert not partial, partial
    for path in folder.rglob("*.*"):
        path.unlink()
    print(name, number)
"""


def test_full_disk_leaves_complete_frames_in_each_format(tmp_path):
    output = full_disk.run_on_small_disk(FILL_DISK_SCRIPT, 200_000, tmp_path).split()
    assert output[::2] == list(FORMATS)
    assert all(int(frames) > 10 for frames in output[1::2])


ENDLESS_RUN_SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
sys.path[:0] = ["tests/helpers", "tests/writers"]
from test_results_kept import two_people, video_frame
from simplepose.writers import open_writers
with open_writers(["jsonl", "coco"], sys.argv[1]) as writer:
    for number in range(10**9):
        writer.write(video_frame(number), two_people(number))
        if number == 50:
            print("running", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_run_leaves_complete_records(tmp_path, end):
    (tmp_path / "people.json").write_text("[]")
    run = subprocess.Popen(
        [sys.executable, "-c", ENDLESS_RUN_SCRIPT, tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert run.stdout.readline() == b"running\n"
        run.send_signal(end)
        run.communicate(timeout=60)
    finally:
        run.kill()
    records = list(jsonl.read(tmp_path / "people.jsonl"))
    assert len(records) > 50
    assert [record.number for record in records] == list(range(len(records)))
    if end == signal.SIGINT:
        assert is_complete(READERS["coco"](tmp_path))
        assert abs(len(READERS["coco"](tmp_path)) - len(records)) <= 1
    else:
        assert (tmp_path / "people.json").read_text() == "[]"


@pytest.mark.parametrize("truncated", [b"", b"{", b'{"frame": 1, "file_na', b"\0\0\0", b'{"frame": 1}'])
def test_truncated_last_line_is_ignored(tmp_path, truncated):
    with JsonLinesWriter(tmp_path) as writer:
        writer.write(video_frame(0), two_people(0))
    path = tmp_path / "people.jsonl"
    before = path.stat().st_size
    path.write_bytes(path.read_bytes() + truncated)
    (record,) = jsonl.read(path)
    assert (record.number, record.end) == (0, before)


@pytest.mark.parametrize(
    "content", [b"a list of names\n", b"no line feed", b'{"frame": 1, "x": 2}\n{}\n', b"[]\n"]
)
def test_file_without_records_is_rejected(tmp_path, content):
    path = tmp_path / "people.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"people.jsonl, line 1: not a frame record"):
        list(jsonl.read(path))


@pytest.mark.parametrize("name", FORMATS)
def test_error_names_a_path_that_is_no_folder(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        open_writers([name], tmp_path / "file")
    (tmp_path / "out").mkdir()
    for name_in_use in (
        "openpose",
        "people.csv",
        "people.jsonl",
        "frames.json.partial",
        "alphapose-results.json.partial",
    ):
        path = tmp_path / "out" / name_in_use
        path.touch() if name_in_use == "openpose" else path.mkdir()
    before = sorted((tmp_path / "out").iterdir())
    if name != "csv":
        with pytest.raises(OSError, match=str(tmp_path / "out")):
            open_writers([name], tmp_path / "out")
        assert sorted((tmp_path / "out").iterdir()) == before


def test_error_names_a_folder_without_permission(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.access(closed, os.W_OK):
        pytest.skip("this user can write anywhere")
    for name in FORMATS:
        with pytest.raises(PermissionError, match="closed"):
            open_writers([name], closed)


def test_memory_does_not_grow_during_a_run(tmp_path):
    with open_writers(list(FORMATS), tmp_path) as writer:
        sizes = []
        tracemalloc.start()
        for number in range(300):
            writer.write(video_frame(number), two_people(number)) if number % 3 else writer.skip(
                BadFrame(number, "clip.mp4", "lost")
            )
            if number in (100, 299):
                sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert sizes[1] - sizes[0] < 5_000


def test_append_writer_file_is_complete_after_each_step(tmp_path):
    path, partial = tmp_path / "a", tmp_path / "a.partial"
    file = AppendWriter(path, b"[", b",", b"]")
    assert partial.read_bytes() == b"[]"
    file.add(b"1", b"2")
    assert partial.read_bytes() == b"[1,2]"
    file.add()
    file.add(b"3")
    file.undo()
    assert partial.read_bytes() == b"[1,2]"
    assert not path.exists()
    file.close()
    file.close()
    assert path.read_bytes() == b"[1,2]"
    assert not partial.exists()


@pytest.mark.parametrize("longer", ["people", "frames"])
def test_paired_files_both_have_a_frame_or_neither(tmp_path, longer):
    people, frames = tmp_path / "people", tmp_path / "frames"
    files = PairedFiles(people, frames)
    frame, person = (b"1" * (60 if longer == name else 1) for name in ("frames", "people"))
    files.add(frame, [person])
    with full_disk.limit_file_size(100), pytest.raises(OSError, match=longer):
        files.add(frame, [person])
    files.add(b"2")
    files.close()
    assert json.loads(people.read_bytes()) == [int(person)]
    assert json.loads(frames.read_bytes()) == [int(frame), 2]


def test_paired_files_leave_nothing_if_one_cannot_be_created(tmp_path):
    with pytest.raises(OSError, match="nowhere/frames"):
        PairedFiles(tmp_path / "people", tmp_path / "nowhere/frames")
    assert list(tmp_path.iterdir()) == []


def test_undo_of_the_first_entry_leaves_an_empty_list(tmp_path):
    file = AppendWriter(tmp_path / "a", b"[", b",", b"]")
    file.add(b"12345")
    file.undo()
    file.add(b"6")
    file.close()
    assert (tmp_path / "a").read_bytes() == b"[6]"


def test_discarded_results_leave_old_ones(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    file = AppendWriter(tmp_path / "a")
    file.add(b"new")
    file.close(keep=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"
