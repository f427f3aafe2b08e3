"""Raw frames from a pipe: all of them are read, and an incomplete one is reported."""

import contextlib
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from numbered_videos import BAR_WIDTH, BITS, FFMPEG, HEIGHT, WIDTH, make_video, number_image, read_numbers

from simplepose.frames import BadFrame, Frame
from simplepose.sources import RawFrameSource, SourceOptions, open_source

SIZE = (WIDTH, HEIGHT)
FRAME_BYTES = number_image(0).nbytes


@pytest.fixture
def make_pipe():
    """Return a function that makes a pipe, writes to it in a thread, and returns its read end."""
    writers, descriptors = [], []

    def pipe(*parts):
        read_end, write_end = os.pipe()

        def write():
            with contextlib.suppress(BrokenPipeError), open(write_end, "wb", buffering=0) as file:
                for part in parts:
                    file.write(part)

        writers.append(threading.Thread(target=write))
        writers[-1].start()
        descriptors.append(read_end)
        return read_end

    yield pipe
    for descriptor in descriptors:
        os.close(descriptor)
    for writer in writers:
        writer.join()


def raw_frames(count):
    return [number_image(n).tobytes() for n in range(count)]


@pytest.mark.parametrize(
    ("start", "every", "max_frames"), [(0, 1, None), (2, 3, None), (5, 1, 2), (0, 4, 100)]
)
def test_frames_are_read_as_they_were_written(make_pipe, start, every, max_frames):
    options = SourceOptions(start=start, every=every, max_frames=max_frames, raw_size=SIZE, raw_fps=10)
    source = RawFrameSource(options, make_pipe(*raw_frames(20)))
    frames = list(source)
    expected = list(range(start, 20, every))[:max_frames]
    assert read_numbers(frames) == expected == [frame.number for frame in frames]
    np.testing.assert_allclose([frame.seconds for frame in frames], np.array(expected) / 10)
    assert all(np.array_equal(frame.image, number_image(frame.number)) for frame in frames)
    assert (source.total, source.live, source.frames_per_second) == (None, False, 10 / every)


@pytest.mark.parametrize("num_bytes", [1, FRAME_BYTES // 2, FRAME_BYTES - 1])
def test_an_incomplete_frame_at_the_end_is_a_bad_frame(make_pipe, num_bytes):
    *frames, last = RawFrameSource(
        SourceOptions(raw_size=SIZE), make_pipe(*raw_frames(3), number_image(3).tobytes()[:num_bytes])
    )
    assert read_numbers(frames) == [0, 1, 2]
    assert last.number == 3
    assert f"frame 3: expected {FRAME_BYTES:,} bytes (160 x 48 bgr24), got {num_bytes:,}" in last.reason


def test_an_input_without_a_complete_frame(make_pipe):
    (only,) = RawFrameSource(SourceOptions(raw_size=SIZE), make_pipe(b"abc"))
    assert isinstance(only, BadFrame)
    with pytest.raises(ValueError, match="expected more than 0 frames, got 0"):
        list(RawFrameSource(SourceOptions(raw_size=SIZE), make_pipe()))
    with pytest.raises(ValueError, match="expected more than 2 frames, got 2"):
        list(RawFrameSource(SourceOptions(raw_size=SIZE, start=2), make_pipe(*raw_frames(2))))


def test_a_file_can_be_the_input(tmp_path):
    (tmp_path / "raw").write_bytes(b"".join(raw_frames(5)))
    with open(tmp_path / "raw", "rb") as file:
        assert read_numbers(RawFrameSource(SourceOptions(raw_size=SIZE), file.fileno())) == [0, 1, 2, 3, 4]


def test_open_source_reads_the_output_of_ffmpeg(tmp_path, monkeypatch):
    video = make_video(tmp_path / "a.mkv", 12, "-c:v", "ffv1")
    command = [*FFMPEG, "-i", video, "-f", "rawvideo", "-pix_fmt", "bgr24", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        monkeypatch.setattr(sys, "stdin", writer.stdout)
        frames = list(open_source("-", SourceOptions(raw_size=SIZE)))
    assert read_numbers(frames) == list(range(12))
    assert {frame.name for frame in frames} == {"stdin"}


def test_a_missing_size_and_a_terminal_are_rejected():
    with pytest.raises(ValueError, match="expected raw_size"):
        open_source("-")
    descriptors = os.openpty()
    with pytest.raises(ValueError, match="is a terminal: pipe frames in"):
        RawFrameSource(SourceOptions(raw_size=SIZE), descriptors[1])
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_closed_standard_input_is_rejected(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)  # as in a process started with <&-
    with pytest.raises(ValueError, match="standard input is closed"):
        open_source("-", SourceOptions(raw_size=SIZE))


def test_closing_from_another_thread_ends_the_wait():
    read_end, write_end = os.pipe()
    os.write(write_end, number_image(0).tobytes()[:100])
    source = RawFrameSource(SourceOptions(raw_size=SIZE), read_end)
    closer = threading.Timer(0.1, source.close)
    closer.start()
    assert list(source) == []
    closer.join()
    os.close(read_end)
    os.close(write_end)


def test_another_size_splits_the_same_bytes_into_other_frames(make_pipe):
    options = SourceOptions(raw_size=(BITS * BAR_WIDTH, HEIGHT // 2))
    images = [
        frame.image
        for frame in RawFrameSource(options, make_pipe(*raw_frames(4)))
        if isinstance(frame, Frame)
    ]
    assert len(images) == 8
    assert b"".join(image.tobytes() for image in images) == b"".join(raw_frames(4))
