"""What users feed the demos by mistake: the good is done, the bad is told, nothing is overwritten or lost."""

import json
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import result_readers
from drawn_coco import write_drawn_coco
from full_disk import run_on_small_disk
from moving_pictures import ffmpeg, make_video
from oracle import Nobody

import simplepose
from simplepose.cli import demo_image, demo_video, door

ALL = "coco,openpose,alphapose,csv,jsonl"
NOT_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def run(monkeypatch, out):
    """run(verb, *arguments) -> exit status; nobody is found, and results go to `out` in all formats."""
    monkeypatch.setattr(simplepose, "load", lambda *_, **__: Nobody())

    def run(verb, *arguments, output=out):
        return door(verb.main, [*map(str, arguments), "--output", str(output), "--format", ALL])

    return run


@pytest.fixture
def may_not_write():
    """A folder that this process may read only, also where root runs the tests."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        cv2.imwrite(f"{name}/a.png", np.zeros((8, 8, 3), np.uint8))
        make_video(Path(name, "clip.mp4"), 2)
        Path(name).chmod(0o555)
        try:
            if root:
                os.seteuid(65534)
            if os.access(name, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
                pytest.skip("this user may write anywhere")
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)
            Path(name).chmod(0o755)


def images(out):
    return json.loads((out / "frames.json").read_text())["images"]


def records(out):
    """How many in each format."""
    names = ("coco", "openpose", "alphapose", "csv_table", "jsonl")
    return {len(getattr(result_readers, name)(out)) for name in names}


def drawn(out):
    return sorted(path.name for path in out.iterdir() if path.suffix in (".jpg", ".png"))


def test_a_text_and_cut_and_empty_files_among_good_ones(run, out, tmp_path, capsys):
    _, folder = write_drawn_coco(tmp_path / "in", pictures=3)
    (folder / "text.jpg").write_text("this is a text")
    (folder / "empty.png").write_bytes(b"")
    whole = (folder / "000000000002.jpg").read_bytes()
    for share in (0.1, 0.5, 0.99):
        (folder / f"cut{share}.jpg").write_bytes(whole[: int(len(whole) * share)])
    assert run(demo_image, folder) == 1
    told = capsys.readouterr()
    assert {image["file_name"] for image in images(out) if "error" in image} == {
        *("text.jpg", "empty.png", "cut0.1.jpg", "cut0.5.jpg", "cut0.99.jpg")
    }
    assert told.err.count("skipped ") == 5
    assert f"skipped {folder / 'text.jpg'}: 14 bytes that are no picture" in told.err
    assert "5 pictures could not be read" in told.out
    assert drawn(out) == ["000000000001.jpg", "000000000002.jpg", "000000000003.jpg"]
    assert records(out) == {8}


def test_what_libraries_say_of_a_cut_file_is_not_told(run, tmp_path, capfd):
    """The message is ours, one line, whatever library could not read it."""
    fits, tiff = cv2.imencode(".tif", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    assert fits
    (tmp_path / "cut.tif").write_bytes(tiff.tobytes()[:-400])
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((64, 64, 3), np.uint8))
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)
    try:
        assert run(demo_image, tmp_path) == 1
    finally:
        cv2.utils.logging.setLogLevel(before)
    told = capfd.readouterr().err
    assert f"skipped {tmp_path}/cut.tif" in told
    assert "TIFF" not in told


@pytest.mark.parametrize("content", [[], ["a.jpg", "b.png"]])
def test_a_folder_without_a_single_picture_is_an_error(run, out, tmp_path, content, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in content:
        (folder / name).write_text("a text")
    assert run(demo_image, folder) == 2
    told = capsys.readouterr().err
    assert str(folder) in told
    assert ("none of the 2 pictures could be read" if content else "no picture in this folder") in told
    assert not (out / "parts").exists()


def test_grey_deep_and_transparent_pictures_are_seen_and_drawn(run, out, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, shape, dtype in (
        ("grey", (9, 7), np.uint8),
        ("grey_deep", (9, 7), np.uint16),
        ("deep", (9, 7, 3), np.uint16),
        ("transparent", (9, 7, 4), np.uint8),
        ("one", (1, 1), np.uint8),
    ):
        cv2.imwrite(str(folder / f"{name}.png"), np.full(shape, np.iinfo(dtype).max // 2, dtype))
    assert run(demo_image, folder) == 0
    assert len(drawn(out)) == 5
    for name in drawn(out):
        picture = cv2.imread(str(out / name), cv2.IMREAD_UNCHANGED)
        assert picture.shape == ((1, 1, 3) if name == "one.png" else (9, 7, 3))
        assert picture.dtype == np.uint8
        assert np.abs(picture.astype(int) - 127).max() <= 1


def test_a_picture_is_turned_as_its_exif_says(run, out, tmp_path):
    encoded = cv2.imencode(".jpg", np.zeros((10, 30, 3), np.uint8))[1].tobytes()
    turned = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"  # orientation 6: a quarter to the right
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + turned + b"\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "a.jpg").write_bytes(encoded[:2] + segment + encoded[2:])
    assert run(demo_image, tmp_path / "a.jpg") == 0
    assert cv2.imread(str(out / "a.jpg"), cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_COLOR).shape == (
        30,
        10,
        3,
    )
    assert [(image["width"], image["height"]) for image in images(out)] == [(10, 30)]


def test_the_same_stem_in_two_folders_and_two_formats(run, out, tmp_path):
    for number, name in enumerate(("a/x.png", "b/x.png", "b/x.bmp", "c/X.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((4, 4, 3), 50 * number, np.uint8))
    assert run(demo_image, tmp_path / "a", tmp_path / "b", tmp_path / "c") == 0
    shades = {int(cv2.imread(str(out / name))[0, 0, 0]) for name in drawn(out)}
    assert shades == {0, 50, 100, 150}
    assert len({image["file_name"] for image in images(out)}) == 4


def test_names_that_are_not_utf8(run, out, tmp_path, capsys):
    folder, output = tmp_path / f"in_{NOT_UTF8}", tmp_path / f"out_{NOT_UTF8}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    picture = folder / f"{NOT_UTF8}.jpg"
    picture.write_bytes(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    (folder / f"bad_{NOT_UTF8}.jpg").write_text("a text")
    assert run(demo_image, folder, output=output) == 1
    assert (output / f"{NOT_UTF8}.jpg").is_file()
    assert [image["file_name"] for image in images(output)] == ["bad_caf\\xe9.jpg", "caf\\xe9.jpg"]
    assert records(output) == {2}
    told = capsys.readouterr()
    assert "bad_caf\\udce9.jpg" in told.err
    assert "results are in" in told.out
    video = make_video(tmp_path / "plain.mp4", 2).rename(folder / f"{NOT_UTF8}.mp4")
    assert run(demo_video, "--source", video) == 0
    (film,) = out.glob("*.mp4")
    assert film.stem == NOT_UTF8
    assert run(demo_video, "--source", video, output=tmp_path / f"film_{NOT_UTF8}") == 2
    assert "a folder whose name is UTF-8 expected for a film" in capsys.readouterr().err


def test_a_video_without_a_frame(run, tmp_path, capsys):
    ffmpeg("-f", "lavfi", "-i", "color=size=64x48:rate=25", "-frames:v", "0", tmp_path / "none.avi")
    (tmp_path / "void.mp4").write_bytes(b"")
    for name in ("none.avi", "void.mp4"):
        assert run(demo_video, "--source", tmp_path / name) == 2
        assert f"{name}: no frame of a video" in capsys.readouterr().err


def test_a_video_of_one_frame(run, out, tmp_path):
    assert run(demo_video, "--source", make_video(tmp_path / "one.mp4", 1)) == 0
    assert records(out) == {1}
    assert cv2.VideoCapture(str(out / "one.mp4")).read()[0]


@pytest.mark.parametrize("below", ["", "new"])
def test_an_output_folder_without_permission(run, may_not_write, below, capsys):
    output = may_not_write / below
    for verb, arguments in (
        (demo_image, [may_not_write]),
        (demo_video, ["--source", may_not_write / "clip.mp4"]),
    ):
        assert run(verb, *arguments, output=output) == 2
        told = capsys.readouterr().err
        assert "Permission denied" in told
        assert str(output) in told
    assert sorted(path.name for path in may_not_write.iterdir()) == ["a.png", "clip.mp4"]


@pytest.mark.parametrize("verb", [demo_image, demo_video])
def test_an_output_that_is_a_file(run, out, tmp_path, verb, capsys):
    out.write_text("mine")
    source = make_video(tmp_path / "clip.mp4", 2) if verb is demo_video else tmp_path / "a.png"
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    assert run(verb, *(["--source", source] if verb is demo_video else [source])) == 2
    assert str(out) in capsys.readouterr().err
    assert out.read_text() == "mine"


@pytest.mark.parametrize("verb", [demo_image, demo_video])
def test_a_profile_that_cannot_be_written_is_told_before_the_work(run, tmp_path, verb, capsys):
    source = [tmp_path] if verb is demo_image else ["--source", tmp_path / "clip.mp4"]
    with pytest.raises(SystemExit, match="2"):
        run(verb, *source, "--profile", tmp_path / "missing/p.json")
    assert "a file in a folder that is there expected" in capsys.readouterr().err


FULL_AT_THE_END = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/helpers")
import simplepose
from oracle import Nobody
from simplepose.cli import demo_image, door
simplepose.load = lambda *_, **__: Nobody()
disk = Path(sys.argv[1])
args = [{folder!r}, "--output", str(disk / "out"), "--no-draw", "--format", "csv,coco"]
written = demo_image.Parts.merge
def fill_and_merge(parts, wanted, open_results):
    filler = open(disk / "filler", "wb", buffering=0)
    try:
        while filler.write(bytes(256)):
            pass
    except OSError:
        pass
    demo_image.Parts.merge = written
    return written(parts, wanted, open_results)
demo_image.Parts.merge = fill_and_merge
first = door(demo_image.main, args)
kept = sorted(path.name for path in (disk / "out").iterdir())
(disk / "filler").unlink()
print(first, ",".join(kept), door(demo_image.main, args), (disk / "out/parts").exists())
"""


