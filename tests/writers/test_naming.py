"""File names in results: any name can be restored, and no two frames share an output file."""

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
from simplepose.writers.drawn_images import ImageFolderWriter
from simplepose.writers.naming import FileNames, escape_name, unescape_name

BLACK = np.zeros((48, 64, 3), np.uint8)


def image_frame(path, number=0):
    return Frame(number, Path(path).name, BLACK, path=Path(path))


@pytest.mark.parametrize("name", ["caf\udce9.jpg", "\udcff\udcfe\\x41.png", "back\\slash.jpg", "ü日本.jpg"])
@pytest.mark.parametrize("output_format", FORMATS)
def test_any_file_name_is_written_and_restored(tmp_path, name, output_format):
    with open_writers([output_format], tmp_path) as writer:
        writer.write(image_frame(name), People.empty(17))
    assert len(READERS[output_format](tmp_path)) == 1
    if output_format == "jsonl":
        (record,) = jsonl.read(tmp_path / "people.jsonl")
        assert record.name == name


@given(st.text(st.characters(exclude_categories=())))
def test_escaped_names_are_unicode_and_restorable(name):
    text = escape_name(name)
    text.encode("utf-8")
    assert unescape_name(text) == name
    if "\\" not in name and text.isascii() == name.isascii() and name.isprintable():
        assert text == name


def test_equal_stems_get_different_files(tmp_path):
    names = FileNames(tmp_path, "_keypoints.json")
    chosen = [
        names.path(image_frame(path)).name for path in ("x/a.jpg", "y/a.jpg", "y/A.png", "y/a_2.jpg", "b.jpg")
    ]
    assert chosen[:2] == ["a_keypoints.json", "a_2_keypoints.json"]
    assert len({name.lower() for name in chosen}) == 5
    assert chosen[-1] == "b_keypoints.json"


def test_no_input_image_is_overwritten(tmp_path):
    sources = [tmp_path / name for name in ("a.jpg", "a.png", "b.bmp", "b.png")]
    for path in sources:
        cv2.imwrite(str(path), BLACK)
    before = [path.read_bytes() for path in sources]
    folder = ImageFolderWriter(tmp_path, sources)
    written = [folder.write(image_frame(path), BLACK + 255) for path in sources]
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
def test_video_frames_are_named_after_the_video_and_their_number(tmp_path, name, stem):
    folder = ImageFolderWriter(tmp_path)
    path = folder.write(Frame(123, name, BLACK), BLACK)
    assert path == tmp_path / f"{stem}_000000000123.jpg"
    assert path.is_file()


@pytest.mark.parametrize("character", ["x", "ü", "日", "\udce9"])
def test_long_names_are_truncated(tmp_path, character):
    with open_writers(["openpose"], tmp_path) as writer:
        long = character * (250 // len(os.fsencode(character)))
        for number in range(3):
            writer.write(image_frame(f"{number}/{long}.jpg", number), People.empty(17))
        writer.write(Frame(3, f"{long}.mp4", BLACK), People.empty(17))
    assert len(list((tmp_path / "openpose").iterdir())) == 4


def test_image_too_large_for_its_format_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="an image of 70000 x 1 pixels does not fit"):
        ImageFolderWriter(tmp_path).write(image_frame("a.jpg"), np.zeros((1, 70_000, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_error_names_the_image(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    with full_disk.limit_file_size(10_000), pytest.raises(OSError, match=r"a.png") as caught:
        ImageFolderWriter(tmp_path).write(image_frame("a.png"), noise)
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []
