"""The door to frames: what a text means; and pictures as a source of frames."""

import itertools
import os
import threading
import weakref

import cv2
import numpy as np
import pytest

from simplepose.frames import BadFrame, Frame
from simplepose.sources import PictureSource, SourceOptions, images, open_source
from simplepose.sources.captures import file_name, is_address, is_download, shown
from simplepose.sources.images import listed

GREY = {"a": 10, "b": 20, "c": 30, "d": 40, "e": 50}


@pytest.fixture
def folder(tmp_path):
    """Five pictures, each of one grey."""
    for name, grey in GREY.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((4, 6, 3), grey, np.uint8))
    return tmp_path


def greys(source):
    return [int(place.image[0, 0, 0]) if isinstance(place, Frame) else None for place in source]


def test_a_picture_a_folder_a_pattern_and_several_of_them(folder, monkeypatch):
    assert greys(open_source(folder / "c.png")) == [30]
    assert greys(open_source(str(folder))) == [10, 20, 30, 40, 50]
    assert greys(open_source(f"{folder}/[bd].png")) == [20, 40]
    assert greys(open_source([folder / "e.png", f"{folder}/[ab]*"])) == [50, 10, 20]
    monkeypatch.chdir(folder)
    assert greys(open_source("**")) == [10, 20, 30, 40, 50]


def test_frames_know_their_place_and_file(folder):
    source = open_source(folder)
    assert (source.total, source.live, source.frames_per_second) == (5, False, None)
    for number, (frame, name) in enumerate(zip(source, GREY, strict=True)):
        assert (frame.number, frame.name, frame.path) == (number, f"{name}.png", folder / f"{name}.png")
        assert frame.image.shape == (4, 6, 3)
        assert frame.seconds == 0


def test_the_same_name_in_two_folders_is_told_apart(folder):
    for sub in "xy":
        (folder / sub).mkdir()
        cv2.imwrite(str(folder / sub / "a.png"), np.zeros((2, 2), np.uint8))
    names = [place.name for place in open_source([folder / "x", folder / "y", folder / "b.png"])]
    assert names == [f"{folder}/x/a.png", f"{folder}/y/a.png", "b.png"]


def test_bad_pictures_among_good_ones_are_told_and_none_is_dropped(folder):
    whole = cv2.imencode(".jpg", np.full((40, 60, 3), 90, np.uint8))[1].tobytes()
    (folder / "b1.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "c1.jpg").write_text("a text named jpg")
    (folder / "d1.png").write_bytes(b"")
    source = open_source([folder, folder / "missing.png"])
    places = list(source)
    assert greys(places) == [10, 20, None, 30, None, 40, None, 50, None]
    assert source.total == len(places)
    assert [place.number for place in places] == list(range(9))
    bad = [place for place in places if isinstance(place, BadFrame)]
    assert [place.name for place in bad] == ["b1.jpg", "c1.jpg", "d1.png", "missing.png"]
    assert all(place.name in place.reason and "\n" not in place.reason for place in bad)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (4, 6, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_deep_grey_and_transparent_pictures_give_bgr_bytes(tmp_path, shape, dtype):
    cv2.imwrite(str(tmp_path / "a.png"), np.full(shape, 70 * (257 if dtype == np.uint16 else 1), dtype))
    (frame,) = open_source(tmp_path)
    assert frame.image.dtype == np.uint8
    assert np.array_equal(frame.image, np.full((4, 6, 3), 70, np.uint8))


def test_a_name_that_is_not_utf8(folder):
    name = os.fsdecode(b"caf\xe9 \xff.png")
    os.rename(folder / "c.png", folder / name)
    assert greys(open_source(folder / name)) == [30]
    assert sorted(greys(open_source(folder))) == [10, 20, 30, 40, 50]
    (folder / "list").write_bytes(b"a.png\ncaf\xe9 \xff.png\n")
    assert [place.name for place in open_source(f"@{folder}/list")] == ["a.png", name]


@pytest.mark.parametrize("start", [0, 1, 4])
@pytest.mark.parametrize(("every", "most"), [(1, None), (2, None), (3, 1), (1, 9), (9, None)])
def test_start_every_and_max_frames_pick_pictures(folder, start, every, most):
    source = open_source(folder, SourceOptions(start=start, every=every, max_frames=most))
    places = list(source)
    assert [place.number for place in places] == list(range(start, 5, every))[:most]
    assert source.total == len(places)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_share_a_list_by_start_and_every(folder, world):
    shares = [greys(open_source(folder, SourceOptions(start=rank, every=world))) for rank in range(world)]
    assert sorted(itertools.chain(*shares)) == [10, 20, 30, 40, 50]


def test_it_holds_one_picture_and_can_be_closed(folder):
    source = PictureSource(images([folder]))
    for frame in source:
        kept = weakref.ref(frame.image)
        number = frame.number
        del frame
        assert kept() is None
        if number == 2:
            closer = threading.Thread(target=source.close)
            closer.start()
            closer.join()
    assert number == 2


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_text_list_is_relative_to_its_folder(folder, monkeypatch, ending, start):
    (folder / "lists").mkdir()
    path = folder / "lists/some.txt"
    path.write_text(start + ending.join(["../c.png", "", "../[de].png", str(folder / "a.png")]), newline="")
    monkeypatch.chdir("/")
    for text in (path, f"@{path}"):
        assert greys(open_source(text)) == [30, 40, 50, 10]
    assert greys(open_source([folder / "b.png", path])) == [20, 30, 40, 50, 10]


def test_lines_of_a_list_are_names_and_no_comments(tmp_path):
    (tmp_path / "list").write_text("#1.png\n with spaces .png \nx\u2028y.png\n")
    assert listed(tmp_path / "list") == [
        tmp_path / n for n in ("#1.png", " with spaces .png ", "x\u2028y.png")
    ]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such text file"),
        (lambda path: path.write_text("\n \n"), "the list is empty"),
        (lambda path: path.write_bytes(b"\x89PNG\0\0"), "this is no text file"),
        (lambda path: path.mkdir(), "no such text file"),
        (lambda path: path.write_text("gone.png"), "gone.png: No such file"),
    ],
)
def test_lists_that_are_none(tmp_path, make, said):
    make(tmp_path / "list.txt")
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        open_source(f"@{tmp_path}/list.txt")


