"""An evaluation that is killed and resumed, or shared by two processes, writes the files of one run."""

import json
import os
import signal
import sys

import pytest
import runs
from repo_paths import ROOT
from synthetic_coco import write_synthetic_coco

from simplepose.cli import run_command, tune_grouping

TOOL = ROOT / "tools/evaluate.py"
COMPARED = ("metrics.json", "results.json", "errors.json")
NUM_IMAGES = 16


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Annotated images; one of them is damaged."""
    annotations, images = write_synthetic_coco(tmp_path_factory.mktemp("coco"), NUM_IMAGES)
    (images / "000000000007.jpg").write_bytes(b"no image")
    return annotations, images


@pytest.fixture(scope="module")
def alone(dataset, tmp_path_factory):
    """The files of an evaluation in one process."""
    output = tmp_path_factory.mktemp("alone")
    process = runs.start([sys.executable, str(TOOL), *arguments(dataset, output)])
    text, _ = process.communicate(timeout=200)
    assert process.returncode == 1, "an image could not be read"
    assert f"maps: no maps of 1 of {NUM_IMAGES} images" in text
    files = written(output)
    assert len(files) == len(COMPARED) + 1 + NUM_IMAGES - 1, "maps.json, and the maps of each readable image"
    return files


def arguments(dataset, output):
    annotations, images = map(str, dataset)
    small = ["--device", "cpu", "--runtime", "torch", "--set", "inference.height=192"]
    paths = ["--annotations", annotations, "--images", images, "--output", str(output)]
    return [*paths, "--cache-maps", str(output / "maps"), *small]


def written(output):
    """The content of each file; only the report has times."""
    maps = {path.name: path.read_bytes() for path in (output / "maps").iterdir()}
    return {name: (output / name).read_bytes() for name in COMPARED} | maps


def done(output):
    """The numbers of the images that have a record."""
    paths = output.glob("parts/part-*.jsonl")
    lines = [json.loads(line) for path in paths for line in path.read_bytes().split(b"\n")[:-1]]
    return {line["frame"] for line in lines if "error" not in line}


@pytest.mark.slow
def test_a_killed_and_resumed_evaluation_equals_an_uninterrupted_one(dataset, alone, tmp_path):
    command = [sys.executable, str(TOOL), *arguments(dataset, tmp_path)]
    first = runs.start(command)
    runs.wait_for(lambda: len(done(tmp_path)) >= 3, first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = len(done(tmp_path))
    assert 3 <= before < NUM_IMAGES - 1, "the run must be killed while images remain"
    assert not (tmp_path / "metrics.json").exists()
    second = runs.start(command)
    output, _ = second.communicate(timeout=200)
    assert second.returncode == 1
    assert f"{before} images are already done; resuming" in output
    assert written(tmp_path) == alone
    assert not (tmp_path / "parts").exists()


@pytest.mark.slow
def test_two_processes_write_the_files_of_one(dataset, alone, tmp_path):
    command = [*runs.torchrun_command(2, script=TOOL), *arguments(dataset, tmp_path)]
    first = runs.start(command)
    runs.wait_for(lambda: len(done(tmp_path)) >= 3, first)
    assert not (tmp_path / "metrics.json").exists(), "the run must be killed while images remain"
    for process in (first.pid, *runs.child_pids(first)):  # the launcher first, which would stop the others
        os.kill(process, signal.SIGKILL)
    first.communicate()
    second = runs.start(command)
    output, _ = second.communicate(timeout=200)
    assert second.returncode == 1
    assert "this process is done; others are running" in output
    assert written(tmp_path) == alone
    assert output.count("no maps of 1 of") == 1
    tune = [
        str(tmp_path / "maps"),
        "--annotations",
        str(dataset[0]),
        "--sweep",
        "grouping.peak_threshold=0.1",
    ]
    assert run_command(tune_grouping.main, tune) == 0
