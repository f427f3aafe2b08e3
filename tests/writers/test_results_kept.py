"""Results that survive: full disks, kills, interrupts, torn lines, names that meet."""

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
from places import ROOT
from result_readers import READERS

from simplepose.frames import BadFrame, Frame
from simplepose.people import People
from simplepose.writers import FORMATS, jsonl, open_writers
from simplepose.writers.append import GrowingFile, PairedFiles
from simplepose.writers.jsonl import JsonLinesWriter

BLACK = np.zeros((48, 64, 3), np.uint8)


def video(number):
    return Frame(number, "clip.mp4", BLACK, seconds=number / 25)


def picture(path, number=0):
    return Frame(number, Path(path).name, BLACK, path=Path(path))


def two_people(number):
    return People(np.full((2, 17, 3), (number % 640, 10, 0.5)), np.full(2, 0.5))


def whole(found):
    """Whether a run's frames are all there up to some number, each with its two people."""
    return sorted(found) == list(range(len(found))) and all(len(people) == 2 for people in found.values())


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "openpose"])
def test_a_file_that_may_not_grow_keeps_whole_frames(tmp_path, name):
    def write_until_full(writer):
        for number in range(10_000):
            before.append(number)
            writer.write(video(number), two_people(number))

    before = []
    with open_writers([name], tmp_path) as writer:
        with full_disk.files_of_at_most(20_000), pytest.raises(OSError, match=r"people|results") as told:
            write_until_full(writer)
        writer.write(video(before[-1]), two_people(0))  # there is room again
    assert told.value.errno == errno.EFBIG
    assert Path(told.value.filename).parent == tmp_path
    found = READERS[name](tmp_path)
    assert whole(found)
    assert len(found) == len(before) > 1


FULL = """
import sys
from pathlib import Path
import numpy as np
sys.path[:0] = ["tests/helpers", "tests/writers"]
from result_readers import READERS
from test_results_kept import two_people, video, whole
from simplepose.writers import FORMATS, open_writers

for name in FORMATS:
    folder = Path(sys.argv[1]) / name
    with open_writers([name], folder) as writer:
        try:
            for number in range(10_000):
                writer.write(video(number), two_people(number))
        except OSError as error:
            assert error.errno == 28 and str(folder) in error.filename, error
    found = READERS[name](folder)
    if name == "openpose":
        found = {int(key.rpartition("_")[2]): people for key, people in found.items()}
    assert whole(found) and len(found) == number, (name, len(found), number)
    left = [path for path in folder.rglob("*.partial")]
    assert not left, left
    for path in folder.rglob("*.*"):
        path.unlink()
    print(name, number)
"""


def test_a_full_disk_keeps_whole_frames_of_each_format(tmp_path):
    told = full_disk.run_on_small_disk(FULL, 200_000, tmp_path).split()
    assert told[::2] == list(FORMATS)
    assert all(int(frames) > 10 for frames in told[1::2])


KILLED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
sys.path[:0] = ["tests/helpers", "tests/writers"]
from test_results_kept import two_people, video
from simplepose.writers import open_writers
with open_writers(["jsonl", "coco"], sys.argv[1]) as writer:
    for number in range(10**9):
        writer.write(video(number), two_people(number))
        if number == 50:
            print("on its way", flush=True)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_ends_early_leaves_whole_records(tmp_path, end):
    (tmp_path / "people.json").write_text("[]")
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert run.stdout.readline() == b"on its way\n"
        run.send_signal(end)
        run.communicate(timeout=60)
    finally:
        run.kill()
    records = list(jsonl.read(tmp_path / "people.jsonl"))
    assert len(records) > 50
    assert [record.number for record in records] == list(range(len(records)))
    if end == signal.SIGINT:
        assert whole(READERS["coco"](tmp_path))
        assert abs(len(READERS["coco"](tmp_path)) - len(records)) <= 1
    else:
        assert (tmp_path / "people.json").read_text() == "[]"


@pytest.mark.parametrize("torn", [b"", b"{", b'{"frame": 1, "file_na', b"\0\0\0", b'{"frame": 1}'])
def test_a_torn_line_is_left_out(tmp_path, torn):
    with JsonLinesWriter(tmp_path) as writer:
        writer.write(video(0), two_people(0))
    path = tmp_path / "people.jsonl"
    before = path.stat().st_size
    path.write_bytes(path.read_bytes() + torn)
    (record,) = jsonl.read(path)
    assert (record.number, record.end) == (0, before)


@pytest.mark.parametrize(
    "content", [b"a list of names\n", b"no line feed", b'{"frame": 1, "x": 2}\n{}\n', b"[]\n"]
)
def test_what_is_no_file_of_records_is_told(tmp_path, content):
    path = tmp_path / "people.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"people.jsonl, line 1: no record"):
        list(jsonl.read(path))


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_that_is_none_is_named(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        open_writers([name], tmp_path / "file")
    (tmp_path / "out").mkdir()
    for taken in (
        "openpose",
        "people.csv",
        "people.jsonl",
        "frames.json.partial",
        "alphapose-results.json.partial",
    ):
        (tmp_path / "out" / taken).mkdir() if taken != "openpose" else (tmp_path / "out" / taken).touch()
    before = sorted((tmp_path / "out").iterdir())
    if name != "csv":
        with pytest.raises(OSError, match=str(tmp_path / "out")):
            open_writers([name], tmp_path / "out")
        assert sorted((tmp_path / "out").iterdir()) == before


def test_a_folder_without_permission_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.access(closed, os.W_OK):
        pytest.skip("this user may write anywhere")
    for name in FORMATS:
        with pytest.raises(PermissionError, match="closed"):
            open_writers([name], closed)


def test_memory_does_not_grow_with_a_run(tmp_path):
    with open_writers(list(FORMATS), tmp_path) as writer:
        sizes = []
        tracemalloc.start()
        for number in range(300):
            writer.write(video(number), two_people(number)) if number % 3 else writer.skip(
                BadFrame(number, "clip.mp4", "lost")
            )
            if number in (100, 299):
                sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert sizes[1] - sizes[0] < 5_000


def test_a_growing_file_is_whole_after_each_step(tmp_path):
    path, partial = tmp_path / "a", tmp_path / "a.partial"
    file = GrowingFile(path, b"[", b",", b"]")
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
def test_of_a_pair_of_files_both_have_a_frame_or_neither(tmp_path, longer):
    people, frames = tmp_path / "people", tmp_path / "frames"
    files = PairedFiles(people, frames)
    frame, person = (b"1" * (60 if longer == name else 1) for name in ("frames", "people"))
    files.add(frame, [person])
    with full_disk.files_of_at_most(100), pytest.raises(OSError, match=longer):
        files.add(frame, [person])
    files.add(b"2")
    files.close()
    assert json.loads(people.read_bytes()) == [int(person)]
    assert json.loads(frames.read_bytes()) == [int(frame), 2]


def test_a_pair_of_which_one_cannot_be_made_is_none(tmp_path):
    with pytest.raises(OSError, match="nowhere/frames"):
        PairedFiles(tmp_path / "people", tmp_path / "nowhere/frames")
    assert list(tmp_path.iterdir()) == []


def test_an_undone_beginning_begins_again(tmp_path):
    file = GrowingFile(tmp_path / "a", b"[", b",", b"]")
    file.add(b"12345")
    file.undo()
    file.add(b"6")
    file.close()
    assert (tmp_path / "a").read_bytes() == b"[6]"


def test_results_that_are_not_kept_leave_the_old_ones(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    file = GrowingFile(tmp_path / "a")
    file.add(b"new")
    file.close(keep=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"
