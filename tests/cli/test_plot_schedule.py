"""The command `plot-schedule`: a picture of the rate."""

import cv2
import numpy as np
import pytest
from places import CONFIGS

from simplepose.cli import main

CONFIG = str(CONFIGS / "imhn4_512.yaml")


def ink(path) -> np.ndarray:
    """(H, W) bool: where the picture is not white."""
    return (cv2.imread(str(path)) < 250).any(2)


def test_several_files_make_one_picture(tmp_path, capsys):
    path = tmp_path / "all.png"
    others = [str(CONFIGS / "imhn_mobile.yaml"), CONFIG]
    assert main(["plot-schedule", *others, "--output", str(path), "--world-size", "4"]) == 0
    assert capsys.readouterr().out == f"{path}: the learning rate of {', '.join(others)}\n"
    assert ink(path).mean() > 0.01
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_set_is_what_is_drawn(tmp_path):
    def drawn(name, *overrides):
        path = tmp_path / f"{name}.png"
        assert main(["plot-schedule", CONFIG, "--output", str(path), "--set", *overrides]) == 0
        return ink(path)

    published, again = drawn("a", "train.epochs=100"), drawn("b", "train.epochs=100")
    assert (published == again).all()
    for other in ("train.schedule=cyclic", "train.restart_epoch=null", "train.learning_rate=1"):
        assert (drawn("c", "train.epochs=100", other) != published).any(), other


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no.yaml"], "settings file no.yaml not found"),
        ([CONFIG, "--set", "train.learning_rate=0"], "train.learning_rate above 0 expected"),
        ([CONFIG, "--set", "train.schedule=steps"], "one of step, cosine, cyclic expected"),
    ],
)
def test_what_cannot_be_drawn_is_told(arguments, told, tmp_path, capsys):
    path = tmp_path / "schedule.png"
    assert main(["plot-schedule", *arguments[:1], "--output", str(path), *arguments[1:]]) == 2
    assert told in capsys.readouterr().err
    assert not path.exists()
