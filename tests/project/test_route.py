"""End to end as a user runs it: prepare, train, evaluate, demo, each in its own process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
from repo_paths import ROOT
from synthetic_coco import write_synthetic_coco

from simplepose import cli

INSTALLED = Path(sys.executable).with_name("simplepose")
TRAIN = ("tools/train.py", "--config", "configs/smoke.yaml")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*command, program=sys.executable):
    """Run a command; returns the exit status, standard output and standard error."""
    result = subprocess.run(
        [program, *map(str, command)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    annotations, images = write_synthetic_coco(folder, num_images=6)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_demo_draws_every_image(drawn, model):
    folder, _, images = drawn
    output = folder / "demo"
    status, _, err = run("tools/demo_image.py", images, "--model", model, "--output", output)
    assert status == 0, err
    for path in images.iterdir():
        assert cv2.imread(str(output / path.name)).shape == cv2.imread(str(path)).shape
    rows = json.loads((output / "people.json").read_text())
    assert all({"file_name", "keypoints", "score"} <= set(row) for row in rows)


@pytest.mark.slow
def test_ctrl_c_saves_a_checkpoint_and_resume_finishes(drawn, samples):
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
    epochs_before = len(epochs_in(journal))
    os.killpg(process.pid, signal.SIGINT)  # like a terminal, also to the workers
    out, _ = process.communicate(timeout=120)
    assert epochs_before >= 3
    assert process.returncode == 130
    assert "--resume" in out
    done = epochs_in(journal)[-1]["epoch"]
    settings[-1] = f"train.epochs={done + 3}"
    status, _, err = run(*train_command(samples, folder, *settings), "--resume")
    assert status == 0, err
    assert (folder / "model.safetensors").exists()
    records = [(line["epoch"], line["step"]) for line in epochs_in(journal)]
    steps = records[0][1]
    assert records == [
        (epoch, epoch * steps) for epoch in range(1, done + 4)
    ]  # no epoch is missing or repeated


def epochs_in(journal):
    """The journal lines of the finished epochs."""
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [line for line in map(json.loads, lines) if line["kind"] == "epoch"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["prepare", "--annotations", "no.json", "--images", ".", "--output", "{tmp}/a.h5"],
            "no.json",
        ),
        (
            ["train", "--config", "configs/smoke.yaml", "--train", "no.h5", "--output", "{tmp}/run"],
            "prepare_coco",
        ),
        (
            ["train", "--config", "no.yaml", "--train", "no.h5", "--output", "{tmp}/run"],
            "configs/",
        ),
        (
            ["demo", "{tmp}", "--model", "no.safetensors", "--output", "{tmp}/out"],
            "no.safetensors",
        ),
    ],
)
def test_an_invalid_path_is_reported_in_one_line_with_exit_status_2(
    command, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(ROOT)
    assert cli.main([word.replace("{tmp}", str(tmp_path)) for word in command]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_a_truncated_samples_file_is_reported(samples, tmp_path):
    cut = tmp_path / "cut.h5"
    cut.write_bytes(samples.read_bytes()[:20000])
    status, _, err = run(*TRAIN, "--train", cut, "--output", tmp_path / "r")
    assert status == 2
    assert "cut.h5" in err
    assert "prepare_coco" in err


def test_the_installed_program_lists_and_runs_the_commands():
    status, out, _ = run("--help", program=INSTALLED)
    assert status == 0
    assert all(command in out for command in cli.COMMANDS)
    status, usage, err = run("train", "--help", program=INSTALLED)
    assert status == 0, err
    assert usage.startswith("usage: train ")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_the_help_of_a_command_has_its_name(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: {command} ")


def test_the_installed_program_reports_an_unknown_command_in_one_line():
    status, _, err = run("fly", program=INSTALLED)
    assert status == 2
    assert "'fly'" in err
    assert len(err.strip().splitlines()) == 1