def test_a_disk_that_is_full_when_results_are_made(tmp_path):
    """Nothing half done takes a result's name, and the same command then makes them."""
    folder, disk = tmp_path / "in", tmp_path / "disk"
    disk.mkdir()
    folder.mkdir()
    for number in range(60):
        cv2.imwrite(str(folder / f"{number:02d}.png"), np.zeros((8, 8, 3), np.uint8))
    said = run_on_small_disk(FULL_AT_THE_END.format(folder=str(folder)), 2**16, disk)
    assert said.strip().splitlines()[-1].split() == ["2", "parts", "0", "False"]


FULL_FILM = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/helpers")
import cv2
import simplepose
from oracle import Nobody
from simplepose.cli import demo_video, door
from simplepose.writers import jsonl
simplepose.load = lambda *_, **__: Nobody()
out = Path(sys.argv[1], "out")
status = door(demo_video.main, ["--source", {video!r}, "--output", str(out), "--format", "jsonl,coco"])
film, frames = cv2.VideoCapture(str(out / "clip.mp4")), 0
while film.read()[0]:
    frames += 1
print(status, frames, len(list(jsonl.read(out / "people.jsonl"))))
"""


def test_a_film_that_fills_the_disk_ends_whole(tmp_path):
    video, disk = tmp_path / "clip.mp4", tmp_path / "disk"
    disk.mkdir()
    noise = ("-vf", "noise=alls=90:allf=t", "-pix_fmt", "yuv420p")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=160x120", *noise, "-frames:v", 100, video)
    said = run_on_small_disk(FULL_FILM.format(video=str(video)), 2**20 + 2**17, disk)
    status, frames, records = map(int, said.strip().splitlines()[-1].split())
    assert status == 2
    assert 0 < frames < 100
    assert records - frames in (0, 1)
