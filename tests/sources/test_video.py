"""Video files: every frame once, in order, with its time; errors for truncated files and other data."""

import contextlib
import functools
import os
import shutil
import signal
import socket
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from numbered_videos import HEIGHT, WIDTH, ffmpeg, make_video, read_numbers

from simplepose.frames import BadFrame, Frame
from simplepose.sources import ImageSource, SourceOptions, open_source
from simplepose.sources.containers import missing_bytes, sniff
from simplepose.sources.video import estimate_frame_rate

COUNT = 60
GRAINY = ["-vf", "noise=alls=30:allf=t", "-q:v", "2"]  # so that frames, not headers, fill the file
# With the index at the front, a truncated file can be opened.
SEEKABLE = [*GRAINY, "-g", "12", "-bf", "2", "-movflags", "faststart"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Make videos of the same 60 frames in several containers, with codecs that store frames out of order."""
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "a.mp4", COUNT, *SEEKABLE)
    make_video(folder / "a.avi", COUNT, *GRAINY)
    for name in ("a.mkv", "a.ts", "a.mov"):
        ffmpeg("-i", folder / "a.mp4", "-c", "copy", folder / name)
    ffmpeg("-i", folder / "a.mp4", "-c", "copy", "-bsf:v", "h264_mp4toannexb", folder / "a.h264")
    return folder


def read_source(path, messages=None, **options):
    log = [].append if messages is None else messages.append
    with contextlib.closing(open_source(path, SourceOptions(**options), log)) as source:
        return source, list(source)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.mov", "a.h264"])
def test_every_frame_is_read_in_order_with_its_time(videos, name):
    messages = []
    source, frames = read_source(videos / name, messages)
    assert read_numbers(frames) == list(range(COUNT))
    assert [(frame.number, frame.name) for frame in frames] == [(n, name) for n in range(COUNT)]
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(COUNT) / 25, atol=1e-3)
    assert source.total == (None if name == "a.h264" else COUNT)
    assert (source.name, source.live, source.frames_per_second) == (name, False, 25)
    assert messages == []


@pytest.mark.parametrize("start", [0, 1, 7, 59])
@pytest.mark.parametrize(
    ("every", "max_frames"), [(1, None), (1, 5), (7, None), (7, 2), (100, None), (1, 100)]
)
def test_start_every_and_max_frames_select_exactly(videos, start, every, max_frames):
    source, frames = read_source(videos / "a.mp4", start=start, every=every, max_frames=max_frames)
    expected = list(range(start, COUNT, every))[:max_frames]
    assert read_numbers(frames) == expected == [frame.number for frame in frames]
    assert source.total == len(expected)
    assert source.frames_per_second == 25 / every


def test_a_start_beyond_the_end_is_an_error(videos):
    with pytest.raises(ValueError, match="expected more than 60 frames, got 60"):
        read_source(videos / "a.mkv", start=60)


def test_times_of_unevenly_spaced_frames_are_the_videos_own(videos, tmp_path):
    options = ["-vf", "select=not(between(n\\,5\\,34))", "-fps_mode", "vfr"]
    ffmpeg("-i", videos / "a.mp4", *options, tmp_path / "gap.mp4")
    _, frames = read_source(tmp_path / "gap.mp4")
    kept = [*range(5), *range(35, COUNT)]
    assert read_numbers(frames) == kept
    np.testing.assert_allclose([frame.seconds for frame in frames], np.array(kept) / 25, atol=1e-3)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize("fraction", [0.5, 0.7, 0.95])
def test_a_truncated_video_gives_its_frames_and_reports_the_missing_bytes(videos, tmp_path, name, fraction):
    whole = (videos / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(len(whole) * fraction)])
    messages = []
    _, (*frames, last) = read_source(path, messages)
    numbers = read_numbers(frames)
    assert numbers[:10] == list(range(10))
    lost = [frame.number for frame in frames if isinstance(frame, BadFrame)]
    assert len(numbers) + len(lost) == len(frames) < COUNT
    assert len(lost) <= 1  # the incomplete one
    assert isinstance(last, BadFrame)
    assert last.number == len(frames)
    missing = f"at least {len(whole) - path.stat().st_size:,} bytes are missing at its end"
    assert f"{missing}; it states 60 frames and ends after {len(frames)}" in last.reason
    assert messages == []
    assert all(isinstance(frame, Frame) for frame in read_source(path, max_frames=5)[1])


def damage(path, frames):
    """Overwrite the lengths of these frames in an mp4 with one track and only key frames."""
    video = bytearray(path.read_bytes())
    table, chunks = video.index(b"stsz") + 4, video.index(b"stco") + 4
    sizes = np.frombuffer(video, ">u4", COUNT, table + 12)
    first = int.from_bytes(video[chunks + 8 : chunks + 12], "big")
    for frame in frames:
        offset = first + int(sizes[:frame].sum())
        video[offset : offset + 4] = b"\x7f\xff\xff\xff"
    path.write_bytes(video)


@pytest.mark.parametrize("lost", [[], [1], [7, 20, 21, 22], [0], [0, 1, 30], [59], [58, 59]])
def test_a_damaged_frame_is_a_bad_frame_and_the_others_are_read(tmp_path, lost):
    """FFmpeg reports a damaged frame in the same way as the end of the video."""
    path = make_video(tmp_path / "a.mp4", COUNT, "-g", "1")
    damage(path, lost)
    messages = []
    _, frames = read_source(path, messages)
    good = [number for number in range(COUNT) if number not in lost]
    assert read_numbers(frames) == good
    ends = len(lost) if COUNT - 1 in lost else 0  # as in a video with fewer frames
    assert [frame.number for frame in frames] == list(range(COUNT - ends))
    assert [frame.number for frame in frames if isinstance(frame, BadFrame)] == lost[: len(lost) - ends]
    assert messages == []
    _, few = read_source(path, start=6, every=7, max_frames=3)
    assert [frame.number for frame in few] == [6, 13, 20]
    assert read_numbers(few) == [number for number in (6, 13, 20) if number in good]


@pytest.mark.parametrize("fraction", [0.5, 0.95])
def test_a_truncated_video_without_its_index_is_an_error_on_opening(videos, tmp_path, fraction):
    whole = (videos / "a.mov").read_bytes()
    (tmp_path / "a.mov").write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(ValueError, match=r"no video frame.*truncated: at least [\d,]+ bytes are missing"):
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
    for kept in range(0, 300, 3):  # also within headers
        path.write_bytes(whole[:kept])
        assert 0 <= missing_bytes(path) <= len(whole) - kept


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"text\n" * 40, b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x01\xff"]
)
def test_no_bytes_are_missing_in_files_that_are_not_videos(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert missing_bytes(tmp_path / "a") == 0


def test_fewer_frames_than_stated_in_a_complete_file_are_only_logged(videos, tmp_path):
    ffmpeg("-i", videos / "a.mp4", "-f", "lavfi", "-i", "sine=duration=5", "-c:v", "copy", tmp_path / "a.mkv")
    messages = []
    _, frames = read_source(tmp_path / "a.mkv", messages)
    assert read_numbers(frames) == list(range(COUNT))
    (line,) = messages
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
def test_a_file_that_is_not_a_video_is_an_error_on_opening(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}: no video frame in these {len(content):,} bytes"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("name", ["none.mp4", "none.avi", "none.mkv"])
def test_a_video_without_frames_is_an_error_on_opening(tmp_path, name):
    ffmpeg("-f", "lavfi", "-i", "testsrc", "-frames:v", "0", "-c:v", "mpeg4", tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}: no video frame"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("size", ["33x21", "321x2", "1x1"])
def test_a_video_with_one_frame_of_an_odd_size(tmp_path, size):
    ffmpeg("-f", "lavfi", "-i", f"testsrc=size={size}", "-frames:v", "1", "-c:v", "ffv1", tmp_path / "a.mkv")
    source, (frame,) = read_source(tmp_path / "a.mkv")
    width, height = map(int, size.split("x"))
    assert frame.image.shape == (height, width, 3)
    assert source.total in (1, None)


def test_rotation_is_applied_only_if_upright(videos, tmp_path):
    ffmpeg("-display_rotation", "-90", "-i", videos / "a.mp4", "-c", "copy", tmp_path / "rotated.mp4")
    original = read_source(videos / "a.mp4")[1][5].image
    rotated = read_source(tmp_path / "rotated.mp4")[1][5].image
    not_rotated = read_source(tmp_path / "rotated.mp4", upright=False)[1][5].image
    assert rotated.shape == (WIDTH, HEIGHT, 3)
    assert np.abs(np.rot90(original, -1).astype(int) - rotated).max() < 9
    assert np.array_equal(not_rotated, original)


@pytest.mark.parametrize("name", [b"caf\xe9 \xff.mp4", b"a:b.mp4", b"rtsp:x.mp4", b"%03d.mp4", b"a[1]*.MP4"])
def test_videos_with_unusual_names_are_read(videos, tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    shutil.copy(videos / "a.mp4", path)
    _, frames = read_source(path)
    assert read_numbers(frames) == list(range(COUNT))
    assert os.fsencode(frames[0].name) == name


def test_relative_and_missing_paths(videos, monkeypatch):
    monkeypatch.chdir(videos)
    assert len(read_source("a.mp4")[1]) == COUNT
    with pytest.raises(FileNotFoundError, match=r"b\.mp4: no such video file"):
        open_source("b.mp4")


def test_closing_from_another_thread_ends_the_iteration_without_an_error(videos):
    source = open_source(videos / "a.mp4")
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == 3:
            closer = threading.Thread(target=source.close)
            closer.start()
            closer.join()
    assert read_numbers(frames) == [0, 1, 2]
    source.close()
    assert list(source) == []


def test_a_video_url_is_read_completely(videos):
    handler = functools.partial(SimpleHTTPRequestHandler, directory=videos)
    handler.log_message = None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            source, frames = read_source(f"http://127.0.0.1:{server.server_port}/a.mp4?user=me")
            with pytest.raises(ValueError, match=r"none\.mp4: expected the URL of a video file"):
                open_source(f"http://127.0.0.1:{server.server_port}/none.mp4")
        finally:
            server.shutdown()
    assert (source.name, source.live) == ("a.mp4", False)
    assert read_numbers(frames) == list(range(COUNT))


def make_uneven_video(path, frame_seconds, *options):
    """Write a video whose frames have these times; they stay exact in milliseconds."""
    expression = "+".join(f"eq(N\\,{n})*{seconds}" for n, seconds in enumerate(frame_seconds))
    times = ["-vf", f"settb=1/1000,setpts=({expression})/TB", "-fps_mode", "vfr"]
    times += ["-enc_time_base", "1:1000"]
    return make_video(path, len(frame_seconds), *times, *options)


UNEVEN = [*(n / 10 for n in range(10)), *(1 + n / 2 for n in range(10))]
JITTER = np.cumsum([0, *[0.043, 0.043, 0.018, 0.043, 0.018] * 4]).round(3).tolist()


@pytest.mark.parametrize(("seconds", "rate"), [(UNEVEN, 10), (JITTER, 30.3)])
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_times_of_frames_outrank_the_stated_rate(tmp_path, name, seconds, rate):
    source, frames = read_source(make_uneven_video(tmp_path / name, seconds))
    np.testing.assert_allclose([frame.seconds for frame in frames], seconds, atol=2e-3)
    assert source.frames_per_second == pytest.approx(rate, rel=0.03)


@pytest.mark.parametrize("stated", [0, -1, 26.67, 1000, float("nan"), 1e9])
def test_a_wrong_stated_rate_is_not_believed(stated):
    times = np.arange(40) / 10
    assert estimate_frame_rate(times, stated) == pytest.approx(10)
    assert estimate_frame_rate(times, 10.1) == 10.1  # within rounding: the stated rate is exact
    believed = stated if 0 < stated <= 1000 else None
    for unusable in (np.zeros(0), np.zeros(1), np.zeros(40)):
        assert estimate_frame_rate(unusable, stated) == believed


def test_a_start_offset_is_not_part_of_the_video(videos, tmp_path):
    ffmpeg("-i", videos / "a.mp4", "-c", "copy", "-output_ts_offset", "5", tmp_path / "a.mkv")
    messages = []
    _, frames = read_source(tmp_path / "a.mkv", messages)
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(COUNT) / 25, atol=1e-3)
    assert messages == []


def test_joined_recordings_have_one_clock(videos, tmp_path):
    """The times start again in the middle of the file."""
    content = (videos / "a.ts").read_bytes()
    (tmp_path / "a.ts").write_bytes(content + content)
    _, frames = read_source(tmp_path / "a.ts")
    steps = np.diff([frame.seconds for frame in frames])
    assert len(frames) > COUNT
    assert 0 < steps.min() <= steps.max() < 1


def test_a_video_with_all_stated_frames_is_complete_without_its_index(videos, tmp_path):
    content = (videos / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(content[: content.rindex(b"idx1") + 8])
    messages = []
    _, frames = read_source(tmp_path / "a.avi", messages)
    assert read_numbers(frames) == list(range(COUNT)) == [frame.number for frame in frames]
    assert missing_bytes(tmp_path / "a.avi") > 0
    assert messages == []


def test_a_video_of_uneven_rate_states_no_missing_frames(tmp_path):
    """Matroska states no number of frames, only the duration."""
    messages = []
    read_source(make_uneven_video(tmp_path / "a.mkv", UNEVEN), messages)
    assert messages == []


@pytest.mark.parametrize("name", ["a.insv", "a.lrv", "a", "a.jpg", "a.txt"])
@pytest.mark.parametrize("original", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.mov"])
def test_content_decides_what_is_a_video(videos, tmp_path, original, name):
    shutil.copy(videos / original, tmp_path / name)
    assert read_numbers(read_source(tmp_path / name)[1]) == list(range(COUNT))


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tif"])
def test_an_image_with_the_extension_of_a_video_is_an_image(tmp_path, extension):
    (tmp_path / "a.mp4").write_bytes(cv2.imencode(extension, np.zeros((4, 6, 3), np.uint8))[1].tobytes())
    source, (frame,) = read_source(tmp_path / "a.mp4")
    assert isinstance(source, ImageSource)
    assert frame.image.shape == (4, 6, 3)


def test_text_that_looks_like_a_header_is_not_a_video(tmp_path):
    for text in (b"the free one.png\n", b"ftyp", b"RIFF", b"Good\n" * 400):
        (tmp_path / "a.txt").write_bytes(text)
        assert sniff(tmp_path / "a.txt") is None


def without_box(content, box):
    """Hide a box of an mp4 from its readers."""
    return content.replace(box, b"none")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path, video: path.write_bytes(b""), "the file is empty"),
        (lambda path, video: path.write_text("text\n" * 9), "it is a text file"),
        (
            lambda path, video: path.write_bytes(without_box(video, b"moov")),
            "its index .moov box. is missing",
        ),
        (lambda path, video: path.write_bytes(video[:500]), r"truncated: at least [\d,]+ bytes are missing"),
        (lambda path, video: ffmpeg(*SOUND, path), "it has sound but no video"),
        (lambda path, video: ffmpeg(*SOUND, "-f", "matroska", path), "it has sound but no video"),
        (lambda path, video: ffmpeg(*SOUND, "-f", "wav", path), "it has sound but no video"),
        (lambda path, video: ffmpeg(*SOUND, "-f", "mp3", path), "it has sound but no video"),
        (lambda path, video: path.write_bytes(b"\x01\x02\xfe" * 99), "not that of a known video format"),
        (lambda path, video: make_video(path, 3, *AV1), "codec AV1 is not supported by this build of OpenCV"),
        (lambda path, video: make_video(path, 3, *QTRLE), "codec QuickTime Animation is not supported"),
    ],
)
def test_each_cause_of_a_video_without_frames_is_stated(videos, tmp_path, make, message):
    make(tmp_path / "a.mp4", (videos / "a.mp4").read_bytes())
    with pytest.raises(ValueError, match=rf"a\.mp4: .*{message}.*"):
        open_source(tmp_path / "a.mp4")


SOUND = ["-f", "lavfi", "-i", "sine=duration=1"]
AV1 = ["-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=1"]
QTRLE = ["-pix_fmt", "rgb24", "-c:v", "qtrle", "-f", "matroska"]


@pytest.mark.parametrize("name", ["a.mp4", "a.png", "a", "a.txt"])
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_named_pipes_and_sockets_are_refused_unopened(tmp_path, name, kind):
    path = tmp_path / name
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "pipe":
            os.mkfifo(path)
        else:
            server.bind(str(path))
        for text in (str(path), f"@{path}"):
            with pytest.raises(ValueError, match=f"{name}: expected a regular file, got a .*{kind}"):
                open_source(text)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_devices_that_are_no_cameras_are_refused(device):
    with pytest.raises(OSError, match="no such camera: expected a number, or a video device"):
        open_source(device)


def test_ctrl_c_ends_the_wait_for_a_video_url_that_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        interrupt = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            open_source(f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4", SourceOptions(timeout=500))
        interrupt.join()


def test_closing_ends_the_wait_for_a_video_url_that_hangs(videos):
    content = (videos / "a.avi").read_bytes()
    connections = []

    def serve(server):
        with contextlib.suppress(OSError):
            while True:
                connections.append(server.accept()[0])
                connections[-1].recv(4096)
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
                connections[-1].sendall(head + content[: len(content) // 2])
                if len(connections) == 1:  # the first packets are read through a connection of their own
                    connections[-1].close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        source = open_source(f"http://127.0.0.1:{server.getsockname()[1]}/a.avi", SourceOptions(timeout=500))
        closer = threading.Timer(1.0, source.close)
        closer.start()
        assert len(read_numbers(source)) < COUNT  # ends, although the next frame never comes
        closer.join()
        for connection in connections:
            connection.close()
