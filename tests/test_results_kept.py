"""Results that survive: full disks, kills, interrupts, torn lines, names that meet."""

import errno
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import cv2
import full_disk
import numpy as np
import pytest
from places import ROOT
from result_readers import READERS

from simplepose.frames import BadFrame, Frame
from simplepose.people import People
from simplepose.results import FORMATS, jsonl, open_writers
from simplepose.results.growing import GrowingFile
from simplepose.results.jsonl import JsonLinesWriter
from simplepose.results.naming import FileNames
from simplepose.results.pictures import PictureFolder

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
sys.path.insert(0, "tests")
from result_readers import READERS
from test_results_kept import two_people, video, whole
from simplepose.results import FORMATS, open_writers

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
import sys
sys.path.insert(0, "tests")
from test_results_kept import two_people, video
from simplepose.results import open_writers
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
    assert run.stdout.readline() == b"on its way\n"
    run.send_signal(end)
    run.communicate(timeout=60)
    records = list(jsonl.read(tmp_path / "people.jsonl"))
    assert len(records) > 50
    assert [record.number for record in records] == list(range(len(records)))
    if end == signal.SIGINT:
        assert whole(READERS["coco"](tmp_path))
        assert abs(len(READERS["coco"](tmp_path)) - len(records)) <= 1
    else:
        assert (tmp_path / "people.json").read_text() == "[]"


@pytest.mark.parametrize("torn", [b"", b"{", b'{"frame": 1, "file_na', b"\0\0\0", b'{"frame": 1}'])
def test_a_run_goes_on_after_a_torn_line(tmp_path, torn):
    with JsonLinesWriter(tmp_path) as writer:
        writer.write(video(0), two_people(0))
    path = tmp_path / "people.jsonl"
    before = path.stat().st_size
    path.write_bytes(path.read_bytes() + torn)
    assert jsonl.whole_bytes(path) == before
    with JsonLinesWriter(tmp_path, append=True) as writer:
        writer.write(video(1), two_people(1))
    assert whole(READERS["jsonl"](tmp_path))
    assert len(READERS["jsonl"](tmp_path)) == 2


def test_going_on_where_nothing_is_begins_and_without_append_it_begins_anew(tmp_path):
    for append, expected in ((True, 1), (True, 2), (False, 1)):
        with JsonLinesWriter(tmp_path, append=append, name="part.jsonl") as writer:
            writer.write(video(expected), two_people(0))
        assert len(list(jsonl.read(tmp_path / "part.jsonl"))) == expected


@pytest.mark.parametrize(
    "content", [b"a list of names\n", b"no line feed", b'{"frame": 1, "x": 2}\n{}\n', b"[]\n"]
)
def test_what_is_no_file_of_records_is_not_cut(tmp_path, content):
    path = tmp_path / "people.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"people.jsonl, line 1: no record"):
        JsonLinesWriter(tmp_path, append=True)
    assert path.read_bytes() == content


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
        for number in range(700):
            writer.write(video(number), two_people(number)) if number % 3 else writer.skip(
                BadFrame(number, "clip.mp4", "lost")
            )
            if number in (400, 699):
                sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert sizes[1] - sizes[0] < 10_000


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


def test_same_stems_have_files_of_their_own(tmp_path):
    names = FileNames(tmp_path, "_keypoints.json")
    given = [
        names.path(picture(path)).name for path in ("x/a.jpg", "y/a.jpg", "y/A.png", "y/a_2.jpg", "b.jpg")
    ]
    assert given[:2] == ["a_keypoints.json", "a_2_keypoints.json"]
    assert len({name.lower() for name in given}) == 5
    assert given[-1] == "b_keypoints.json"


def test_no_picture_of_the_run_is_overwritten(tmp_path):
    sources = [tmp_path / name for name in ("a.jpg", "a.png", "b.bmp", "b.png")]
    for path in sources:
        cv2.imwrite(str(path), BLACK)
    before = [path.read_bytes() for path in sources]
    folder = PictureFolder(tmp_path, sources)
    written = [folder.write(picture(path), BLACK + 255) for path in sources]
    assert [path.read_bytes() for path in sources] == before
    assert len({*written, *sources}) == 8
    assert [path.name for path in written] == ["a_2.jpg", "a_2.png", "b_2.png", "b_3.png"]
    assert all(cv2.imread(str(path)).mean() > 250 for path in written)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("clip.mp4", "clip"),
        ("rtsp://user:secret@host/live/cam1", "cam1"),
        ("camera 0", "camera 0"),
        ("http://host/a.mjpg?size=1&x=*", "a"),
        ("", "frame"),
        ("..", "frame"),
        ("a:b<c>.avi", "a_b_c_"),
        ("caf\udce9.mp4", "caf\udce9"),
    ],
)
def test_frames_of_a_video_are_named_after_it_and_their_number(tmp_path, name, stem):
    folder = PictureFolder(tmp_path)
    path = folder.write(Frame(123, name, BLACK), BLACK)
    assert path == tmp_path / f"{stem}_000000000123.jpg"
    assert path.is_file()


@pytest.mark.parametrize("character", ["x", "ü", "日", "\udce9"])
def test_long_names_are_cut_to_what_the_disk_takes(tmp_path, character):
    with open_writers(["openpose"], tmp_path) as writer:
        long = character * (250 // len(os.fsencode(character)))
        for number in range(3):
            writer.write(picture(f"{number}/{long}.jpg", number), People.nobody(17))
        writer.write(Frame(3, f"{long}.mp4", BLACK), People.nobody(17))
    assert len(list((tmp_path / "openpose").iterdir())) == 4


def test_a_picture_that_does_not_fit_its_format_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="a picture of 70000 x 1 does not fit"):
        PictureFolder(tmp_path).write(picture("a.jpg"), np.zeros((1, 70_000, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_picture(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    with full_disk.files_of_at_most(10_000), pytest.raises(OSError, match=r"a.png") as told:
        PictureFolder(tmp_path).write(picture("a.png"), noise)
    assert told.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []
