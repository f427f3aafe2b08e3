"""Video files as sources: every frame once, in order, at its time; what is cut or no video says so."""

import contextlib
import functools
import os
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from moving_pictures import HEIGHT, WIDTH, ffmpeg, make_video, numbers

from simplepose.frames import BadFrame, Frame
from simplepose.sources import SourceOptions, open_source
from simplepose.sources.video import missing_bytes

COUNT = 60
GRAINY = ["-vf", "noise=alls=30:allf=t", "-q:v", "2"]  # so that frames, not headers, fill the file
SEEKABLE = [
    *GRAINY,
    "-g",
    "12",
    "-bf",
    "2",
    "-movflags",
    "faststart",
]  # the index lies in front: a cut file opens


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """The same 60 frames in several containers, and codecs with frames in another order than shown."""
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "a.mp4", COUNT, *SEEKABLE)
    make_video(folder / "a.avi", COUNT, *GRAINY)
    for name in ("a.mkv", "a.ts", "a.mov"):
        ffmpeg("-i", folder / "a.mp4", "-c", "copy", folder / name)
    ffmpeg("-i", folder / "a.mp4", "-c", "copy", "-bsf:v", "h264_mp4toannexb", folder / "a.h264")
    return folder


def read(path, told=None, **options):
    tell = [].append if told is None else told.append
    with contextlib.closing(open_source(path, SourceOptions(**options), tell)) as source:
        return source, list(source)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.mov", "a.h264"])
def test_every_frame_in_order_at_its_time(videos, name):
    told = []
    source, places = read(videos / name, told)
    assert numbers(places) == list(range(COUNT))
    assert [(place.number, place.name) for place in places] == [(n, name) for n in range(COUNT)]
    np.testing.assert_allclose([place.seconds for place in places], np.arange(COUNT) / 25, atol=1e-3)
    assert source.total == (None if name == "a.h264" else COUNT)
    assert (source.name, source.live, source.frames_per_second) == (name, False, 25)
    assert told == []


@pytest.mark.parametrize("start", [0, 1, 7, 59])
@pytest.mark.parametrize(("every", "most"), [(1, None), (1, 5), (7, None), (7, 2), (100, None), (1, 100)])
def test_start_every_and_max_frames_pick_exactly(videos, start, every, most):
    source, places = read(videos / "a.mp4", start=start, every=every, max_frames=most)
    expected = list(range(start, COUNT, every))[:most]
    assert numbers(places) == expected == [place.number for place in places]
    assert source.total == len(expected)
    assert source.frames_per_second == 25 / every


def test_a_start_beyond_the_end_is_an_error(videos):
    with pytest.raises(ValueError, match="it has 60 frames, none from frame 60 on"):
        read(videos / "a.mkv", start=60)


def test_times_are_the_videos_own_where_frames_are_not_evenly_spaced(videos, tmp_path):
    options = ["-vf", "select=not(between(n\\,5\\,34))", "-fps_mode", "vfr"]
    ffmpeg("-i", videos / "a.mp4", *options, tmp_path / "gap.mp4")
    _, places = read(tmp_path / "gap.mp4")
    kept = [*range(5), *range(35, COUNT)]
    assert numbers(places) == kept
    np.testing.assert_allclose([place.seconds for place in places], np.array(kept) / 25, atol=1e-3)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
def test_a_cut_video_gives_what_decodes_and_then_says_what_is_missing(videos, tmp_path, name, share):
    whole = (videos / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(len(whole) * share)])
    told = []
    _, (*frames, last) = read(path, told)
    shown = numbers(frames)
    assert shown[:10] == list(range(10))
    lost = [place.number for place in frames if isinstance(place, BadFrame)]
    assert len(shown) + len(lost) == len(frames) < COUNT
    assert len(lost) <= 1  # the one that is half there
    assert isinstance(last, BadFrame)
    assert last.number == len(frames)
    missing = f"at least {len(whole) - path.stat().st_size:,} bytes are missing at its end"
    assert f"{missing}; it states 60 frames and ends after {len(frames)}" in last.reason
    assert told == []
    assert all(isinstance(place, Frame) for place in read(path, max_frames=5)[1])


def damage(path, frames):
    """Give these frames of an mp4 of one track, of which no frame needs another, a length that none has."""
    film = bytearray(path.read_bytes())
    table, chunks = film.index(b"stsz") + 4, film.index(b"stco") + 4
    sizes = np.frombuffer(film, ">u4", COUNT, table + 12)
    first = int.from_bytes(film[chunks + 8 : chunks + 12], "big")
    for frame in frames:
        place = first + int(sizes[:frame].sum())
        film[place : place + 4] = b"\x7f\xff\xff\xff"
    path.write_bytes(film)


