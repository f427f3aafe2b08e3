"""TensorBoard event files: each step once, and failures never end the run."""

import math
import sys

import cv2
import numpy as np
import pytest
from full_disk import run_on_small_disk

from simplepose.training.loggers import TensorBoardSink

STEP = {
    "kind": "step",
    "epoch": 0.5,
    "loss": 8.0,
    "scales": [5.0, 4.0, 3.0, 2.0, 1.0],
    "stacks": [7.0, 6.0],
    "lr": 1e-3,
    "samples_per_second": 12.0,
    "data_wait": 0.25,
    "gpu_memory_gib": None,
    "skipped": 0,
}


def read(folder):
    """Return the accumulated events."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = events.EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def test_scalars_and_images_are_written(tmp_path, rng):
    pytest.importorskip("tensorboard")
    board = TensorBoardSink(tmp_path)
    board.write({**STEP, "step": 20})
    board.write({"kind": "epoch", "epoch": 1, "step": 30, "loss": 3.0, "val_loss": 4.5})
    board.write({"kind": "ap", "epoch": 1, "step": 30, "ap": 0.5, "ap50": 0.75})
    board.write({"kind": "note", "text": "no value to plot"})
    image = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    board.write_images(20, {"sample 1": image})
    found = read(tmp_path)  # during the run
    values = {name: found.Scalars(name)[0].value for name in found.Tags()["scalars"]}
    assert values == {
        "loss/total": 8.0,
        "loss/validation": 4.5,
        **{f"loss_of_scale/{n}": 6.0 - n for n in range(1, 6)},
        "loss_of_stack/1": 7.0,
        "loss_of_stack/2": 6.0,
        "run/learning_rate": pytest.approx(1e-3),
        "run/samples_per_second": 12.0,
        "run/data_wait_percent": 25.0,
        "run/skipped_steps": 0.0,
        "accuracy/AP": 0.5,
        "accuracy/AP50": 0.75,
    }
    event = found.Images("sample 1")[0]
    decoded = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded, image)
    assert event.step == 20
    board.close()
    board.write({**STEP, "step": 40})  # no effect after close


def test_resumed_run_has_each_step_once(tmp_path):
    pytest.importorskip("tensorboard")
    first = TensorBoardSink(tmp_path)
    for step in (1, 2, 3, 4):
        first.write({**STEP, "step": step})
    del first  # killed: never closed
    resumed = TensorBoardSink(tmp_path, resume_step=2)
    resumed.write({**STEP, "loss": 5.0, "step": 3})
    resumed.close()
    assert [(e.step, e.value) for e in read(tmp_path).Scalars("loss/total")] == [(1, 8.0), (2, 8.0), (3, 5.0)]


def test_non_finite_losses_are_accepted(tmp_path):
    pytest.importorskip("tensorboard")
    board = TensorBoardSink(tmp_path)
    board.write({**STEP, "loss": math.nan, "scales": [math.inf, None], "step": 1})
    board.close()
    assert math.isnan(read(tmp_path).Scalars("loss/total")[0].value)


def test_missing_package_is_an_error_only_if_required(tmp_path, monkeypatch, caplog):
    for name in [name for name in sys.modules if name.startswith(("torch.utils.tensorboard", "tensorboard"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # marks the module as not importable
    board = TensorBoardSink(tmp_path)
    assert "pip install tensorboard" in caplog.text
    board.write({**STEP, "step": 1})
    board.write_images(1, {"a": np.zeros((2, 2, 3), np.uint8)})
    board.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="pip install tensorboard"):
        TensorBoardSink(tmp_path, required=True)


FILL_THE_DISK = """
import sys, numpy as np
from pathlib import Path
from simplepose.training.loggers import TensorBoardSink

board = TensorBoardSink(Path(sys.argv[1]))
for step in range(10):
    image = np.random.default_rng(step).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    board.write_images(step, {"a": image})
board.close()
print("continued")
"""


def test_full_disk_does_not_end_the_run(tmp_path):
    pytest.importorskip("tensorboard")
    assert run_on_small_disk(FILL_THE_DISK, 10**6, str(tmp_path)) == "continued\n"
