"""Films: frames in are frames out, of any sizes, and what has its name plays."""

import errno
import subprocess
import sys

import cv2
import full_disk
import imageio_ffmpeg
import numpy as np
import pytest

from simplepose.writers.drawn_video import H264, MPEG4, FilmWriter


def shade(value, size_hw=(48, 64)):
    return np.full((*size_hw, 3), value, np.uint8)


def read(path):
    """The frames of a film, as a player other than its maker decodes them."""
    frames = imageio_ffmpeg.read_frames(str(path), pix_fmt="bgr24")
    meta = next(frames)
    width, height = meta["size"]
    return meta, [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in frames]


@pytest.mark.parametrize("size_hw", [(48, 64), (47, 63), (2, 2), (1, 1), (1, 33), (480, 640)])
def test_frames_in_are_frames_out_at_any_size(tmp_path, size_hw):
    with FilmWriter(tmp_path / "a.mp4", 12.5, codecs=(MPEG4,)) as film:
        for value in (0, 60, 120, 180, 240):
            film.write(shade(value, size_hw))
    meta, frames = read(tmp_path / "a.mp4")
    assert film.frames == len(frames) == 5
    assert meta["fps"] == 12.5
    assert frames[0].shape[:2] == tuple(side + side % 2 for side in size_hw)
    for frame, value in zip(frames, (0, 60, 120, 180, 240), strict=True):
        assert np.abs(frame.astype(int) - value).max() < 12
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_the_codec_is_told_and_is_what_a_player_finds(tmp_path, capfd):
    with FilmWriter(tmp_path / "a.mp4", 25) as film:
        assert film.codec is None
        film.write(shade(100))
    assert capfd.readouterr() == ("", "")  # nothing of what was tried in vain
    meta, frames = read(tmp_path / "a.mp4")
    assert len(frames) == 1
    assert film.codec == {"h264": "H.264", "mpeg4": "MPEG-4"}[meta["codec"]]


def test_frames_of_other_sizes_are_fitted_whole(tmp_path):
    with FilmWriter(tmp_path / "a.mp4", 25, codecs=(MPEG4,)) as film:
        film.write(shade(200, (48, 96)))
        film.write(shade(200, (48, 24)))  # higher than wide: black left and right
        film.write(shade(200, (10, 80)))
        film.write(shade(200, (1000, 1)))
    _, frames = read(tmp_path / "a.mp4")
    tall, wide = (frame.mean(2) for frame in frames[1:3])
    assert np.abs(tall[24, 40:56] - 200).max() < 15
    assert max(tall[24, :30].max(), tall[24, 66:].max()) < 15
    assert np.abs(wide[20:28, 48] - 200).max() < 15
    assert max(wide[:14, 48].max(), wide[34:, 48].max()) < 15
    assert len(frames) == 4


def test_frames_that_are_missed_keep_the_film_its_length(tmp_path):
    with FilmWriter(tmp_path / "a.mp4", 25, codecs=(MPEG4,)) as film:
        for value in (None, None, 200, None, 100, 50, None):
            if value is None:
                film.miss()
            else:
                film.write(shade(value))
    _, frames = read(tmp_path / "a.mp4")
    assert film.frames == len(frames) == 7
    for frame, value in zip(frames, (0, 0, 200, 200, 100, 50, 50), strict=True):
        assert np.abs(frame.astype(int) - value).max() < 12
    with pytest.raises(ValueError, match="the film is closed"):
        film.miss()


@pytest.mark.parametrize("fps", [9, 25, 60])
def test_a_source_that_states_another_rate_keeps_its_time(tmp_path, rng, fps):
    """As cameras do, and streams of single pictures: FFmpeg states 25 for all of those."""
    seconds = np.arange(4 * fps) / fps + rng.uniform(0, 0.1, 4 * fps)
    with FilmWriter(tmp_path / "a.mp4", 25, codecs=(MPEG4,)) as film:
        for each in np.sort(seconds):
            film.write(shade(round(60 * each)), 1000 + each)
    _, frames = read(tmp_path / "a.mp4")
    assert 95 <= len(frames) <= 110  # 100, and some that come a little early
    shown = np.array([frame.mean() for frame in frames]) / 60
    assert np.abs(shown - np.arange(len(frames)) / 25).max() < 0.4


def test_a_film_whose_frames_were_all_missed_is_none(tmp_path):
    with FilmWriter(tmp_path / "a.mp4", 25) as film:
        film.miss()
    assert list(tmp_path.iterdir()) == []


