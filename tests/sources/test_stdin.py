"""Frames without a header from a pipe: all of them, and a clear word about half a one."""

import contextlib
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from moving_pictures import BITS, FFMPEG, HEIGHT, SIDE, WIDTH, make_video, numbered, numbers

from simplepose.frames import BadFrame, Frame
from simplepose.sources import RawSource, SourceOptions, open_source

SIZE = (WIDTH, HEIGHT)
FRAME = numbered(0).nbytes


@pytest.fixture
def piped():
    """Give bytes; get a descriptor that reads them, as of a pipe whose writer is slower than its reader."""
    writers, ends = [], []

    def pipe(*parts):
        read_end, write_end = os.pipe()

        def write():
            with contextlib.suppress(BrokenPipeError), open(write_end, "wb", buffering=0) as file:
                for part in parts:
                    file.write(part)

        writers.append(threading.Thread(target=write))
        writers[-1].start()
        ends.append(read_end)
        return read_end

    yield pipe
    for end in ends:
        os.close(end)
    for writer in writers:
        writer.join()


def raw(count):
    return [numbered(n).tobytes() for n in range(count)]


@pytest.mark.parametrize(("start", "every", "most"), [(0, 1, None), (2, 3, None), (5, 1, 2), (0, 4, 100)])
def test_frames_come_as_they_were_written(piped, start, every, most):
    options = SourceOptions(start=start, every=every, max_frames=most, raw_size=SIZE, raw_fps=10)
    source = RawSource(options, piped(*raw(20)))
    frames = list(source)
    expected = list(range(start, 20, every))[:most]
    assert numbers(frames) == expected == [frame.number for frame in frames]
    np.testing.assert_allclose([frame.seconds for frame in frames], np.array(expected) / 10)
    assert all(np.array_equal(frame.image, numbered(frame.number)) for frame in frames)
    assert (source.total, source.live, source.frames_per_second) == (None, False, 10 / every)


@pytest.mark.parametrize("half", [1, FRAME // 2, FRAME - 1])
def test_half_a_frame_at_the_end_is_a_bad_frame(piped, half):
    *frames, last = RawSource(SourceOptions(raw_size=SIZE), piped(*raw(3), numbered(3).tobytes()[:half]))
    assert numbers(frames) == [0, 1, 2]
    assert last.number == 3
    assert f"frame 3: {half:,} of {FRAME:,} bytes; frames of 160 x 48" in last.reason


def test_less_than_one_frame_and_nothing(piped):
    (only,) = RawSource(SourceOptions(raw_size=SIZE), piped(b"abc"))
    assert isinstance(only, BadFrame)
    with pytest.raises(ValueError, match="ended after 0 frames"):
        list(RawSource(SourceOptions(raw_size=SIZE), piped()))
    with pytest.raises(ValueError, match="ended after 2 frames, none from frame 2 on"):
        list(RawSource(SourceOptions(raw_size=SIZE, start=2), piped(*raw(2))))


def test_a_file_as_input(tmp_path):
    (tmp_path / "raw").write_bytes(b"".join(raw(5)))
    with open(tmp_path / "raw", "rb") as file:
        assert numbers(RawSource(SourceOptions(raw_size=SIZE), file.fileno())) == [0, 1, 2, 3, 4]


def test_the_door_reads_what_ffmpeg_writes(tmp_path, monkeypatch):
    video = make_video(tmp_path / "a.mkv", 12, "-c:v", "ffv1")
    writes = [*FFMPEG, "-i", video, "-f", "rawvideo", "-pix_fmt", "bgr24", "-"]
    with subprocess.Popen(writes, stdout=subprocess.PIPE) as writer:
        monkeypatch.setattr(sys, "stdin", writer.stdout)
        places = list(open_source("-", SourceOptions(raw_size=SIZE)))
    assert numbers(places) == list(range(12))
    assert {place.name for place in places} == {"stdin"}


def test_the_size_must_be_given_and_a_terminal_is_no_input():
    with pytest.raises(ValueError, match="their size"):
        open_source("-")
    ends = os.openpty()
    with pytest.raises(ValueError, match="is a terminal: pipe frames in"):
        RawSource(SourceOptions(raw_size=SIZE), ends[1])
    for end in ends:
        os.close(end)


def test_a_closed_input_is_told(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it after <&-
    with pytest.raises(ValueError, match="standard input is closed"):
        open_source("-", SourceOptions(raw_size=SIZE))


def test_closing_from_another_thread_ends_the_wait():
    read_end, write_end = os.pipe()
    os.write(write_end, numbered(0).tobytes()[:100])
    source = RawSource(SourceOptions(raw_size=SIZE), read_end)
    closer = threading.Timer(0.1, source.close)
    closer.start()
    assert list(source) == []
    closer.join()
    os.close(read_end)
    os.close(write_end)


def test_another_size_is_another_cut_of_the_same_bytes(piped):
    options = SourceOptions(raw_size=(BITS * SIDE, HEIGHT // 2))
    images = [place.image for place in RawSource(options, piped(*raw(4))) if isinstance(place, Frame)]
    assert len(images) == 8
    assert b"".join(image.tobytes() for image in images) == b"".join(raw(4))
