"""Names of any kind: in results they lead back to the file, and no two frames share one."""

import errno
import os
from pathlib import Path

import cv2
import full_disk
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_readers import READERS

from simplepose.frames import Frame
from simplepose.people import People
from simplepose.writers import FORMATS, jsonl, open_writers
from simplepose.writers.drawn_images import PictureFolder
from simplepose.writers.naming import FileNames, from_text, to_text

BLACK = np.zeros((48, 64, 3), np.uint8)


def picture(path, number=0):
    return Frame(number, Path(path).name, BLACK, path=Path(path))


@pytest.mark.parametrize("name", ["caf\udce9.jpg", "\udcff\udcfe\\x41.png", "back\\slash.jpg", "ü日本.jpg"])
@pytest.mark.parametrize("chosen", FORMATS)
def test_any_file_name_is_written_and_found_again(tmp_path, name, chosen):
    with open_writers([chosen], tmp_path) as writer:
        writer.write(picture(name), People.nobody(17))
    assert len(READERS[chosen](tmp_path)) == 1
    if chosen == "jsonl":
        (record,) = jsonl.read(tmp_path / "people.jsonl")
        assert record.name == name


@given(st.text(st.characters(exclude_categories=())))
def test_names_are_text_that_leads_back(name):
    text = to_text(name)
    text.encode("utf-8")
    assert from_text(text) == name
    if "\\" not in name and text.isascii() == name.isascii() and name.isprintable():
        assert text == name


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
