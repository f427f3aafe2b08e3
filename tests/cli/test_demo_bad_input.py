"""Invalid input of the demos: valid images are processed, errors are reported, no file is lost."""

import json
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import result_readers
from full_disk import run_on_small_disk
from numbered_videos import ffmpeg, make_video
from oracle import NoPeoplePredictor
from repo_paths import ROOT
from synthetic_coco import write_synthetic_coco

import simplepose
from simplepose.cli import demo_image, demo_video, run_command

ALL_FORMATS = "coco,openpose,alphapose,csv,jsonl"
NOT_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def run(monkeypatch, out):
    """run(command, *arguments) -> exit status; no people are found, results go to `out` in all formats."""
    monkeypatch.setattr(simplepose, "load", lambda *_, **__: NoPeoplePredictor())

    def run(command, *arguments, output=out):
        return run_command(
            command.main, [*map(str, arguments), "--output", str(output), "--format", ALL_FORMATS]
        )

    return run


@pytest.fixture
def read_only_folder():
    """A folder that this process cannot write to, even if root runs the tests."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        cv2.imwrite(f"{name}/a.png", np.zeros((8, 8, 3), np.uint8))
        make_video(Path(name, "clip.mp4"), 2)
        Path(name).chmod(0o555)
        try:
            if root:
                os.seteuid(65534)
            if os.access(name, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
                pytest.skip("this user can write to every folder")
            if root and not os.access(ROOT / "setup.py", os.R_OK, effective_ids=True):
                pytest.skip("only root can read the folder of the project")
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)
            Path(name).chmod(0o755)


def images(out):
    return json.loads((out / "frames.json").read_text())["images"]


def records(out):
    """Number of records, in each format."""
    names = ("coco", "openpose", "alphapose", "csv_table", "jsonl")
    return {len(getattr(result_readers, name)(out)) for name in names}


def drawn(out):
    return sorted(path.name for path in out.iterdir() if path.suffix in (".jpg", ".png"))


def test_text_truncated_and_empty_files_are_skipped_among_valid_ones(run, out, tmp_path, capsys):
    _, folder = write_synthetic_coco(tmp_path / "in", num_images=3)
    (folder / "text.jpg").write_text("this is text")
    (folder / "empty.png").write_bytes(b"")
    intact = (folder / "000000000002.jpg").read_bytes()
    for fraction in (0.1, 0.5, 0.99):
        (folder / f"cut{fraction}.jpg").write_bytes(intact[: int(len(intact) * fraction)])
    assert run(demo_image, folder) == 1
    captured = capsys.readouterr()
    assert {image["file_name"] for image in images(out) if "error" in image} == {
        *("text.jpg", "empty.png", "cut0.1.jpg", "cut0.5.jpg", "cut0.99.jpg")
    }
    assert captured.err.count("skipped ") == 5
    assert f"skipped {folder / 'text.jpg'}: 12 bytes are not an image" in captured.err
    assert "5 images could not be read" in captured.out
    assert drawn(out) == ["000000000001.jpg", "000000000002.jpg", "000000000003.jpg"]
    assert records(out) == {8}


def test_log_messages_of_libraries_are_silenced(run, tmp_path, capfd):
    """A truncated file is reported in one line of our own, whichever library failed to read it."""
    encoded, tiff = cv2.imencode(".tif", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    assert encoded
    (tmp_path / "cut.tif").write_bytes(tiff.tobytes()[:-400])
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((64, 64, 3), np.uint8))
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)
    try:
        assert run(demo_image, tmp_path) == 1
    finally:
        cv2.utils.logging.setLogLevel(before)
    output = capfd.readouterr().err
    assert f"skipped {tmp_path}/cut.tif" in output
    assert "TIFF" not in output.replace("truncated TIFF image", "")


@pytest.mark.parametrize("content", [[], ["a.jpg", "b.png"]])
def test_a_folder_without_a_readable_image_is_an_error(run, out, tmp_path, content, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in content:
        (folder / name).write_text("text")
    assert run(demo_image, folder) == 2
    output = capsys.readouterr().err
    assert str(folder) in output
    assert ("none of the 2 images could be read" if content else "no image in this folder") in output
    assert not (out / "parts").exists()


def test_grayscale_16_bit_and_transparent_images_are_processed(run, out, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, shape, dtype in (
        ("gray", (9, 7), np.uint8),
        ("gray_16_bit", (9, 7), np.uint16),
        ("16_bit", (9, 7, 3), np.uint16),
        ("transparent", (9, 7, 4), np.uint8),
        ("one", (1, 1), np.uint8),
    ):
        cv2.imwrite(str(folder / f"{name}.png"), np.full(shape, np.iinfo(dtype).max // 2, dtype))
    assert run(demo_image, folder) == 0
    assert len(drawn(out)) == 5
    for name in drawn(out):
        image = cv2.imread(str(out / name), cv2.IMREAD_UNCHANGED)
        assert image.shape == ((1, 1, 3) if name == "one.png" else (9, 7, 3))
        assert image.dtype == np.uint8
        assert np.abs(image.astype(int) - 127).max() <= 1


def test_exif_orientation_is_applied(run, out, tmp_path):
    encoded = cv2.imencode(".jpg", np.zeros((10, 30, 3), np.uint8))[1].tobytes()
    orientation = (
        b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"  # orientation 6: rotated 90 degrees clockwise
    )
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + orientation + b"\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "a.jpg").write_bytes(encoded[:2] + segment + encoded[2:])
    assert run(demo_image, tmp_path / "a.jpg") == 0
    assert cv2.imread(str(out / "a.jpg"), cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_COLOR).shape == (
        30,
        10,
        3,
    )
    assert [(image["width"], image["height"]) for image in images(out)] == [(10, 30)]


def test_images_of_the_same_stem_get_different_output_names(run, out, tmp_path):
    for number, name in enumerate(("a/x.png", "b/x.png", "b/x.bmp", "c/X.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((4, 4, 3), 50 * number, np.uint8))
    assert run(demo_image, tmp_path / "a", tmp_path / "b", tmp_path / "c") == 0
    shades = {int(cv2.imread(str(out / name))[0, 0, 0]) for name in drawn(out)}
    assert shades == {0, 50, 100, 150}
    assert len({image["file_name"] for image in images(out)}) == 4


def test_file_names_that_are_not_utf8(run, out, tmp_path, capsys):
    folder, output = tmp_path / f"in_{NOT_UTF8}", tmp_path / f"out_{NOT_UTF8}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system supports UTF-8 names only")
    image = folder / f"{NOT_UTF8}.jpg"
    image.write_bytes(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    (folder / f"bad_{NOT_UTF8}.jpg").write_text("text")
    assert run(demo_image, folder, output=output) == 1
    assert (output / f"{NOT_UTF8}.jpg").is_file()
    assert [image["file_name"] for image in images(output)] == ["bad_caf\\xe9.jpg", "caf\\xe9.jpg"]
    assert records(output) == {2}
    captured = capsys.readouterr()
    assert "bad_caf\\udce9.jpg" in captured.err
    assert "results are in" in captured.out
    video = make_video(tmp_path / "plain.mp4", 2).rename(folder / f"{NOT_UTF8}.mp4")
    assert run(demo_video, "--source", video) == 0
    (drawn_video,) = out.glob("*.mp4")
    assert drawn_video.stem == NOT_UTF8
    assert run(demo_video, "--source", video, output=tmp_path / f"video_{NOT_UTF8}") == 2
    assert "expected a UTF-8 folder name for a video" in capsys.readouterr().err


def test_a_video_without_frames_is_an_error(run, tmp_path, capsys):
    ffmpeg("-f", "lavfi", "-i", "color=size=64x48:rate=25", "-frames:v", "0", tmp_path / "none.avi")
    (tmp_path / "void.mp4").write_bytes(b"")
    for name in ("none.avi", "void.mp4"):
        assert run(demo_video, "--source", tmp_path / name) == 2
        assert f"{name}: no video frame" in capsys.readouterr().err


def test_a_video_of_one_frame_is_processed(run, out, tmp_path):
    assert run(demo_video, "--source", make_video(tmp_path / "one.mp4", 1)) == 0
    assert records(out) == {1}
    assert cv2.VideoCapture(str(out / "one.mp4")).read()[0]


@pytest.mark.parametrize("below", ["", "new"])
def test_an_output_folder_without_write_permission_is_an_error(run, read_only_folder, below, capsys):
    output = read_only_folder / below
    for command, arguments in (
        (demo_image, [read_only_folder]),
        (demo_video, ["--source", read_only_folder / "clip.mp4"]),
    ):
        assert run(command, *arguments, output=output) == 2
        err = capsys.readouterr().err
        assert "Permission denied" in err
        assert str(output) in err
    assert sorted(path.name for path in read_only_folder.iterdir()) == ["a.png", "clip.mp4"]


@pytest.mark.parametrize("command", [demo_image, demo_video])
def test_an_output_path_that_is_a_file_is_an_error(run, out, tmp_path, command, capsys):
    out.write_text("mine")
    source = make_video(tmp_path / "clip.mp4", 2) if command is demo_video else tmp_path / "a.png"
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    assert run(command, *(["--source", source] if command is demo_video else [source])) == 2
    assert str(out) in capsys.readouterr().err
    assert out.read_text() == "mine"


@pytest.mark.parametrize("command", [demo_image, demo_video])
def test_an_unwritable_profile_path_is_reported_at_the_start(run, tmp_path, command, capsys):
    source = [tmp_path] if command is demo_image else ["--source", tmp_path / "clip.mp4"]
    with pytest.raises(SystemExit, match="2"):
        run(command, *source, "--profile", tmp_path / "missing/p.json")
    assert "expected a file in an existing folder" in capsys.readouterr().err


DISK_FULL_AT_MERGE = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/helpers")
import simplepose
from oracle import NoPeoplePredictor
from repo_paths import ROOT
from simplepose.cli import demo_image, run_command
from simplepose.writers.shards import Shards
simplepose.load = lambda *_, **__: NoPeoplePredictor()
disk = Path(sys.argv[1])
args = [{folder!r}, "--output", str(disk / "out"), "--no-draw", "--format", "csv,coco"]
merge = Shards.merge
def fill_and_merge(shards, numbers, open_results):
    filler = open(disk / "filler", "wb", buffering=0)
    try:
        while filler.write(bytes(256)):
            pass
    except OSError:
        pass
    Shards.merge = merge
    return merge(shards, numbers, open_results)
Shards.merge = fill_and_merge
first = run_command(demo_image.main, args)
kept = sorted(path.name for path in (disk / "out").iterdir())
(disk / "filler").unlink()
print(first, ",".join(kept), run_command(demo_image.main, args), (disk / "out/parts").exists())
"""


