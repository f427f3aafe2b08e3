"""The run's curves and pictures for TensorBoard, through its optional package."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

NAMES = {
    ("step", "loss"): "loss/total",
    ("step", "lr"): "run/learning_rate",
    ("step", "samples_per_second"): "run/samples_per_second",
    ("step", "data_wait"): "run/data_wait_percent",
    ("step", "gpu_memory_gib"): "run/gpu_memory_gib",
    ("step", "skipped"): "run/skipped_steps",
    ("epoch", "val_loss"): "loss/validation",
    ("ap", "ap"): "accuracy/AP",
    ("ap", "ap50"): "accuracy/AP50",
}
"""What a value of a kind of the journal's lines is called here."""

logger = logging.getLogger(__name__)


class Board:
    """TensorBoard's files of one run. A full disk costs what is shown, with a warning, but never the run.

    Args:
        folder: for the files; what is there is gone on with.
        resume_step: steps done when the run begins or goes on; what the files tell of later steps is
            superseded.
        required: where TensorBoard's package is not installed, refuse instead of writing nothing.

    Raises:
        ValueError: the package is not installed, and it is required.
    """

    def __init__(self, folder: Path, resume_step: int = 0, required: bool = False) -> None:
        self._writer: SummaryWriter | None = None
        try:
            from torch.utils.tensorboard import SummaryWriter  # its package is not everyone's
        except ImportError as error:
            told = f"TensorBoard's package is missing ({error}); pip install tensorboard"
            if required:
                raise ValueError(told) from error
            logger.warning("%s, or read the journal; nothing is written for TensorBoard", told)
            return
        self._writer = SummaryWriter(str(folder), purge_step=resume_step + 1)

    def write(self, **line: Any) -> None:
        """Add what a line of the journal tells; kinds and values without a name here are left out."""
        named = {
            NAMES[line["kind"], key]: value for key, value in line.items() if (line["kind"], key) in NAMES
        }
        if line["kind"] == "step":
            named["run/data_wait_percent"] = 100 * line["data_wait"]
            named.update({f"loss_of_scale/{i}": value for i, value in enumerate(line["scales"], 1)})
            named.update({f"loss_of_stack/{i}": value for i, value in enumerate(line["stacks"], 1)})
        for name, value in named.items():
            if value is not None:
                self._guarded("add_scalar", name, value, line["step"])
        self._guarded("flush")  # or a kill would cost two minutes

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Add pictures, (H, W, 3) uint8 BGR each, by name."""
        for name, picture in pictures.items():
            rgb = np.ascontiguousarray(picture[..., ::-1])
            self._guarded("add_image", name, rgb, step, dataformats="HWC")
        self._guarded("flush")

    def close(self) -> None:
        """Bring everything to the files."""
        self._guarded("close")
        self._writer = None

    def _guarded(self, call: str, *args: Any, **options: Any) -> None:
        if self._writer is None:
            return
        try:
            getattr(self._writer, call)(*args, **options)
        except OSError as error:
            logger.warning("nothing more is written for TensorBoard: %s", error)
            self._writer = None
