"""`open_source`: the meaning of source names; images as a source of frames."""

import itertools
import os
import threading
import weakref

import cv2
import numpy as np
import pytest

from simplepose.frames import BadFrame, Frame
from simplepose.sources import ImageSource, SourceOptions, list_images, open_source
from simplepose.sources.captures import is_url, is_video_url, redact_url, url_file_name
from simplepose.sources.images import read_image_list

GRAY_LEVELS = {"a": 10, "b": 20, "c": 30, "d": 40, "e": 50}


@pytest.fixture
def folder(tmp_path):
    """Write five images, each with one gray level."""
    for name, gray in GRAY_LEVELS.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((4, 6, 3), gray, np.uint8))
    return tmp_path


def gray_levels(source):
    return [int(frame.image[0, 0, 0]) if isinstance(frame, Frame) else None for frame in source]


def test_sources_are_images_folders_patterns_and_lists_of_these(folder, monkeypatch):
    assert gray_levels(open_source(folder / "c.png")) == [30]
    assert gray_levels(open_source(str(folder))) == [10, 20, 30, 40, 50]
    assert gray_levels(open_source(f"{folder}/[bd].png")) == [20, 40]
    assert gray_levels(open_source([folder / "e.png", f"{folder}/[ab]*"])) == [50, 10, 20]
    monkeypatch.chdir(folder)
    assert gray_levels(open_source("**")) == [10, 20, 30, 40, 50]


def test_frames_have_their_number_and_file(folder):
    source = open_source(folder)
    assert (source.total, source.live, source.frames_per_second) == (5, False, None)
    for number, (frame, name) in enumerate(zip(source, GRAY_LEVELS, strict=True)):
        assert (frame.number, frame.name, frame.path) == (number, f"{name}.png", folder / f"{name}.png")
        assert frame.image.shape == (4, 6, 3)
        assert frame.seconds == 0


def test_images_with_the_same_name_are_named_by_their_path(folder):
    for sub in "xy":
        (folder / sub).mkdir()
        cv2.imwrite(str(folder / sub / "a.png"), np.zeros((2, 2), np.uint8))
    names = [frame.name for frame in open_source([folder / "x", folder / "y", folder / "b.png"])]
    assert names == [f"{folder}/x/a.png", f"{folder}/y/a.png", "b.png"]


