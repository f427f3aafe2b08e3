"""The command `demo-video`: frames in are records and frames of film out, however it ends."""

import json
import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import other_holder
import pytest
import result_readers
import runs
from moving_pictures import HEIGHT, WIDTH, Camera, make_video, numbered
from oracle import Answers
from places import ROOT

import simplepose
from simplepose.cli import INTERRUPTED, demo_video, door
from simplepose.cli.demo_video import RATE
from simplepose.frames import Frame
from simplepose.people import People
from simplepose.tracking import Tracker
from simplepose.writers.drawn_video import EARLY_SECONDS

TOOL = ROOT / "tools/demo_video.py"
SMALL = ["--device", "cpu", "--set", "inference.height=64", "inference.flip=false"]
FORMATS = ["--format", "coco,openpose,alphapose,csv,jsonl"]


class Somebody(Answers):
    """Finds the same two people in each frame, and nobody in the black ones."""

    def people(self, image):
        if not image.any():
            return People.nobody(17)
        spread = np.stack(np.meshgrid(np.arange(5) * 8, np.arange(4) * 10), -1).reshape(-1, 2)[:17]
        joints = np.concatenate([spread, np.ones((17, 1))], 1)
        return People(np.stack([joints, joints + np.array([90, 5, 0])]), np.array([0.9, 0.8]))


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run(source, *arguments) -> exit status, everything to `tmp_path`/out."""
    monkeypatch.setattr(simplepose, "load", lambda *_, **__: Somebody())

    def run(source, *arguments):
        fixed = ["--source", str(source), "--output", str(tmp_path / "out"), *FORMATS]
        return door(demo_video.main, [*fixed, *map(str, arguments)])

    return run


def frames_of(path):
    film = cv2.VideoCapture(str(path))
    frames = []
    while (read := film.read())[0]:
        frames.append(read[1])
    return frames


def records(folder):
    """Number of records in each format, all of which have the same frames."""
    names = ("coco", "openpose", "alphapose", "csv_table", "jsonl")
    (count,) = {len(getattr(result_readers, name)(folder)) for name in names}
    return count


def people_of(folder):
    return [json.loads(line)["people"] for line in (folder / "people.jsonl").read_text().splitlines()]


def test_frames_in_are_records_and_frames_of_film_out(run, tmp_path, capsys):
    video = make_video(tmp_path / "clip.mp4", 30)
    assert run(video) == 0
    assert records(tmp_path / "out") == 30
    film = frames_of(tmp_path / "out/clip.mp4")
    assert len(film) == 30
    assert film[0].shape == (HEIGHT, WIDTH, 3)
    found = people_of(tmp_path / "out")
    assert found[0] == []  # frame 0 is black
    assert {tuple(person["id"] for person in people) for people in found[1:]} == {(0, 1)}
    said = capsys.readouterr().out
    assert "30 frames, 58 people" in said
    assert "the film is MPEG-4" in said or "the film is H.264" in said
    assert all(step in said for step in ("read", "frame", "see", "group", "track", "draw", "write"))


def test_the_film_of_a_video_in_the_output_folder_is_another_file(run, tmp_path):
    (tmp_path / "out").mkdir()
    video = make_video(tmp_path / "out/clip.mp4", 4)
    before = video.read_bytes()
    assert run(video) == 0
    assert video.read_bytes() == before
    assert len(frames_of(tmp_path / "out/clip_2.mp4")) == 4


@pytest.mark.parametrize(("live", "ids"), [(True, [0, 0, 0, 1]), (False, [0, 0, 0, 0])])
def test_who_stands_there_after_a_live_source_was_away_is_somebody_else(live, ids):
    """The frames of a stream that is reached again are numbered on, whatever time has passed."""
    source = type("Source", (), {"live": live, "frames_per_second": 25.0})
    track = demo_video.tracking(Tracker(), source)
    people, image = Somebody().people(np.ones(1)), np.zeros((64, 128, 3), np.uint8)
    alone = People(people.keypoints[:1], people.scores[:1])
    times = [0.0, 0.9, 1.0, 31.0]
    found = [track(alone, Frame(n, "cam", image, seconds)).ids for n, seconds in enumerate(times)]
    assert np.concatenate(found).tolist() == ids


def test_without_tracking_and_drawing(run, tmp_path):
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


def test_people_keep_their_ids_over_frames_that_are_left_out(run, tmp_path):
    assert run(make_video(tmp_path / "clip.mp4", 30), "--start", 1, "--every", 7) == 0
    assert {tuple(person["id"] for person in people) for people in people_of(tmp_path / "out")} == {(0, 1)}


def test_a_video_that_is_cut_gives_its_frames_and_says_so(run, tmp_path, capsys):
    video = make_video(tmp_path / "clip.avi", 60, "-g", "5")
    whole = video.read_bytes()
    video.write_bytes(whole[: len(whole) * 3 // 4])
    assert run(video) == 1
    film = frames_of(tmp_path / "out/clip.mp4")
    assert 5 < len(film) < 60
    assert records(tmp_path / "out") == len(film)
    assert "skipped" in capsys.readouterr().err


def test_the_film_keeps_time_over_frames_that_cannot_be_read(run, tmp_path):
    """What is drawn of the others lies where they lay in the source."""
    frames = tmp_path / "frames"
    frames.mkdir()
    damaged = (0, 4, 5)
    for number in range(8):
        cv2.imwrite(str(frames / f"{number}.png"), np.full((HEIGHT, WIDTH, 3), 25 * number, np.uint8))
        if number in damaged:
            (frames / f"{number}.png").write_text("this is a text")
    assert run(frames, "--no-track") == 1
    assert result_readers.jsonl(tmp_path / "out").keys() == set(range(8))
    assert {n for n, people in result_readers.jsonl(tmp_path / "out").items() if people is None} == {*damaged}
    (film,) = (tmp_path / "out").glob("*.mp4")
    corners = [frame[-5, -5].mean() for frame in frames_of(film)]
    assert corners == pytest.approx([0, 25, 50, 75, 75, 75, 150, 175], abs=12)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("nowhere.mp4", "no such video"),
        ("text.mp4", "no video"),
        ("77", "camera 77"),
        ("http://127.0.0.1:9/cam", "127.0.0.1:9"),
        ("-", "--raw-size"),
        ("empty", "no picture in this folder"),
    ],
)
def test_what_is_not_there_is_an_error_at_the_door(run, tmp_path, capfd, monkeypatch, source, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("this is a text")
    (tmp_path / "empty").mkdir()
    assert run(source, "--timeout", 2) == 2
    assert told in capfd.readouterr().err


def test_where_nothing_can_be_written_is_an_error_at_the_door(run, tmp_path, capsys):
    (tmp_path / "out").write_text("a file, not a folder")
    assert run(make_video(tmp_path / "clip.mp4", 2)) == 2
    assert "out" in capsys.readouterr().err


def test_no_window_without_a_screen(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert run(tmp_path / "any.mp4", "--show") == 2
    assert "no screen" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["640", "640x", "0x5", "axb", "640x-480"])
def test_a_size_that_is_none_is_told(run, size, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("-", "--raw-size", size)
    assert "WIDTHxHEIGHT" in capsys.readouterr().err


def test_a_stream_is_followed_until_it_ends(run, tmp_path):
    with Camera() as camera:
        assert run(camera.address, "--max-frames", 12, "--reconnect", 0) == 0
    found = [json.loads(line) for line in (tmp_path / "out/people.jsonl").read_text().splitlines()]
    numbers = [line["frame"] for line in found]
    assert len(numbers) == 12
    assert numbers == sorted(set(numbers))
    (film,) = (tmp_path / "out").glob("*.mp4")
    lasted = round((found[-1]["seconds"] - found[0]["seconds"]) * RATE)
    assert lasted <= len(frames_of(film)) <= lasted + EARLY_SECONDS * RATE + 2  # whatever rate it comes at


@pytest.mark.parametrize("shared", [False, True], ids=["by demo-video", "by demo"])
def test_a_second_run_into_the_same_folder_waits_for_its_turn(run, tmp_path, capsys, shared):
    """Both would write the same files; and what is refused leaves nothing behind."""
    with other_holder.holding(tmp_path / "out", shared):
        assert run(make_video(tmp_path / "clip.mp4", 2)) == 2
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["lock"]
    assert "out: another process writes there now" in capsys.readouterr().err
    assert run(tmp_path / "clip.mp4") == 0
    assert not (tmp_path / "out/lock").exists()


def test_a_run_of_nothing_leaves_earlier_results(run, tmp_path, capsys):
    video = make_video(tmp_path / "clip.mp4", 3)
    assert run(video) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.json")}
    assert run(video, "--start", 99, "--format", "coco,alphapose") == 2
    assert "none from frame 99 on" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "out").glob("*.json")} == before
    assert not list((tmp_path / "out").glob("*.partial*"))
    assert len(frames_of(tmp_path / "out/clip.mp4")) == 3


def started(*arguments, **options):
    command = [sys.executable, str(TOOL), *map(str, arguments), *SMALL]
    return subprocess.Popen(command, env=runs.environment(), **options)


def test_raw_frames_come_through_a_pipe_and_a_heat_map_is_laid_beneath(tmp_path):
    raw = b"".join(numbered(n).tobytes() for n in range(6))
    arguments = ("--source", "-", "--raw-size", f"{WIDTH}x{HEIGHT}", "--output", tmp_path / "out")
    process = started(*arguments, "--heatmaps", "left_wrist", stdin=subprocess.PIPE)
    process.communicate(raw, timeout=120)
    assert process.returncode == 0
    (film,) = (tmp_path / "out").glob("*.mp4")
    assert len(frames_of(film)) == 6


def test_an_unknown_heat_map_is_told_with_those_there_are(tmp_path):
    process = started("--source", "x.mp4", "--heatmaps", "tail", stderr=subprocess.PIPE, text=True)
    told = process.communicate(timeout=120)[1]
    assert process.returncode == 2
    assert "no map is called 'tail'" in told
    assert "left_elbow-left_wrist" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_whole_files(tmp_path, number):
    out = tmp_path / "out"
    with Camera() as camera:
        arguments = ("--source", camera.address, "--output", out, *FORMATS)
        process = started(*arguments, stdout=subprocess.PIPE, text=True)
        lines = out / "people.jsonl"
        runs.wait_for(lambda: lines.exists() and lines.read_bytes().count(b"\n") > 5, process)
        os.kill(process.pid, number)
        said = process.communicate(timeout=120)[0]
    assert process.returncode == INTERRUPTED
    assert "interrupted, this is a part" in said
    count = records(out)
    assert count > 5
    (film,) = out.glob("*.mp4")
    assert len(frames_of(film)) >= count
