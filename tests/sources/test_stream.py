"""Cameras and streams: the newest frame wins, lost connections are reopened, and no thread remains."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from numbered_videos import FFMPEG, Camera, read_number, wait_until

from simplepose.sources import SourceOptions, open_source

LONG_TIMEOUTS = {"timeout": 30, "reconnect_wait": 0.05}  # for busy machines; no test waits this long


@pytest.fixture
def camera():
    with Camera() as camera:
        yield camera


@pytest.fixture(autouse=True)
def check_no_thread_remains():
    yield
    assert not reading_threads()


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("stream reader ")]


def opened_source(camera, messages=None, **options):
    log = [].append if messages is None else messages.append
    return contextlib.closing(open_source(camera.url, SourceOptions(**{**LONG_TIMEOUTS, **options}), log))


@pytest.fixture
def free_port():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return reserved.getsockname()[1]


def test_a_slow_reader_gets_the_newest_frame(camera):
    with opened_source(camera) as source:
        assert source.live
        assert source.total is None
        frames = iter(source)
        first = next(frames)
        wait_until(lambda: camera.sent > 40)
        camera.running.clear()
        wait_until(lambda: source.dropped >= camera.sent - 6)  # one given, one waiting, a few in the decoder
        late = next(frames)
        assert read_number(late.image) >= camera.sent - 6
        assert read_number(late.image) == late.number
        assert source.dropped == late.number - first.number - 1 + first.number
        assert late.seconds > first.seconds >= 0
        camera.running.set()


def test_a_fast_reader_gets_frames_in_order_up_to_max_frames(camera):
    with opened_source(camera, start=3, every=2, max_frames=20) as source:
        pairs = [(frame.number, read_number(frame.image)) for frame in source]
    assert len(pairs) == 20
    assert all(number == drawn_number for number, drawn_number in pairs)
    assert all(number >= 3 and (number - 3) % 2 == 0 for number, _ in pairs)
    assert pairs == sorted(set(pairs))


def test_leaving_the_loop_closes_the_source(camera):
    for _ in open_source(camera.url, SourceOptions(**LONG_TIMEOUTS)):
        break
    wait_until(lambda: not reading_threads())


def test_a_lost_connection_is_reopened(camera):
    messages = []
    with opened_source(camera, messages) as source:
        frames = iter(source)
        before = [next(frames) for _ in range(3)]
        for _ in range(2):
            messages.clear()
            camera.disconnect()
            wait_until(lambda: messages)
            sent = camera.sent
            after = next(frame for frame in frames if read_number(frame.image) > sent)
            assert after.number > before[-1].number
            assert after.seconds > before[-1].seconds
            before.append(after)
            (line,) = messages
            assert f"{camera.url}: connection lost after" in line
            assert "reconnect attempt 1 of 5" in line


def test_failed_reconnect_attempts_end_with_an_error(camera):
    messages = []
    with opened_source(camera, messages, reconnect_attempts=3) as source:
        frames = iter(source)
        next(frames)
        camera.running.clear()
        Camera.switch_off(camera)
        with pytest.raises(ConnectionError, match=r"3 reconnect attempts failed.*answered") as error:
            list(frames)
        assert camera.url in str(error.value)
    waits = [float(line.rpartition(" in ")[2].removesuffix(" s")) for line in messages]
    assert waits == [0.05, 0.1, 0.2]


def test_a_damaged_frame_is_skipped_and_the_stream_continues(camera):
    """FFmpeg reports a damaged frame in the same way as the end of a stream."""
    messages = []
    camera.damaged = frozenset([10, 11, 30])
    with opened_source(camera, messages, reconnect_attempts=0) as source:
        pairs = []
        for frame in source:
            pairs.append((frame.number, read_number(frame.image)))
            if frame.number >= 40:
                camera.disconnect()
    assert len(messages) == 1  # the real end
    assert pairs[-1][0] >= 40
    assert all(number == drawn and drawn not in camera.damaged for number, drawn in pairs)


def test_without_reconnect_attempts_a_lost_connection_ends_the_source(camera):
    messages = []
    with opened_source(camera, messages, reconnect_attempts=0) as source:
        frames = iter(source)
        next(frames)
        camera.disconnect()
        list(frames)
    (line,) = messages
    assert "connection lost after" in line


def test_a_missing_stream_is_an_error_without_the_password(free_port):
    url = f"rtsp://me:secret@127.0.0.1:{free_port}/cam?token=secret"
    with pytest.raises(ConnectionError, match=f"rtsp://127.0.0.1:{free_port}/cam: no stream that") as error:
        open_source(url)
    assert "secret" not in str(error.value)


def test_a_server_that_never_answers_is_an_error_on_opening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(ConnectionError, match=r"answered within 0\.3 s"):
            open_source(url, SourceOptions(timeout=0.3))


@pytest.mark.parametrize("device", ["97", "/dev/null"])
def test_a_missing_camera_is_an_error_on_opening(device):
    with pytest.raises(ConnectionError, match=f"{device}: no such camera"):
        open_source(device)


def test_closing_from_another_thread_ends_the_wait_for_a_hanging_stream(camera):
    with opened_source(camera) as source:
        frames = iter(source)
        next(frames)
        camera.running.clear()
        closer = threading.Timer(0.3, source.close)
        closer.start()
        list(frames)
        assert reading_threads()  # it still waits for the next frame, but the iteration ended
        camera.running.set()
        closer.join()
        assert not reading_threads()
    assert list(source) == []


def test_closing_ends_the_wait_between_reconnect_attempts(camera):
    messages = []
    with opened_source(camera, messages, reconnect_wait=1000) as source:
        frames = iter(source)
        next(frames)
        camera.disconnect()
        wait_until(lambda: messages)
        source.close()
        assert list(frames) == []


def test_ctrl_c_ends_the_wait(camera):
    with opened_source(camera) as source:
        frames = iter(source)
        next(frames)
        camera.running.clear()
        with interrupted(then=camera.running.set), pytest.raises(KeyboardInterrupt):
            list(frames)
    assert not reading_threads()


def test_ctrl_c_ends_the_wait_for_the_first_frame():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with interrupted(then=server.close), pytest.raises(KeyboardInterrupt):
            open_source(url, SourceOptions(**LONG_TIMEOUTS))


@contextlib.contextmanager
def interrupted(then):
    """Send Ctrl-C after 0.3 s; `then` is called 0.3 s later to end what a thread still waits for."""

    def interrupt():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        then()

    thread = threading.Thread(target=interrupt)
    thread.start()
    yield
    thread.join()


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="needs /proc/net/tcp")
@pytest.mark.parametrize("scheme", ["http", "tcp"])
def test_a_stream_from_ffmpeg_is_read_until_its_server_is_killed(scheme, free_port):
    url = f"{scheme}://127.0.0.1:{free_port}"
    listen = ["-listen", "1", url] if scheme == "http" else [f"{url}?listen=1"]
    video = ["-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=30", "-c:v", "mpeg2video", "-g", "5"]
    messages = []
    with subprocess.Popen([*FFMPEG, *video, "-f", "mpegts", *listen]) as server:
        wait_until(lambda: is_listening(free_port))
        with contextlib.closing(
            open_source(url, SourceOptions(reconnect_attempts=0, timeout=30), messages.append)
        ) as source:
            frames = iter(source)
            assert [next(frames).image.shape for _ in range(5)] == [(120, 160, 3)] * 5
            assert source.frames_per_second == 30
            server.kill()
            list(frames)
    assert "connection lost" in messages[0]


def is_listening(port):
    """Whether a server listens at this port. A test connection would use up the only one it serves."""
    with open("/proc/net/tcp") as table:
        return any(f":{port:04X} 00000000:0000 0A" in line for line in table)
