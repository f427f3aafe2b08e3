"""The whole route as its users run it: prepare, train, evaluate, demo, each in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
from drawn_coco import write_drawn_coco
from places import ROOT

from simplepose import cli

INSTALLED = Path(sys.executable).with_name("simplepose")
TRAIN = ("tools/train.py", "--config", "configs/smoke.yaml")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*command, program=sys.executable):
    """A command's exit status, standard output and standard error."""
    done = subprocess.run(
        [program, *map(str, command)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    annotations, images = write_drawn_coco(folder, pictures=6)
    return folder, annotations, images


@pytest.fixture(scope="module")
def samples(drawn):
    folder, annotations, images = drawn
    path = folder / "samples.h5"
    status, out, err = run(
        "tools/prepare_coco.py", "--annotations", annotations, "--images", images, "--output", path
    )
    assert status == 0, err
    assert "6" in out
    return path


def train_command(samples, folder, *settings):
    paths = ["--train", samples, "--output", folder]
    return ["tools/train.py", "--config", "configs/smoke.yaml", *paths, "--set", *settings]


@pytest.fixture(scope="module")
def model(drawn, samples):
    folder = drawn[0] / "run"
    settings = ["train.batch_size=3", "augment.size=[64,64]"]
    status, _, err = run(*train_command(samples, folder, *settings))
    assert status == 0, err
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] >= 2
    return folder / "model.safetensors"


def test_evaluate_writes_rows_and_metrics(drawn, model):
    folder, annotations, images = drawn
    output = folder / "evaluation"
    status, out, err = run(
        "tools/evaluate.py",
        "--model",
        model,
        "--annotations",
        annotations,
        "--images",
        images,
        "--output",
        output,
    )
    assert status == 0, err
    assert "Average Precision" in out
    metrics = json.loads((output / "metrics.json").read_text())
    assert 0 <= metrics["AP"] <= 1
    assert isinstance(json.loads((output / "results.json").read_text()), list)


def test_demo_draws_every_picture(drawn, model):
    folder, _, images = drawn
    output = folder / "demo"
    status, _, err = run("tools/demo_image.py", images, "--model", model, "--output", output)
    assert status == 0, err
    for path in images.iterdir():
        assert cv2.imread(str(output / path.name)).shape == cv2.imread(str(path)).shape
    rows = json.loads((output / "people.json").read_text())
    assert all({"file_name", "keypoints", "score"} <= set(row) for row in rows)


def test_ctrl_c_saves_and_resume_finishes(drawn, samples):
    folder = drawn[0] / "long_run"
    settings = ["train.batch_size=2", "augment.size=[64,64]", "train.epochs=10000"]
    command = map(str, train_command(samples, folder, *settings))
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    journal = folder / "journal.jsonl"
    deadline = time.monotonic() + 120
    while len(epochs_in(journal)) < 3 and time.monotonic() < deadline:
        time.sleep(0.2)
    seen = len(epochs_in(journal))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    out, _ = process.communicate(timeout=120)
    assert seen >= 3
    assert process.returncode == 130
    assert "--resume" in out
    done = epochs_in(journal)[-1]["epoch"]
    settings[-1] = f"train.epochs={done + 3}"
    status, _, err = run(*train_command(samples, folder, *settings), "--resume")
    assert status == 0, err
    assert (folder / "model.safetensors").exists()
    told = [(line["epoch"], line["step"]) for line in epochs_in(journal)]
    steps = told[0][1]
    assert told == [(epoch, epoch * steps) for epoch in range(1, done + 4)]  # none lost, none twice


def epochs_in(journal):
    """The lines of the epochs that are done."""
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [line for line in map(json.loads, lines) if line["kind"] == "epoch"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            ["tools/prepare_coco.py", "--annotations", "no.json", "--images", ".", "--output", "{tmp}/a.h5"],
            "no.json",
        ),
        (
            [*TRAIN, "--train", "no.h5", "--output", "{tmp}/run"],
            "prepare_coco",
        ),
        (
            ["tools/train.py", "--config", "no.yaml", "--train", "no.h5", "--output", "{tmp}/run"],
            "configs/",
        ),
        (
            ["tools/demo_image.py", "{tmp}", "--model", "no.safetensors", "--output", "{tmp}/out"],
            "no.safetensors",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(command, told, tmp_path):
    status, _, err = run(*(word.replace("{tmp}", str(tmp_path)) for word in command))
    assert status == 2
    assert told in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_a_truncated_samples_file_is_told(samples, tmp_path):
    cut = tmp_path / "cut.h5"
    cut.write_bytes(samples.read_bytes()[:20000])
    status, _, err = run(*TRAIN, "--train", cut, "--output", tmp_path / "r")
    assert status == 2
    assert "cut.h5" in err
    assert "prepare_coco" in err


def test_the_installed_command_knows_the_same_verbs():
    status, out, _ = run("--help", program=INSTALLED)
    assert status == 0
    for verb in cli.VERBS:
        assert verb in out
        status, usage, err = run(verb, "--help", program=INSTALLED)
        assert status == 0, err
        assert usage.startswith(f"usage: {verb} ")


def test_the_installed_command_tells_of_an_unknown_verb_in_one_line():
    status, _, err = run("fly", program=INSTALLED)
    assert status == 2
    assert "'fly'" in err
    assert len(err.strip().splitlines()) == 1
