"""Cameras and streams: the newest frame wins, what breaks off is reached again, nothing is left behind."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from moving_pictures import FFMPEG, Camera, number_in, wait_until

from simplepose.sources import SourceOptions, open_source

PATIENT = {"timeout": 30, "reconnect_wait": 0.05}  # machines can be busy; no test waits so long


@pytest.fixture
def camera():
    with Camera() as camera:
        yield camera


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not reading_threads()


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("reads ")]


def opened(camera, told=None, **options):
    tell = [].append if told is None else told.append
    return contextlib.closing(open_source(camera.address, SourceOptions(**{**PATIENT, **options}), tell))


@pytest.fixture
def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def test_who_comes_late_sees_the_newest_frame(camera):
    with opened(camera) as source:
        assert source.live
        assert source.total is None
        frames = iter(source)
        first = next(frames)
        wait_until(lambda: camera.sent > 40)
        camera.running.clear()
        wait_until(lambda: source.dropped >= camera.sent - 6)  # one taken, one to take, a few in the decoder
        late = next(frames)
        assert number_in(late.image) >= camera.sent - 6
        assert number_in(late.image) == late.number
        assert source.dropped == late.number - first.number - 1 + first.number
        assert late.seconds > first.seconds >= 0
        camera.running.set()


def test_who_keeps_up_sees_frames_in_order_and_max_frames_ends_it(camera):
    with opened(camera, start=3, every=2, max_frames=20) as source:
        seen = [(frame.number, number_in(frame.image)) for frame in source]
    assert len(seen) == 20
    assert all(number == shown for number, shown in seen)
    assert all(number >= 3 and (number - 3) % 2 == 0 for number, _ in seen)
    assert seen == sorted(set(seen))


def test_leaving_the_loop_closes(camera):
    for _ in open_source(camera.address, SourceOptions(**PATIENT)):
        break
    wait_until(lambda: not reading_threads())


def test_a_cut_stream_is_reached_again_and_goes_on(camera):
    told = []
    with opened(camera, told) as source:
        frames = iter(source)
        before = [next(frames) for _ in range(3)]
        for _ in range(2):
            told.clear()
            camera.cut()
            wait_until(lambda: told)
            sent = camera.sent
            after = next(frame for frame in frames if number_in(frame.image) > sent)
            assert after.number > before[-1].number
            assert after.seconds > before[-1].seconds
            before.append(after)
            (line,) = told
            assert f"{camera.address}: broke off after" in line
            assert "try 1 of 5" in line


def test_a_stream_that_stays_away_ends_with_an_error_after_the_tries_asked_for(camera):
    told = []
    with opened(camera, told, reconnect_attempts=3) as source:
        frames = iter(source)
        next(frames)
        camera.running.clear()
        Camera.switch_off(camera)
        with pytest.raises(ConnectionError, match=r"3 tries to reach it again failed.*answered") as error:
            list(frames)
        assert camera.address in str(error.value)
    waits = [float(line.rpartition(" in ")[2].removesuffix(" s")) for line in told]
    assert waits == [0.05, 0.1, 0.2]


def test_a_damaged_picture_is_left_out_and_the_stream_goes_on(camera):
    """FFmpeg tells it as it tells the end of a stream."""
    told = []
    camera.damaged = frozenset([10, 11, 30])
    with opened(camera, told, reconnect_attempts=0) as source:
        seen = []
        for frame in source:
            seen.append((frame.number, number_in(frame.image)))
            if frame.number >= 40:
                camera.cut()
    assert len(told) == 1  # the end that is one
    assert seen[-1][0] >= 40
    assert all(number == shown and shown not in camera.damaged for number, shown in seen)


def test_without_tries_a_stream_ends_as_a_file_does(camera):
    told = []
    with opened(camera, told, reconnect_attempts=0) as source:
        frames = iter(source)
        next(frames)
        camera.cut()
        list(frames)
    (line,) = told
    assert "broke off after" in line


def test_a_stream_that_is_not_there_is_an_error_at_the_door_that_keeps_the_password(free_port):
    address = f"rtsp://me:secret@127.0.0.1:{free_port}/cam?token=secret"
    with pytest.raises(ConnectionError, match=f"rtsp://127.0.0.1:{free_port}/cam: nothing that") as error:
        open_source(address)
    assert "secret" not in str(error.value)


def test_a_server_that_never_answers_is_an_error_at_the_door():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(ConnectionError, match=r"answered within 0\.3 s"):
            open_source(address, SourceOptions(timeout=0.3))


@pytest.mark.parametrize("device", ["97", "/dev/null"])
def test_a_camera_that_is_not_there_is_an_error_at_the_door(device):
    with pytest.raises(ConnectionError, match=f"{device}: no such camera"):
        open_source(device)


def test_closing_from_another_thread_ends_the_wait_for_a_stream_that_hangs(camera):
    with opened(camera) as source:
        frames = iter(source)
        next(frames)
        camera.running.clear()
        closer = threading.Timer(0.3, source.close)
        closer.start()
        list(frames)
        assert reading_threads()  # still waits for the next frame: iteration did not
        camera.running.set()
        closer.join()
        assert not reading_threads()
    assert list(source) == []


def test_closing_ends_the_wait_between_two_tries(camera):
    told = []
    with opened(camera, told, reconnect_wait=1000) as source:
        frames = iter(source)
        next(frames)
        camera.cut()
        wait_until(lambda: told)
        source.close()
        assert list(frames) == []


def test_ctrl_c_ends_the_wait(camera):
    with opened(camera) as source:
        frames = iter(source)
        next(frames)
        camera.running.clear()
        with interrupted(then=camera.running.set), pytest.raises(KeyboardInterrupt):
            list(frames)
    assert not reading_threads()


def test_ctrl_c_ends_the_wait_at_the_door():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with interrupted(then=server.close), pytest.raises(KeyboardInterrupt):
            open_source(address, SourceOptions(**PATIENT))


@contextlib.contextmanager
def interrupted(then):
    """Ctrl-C in a moment; `then`, a moment later, ends what a thread still waits for."""

    def interrupt():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        then()

    thread = threading.Thread(target=interrupt)
    thread.start()
    yield
    thread.join()


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="only Linux tells who listens")
@pytest.mark.parametrize("scheme", ["http", "tcp"])
def test_a_stream_that_ffmpeg_serves_is_read_until_it_is_killed(scheme, free_port):
    address = f"{scheme}://127.0.0.1:{free_port}"
    listen = ["-listen", "1", address] if scheme == "http" else [f"{address}?listen=1"]
    video = ["-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=30", "-c:v", "mpeg2video", "-g", "5"]
    told = []
    with subprocess.Popen([*FFMPEG, *video, "-f", "mpegts", *listen]) as server:
        wait_until(lambda: listening(free_port))
        with contextlib.closing(
            open_source(address, SourceOptions(reconnect_attempts=0, timeout=30), told.append)
        ) as source:
            frames = iter(source)
            assert [next(frames).image.shape for _ in range(5)] == [(120, 160, 3)] * 5
            assert source.frames_per_second == 30
            server.kill()
            list(frames)
    assert "broke off" in told[0]


def listening(port):
    """Whether someone waits at this port; asks the system, as a connection would be the one served."""
    with open("/proc/net/tcp") as table:
        return any(f":{port:04X} 00000000:0000 0A" in line for line in table)