def test_a_full_disk_at_merge_leaves_no_partial_results(tmp_path):
    """No incomplete file gets the name of a result, and the same command then completes the results."""
    folder, disk = tmp_path / "in", tmp_path / "disk"
    disk.mkdir()
    folder.mkdir()
    for number in range(60):
        cv2.imwrite(str(folder / f"{number:02d}.png"), np.zeros((8, 8, 3), np.uint8))
    output = run_on_small_disk(DISK_FULL_AT_MERGE.format(folder=str(folder)), 2**16, disk)
    assert output.strip().splitlines()[-1].split() == ["2", "parts", "0", "False"]


DISK_FULL_DURING_VIDEO = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/helpers")
import cv2
import simplepose
from oracle import NoPeoplePredictor
from repo_paths import ROOT
from simplepose.cli import demo_video, run_command
from simplepose.writers import jsonl
simplepose.load = lambda *_, **__: NoPeoplePredictor()
out = Path(sys.argv[1], "out")
status = run_command(demo_video.main, ["--source", {video!r}, "--output", str(out), "--format", "jsonl,coco"])
video, frames = cv2.VideoCapture(str(out / "clip.mp4")), 0
while video.read()[0]:
    frames += 1
print(status, frames, len(list(jsonl.read(out / "people.jsonl"))))
"""


def test_a_video_that_fills_the_disk_stays_playable(tmp_path):
    video, disk = tmp_path / "clip.mp4", tmp_path / "disk"
    disk.mkdir()
    noise = ("-vf", "noise=alls=90:allf=t", "-pix_fmt", "yuv420p")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=160x120", *noise, "-frames:v", 100, video)
    output = run_on_small_disk(DISK_FULL_DURING_VIDEO.format(video=str(video)), 2**20 + 2**17, disk)
    status, frames, records = map(int, output.strip().splitlines()[-1].split())
    assert status == 2
    assert 0 < frames < 100
    assert records - frames in (0, 1)
