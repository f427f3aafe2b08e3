"""The command `plot-run`: all logged values are plotted, and missing values are no error."""

import math
import subprocess
import sys

import cv2
import numpy as np
import pytest
from repo_paths import ROOT

from simplepose.cli import plot_run, run_command
from simplepose.training import loggers
from simplepose.training.loggers import JournalSink
from simplepose.visualize import plots


def step(number, **values):
    values = {
        "loss": 100.0 / number,
        "scales": [1.0 * number] * 5,
        "stacks": [2.0, 1.0],
        "lr": 1e-3,
        **values,
    }
    rest = {"samples_per_second": 9.0, "data_wait": 0.1, "gpu_memory_gib": None, "skipped": 0}
    return {"kind": "step", "step": number, "epoch": number / 10, **rest, **values}


def write(folder, *lines, resume_step=0):
    folder.mkdir(exist_ok=True)
    writer = JournalSink(folder / "journal.jsonl", resume_step)
    for line in lines:
        writer.write(line)
    writer.close()
    return folder


LINES = (
    *(step(number) for number in range(1, 30)),
    {"kind": "epoch", "epoch": 1, "step": 10, "loss": 5.0, "val_loss": 6.0},
    {"kind": "epoch", "epoch": 2, "step": 20, "loss": 4.0, "val_loss": None},
    {"kind": "ap", "epoch": 2, "step": 20, "ap": 0.25, "ap50": 0.5},
    {"kind": "note", "text": "nothing"},
)


def drawn(runs, along="step"):
    """The points of each curve by panel title."""
    return {
        axes.get_title(): [np.column_stack([line.get_xdata(), line.get_ydata()]) for line in axes.lines]
        for axes in plots.build_figure(runs, along).axes
    }


def test_each_value_is_plotted_in_its_panel():
    panels = drawn({"a": LINES})
    loss = next(points for title, points in panels.items() if title.startswith("training loss"))
    assert loss[0].tolist() == [[n, 100.0 / n] for n in range(1, 30)]
    assert [len(panels[title]) for title in ("loss by scale", "loss by stack")] == [5, 2]
    assert panels["AP"][0].tolist() == [[20, 0.25]]
    assert np.array_equal(panels["validation loss"][0], [[10, 6.0], [20, math.nan]], equal_nan=True)
    assert all(panels.values())


def test_runs_of_different_batch_sizes_align_by_epoch():
    panels = drawn({"a": LINES, "b": [step(n, epoch=n / 5) for n in (1, 2)]}, "epoch")
    assert [points[:, 0].max() for points in panels["learning rate"]] == [2.9, 0.4]


def test_skipped_steps_and_resumes_are_marked():
    lines = [
        step(1),
        step(2, loss=None, skipped=1),
        step(3, skipped=1),
        {"kind": "resume", "step": 3},
        step(4),
    ]
    points = next(iter(drawn({"a": lines}).values()))
    assert math.isnan(points[0][1, 1])
    assert sorted(float(mark[0, 0]) for mark in points[1:]) == [2.0, 3.0]


@pytest.mark.parametrize(
    "lines",
    [
        [{"kind": "note", "text": "begun"}],
        [{"kind": "resume", "step": 0}],
        [step(1)],
        [step(n, loss=0.0, scales=[0.0] * 5) for n in (1, 2)],
        [step(n, loss=None, scales=[None] * 5, stacks=[]) for n in (1, 2)],
        [step(1, scales=[1.0]), step(2, scales=None), step(3)],
        [{"kind": "step", "step": 1, "epoch": 0, "loss": 3.0}],
        [{"kind": "ap", "step": 1, "ap": 0.1}, {"kind": "of the future", "step": 2}],
    ],
    ids=["note", "resume", "one step", "zeros", "nulls", "ragged", "older version", "no epoch"],
)
def test_incomplete_runs_are_plotted(tmp_path, lines):
    drawn({"incomplete": lines}, "step")
    drawn({"incomplete": lines}, "epoch")
    plots.write_runs({"incomplete": lines, "plain": LINES}, tmp_path / "a.png")
    assert cv2.imread(str(tmp_path / "a.png")).shape == (720, 1600, 3)


def test_the_tool_plots_several_runs(tmp_path):
    runs = [write(tmp_path / name, *LINES) for name in "ab"]
    command = [sys.executable, str(ROOT / "tools/plot_run.py"), *map(str, runs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"wrote {runs[0] / 'curves.png'}\n"
    assert cv2.imread(str(runs[0] / "curves.png")) is not None


def test_a_truncated_journal_of_a_resumed_run_is_plotted(tmp_path, caplog):
    run = write(tmp_path / "run", *LINES)
    write(run, step(25), step(26, loss=7.0), resume_step=24)
    with (run / "journal.jsonl").open("a") as file:
        file.write('{"kind": "st')
    assert plot_run.main([str(run), "--output", str(tmp_path / "b.png"), "--x-axis", "step"]) == 0
    assert (tmp_path / "b.png").exists()
    assert "perhaps truncated" in caplog.text
    loss = next(iter(drawn({"a": loggers.read_journal(run / "journal.jsonl")}).values()))[0]
    assert loss[:, 0].tolist() == list(range(1, 27))
    assert loss[-1, 1] == 7.0


def test_runs_without_steps_are_reported(tmp_path, capsys):
    good = write(tmp_path / "good", *LINES)
    (tmp_path / "empty").mkdir()
    assert run_command(plot_run.main, [str(good), str(tmp_path / "empty")]) == 2
    assert "empty/journal.jsonl not found" in capsys.readouterr().err
    write(tmp_path / "empty")
    assert run_command(plot_run.main, [str(tmp_path / "empty")]) == 2
    assert "has no training step yet" in capsys.readouterr().err
    assert not (good / "curves.png").exists()


def test_runs_of_the_same_name_are_both_plotted(tmp_path):
    runs = []
    for place in "ab":
        (tmp_path / place).mkdir()
        runs.append(str(write(tmp_path / place / "run", *LINES)))
    assert plot_run.main([*runs, runs[0], "--output", str(tmp_path / "c.png")]) == 0