def test_unreadable_images_are_bad_frames_in_their_place(folder):
    whole = cv2.imencode(".jpg", np.full((40, 60, 3), 90, np.uint8))[1].tobytes()
    (folder / "b1.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "c1.jpg").write_text("a text named jpg")
    (folder / "d1.png").write_bytes(b"")
    source = open_source([folder, folder / "missing.png"])
    frames = list(source)
    assert gray_levels(frames) == [10, 20, None, 30, None, 40, None, 50, None]
    assert source.total == len(frames)
    assert [frame.number for frame in frames] == list(range(9))
    bad = [frame for frame in frames if isinstance(frame, BadFrame)]
    assert [frame.name for frame in bad] == ["b1.jpg", "c1.jpg", "d1.png", "missing.png"]
    assert all(frame.name in frame.reason and "\n" not in frame.reason for frame in bad)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (4, 6, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_16_bit_gray_and_transparent_images_become_bgr_bytes(tmp_path, shape, dtype):
    cv2.imwrite(str(tmp_path / "a.png"), np.full(shape, 70 * (257 if dtype == np.uint16 else 1), dtype))
    (frame,) = open_source(tmp_path)
    assert frame.image.dtype == np.uint8
    assert np.array_equal(frame.image, np.full((4, 6, 3), 70, np.uint8))


def test_names_that_are_not_utf8_can_be_read(folder):
    name = os.fsdecode(b"caf\xe9 \xff.png")
    os.rename(folder / "c.png", folder / name)
    assert gray_levels(open_source(folder / name)) == [30]
    assert sorted(gray_levels(open_source(folder))) == [10, 20, 30, 40, 50]
    (folder / "list").write_bytes(b"a.png\ncaf\xe9 \xff.png\n")
    assert [frame.name for frame in open_source(f"@{folder}/list")] == ["a.png", name]


@pytest.mark.parametrize("start", [0, 1, 4])
@pytest.mark.parametrize(("every", "max_frames"), [(1, None), (2, None), (3, 1), (1, 9), (9, None)])
def test_start_every_and_max_frames_select_images(folder, start, every, max_frames):
    source = open_source(folder, SourceOptions(start=start, every=every, max_frames=max_frames))
    frames = list(source)
    assert [frame.number for frame in frames] == list(range(start, 5, every))[:max_frames]
    assert source.total == len(frames)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_share_a_list_by_start_and_every(folder, world):
    shares = [
        gray_levels(open_source(folder, SourceOptions(start=rank, every=world))) for rank in range(world)
    ]
    assert sorted(itertools.chain(*shares)) == [10, 20, 30, 40, 50]


def test_image_source_keeps_one_image_and_can_be_closed(folder):
    source = ImageSource(list_images([folder]))
    for frame in source:
        reference = weakref.ref(frame.image)
        number = frame.number
        del frame
        assert reference() is None
        if number == 2:
            closer = threading.Thread(target=source.close)
            closer.start()
            closer.join()
    assert number == 2


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_paths_in_a_text_list_are_relative_to_its_folder(folder, monkeypatch, ending, start):
    (folder / "lists").mkdir()
    path = folder / "lists/some.txt"
    path.write_text(start + ending.join(["../c.png", "", "../[de].png", str(folder / "a.png")]), newline="")
    monkeypatch.chdir("/")
    for text in (path, f"@{path}"):
        assert gray_levels(open_source(text)) == [30, 40, 50, 10]
    assert gray_levels(open_source([folder / "b.png", path])) == [20, 30, 40, 50, 10]


def test_lines_of_a_text_list_are_never_comments(tmp_path):
    (tmp_path / "list").write_text("#1.png\n with spaces .png \nx\u2028y.png\n")
    assert read_image_list(tmp_path / "list") == [
        tmp_path / n for n in ("#1.png", " with spaces .png ", "x\u2028y.png")
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such text file"),
        (lambda path: path.write_text("\n \n"), "the list is empty"),
        (lambda path: path.write_bytes(b"\x89PNG\0\0"), "not a text file"),
        (lambda path: path.mkdir(), "no such text file"),
        (lambda path: path.write_text("gone.png"), "gone.png: No such file"),
    ],
)
def test_invalid_text_lists_are_rejected(tmp_path, make, message):
    make(tmp_path / "list.txt")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_source(f"@{tmp_path}/list.txt")


def test_missing_sources_are_rejected(folder):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no image in this folder"):
        open_source(folder / "empty")
    for text in ("gone.png", "gone", "*.webp", "*.mp4", "gone.txt"):
        with pytest.raises(FileNotFoundError, match="No such file"):
            open_source(f"{folder}/{text}")
    with pytest.raises(ValueError, match="source: expected an image"):
        open_source([])
    with pytest.raises(ValueError, match=r"start: expected a value < 5 \(number of images\), got 5"):
        open_source(folder, SourceOptions(start=5))


@pytest.mark.parametrize("text", ["-", "0", "rtsp://x/y", "http://x/y.mp4", "a.mp4", "/dev/null"])
def test_only_images_can_be_combined(folder, text):
    with pytest.raises(ValueError, match=f"{text}: expected the only source, got 2 sources"):
        open_source([folder, text])


def test_a_folder_named_like_another_source_is_opened_by_its_path(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("0", "@x", "clip.mp4"):
        os.mkdir(name)
        cv2.imwrite(f"{name}/p.png", np.full((2, 2), 99, np.uint8))
        assert gray_levels(open_source(f"./{name}")) == [99]


def test_urls():
    assert is_url("RTSP://host/x")
    assert not is_url("a:b/c.png")
    for unsupported in ("file:///a.png", "ftp://host/a.mp4", "C://x"):
        with pytest.raises(ValueError, match="expected a path, or a URL with one of rtsp"):
            is_url(unsupported)
    assert is_video_url("https://host/a/clip.MP4?token=1")
    for stream in ("http://host/video.mjpg", "http://host/", "rtsp://host/a.mp4", "https://host/live.m3u8"):
        assert not is_video_url(stream)
    assert redact_url("rtsp://me:pass@host:554/a?key=1#2") == "rtsp://host:554/a"
    assert url_file_name("http://host/a/clip.mp4?x=/y") == "clip.mp4"


@pytest.mark.parametrize(
    "invalid",
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
def test_invalid_options_are_rejected(invalid):
    with pytest.raises(ValueError, match=f"{next(iter(invalid))}: expected"):
        SourceOptions(**invalid)