def test_until_it_is_closed_the_name_is_the_old_film(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    film = FilmWriter(path, 25, codecs=(MPEG4,))
    film.write(shade(1))
    assert path.read_bytes() == b"old"
    film.close()
    film.close()
    assert len(read(path)[1]) == 1


def test_a_film_without_frames_is_none(tmp_path):
    FilmWriter(tmp_path / "a.mp4", 25).close()
    assert list(tmp_path.iterdir()) == []


def test_an_error_between_frames_leaves_a_film_that_plays(tmp_path):
    def interrupted():
        with FilmWriter(tmp_path / "a.mp4", 25, codecs=(MPEG4,)) as film:
            film.write(shade(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(read(tmp_path / "a.mp4")[1]) == 1


FULL = """
import sys
import cv2, numpy as np
from simplepose.writers.drawn_video import FilmWriter
rng = np.random.default_rng(0)
path = sys.argv[1] + "/a.mp4"
with FilmWriter(path, 25, codecs=("mp4v",)) as film:
    try:
        while True:
            film.write(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
    except OSError as error:
        assert error.errno == 28 and error.filename == path, error
played, film_read = 0, cv2.VideoCapture(path)
while film_read.read()[0]:
    played += 1
print(film.frames, played)
"""


def test_a_full_disk_stops_in_time_to_finish_the_film(tmp_path):
    written, played = full_disk.run_on_small_disk(FULL, 4_000_000, tmp_path).split()
    assert int(written) == int(played) > 10


def test_a_film_that_cannot_be_whole_takes_no_name(tmp_path, rng):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    film = FilmWriter(path, 25, codecs=(MPEG4,))
    with full_disk.files_of_at_most(30_000):
        for _ in range(20):
            film.write(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
        with pytest.raises(OSError, match="could not be written whole") as told:
            film.close()
    assert told.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_wrong_names_rates_folders_and_codecs_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"a\.avi: a name that ends in \.mp4 expected"):
        FilmWriter(tmp_path / "a.avi", 25)
    for rate in (0, -1, float("nan"), 1e9):
        with pytest.raises(ValueError, match="0 to 1000 frames a second expected"):
            FilmWriter(tmp_path / "a.mp4", rate)
    with pytest.raises(FileNotFoundError, match=r"nowhere/a\.mp4"):
        FilmWriter(tmp_path / "nowhere/a.mp4", 25)
    film = FilmWriter(tmp_path / "a.mp4", 25, codecs=("zzzz",))
    with pytest.raises(OSError, match=r"OpenCV encodes no film of 64 x 48 \(zzzz\)") as told:
        film.write(shade(1))
    assert told.value.errno == errno.ENOTSUP
    film.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codec", [H264, MPEG4])
def test_the_trial_tells_what_the_build_can(tmp_path, codec):
    """What the film says of its codec is what OpenCV does in a process of its own."""
    script = (
        f"import cv2; f = cv2.VideoWriter({str(tmp_path / 'b.mp4')!r}, cv2.CAP_FFMPEG, "
        f"cv2.VideoWriter.fourcc(*{codec!r}), 25, (64, 48)); print(f.isOpened())"
    )
    opened = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    with FilmWriter(tmp_path / "a.mp4", 25, codecs=(codec, MPEG4)) as film:
        film.write(shade(1))
    can = "True" in opened.stdout
    assert film.codec == ("H.264" if can and codec == H264 else "MPEG-4")
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).read()[0]


@pytest.mark.parametrize("name", ["caf\udce9.mp4", "ü日本.mp4", "-i %03d.mp4", "a:b.mp4"])
def test_a_film_may_have_any_name(tmp_path, name):
    with FilmWriter(tmp_path / name, 25) as film:
        film.write(shade(1))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    (tmp_path / name).rename(tmp_path / "plain.mp4")
    assert len(read(tmp_path / "plain.mp4")[1]) == 1


def test_a_folder_that_opencv_cannot_open_is_refused(tmp_path):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    with pytest.raises(ValueError, match="a folder whose name is UTF-8 expected"):
        FilmWriter(folder / "a.mp4", 25)


def test_a_closed_film_takes_no_frames(tmp_path):
    film = FilmWriter(tmp_path / "a.mp4", 25, codecs=(MPEG4,))
    film.write(shade(1))
    film.close()
    with pytest.raises(ValueError, match="the film is closed"):
        film.write(shade(1))
    assert len(read(tmp_path / "a.mp4")[1]) == 1


@pytest.mark.parametrize("rate", [1000, 25 / 1000])
def test_the_rates_at_the_ends_of_what_sources_state(tmp_path, rate):
    """A camera of 1000 frames a second, and each thousandth frame of a video."""
    with FilmWriter(tmp_path / "a.mp4", rate, codecs=(MPEG4,)) as film:
        for number in range(3):
            film.write(shade(50 * number))
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 3
