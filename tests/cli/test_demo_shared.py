"""A run over pictures that several processes share: killed, gone on with, on a full disk."""

import json
import os
import signal

import cv2
import numpy as np
import pytest
import runs
from full_disk import run_on_small_disk
from places import ROOT

from simplepose.synthetic.scenes import draw_scene

TOOL = ROOT / "tools/demo_image.py"
SMALL = ["--device", "cpu", "--set", "inference.height=64", "inference.flip=false"]

SLOW = ["--device", "cpu", "--set", "inference.height=384"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """40 pictures of drawn people; the same name in two folders; one of them no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(40):
        path = folder / ("a" if number % 2 else "b") / f"{number // 2:02d}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(
            str(path), draw_scene(np.random.default_rng(number), (96, 96 + 32 * (number % 3)), 2).image
        )
    (folder / "a/07.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def alone(pictures, tmp_path_factory):
    """What one process makes of them."""
    output = tmp_path_factory.mktemp("alone")
    command = [*runs.alone()[:1], str(TOOL), *arguments(pictures, output)]
    assert runs.start(command).wait(200) == 1
    return results(output)


def arguments(pictures, output):
    return [str(pictures / "a"), str(pictures / "b"), "--output", str(output), *SMALL, "--format", "coco,csv"]


def results(output):
    """Names and people, and the drawn pictures' content."""
    frames = json.loads((output / "frames.json").read_text())
    people = json.loads((output / "people.json").read_text())
    drawn = {path.name: path.read_bytes() for path in output.glob("*.png")}
    return frames, people, (output / "people.csv").read_text(), drawn


def lines(output):
    """The pictures that are done so far."""
    paths = sorted(output.glob("parts/part-*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_bytes().split(b"\n")[:-1]]


def test_two_processes_killed_and_started_again_do_each_picture_once(pictures, alone, tmp_path):
    command = runs.torchrun(2, script=TOOL) + arguments(pictures, tmp_path)
    first = runs.start(command)
    runs.wait_for(lambda: len(lines(tmp_path)) > 8, first)  # one of them may be the broken picture
    for process in (first.pid, *runs.children(first)):  # the launcher first, which would tell the others
        os.kill(process, signal.SIGKILL)
    first.communicate()
    done = {line["frame"] for line in lines(tmp_path) if "error" not in line}  # what failed is tried again
    assert 8 <= len(done) < 40, "killed in the middle"
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.png")}
    with (tmp_path / "parts/part-0.jsonl").open("ab") as file:
        file.write(b'{"frame": 1')  # as a kill may leave it
    second = runs.start(command)
    told, _ = second.communicate(timeout=200)
    assert f"{len(done):,} pictures were done before; going on" in told
    assert results(tmp_path) == alone
    assert not (tmp_path / "parts").exists()
    again = [path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp]
    assert len(again) <= 2, "no more than what each was at when it was killed"


def test_results_name_every_picture_also_of_one_stem(alone):
    frames, _, _, drawn = alone
    assert len(frames["images"]) == 40
    assert len({image["file_name"] for image in frames["images"]}) == 40
    assert len(drawn) == 39
    assert sum("error" in image for image in frames["images"]) == 1


def test_a_process_whose_pictures_are_unreadable_does_not_end_the_others(tmp_path):
    """torchrun ends all when one fails; so who makes the results tells that pictures could not be read."""
    for number in range(24):
        path = tmp_path / f"{number:02d}.png"
        path.write_bytes(b"no picture")
        if number % 2:
            cv2.imwrite(str(path), np.zeros((96, 96, 3), np.uint8))
    output = tmp_path / "out"
    process = runs.start([*runs.torchrun(2, script=TOOL), str(tmp_path), "--output", str(output), *SLOW])
    told, _ = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "this process's share; others do the rest" in told
    images = json.loads((output / "frames.json").read_text())["images"]
    assert [image["id"] for image in images if "error" not in image] == list(range(2, 25, 2))
    assert len(list(output.glob("*.png"))) == 12
    assert not (output / "parts").exists()


FULL = """
import sys
from pathlib import Path
from simplepose.cli import demo, door
disk = Path(sys.argv[1])
filler = disk / "filler"
filler.write_bytes(bytes(int({spare!r})))
args = [{pictures!r}, "--output", str(disk / "out"), *{small!r}]
first = door(demo.main, args)
kept = len(list((disk / "out").glob("*.png")))
filler.unlink()
print(first, kept, door(demo.main, args), len(list((disk / "out").glob("*.png"))))
"""


def test_a_full_disk_ends_the_run_and_costs_nothing_that_was_done(pictures, tmp_path):
    script = FULL.format(pictures=str(pictures / "b"), small=SMALL, spare=1.75 * 2**20)
    said = run_on_small_disk(script, 2 * 2**20, tmp_path).strip().splitlines()[-1]
    first, kept, second, drawn = map(int, said.split())
    assert (first, second, drawn) == (2, 0, 20)
    assert 0 < kept < 20