def test_where_there_is_nothing_the_door_says_so(folder):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no picture in this folder"):
        open_source(folder / "empty")
    for text in ("gone.png", "gone", "*.webp", "*.mp4", "gone.txt"):
        with pytest.raises(FileNotFoundError, match="No such file"):
            open_source(f"{folder}/{text}")
    with pytest.raises(ValueError, match="no source"):
        open_source([])
    with pytest.raises(ValueError, match="start 5 leaves none of the 5 pictures"):
        open_source(folder, SourceOptions(start=5))


@pytest.mark.parametrize("text", ["-", "0", "rtsp://x/y", "http://x/y.mp4", "a.mp4", "/dev/null"])
def test_only_pictures_mix(folder, text):
    with pytest.raises(ValueError, match=f"{text}: this is read alone, but 2 sources are given"):
        open_source([folder, text])


def test_a_folder_named_like_something_else_is_reached_by_its_path(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("0", "@x", "clip.mp4"):
        os.mkdir(name)
        cv2.imwrite(f"{name}/p.png", np.full((2, 2), 99, np.uint8))
        assert greys(open_source(f"./{name}")) == [99]


def test_addresses():
    assert is_address("RTSP://host/x")
    assert not is_address("a:b/c.png")
    for unknown in ("file:///a.png", "ftp://host/a.mp4", "C://x"):
        with pytest.raises(ValueError, match="a path, or an address by rtsp"):
            is_address(unknown)
    assert is_download("https://host/a/clip.MP4?token=1")
    for stream in ("http://host/video.mjpg", "http://host/", "rtsp://host/a.mp4", "https://host/live.m3u8"):
        assert not is_download(stream)
    assert shown("rtsp://me:pass@host:554/a?key=1#2") == "rtsp://host:554/a"
    assert file_name("http://host/a/clip.mp4?x=/y") == "clip.mp4"


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": -1},
        {"every": 0},
        {"max_frames": 0},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"reconnect_attempts": -1},
        {"reconnect_wait": -0.1},
        {"raw_size": (0, 5)},
        {"raw_fps": 0},
    ],
)
def test_options_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} (of at least|above)"):
        SourceOptions(**wrong)
