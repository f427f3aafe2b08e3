"""The command `demo-video`: one record and one drawn frame for each frame, however the run ends."""

import json
import os
import signal
import subprocess
import sys

import cv2
import lock_holder
import numpy as np
import pytest
import result_readers
import runs
from numbered_videos import HEIGHT, WIDTH, Camera, make_video, number_image
from oracle import FakePredictor
from repo_paths import ROOT

import simplepose
from simplepose.cli import EXIT_INTERRUPTED, demo_video, run_command
from simplepose.cli.demo_video import DEFAULT_FPS
from simplepose.frames import Frame
from simplepose.people import People
from simplepose.tracking import Tracker
from simplepose.writers.drawn_video import MAX_EARLY_S

TOOL = ROOT / "tools/demo_video.py"
SMALL = ["--device", "cpu", "--set", "inference.height=64", "inference.flip=false"]
FORMATS = ["--format", "coco,openpose,alphapose,csv,jsonl"]


class TwoPeople(FakePredictor):
    """Finds the same two people in each frame, and no people in black frames."""

    def people(self, image):
        if not image.any():
            return People.empty(17)
        spread = np.stack(np.meshgrid(np.arange(5) * 8, np.arange(4) * 10), -1).reshape(-1, 2)[:17]
        joints = np.concatenate([spread, np.ones((17, 1))], 1)
        return People(np.stack([joints, joints + np.array([90, 5, 0])]), np.array([0.9, 0.8]))


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run(source, *arguments) -> exit status; results go to `tmp_path`/out."""
    monkeypatch.setattr(simplepose, "load", lambda *_, **__: TwoPeople())

    def run(source, *arguments):
        fixed = ["--source", str(source), "--output", str(tmp_path / "out"), *FORMATS]
        return run_command(demo_video.main, [*fixed, *map(str, arguments)])

    return run


def frames_of(path):
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    return frames


def records(folder):
    """Number of records, which must be the same in each format."""
    names = ("coco", "openpose", "alphapose", "csv_table", "jsonl")
    (count,) = {len(getattr(result_readers, name)(folder)) for name in names}
    return count


def people_of(folder):
    return [json.loads(line)["people"] for line in (folder / "people.jsonl").read_text().splitlines()]


def test_each_frame_gives_a_record_and_a_drawn_frame(run, tmp_path, capsys):
    video = make_video(tmp_path / "clip.mp4", 30)
    assert run(video) == 0
    assert records(tmp_path / "out") == 30
    drawn_frames = frames_of(tmp_path / "out/clip.mp4")
    assert len(drawn_frames) == 30
    assert drawn_frames[0].shape == (HEIGHT, WIDTH, 3)
    found = people_of(tmp_path / "out")
    assert found[0] == []  # frame 0 is black
    assert {tuple(person["id"] for person in people) for people in found[1:]} == {(0, 1)}
    output = capsys.readouterr().out
    assert "30 frames, 58 people" in output
    assert "video codec: MPEG-4" in output or "video codec: H.264" in output
    assert all(stage in output for stage in ("read", "frame", "see", "group", "track", "draw", "write"))


def test_an_input_video_in_the_output_folder_is_not_overwritten(run, tmp_path):
    (tmp_path / "out").mkdir()
    video = make_video(tmp_path / "out/clip.mp4", 4)
    before = video.read_bytes()
    assert run(video) == 0
    assert video.read_bytes() == before
    assert len(frames_of(tmp_path / "out/clip_2.mp4")) == 4


@pytest.mark.parametrize(("live", "ids"), [(True, [0, 0, 0, 1]), (False, [0, 0, 0, 0])])
def test_people_get_new_ids_after_a_gap_in_a_live_source(live, ids):
    """After a reconnect the frame numbers continue without a gap, however long it took."""
    source = type("Source", (), {"live": live, "frames_per_second": 25.0})
    track = demo_video.build_track(Tracker(), source)
    people, image = TwoPeople().people(np.ones(1)), np.zeros((64, 128, 3), np.uint8)
    alone = People(people.keypoints[:1], people.scores[:1])
    times = [0.0, 0.9, 1.0, 31.0]
    found = [track(alone, Frame(n, "cam", image, seconds)).ids for n, seconds in enumerate(times)]
    assert np.concatenate(found).tolist() == ids


class Elapsed:
    """A tracker that only records the frames between its calls."""

    def __init__(self):
        self.frames = []

    def __call__(self, people, frames, image):
        self.frames.append(frames)
        return people


@pytest.mark.parametrize(
    ("seconds", "numbers", "every", "elapsed"),
    [
        ([0, 0.1, 0.2, 0.7, 1.2], range(5), 1, [1, 1, 1, 5, 5]),  # times outrank equal intervals
        ([0, 0.033, 0.067, 0.1], range(4), 1, [1, 1, 1, 1]),  # rounded times do not
        ([0, 0.6, 1.2], range(0, 18, 6), 6, [1, 6, 6]),
        ([0, 0.1, 60.1], range(3), 1, [1, 1, 10]),  # a recorder leaves out frames without motion
        ([0, 4, 8], range(0, 120, 40), 40, [1, 40, 40]),
        ([0, 0, 0], range(3), 1, [1, 1, 1]),  # images have no times
    ],
)
def test_tracking_measures_time_by_the_times_of_frames(seconds, numbers, every, elapsed):
    rate = 30.0 if seconds[1] == 0.033 else 10.0
    source = type("Source", (), {"live": False, "frames_per_second": rate / every})
    tracker = Elapsed()
    track = demo_video.build_track(tracker, source, every)
    for number, time in zip(numbers, seconds, strict=True):
        track(People.empty(17), Frame(number, "clip", np.zeros((4, 4, 3), np.uint8), time))
    assert tracker.frames == pytest.approx(elapsed)


CASES = {"browser.webm": 2.01, "browser2.webm": 0.67, "vfr.mkv": 5.6, "noidx.avi": 2.0, "x.insv": 2.0}


def test_a_reported_video_of_an_unsupported_codec_is_named(run, shared, capfd):
    path = shared / "cases/video/av1.mp4"
    if not path.exists():
        pytest.skip(f"input not found: {path}")
    assert run(path) == 2
    assert "codec AV1 is not supported by this build of OpenCV" in capfd.readouterr().err


@pytest.mark.parametrize("name", CASES)
def test_the_drawn_video_lasts_as_long_as_its_source(run, shared, tmp_path, capfd, name):
    path = shared / "cases/video" / name
    if not path.exists():
        pytest.skip(f"input not found: {path}")
    assert run(path) == 0
    assert records(tmp_path / "out") == 20  # one for each frame of the source
    (drawn,) = (tmp_path / "out").glob("*.mp4")
    rate = cv2.VideoCapture(str(drawn)).get(cv2.CAP_PROP_FPS)
    assert len(frames_of(drawn)) / rate == pytest.approx(CASES[name], abs=0.05)
    output, errors = capfd.readouterr()
    assert "skipped" not in errors
    assert ("36 frames repeated" in output) == (name == "vfr.mkv")


def test_a_codec_without_a_decoder_is_named_without_messages_of_libraries(tmp_path):
    video = make_video(tmp_path / "a.mp4", 3, "-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=1")
    script = (
        "import sys\nfrom simplepose.cli import common, run_command\n"
        "from simplepose.sources import open_source\n"
        "common.silence_opencv(); sys.exit(run_command(lambda _: open_source(sys.argv[1])))"
    )
    command = [sys.executable, "-c", script, str(video)]
    done = subprocess.run(command, capture_output=True, text=True, env=runs.environment(), check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {video}: codec AV1 is not supported by this build of OpenCV; convert")


def test_tracking_and_drawing_can_be_disabled(run, tmp_path):
    video = make_video(tmp_path / "clip.mp4", 9)
    assert (
        run(video, "--no-track", "--no-draw", "--start", 2, "--every", 3, "--profile", tmp_path / "p.json")
        == 0
    )
    found = [json.loads(line) for line in (tmp_path / "out/people.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in found] == [2, 5, 8]
    assert {person["id"] for line in found for person in line["people"]} == {None}
    assert not list((tmp_path / "out").glob("*.mp4"))
    profile = json.loads((tmp_path / "p.json").read_text())
    assert profile["frames"] == 3
    assert set(profile["steps"]) == {"read", "frame", "see", "group", "write"}
    assert all(step["count"] == 3 and step["p50_ms"] <= step["p95_ms"] for step in profile["steps"].values())


def test_people_keep_their_ids_over_skipped_frames(run, tmp_path):
    assert run(make_video(tmp_path / "clip.mp4", 30), "--start", 1, "--every", 7) == 0
    assert {tuple(person["id"] for person in people) for people in people_of(tmp_path / "out")} == {(0, 1)}


def test_a_truncated_video_gives_its_readable_frames_and_an_error(run, tmp_path, capsys):
    video = make_video(tmp_path / "clip.avi", 60, "-g", "5")
    content = video.read_bytes()
    video.write_bytes(content[: len(content) * 3 // 4])
    assert run(video) == 1
    drawn_frames = frames_of(tmp_path / "out/clip.mp4")
    assert 5 < len(drawn_frames) < 60
    assert records(tmp_path / "out") == len(drawn_frames)
    assert "skipped" in capsys.readouterr().err


def test_unreadable_frames_do_not_shift_the_drawn_video(run, tmp_path):
    """The drawn frames of the others keep their positions in time."""
    frames = tmp_path / "frames"
    frames.mkdir()
    damaged = (0, 4, 5)
    for number in range(8):
        cv2.imwrite(str(frames / f"{number}.png"), np.full((HEIGHT, WIDTH, 3), 25 * number, np.uint8))
        if number in damaged:
            (frames / f"{number}.png").write_text("this is text")
    assert run(frames, "--no-track") == 1
    assert result_readers.jsonl(tmp_path / "out").keys() == set(range(8))
    assert {n for n, people in result_readers.jsonl(tmp_path / "out").items() if people is None} == {*damaged}
    (video,) = (tmp_path / "out").glob("*.mp4")
    corners = [frame[-5, -5].mean() for frame in frames_of(video)]
    assert corners == pytest.approx([0, 25, 50, 75, 75, 75, 150, 175], abs=12)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.mp4", "no such video"),
        ("text.mp4", "no video"),
        ("77", "camera 77"),
        ("http://127.0.0.1:9/cam", "127.0.0.1:9"),
        ("-", "--raw-size"),
        ("empty", "no image in this folder"),
    ],
)
def test_a_missing_source_is_reported_at_the_start(run, tmp_path, capfd, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("this is text")
    (tmp_path / "empty").mkdir()
    assert run(source, "--timeout", 2) == 2
    assert message in capfd.readouterr().err


def test_an_unwritable_output_is_reported_at_the_start(run, tmp_path, capsys):
    (tmp_path / "out").write_text("a file, not a folder")
    assert run(make_video(tmp_path / "clip.mp4", 2)) == 2
    assert "out" in capsys.readouterr().err


def test_show_without_a_display_is_an_error(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert run(tmp_path / "any.mp4", "--show") == 2
    assert "no display" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["640", "640x", "0x5", "axb", "640x-480"])
def test_an_invalid_raw_size_is_an_error(run, size, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("-", "--raw-size", size)
    assert "WIDTHxHEIGHT" in capsys.readouterr().err


def test_a_stream_is_read_until_the_frame_limit(run, tmp_path):
    with Camera() as camera:
        assert run(camera.url, "--max-frames", 12, "--reconnect", 0) == 0
    found = [json.loads(line) for line in (tmp_path / "out/people.jsonl").read_text().splitlines()]
    numbers = [line["frame"] for line in found]
    assert len(numbers) == 12
    assert numbers == sorted(set(numbers))
    (video,) = (tmp_path / "out").glob("*.mp4")
    duration_frames = round((found[-1]["seconds"] - found[0]["seconds"]) * DEFAULT_FPS)
    assert (
        duration_frames <= len(frames_of(video)) <= duration_frames + MAX_EARLY_S * DEFAULT_FPS + 2
    )  # at any frame rate


@pytest.mark.parametrize("shared", [False, True], ids=["by demo-video", "by demo"])
def test_a_second_run_into_the_same_folder_is_refused(run, tmp_path, capsys, shared):
    """Both would write the same files; the refused run leaves no files."""
    with lock_holder.hold_lock(tmp_path / "out", shared):
        assert run(make_video(tmp_path / "clip.mp4", 2)) == 2
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["lock-1" if shared else "lock"]
    assert "out: another process is writing to this folder" in capsys.readouterr().err
    assert run(tmp_path / "clip.mp4") == 0
    assert not (tmp_path / "out/lock").exists()


def test_a_run_without_frames_keeps_earlier_results(run, tmp_path, capsys):
    video = make_video(tmp_path / "clip.mp4", 3)
    assert run(video) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.json")}
    assert run(video, "--start", 99, "--format", "coco,alphapose") == 2
    assert "expected more than 99 frames" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "out").glob("*.json")} == before
    assert not list((tmp_path / "out").glob("*.partial*"))
    assert len(frames_of(tmp_path / "out/clip.mp4")) == 3


def start_process(*arguments, **options):
    command = [sys.executable, str(TOOL), *map(str, arguments), *SMALL]
    return subprocess.Popen(command, env=runs.environment(), **options)


def test_raw_frames_from_a_pipe_with_a_heatmap_overlay(tmp_path):
    raw = b"".join(number_image(n).tobytes() for n in range(6))
    arguments = ("--source", "-", "--raw-size", f"{WIDTH}x{HEIGHT}", "--output", tmp_path / "out")
    process = start_process(*arguments, "--heatmaps", "left_wrist", stdin=subprocess.PIPE)
    process.communicate(raw, timeout=120)
    assert process.returncode == 0
    (video,) = (tmp_path / "out").glob("*.mp4")
    assert len(frames_of(video)) == 6


def test_an_unknown_heatmap_is_reported_with_the_available_ones(tmp_path):
    process = start_process("--source", "x.mp4", "--heatmaps", "tail", stderr=subprocess.PIPE, text=True)
    err = process.communicate(timeout=120)[1]
    assert process.returncode == 2
    assert "unknown map 'tail'" in err
    assert "left_elbow-left_wrist" in err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_leave_complete_files(tmp_path, number):
    out = tmp_path / "out"
    with Camera() as camera:
        arguments = ("--source", camera.url, "--output", out, *FORMATS)
        process = start_process(*arguments, stdout=subprocess.PIPE, text=True)
        lines = out / "people.jsonl"
        runs.wait_for(lambda: lines.exists() and lines.read_bytes().count(b"\n") > 5, process)
        os.kill(process.pid, number)
        output = process.communicate(timeout=120)[0]
    assert process.returncode == EXIT_INTERRUPTED
    assert "interrupted, results are partial" in output
    count = records(out)
    assert count > 5
    (video,) = out.glob("*.mp4")
    assert len(frames_of(video)) >= count
