"""Video writer: each written frame is in the file, whatever its size, and every finished file plays."""

import errno
import subprocess
import sys

import cv2
import full_disk
import imageio_ffmpeg
import numpy as np
import pytest

from simplepose.writers.drawn_video import H264, MPEG4, VideoWriter


def uniform_image(value, size_hw=(48, 64)):
    return np.full((*size_hw, 3), value, np.uint8)


def decode(path):
    """Decode a video's frames with a player other than OpenCV."""
    frames = imageio_ffmpeg.read_frames(str(path), pix_fmt="bgr24")
    meta = next(frames)
    width, height = meta["size"]
    return meta, [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in frames]


@pytest.mark.parametrize("size_hw", [(48, 64), (47, 63), (2, 2), (1, 1), (1, 33), (480, 640)])
def test_each_written_frame_is_decoded_at_any_size(tmp_path, size_hw):
    with VideoWriter(tmp_path / "a.mp4", 12.5, codecs=(MPEG4,)) as video:
        for value in (0, 60, 120, 180, 240):
            video.write(uniform_image(value, size_hw))
    meta, frames = decode(tmp_path / "a.mp4")
    assert video.frames == len(frames) == 5
    assert meta["fps"] == 12.5
    assert frames[0].shape[:2] == tuple(side + side % 2 for side in size_hw)
    for frame, value in zip(frames, (0, 60, 120, 180, 240), strict=True):
        assert np.abs(frame.astype(int) - value).max() < 12
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_reported_codec_is_the_one_in_the_file(tmp_path, capfd):
    with VideoWriter(tmp_path / "a.mp4", 25) as video:
        assert video.codec is None
        video.write(uniform_image(100))
    assert capfd.readouterr() == ("", "")  # no output of codecs that failed
    meta, frames = decode(tmp_path / "a.mp4")
    assert len(frames) == 1
    assert video.codec == {"h264": "H.264", "mpeg4": "MPEG-4"}[meta["codec"]]


def test_frames_of_other_sizes_are_resized_and_padded(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25, codecs=(MPEG4,)) as video:
        video.write(uniform_image(200, (48, 96)))
        video.write(uniform_image(200, (48, 24)))  # portrait: black borders left and right
        video.write(uniform_image(200, (10, 80)))
        video.write(uniform_image(200, (1000, 1)))
    _, frames = decode(tmp_path / "a.mp4")
    tall, wide = (frame.mean(2) for frame in frames[1:3])
    assert np.abs(tall[24, 40:56] - 200).max() < 15
    assert max(tall[24, :30].max(), tall[24, 66:].max()) < 15
    assert np.abs(wide[20:28, 48] - 200).max() < 15
    assert max(wide[:14, 48].max(), wide[34:, 48].max()) < 15
    assert len(frames) == 4


def test_missing_frames_keep_the_video_length(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25, codecs=(MPEG4,)) as video:
        for value in (None, None, 200, None, 100, 50, None):
            if value is None:
                video.write_missing()
            else:
                video.write(uniform_image(value))
    _, frames = decode(tmp_path / "a.mp4")
    assert video.frames == len(frames) == 7
    for frame, value in zip(frames, (0, 0, 200, 200, 100, 50, 50), strict=True):
        assert np.abs(frame.astype(int) - value).max() < 12
    with pytest.raises(ValueError, match="the video is closed"):
        video.write_missing()


@pytest.mark.parametrize("fps", [9, 25, 60])
def test_timestamps_override_a_wrong_stated_frame_rate(tmp_path, rng, fps):
    """Cameras and streams of single images do this: FFmpeg reports 25 fps for all of them."""
    seconds = np.arange(4 * fps) / fps + rng.uniform(0, 0.1, 4 * fps)
    with VideoWriter(tmp_path / "a.mp4", 25, codecs=(MPEG4,)) as video:
        for time in np.sort(seconds):
            video.write(uniform_image(round(60 * time)), 1000 + time)
    _, frames = decode(tmp_path / "a.mp4")
    assert 95 <= len(frames) <= 110  # 100, and some that arrive a little early
    times = np.array([frame.mean() for frame in frames]) / 60
    assert np.abs(times - np.arange(len(frames)) / 25).max() < 0.4


def test_only_missing_frames_leave_no_file(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25) as video:
        video.write_missing()
    assert list(tmp_path.iterdir()) == []


