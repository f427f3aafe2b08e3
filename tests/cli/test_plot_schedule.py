"""The command `plot-schedule`."""

import cv2
import numpy as np
import pytest
from repo_paths import CONFIGS

from simplepose.cli import main

CONFIG = str(CONFIGS / "imhn4_512.yaml")


def ink(path) -> np.ndarray:
    """(H, W) bool: where the image is not white."""
    return (cv2.imread(str(path)) < 250).any(2)


def test_several_files_give_one_image(tmp_path, capsys):
    path = tmp_path / "all.png"
    others = [str(CONFIGS / "imhn_mobile.yaml"), CONFIG]
    assert main(["plot-schedule", *others, "--output", str(path), "--world-size", "4"]) == 0
    assert capsys.readouterr().out == f"{path}: learning rate of {', '.join(others)}\n"
    assert ink(path).mean() > 0.01
    assert list(tmp_path.iterdir()) == [path]


def test_overrides_change_the_plot(tmp_path):
    def plot(name, *overrides):
        path = tmp_path / f"{name}.png"
        assert main(["plot-schedule", CONFIG, "--output", str(path), "--set", *overrides]) == 0
        return ink(path)

    published, repeated = plot("a", "train.epochs=100"), plot("b", "train.epochs=100")
    assert (published == repeated).all()
    for other in ("train.schedule=cyclic", "train.restart_epoch=null", "train.learning_rate=1"):
        assert (plot("c", "train.epochs=100", other) != published).any(), other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.yaml"], "settings file no.yaml not found"),
        ([CONFIG, "--set", "train.learning_rate=0"], "expected train.learning_rate > 0, got 0"),
        ([CONFIG, "--set", "train.schedule=steps"], "expected one of step, cosine, cyclic"),
    ],
)
def test_settings_that_cannot_be_plotted_are_reported(arguments, message, tmp_path, capsys):
    path = tmp_path / "schedule.png"
    assert main(["plot-schedule", *arguments[:1], "--output", str(path), *arguments[1:]]) == 2
    assert message in capsys.readouterr().err
    assert not path.exists()
