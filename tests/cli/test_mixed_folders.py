"""Folders of many formats and other files: what is read, what is named, and the exit status."""

import json
import os

import cv2
import numpy as np
import pytest
from oracle import NoPeoplePredictor

import simplepose
from simplepose.cli import demo_image, run_command
from simplepose.sources import UnreadableImageError, list_images, open_source, read_image

IMAGE = np.full((40, 60, 3), 90, np.uint8)


def write(path, extension=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(extension or path.suffix, IMAGE)[1].tobytes())
    return path


def names(*paths, log=lambda line: None):
    return [image.name for image in list_images(paths, log)]


@pytest.fixture
def folder(tmp_path):
    """Images with usual, unusual and no extensions, and other files."""
    folder = tmp_path / "mixed"
    write(folder / "a.png")
    write(folder / "b.jfif", ".jpg")
    write(folder / "c", ".jpg")
    write(folder / "d.gif")
    write(folder / "e.dat", ".webp")
    (folder / "f.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    (folder / "g.bin").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    (folder / "notes.txt").write_text("some words")
    (folder / "clip.mov").write_bytes(b"\0\0\0\x18ftypqt  \0\0\0\0qt      ")
    (folder / "all.zip").write_bytes(b"PK\x03\x04" + bytes(40))
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "._a.png").write_bytes(bytes(99))
    (folder / ".DS_Store").write_bytes(bytes(99))
    return folder


IMAGES = ["a.png", "b.jfif", "c", "d.gif", "e.dat", "f.HEIC", "g.bin"]
OTHERS = {
    "notes.txt (text)",
    "clip.mov (an MP4 or MOV video)",
    "all.zip (a ZIP archive)",
    "sub (a folder)",
    "pipe (a named pipe (FIFO))",
}


def test_content_decides_what_an_image_is_and_other_files_are_named_once(folder):
    lines = []
    assert names(folder, log=lines.append) == IMAGES
    (line,) = lines
    assert line.startswith(f"{folder}: 5 entries are not an image and not read: ")
    assert all(other in line for other in OTHERS)
    assert "DS_Store" not in line
    lines.clear()
    assert names(f"{folder}/*", log=lines.append) == IMAGES
    assert "4 entries are" in lines[0]  # a pattern that matches a folder does not mean it
    assert names(f"{folder}/*.jfif", log=lines.append) == ["b.jfif"]
    assert len(lines) == 1


def test_many_other_files_are_counted(folder):
    for number in range(30):
        (folder / f"x{number}.json").write_text("{}")
    lines = []
    names(folder, log=lines.append)
    assert "35 entries are not an image" in lines[0]
    assert lines[0].endswith("25 more")


def test_a_gif_beside_other_images_is_an_image(folder):
    frames = list(open_source([folder / "a.png", folder / "d.gif"]))
    assert [frame.image.shape for frame in frames] == [IMAGE.shape] * 2


def test_brackets_in_an_existing_path_are_a_path(tmp_path):
    for name in ("a[1]/p.png", "a1/q.png", "a1/img[2].png", "a1/img2.png"):
        write(tmp_path / name)
    assert names(tmp_path / "a[1]") == ["p.png"]
    assert names(f"{tmp_path}/a[1]/*.png") == ["p.png"]
    assert names(f"{tmp_path}/a[1]/**/*") == ["p.png"]
    assert names(tmp_path / "a1/img[2].png") == ["img[2].png"]
    assert names(f"{tmp_path}/[ab]1/*") == ["img2.png", "img[2].png", "q.png"]
    (tmp_path / "list.txt").write_text("a[1]/p.png\na[1]/*.png\n")
    assert [image.name for image in open_source(f"@{tmp_path}/list.txt").images] == ["p.png"]


def test_devices_and_pipes_in_a_list_are_refused_unopened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    write(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png\npipe.png\n/dev/zero\n")
    frames = list(open_source(tmp_path / "list.txt"))
    assert [getattr(frame, "reason", "")[-20:] for frame in frames] == [
        *("", "got a named pipe (FIFO)"[-20:], "got a character device"[-20:])
    ]


def test_unreadable_images_of_a_folder_are_named_with_their_cause(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(simplepose, "load", lambda *_, **__: NoPeoplePredictor())
    assert run_command(demo_image.main, [str(folder), "--no-draw", "--output", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert "5 entries are not an image and not read" in err
    for name in ("f.HEIC", "g.bin"):
        assert f"{name}: the format is HEIC, which OpenCV does not decode here" in err
    assert "2 images could not be read" in out
    assert len(json.loads((tmp_path / "out/frames.json").read_text())["images"]) == len(IMAGES)


def test_the_pixel_limit_is_an_option(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(simplepose, "load", lambda *_, **__: NoPeoplePredictor())
    arguments = [str(write(tmp_path / "a.png")), "--no-draw", "--output", str(tmp_path / "out")]
    assert run_command(demo_image.main, [*arguments, "--max-pixels", "2399"]) == 2
    assert "PNG image of 60 x 40 pixels: expected at most 2,399 pixels" in capsys.readouterr().err
    assert run_command(demo_image.main, [*arguments, "--max-pixels", "2400"]) == 0


def test_the_shared_folder_of_formats_is_read_where_opencv_can(shared):
    folder = shared / "cases/mixed"
    images = {image.name: image.path for image in list_images([folder])}
    assert sorted(images) == ["IMG_1.png", "IMG_2.HEIC", "IMG_3.jfif", "IMG_4.avif", "IMG_5.gif"]
    with pytest.raises(UnreadableImageError, match=r"IMG_2\.HEIC: the format is HEIC"):
        read_image(images.pop("IMG_2.HEIC"))
    for path in images.values():
        assert read_image(path).shape == (480, 640, 3)
    assert read_image(shared / "cases/pics12.png").max() == 255