def test_old_video_stays_until_close(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    video = VideoWriter(path, 25, codecs=(MPEG4,))
    video.write(uniform_image(1))
    assert path.read_bytes() == b"old"
    video.close()
    video.close()
    assert len(decode(path)[1]) == 1


def test_no_frames_leave_no_file(tmp_path):
    VideoWriter(tmp_path / "a.mp4", 25).close()
    assert list(tmp_path.iterdir()) == []


def test_interrupted_video_still_plays(tmp_path):
    def interrupted():
        with VideoWriter(tmp_path / "a.mp4", 25, codecs=(MPEG4,)) as video:
            video.write(uniform_image(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(decode(tmp_path / "a.mp4")[1]) == 1


FILL_DISK_SCRIPT = """
import sys
import cv2, numpy as np
from simplepose.writers.drawn_video import VideoWriter
rng = np.random.default_rng(0)
path = sys.argv[1] + "/a.mp4"
with VideoWriter(path, 25, codecs=("mp4v",)) as video:
    try:
        while True:
            video.write(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
    except OSError as error:
        assert error.errno == 28 and error.filename == path, error
played, capture = 0, cv2.VideoCapture(path)
while capture.read()[0]:
    played += 1
print(video.frames, played)
"""


def test_full_disk_leaves_a_complete_video(tmp_path):
    written, played = full_disk.run_on_small_disk(FILL_DISK_SCRIPT, 4_000_000, tmp_path).split()
    assert int(written) == int(played) > 10


def test_incomplete_video_is_not_renamed(tmp_path, rng):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    video = VideoWriter(path, 25, codecs=(MPEG4,))
    with full_disk.limit_file_size(30_000):
        for _ in range(20):
            video.write(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
        with pytest.raises(OSError, match="could not be written completely") as caught:
            video.close()
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_invalid_names_rates_folders_and_codecs_are_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"a\.avi: expected a name that ends in \.mp4"):
        VideoWriter(tmp_path / "a.avi", 25)
    for rate in (0, -1, float("nan"), 1e9):
        with pytest.raises(ValueError, match=r"expected a frame rate in \(0, 1000\] fps"):
            VideoWriter(tmp_path / "a.mp4", rate)
    with pytest.raises(FileNotFoundError, match=r"nowhere/a\.mp4"):
        VideoWriter(tmp_path / "nowhere/a.mp4", 25)
    video = VideoWriter(tmp_path / "a.mp4", 25, codecs=("zzzz",))
    with pytest.raises(OSError, match=r"OpenCV cannot encode a video of 64 x 48 pixels \(zzzz\)") as caught:
        video.write(uniform_image(1))
    assert caught.value.errno == errno.ENOTSUP
    video.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codec", [H264, MPEG4])
def test_codec_matches_what_the_opencv_build_supports(tmp_path, codec):
    """The writer's codec is the one that OpenCV opens in a separate process."""
    script = (
        f"import cv2; f = cv2.VideoWriter({str(tmp_path / 'b.mp4')!r}, cv2.CAP_FFMPEG, "
        f"cv2.VideoWriter.fourcc(*{codec!r}), 25, (64, 48)); print(f.isOpened())"
    )
    opened = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    with VideoWriter(tmp_path / "a.mp4", 25, codecs=(codec, MPEG4)) as video:
        video.write(uniform_image(1))
    supported = "True" in opened.stdout
    assert video.codec == ("H.264" if supported and codec == H264 else "MPEG-4")
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).read()[0]


@pytest.mark.parametrize("name", ["caf\udce9.mp4", "ü日本.mp4", "-i %03d.mp4", "a:b.mp4"])
def test_any_file_name_works(tmp_path, name):
    with VideoWriter(tmp_path / name, 25) as video:
        video.write(uniform_image(1))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    (tmp_path / name).rename(tmp_path / "plain.mp4")
    assert len(decode(tmp_path / "plain.mp4")[1]) == 1


def test_folder_name_that_is_not_utf8_is_rejected(tmp_path):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    with pytest.raises(ValueError, match="expected a UTF-8 folder name"):
        VideoWriter(folder / "a.mp4", 25)


def test_closed_writer_rejects_frames(tmp_path):
    video = VideoWriter(tmp_path / "a.mp4", 25, codecs=(MPEG4,))
    video.write(uniform_image(1))
    video.close()
    with pytest.raises(ValueError, match="the video is closed"):
        video.write(uniform_image(1))
    assert len(decode(tmp_path / "a.mp4")[1]) == 1


@pytest.mark.parametrize("rate", [1000, 25 / 1000])
def test_extreme_frame_rates_work(tmp_path, rate):
    """A 1000 fps camera, and every thousandth frame of a video."""
    with VideoWriter(tmp_path / "a.mp4", rate, codecs=(MPEG4,)) as video:
        for number in range(3):
            video.write(uniform_image(50 * number))
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 3


UNEVEN = [*(n / 10 for n in range(10)), *(1 + n / 2 for n in range(10))]
JITTER = np.cumsum([0, *[0.043, 0.043, 0.018, 0.043, 0.018] * 4]).tolist()


@pytest.mark.parametrize(
    ("seconds", "fps", "repeated", "dropped"),
    [
        (UNEVEN, 10, 36, 0),
        ([time + 1e4 for time in UNEVEN], 10, 36, 0),
        (JITTER, 20 / JITTER[-1], 0, 0),
        (np.arange(40) / 40, 10, 0, 29),
        (np.arange(30) / 30.0, 30, 0, 0),
        ([0.0], 25, 0, 0),
    ],
)
def test_a_video_lasts_as_long_as_its_source(tmp_path, seconds, fps, repeated, dropped):
    step = 250 // len(seconds)
    with VideoWriter(tmp_path / "a.mp4", fps, codecs=(MPEG4,), max_early_s=0) as video:
        for number, time in enumerate(seconds):
            video.write(uniform_image(step * number), time)
    _, frames = decode(tmp_path / "a.mp4")
    assert (video.repeated, video.dropped) == (repeated, dropped)
    assert len(frames) == video.frames == len(seconds) + repeated - dropped
    assert len(frames) / fps == pytest.approx(seconds[-1] - seconds[0] + 1 / fps, abs=1.01 / fps)
    for number, frame in enumerate(frames):  # each image is shown at its time, up to a frame
        shown = seconds[round(float(frame.mean()) / step)] - seconds[0]
        following = [time - seconds[0] for time in seconds if time - seconds[0] > shown]
        assert shown - 2.01 / fps <= number / fps <= min(following, default=1e9) + 1.01 / fps


def test_missing_frames_at_the_start_take_their_time(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25, codecs=(MPEG4,), max_early_s=0) as video:
        video.write_missing()
        video.write_missing()
        for number in range(2, 10):
            video.write(uniform_image(20 * number), number / 25)
    assert (video.frames, video.repeated, video.dropped) == (10, 0, 0)