@pytest.mark.parametrize("lost", [[], [1], [7, 20, 21, 22], [0], [0, 1, 30], [59], [58, 59]])
def test_a_damaged_frame_is_told_and_the_rest_goes_on(tmp_path, lost):
    """FFmpeg ends at each, as it does at the end."""
    path = make_video(tmp_path / "a.mp4", COUNT, "-g", "1")
    damage(path, lost)
    told = []
    _, places = read(path, told)
    good = [number for number in range(COUNT) if number not in lost]
    assert numbers(places) == good
    ends = len(lost) if COUNT - 1 in lost else 0  # as if it had fewer frames
    assert [place.number for place in places] == list(range(COUNT - ends))
    assert [place.number for place in places if isinstance(place, BadFrame)] == lost[: len(lost) - ends]
    assert told == []
    _, few = read(path, start=6, every=7, max_frames=3)
    assert [place.number for place in few] == [6, 13, 20]
    assert numbers(few) == [number for number in (6, 13, 20) if number in good]


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_cut_video_that_lost_its_index_is_an_error_at_the_door(videos, tmp_path, share):
    whole = (videos / "a.mov").read_bytes()
    (tmp_path / "a.mov").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"no frame of a video.*cut off: at least [\d,]+ bytes are missing"):
        open_source(tmp_path / "a.mov")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_missing_bytes_are_exact(videos, tmp_path, name):
    whole = (videos / name).read_bytes()
    path = tmp_path / name
    for kept in np.linspace(len(whole) // 2, len(whole), 20, dtype=int).tolist():
        path.write_bytes(whole[:kept])
        assert missing_bytes(path) == len(whole) - kept
    for appended in (b"\0" * 100, b"\xff" * 100):
        path.write_bytes(whole + appended)
        assert missing_bytes(path) == 0
    for kept in range(0, 300, 3):  # in the middle of headers, whatever it finds
        path.write_bytes(whole[:kept])
        assert 0 <= missing_bytes(path) <= len(whole) - kept


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"text\n" * 40, b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x01\xff"]
)
def test_missing_bytes_of_what_is_no_video_are_none(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert missing_bytes(tmp_path / "a") == 0


def test_fewer_frames_than_stated_in_a_whole_file_are_told_and_no_fault(videos, tmp_path):
    ffmpeg("-i", videos / "a.mp4", "-f", "lavfi", "-i", "sine=duration=5", "-c:v", "copy", tmp_path / "a.mkv")
    told = []
    _, places = read(tmp_path / "a.mkv", told)
    assert numbers(places) == list(range(COUNT))
    (line,) = told
    assert "frames and ends after 60" in line


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.mp4", b"not a video at all\n" * 9),
        ("text.mkv", b"not a video at all\n" * 9),
        ("text.gif", b"not a video at all\n" * 9),
        ("noise.avi", np.random.default_rng(0).bytes(9000)),
    ],
)
def test_what_is_no_video_is_an_error_at_the_door(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}: no frame of a video in these {len(content):,} bytes"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("name", ["none.mp4", "none.avi", "none.mkv"])
def test_a_video_without_frames_is_an_error_at_the_door(tmp_path, name):
    ffmpeg("-f", "lavfi", "-i", "testsrc", "-frames:v", "0", "-c:v", "mpeg4", tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}: no frame of a video"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("size", ["33x21", "321x2", "1x1"])
def test_one_frame_of_an_odd_size(tmp_path, size):
    ffmpeg("-f", "lavfi", "-i", f"testsrc=size={size}", "-frames:v", "1", "-c:v", "ffv1", tmp_path / "a.mkv")
    source, (frame,) = read(tmp_path / "a.mkv")
    width, height = map(int, size.split("x"))
    assert frame.image.shape == (height, width, 3)
    assert source.total in (1, None)


def test_rotation_is_applied_or_left_as_asked(videos, tmp_path):
    ffmpeg("-display_rotation", "-90", "-i", videos / "a.mp4", "-c", "copy", tmp_path / "turned.mp4")
    stored = read(videos / "a.mp4")[1][5].image
    turned = read(tmp_path / "turned.mp4")[1][5].image
    kept = read(tmp_path / "turned.mp4", upright=False)[1][5].image
    assert turned.shape == (WIDTH, HEIGHT, 3)
    assert np.abs(np.rot90(stored, -1).astype(int) - turned).max() < 9
    assert np.array_equal(kept, stored)


@pytest.mark.parametrize("name", [b"caf\xe9 \xff.mp4", b"a:b.mp4", b"rtsp:x.mp4", b"%03d.mp4", b"a[1]*.MP4"])
def test_names_of_any_kind(videos, tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    shutil.copy(videos / "a.mp4", path)
    _, places = read(path)
    assert numbers(places) == list(range(COUNT))
    assert os.fsencode(places[0].name) == name


def test_a_relative_name_and_one_that_is_missing(videos, monkeypatch):
    monkeypatch.chdir(videos)
    assert len(read("a.mp4")[1]) == COUNT
    with pytest.raises(FileNotFoundError, match=r"b\.mp4: no such video file"):
        open_source("b.mp4")


def test_closing_from_another_thread_ends_it_without_a_fault(videos):
    source = open_source(videos / "a.mp4")
    places = []
    for place in source:
        places.append(place)
        if len(places) == 3:
            closer = threading.Thread(target=source.close)
            closer.start()
            closer.join()
    assert numbers(places) == [0, 1, 2]
    source.close()
    assert list(source) == []


def test_a_video_at_a_web_address_is_read_whole(videos):
    handler = functools.partial(SimpleHTTPRequestHandler, directory=videos)
    handler.log_message = None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            source, places = read(f"http://127.0.0.1:{server.server_port}/a.mp4?user=me")
            with pytest.raises(ValueError, match=r"none\.mp4: no video"):
                open_source(f"http://127.0.0.1:{server.server_port}/none.mp4")
        finally:
            server.shutdown()
    assert (source.name, source.live) == ("a.mp4", False)
    assert numbers(places) == list(range(COUNT))
