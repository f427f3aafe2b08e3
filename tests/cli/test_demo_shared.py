"""Several processes share the images of one run: killed, resumed, and on a full disk."""

import json
import os
import signal

import cv2
import numpy as np
import pytest
import runs
from full_disk import run_on_small_disk
from repo_paths import ROOT

from simplepose.synthetic.scenes import draw_scene

TOOL = ROOT / "tools/demo_image.py"
SMALL = ["--device", "cpu", "--set", "inference.height=64", "inference.flip=false"]

SLOW = ["--device", "cpu", "--set", "inference.height=384"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """40 images of synthetic people; the same names in two folders; one file is not an image."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(40):
        path = folder / ("a" if number % 2 else "b") / f"{number // 2:02d}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(
            str(path), draw_scene(np.random.default_rng(number), (96, 96 + 32 * (number % 3)), 2).image
        )
    (folder / "a/07.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def alone(images, tmp_path_factory):
    """Results of a run in one process."""
    output = tmp_path_factory.mktemp("alone")
    command = [*runs.single_process_command()[:1], str(TOOL), *arguments(images, output)]
    assert runs.start(command).wait(200) == 1
    return results(output)


def arguments(images, output):
    return [str(images / "a"), str(images / "b"), "--output", str(output), *SMALL, "--format", "coco,csv"]


def results(output):
    """Image names, people, csv text, and the bytes of the drawn images."""
    frames = json.loads((output / "frames.json").read_text())
    people = json.loads((output / "people.json").read_text())
    drawn = {path.name: path.read_bytes() for path in output.glob("*.png")}
    return frames, people, (output / "people.csv").read_text(), drawn


def lines(output):
    """Records of the images that are done so far."""
    paths = sorted(output.glob("parts/part-*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_bytes().split(b"\n")[:-1]]


@pytest.mark.slow
def test_two_killed_and_restarted_processes_process_each_image_once(images, alone, tmp_path):
    command = runs.torchrun_command(2, script=TOOL) + arguments(images, tmp_path)
    first = runs.start(command)
    runs.wait_for(lambda: len(lines(tmp_path)) > 8, first)  # one of them may be the damaged image
    for process in (first.pid, *runs.child_pids(first)):  # the launcher first, which would stop the others
        os.kill(process, signal.SIGKILL)
    first.communicate()
    done = {line["frame"] for line in lines(tmp_path) if "error" not in line}  # failed images are retried
    assert 8 <= len(done) < 40, "the run must be killed while images remain"
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.png")}
    with (tmp_path / "parts/part-0.jsonl").open("ab") as file:
        file.write(b'{"frame": 1')  # an incomplete line, as after a kill
    second = runs.start(command)
    stdout, _ = second.communicate(timeout=200)
    assert f"{len(done):,} images are already done; resuming" in stdout
    assert results(tmp_path) == alone
    assert not (tmp_path / "parts").exists()
    rewritten = [path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp]
    assert len(rewritten) <= 2, "at most the image of each process when it was killed"


def test_results_list_every_image_even_with_equal_stems(alone):
    frames, _, _, drawn = alone
    assert len(frames["images"]) == 40
    assert len({image["file_name"] for image in frames["images"]}) == 40
    assert len(drawn) == 39
    assert sum("error" in image for image in frames["images"]) == 1


@pytest.mark.slow
def test_a_process_with_unreadable_images_only_does_not_stop_the_others(tmp_path):
    """torchrun stops all processes if one fails, so the one that writes the results sets the exit status."""
    for number in range(24):
        path = tmp_path / f"{number:02d}.png"
        path.write_bytes(b"no image")
        if number % 2:
            cv2.imwrite(str(path), np.zeros((96, 96, 3), np.uint8))
    output = tmp_path / "out"
    process = runs.start(
        [*runs.torchrun_command(2, script=TOOL), str(tmp_path), "--output", str(output), *SLOW]
    )
    stdout, _ = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "this process is done; others are running" in stdout
    images = json.loads((output / "frames.json").read_text())["images"]
    assert [image["id"] for image in images if "error" not in image] == list(range(2, 25, 2))
    assert len(list(output.glob("*.png"))) == 12
    assert not (output / "parts").exists()


DISK_FULL = """
import sys
from pathlib import Path
from simplepose.cli import demo_image, run_command
disk = Path(sys.argv[1])
filler = disk / "filler"
filler.write_bytes(bytes(int({spare!r})))
args = [{images!r}, "--output", str(disk / "out"), *{small!r}]
first = run_command(demo_image.main, args)
kept = len(list((disk / "out").glob("*.png")))
filler.unlink()
print(first, kept, run_command(demo_image.main, args), len(list((disk / "out").glob("*.png"))))
"""


def test_a_full_disk_stops_the_run_and_keeps_finished_images(images, tmp_path):
    script = DISK_FULL.format(images=str(images / "b"), small=SMALL, spare=1.75 * 2**20)
    output = run_on_small_disk(script, 2 * 2**20, tmp_path).strip().splitlines()[-1]
    first, kept, second, drawn = map(int, output.split())
    assert (first, second, drawn) == (2, 0, 20)
    assert 0 < kept < 20
