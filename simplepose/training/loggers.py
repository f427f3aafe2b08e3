"""Logs of a training run: the terminal, the journal, and TensorBoard.

The journal has one JSON object per line and can be read during the run, or after it was killed. It has these
kinds of line (a number that is not finite is written as null):

* step: step, epoch (with its fraction), loss, scales [5], stacks [S], lr, samples_per_second, data_wait
  (share of the time, 0 to 1), gpu_memory_gib (or null), skipped (steps so far);
* epoch: epoch, step, loss, val_loss (or null);
* ap: epoch, step, ap, ap50;
* resume: step; it supersedes earlier lines about later steps;
* note: text.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simplepose.config import TrainSettings
from simplepose.training.metrics import StepMetrics
from simplepose.training.trainer import Progress

logger = logging.getLogger(__name__)


class Journal:
    """Appends lines to the journal without buffering, so that a kill loses at most one line.

    A full disk loses lines, with a warning, but never ends the run.

    Args:
        path: the journal; a truncated last line, left by a kill, is removed with a warning.
        resume_step: number of steps done when the run starts or resumes.
    """

    def __init__(self, path: Path, resume_step: int = 0) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._failing = False
        _remove_truncated_line(path)
        if self._file.seek(0, 2) > 0:
            self.write(kind="resume", step=resume_step)

    def write(self, **values: Any) -> None:
        """Append a line."""
        line = (json.dumps(_replace_non_finite(values), allow_nan=False) + "\n").encode()
        end = self._file.seek(0, 2)
        try:
            if self._file.write(line) < len(line):
                raise OSError("only a part of the line was written, perhaps the disk is full")
            self._failing = False
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            if not self._failing:
                logger.warning("%s: lines are lost from here on: %s", self._path, error)
            self._failing = True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a journal in order, without those that a resumed run superseded.

    Lines that cannot be parsed, such as a truncated last line, are skipped with a warning.

    Raises:
        FileNotFoundError: the file does not exist.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; expected the folder of a training run")
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, line in enumerate(_parse_lines(path)):
        if line["kind"] == "resume":
            kept = {key: old for key, old in kept.items() if old.get("step", 0) <= line["step"]}
        unique = line["kind"] in ("step", "epoch", "ap")  # a run resumed at this very step repeats the line
        kept[(line["kind"], line["step"]) if unique else (number,)] = line
    return list(kept.values())


def _parse_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            values = _parse_line(line)
            if values is None:
                logger.warning("%s, line %d: skipped, not a journal line, perhaps truncated", path, number)
            else:
                yield values


def _parse_line(line: bytes) -> dict[str, Any] | None:
    """Parse a line; returns None if it is truncated or lacks the required values of its kind."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):  # RecursionError: very many "["
        return None
    if not isinstance(values, dict) or "kind" not in values:
        return None
    return values if values["kind"] == "note" or isinstance(values.get("step"), int) else None


def _remove_truncated_line(path: Path) -> None:
    """Remove the last line if it cannot be parsed."""
    last = b""
    with path.open("rb") as file:
        for line in file:
            last = line
    if last and (not last.endswith(b"\n") or _parse_line(last) is None):
        logger.warning("%s: the last line is truncated and is removed", path)
        with path.open("rb+") as file:
            file.truncate(path.stat().st_size - len(last))


def _replace_non_finite(value: Any) -> Any:
    """Replace numbers that are not finite by None, in nested dicts, lists and tuples."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _replace_non_finite(item) for key, item in value.items()}
    return [_replace_non_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


# (kind of journal line, key) -> TensorBoard tag.
TENSORBOARD_TAGS = {
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


class TensorBoardLogger:
    """Writes TensorBoard event files. A full disk stops the logging, with a warning, but never ends the run.

    Args:
        folder: folder of the event files; existing ones are continued.
        resume_step: steps done when the run starts or resumes; events of later steps are superseded.
        required: raise an error if TensorBoard is not installed, instead of logging nothing.

    Raises:
        ValueError: TensorBoard is required but not installed.
    """

    def __init__(self, folder: Path, resume_step: int = 0, required: bool = False) -> None:
        self._writer: SummaryWriter | None = None
        try:
            from torch.utils.tensorboard import SummaryWriter  # TensorBoard is optional
        except ImportError as error:
            message = f"TensorBoard is not installed ({error}); pip install tensorboard"
            if required:
                raise ValueError(message) from error
            logger.warning("%s, or read the journal; nothing is logged to TensorBoard", message)
            return
        self._writer = SummaryWriter(str(folder), purge_step=resume_step + 1)

    def write(self, **line: Any) -> None:
        """Log the values of a journal line; values without a tag are ignored."""
        scalars = {
            TENSORBOARD_TAGS[line["kind"], key]: value
            for key, value in line.items()
            if (line["kind"], key) in TENSORBOARD_TAGS
        }
        if line["kind"] == "step":
            scalars["run/data_wait_percent"] = 100 * line["data_wait"]
            scalars.update({f"loss_of_scale/{i}": value for i, value in enumerate(line["scales"], 1)})
            scalars.update({f"loss_of_stack/{i}": value for i, value in enumerate(line["stacks"], 1)})
        for tag, value in scalars.items():
            if value is not None:
                self._call_writer("add_scalar", tag, value, line["step"])
        self._call_writer("flush")  # without it a kill loses the last two minutes

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Log images by name, each (H, W, 3) uint8 BGR."""
        for name, image in images.items():
            rgb = np.ascontiguousarray(image[..., ::-1])
            self._call_writer("add_image", name, rgb, step, dataformats="HWC")
        self._call_writer("flush")

    def close(self) -> None:
        """Flush and close the event files."""
        self._call_writer("close")
        self._writer = None

    def _call_writer(self, method: str, *args: Any, **options: Any) -> None:
        """Call a method of the writer; after an OSError, warn and stop logging."""
        if self._writer is None:
            return
        try:
            getattr(self._writer, method)(*args, **options)
        except OSError as error:
            logger.warning("nothing more is logged to TensorBoard: %s", error)
            self._writer = None


# Seconds; a longer remaining time is shown as unknown.
MAX_TIME_LEFT_S = 1000 * 24 * 3600.0


@dataclass(frozen=True)
class TrainingStats:
    """Means over the last `train.log_steps` steps, and the progress of the run after them.

    The fields are those of a journal line of kind "step".

    Attributes:
        step: steps done.
        epoch: epochs done, including the fraction of the current one.
        loss: mean loss of a sample.
        scales: (5,) mean loss of a sample at each scale, finest first, before weighting.
        stacks: (S,) mean loss of a sample at each stack.
        lr: learning rate of the last step.
        samples_per_second: over all processes.
        data_wait: share of the time spent waiting for samples, 0 to 1.
        gpu_memory_gib: peak GPU memory since the start of the run, or None without a GPU.
        skipped: skipped steps since the start of the run.
    """

    step: int
    epoch: float
    loss: float
    scales: Sequence[float]
    stacks: Sequence[float]
    lr: float
    samples_per_second: float
    data_wait: float
    gpu_memory_gib: float | None = None
    skipped: int = 0


def format_progress(stats: TrainingStats, epochs: int, seconds_left: float) -> str:
    """Format one line for the terminal: about 150 characters with four stacks, below 200 in long runs.

    Args:
        stats: the values to show.
        epochs: epochs of the whole run.
        seconds_left: estimated time until the end of the run; inf or nan if unknown.
    """
    memory = [] if stats.gpu_memory_gib is None else [f"{stats.gpu_memory_gib:.1f} GiB"]
    skipped = [f"{stats.skipped} skipped"] if stats.skipped else []
    parts = [
        f"epoch {stats.epoch:.2f}/{epochs} step {stats.step}",
        f"loss {_format_number(stats.loss)}",
        f"scales {' '.join(map(_format_number, stats.scales))}",
        f"stacks {' '.join(map(_format_number, stats.stacks))}",
        f"lr {stats.lr:.3g}",
        f"{_format_number(stats.samples_per_second)} samples/s",
        f"data {100 * stats.data_wait:.0f}%",
        *memory,
        *skipped,
        format_time_left(seconds_left),
    ]
    return " | ".join(parts)


def format_time_left(seconds: float) -> str:
    """Format a remaining time, for example "2d 03:14 left" or "3:14:15 left"."""
    if not seconds < MAX_TIME_LEFT_S:
        return "?:??:?? left"
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours_of_day = divmod(hours, 24)
    if days:
        return f"{days}d {hours_of_day:02}:{minutes:02} left"
    return f"{hours}:{minutes:02}:{rest:02} left"


def _format_number(value: float) -> str:
    """Format three significant digits: 1234, 123, 12.3, 1.23, 0.123, 0.012; beyond these 1.2e+06."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 99999.5 or 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    rounded = abs(float(f"{value:.3g}"))  # 9.999 is 10.0
    digits = 2 - math.floor(math.log10(rounded)) if rounded else 0
    return f"{value:.{min(max(digits, 0), 3)}f}"


# (H, W, 3) uint8 BGR input, (C, h, w) target maps, (C, h, w) predicted maps -> (H', W', 3) uint8 BGR image.
DrawMapsFunction = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class TrainingReporter:
    """Reports the progress of a run to all logs; silent on all ranks but the first.

    Args:
        settings: training settings; `log_steps` and `epochs` matter.
        device: the device whose memory is reported.
        journal: None silences the reporter.
        board: the TensorBoard logger, if any.
        draw: draws the images for TensorBoard.
    """

    def __init__(
        self,
        settings: TrainSettings,
        device: torch.device,
        journal: Journal | None,
        board: TensorBoardLogger | None = None,
        draw: DrawMapsFunction | None = None,
    ) -> None:
        self.settings, self.device = settings, device
        self.journal, self.board, self.draw = journal, board, draw
        self._steps_per_epoch = self._samples_per_step = 0
        self._start_window(0)

    def start_epoch(self, step: int, steps_per_epoch: int, samples_per_step: int) -> None:
        """Start the measurement of time at `step` steps done."""
        self._steps_per_epoch, self._samples_per_step = steps_per_epoch, samples_per_step
        self._start_window(step)

    def _start_window(self, step: int) -> None:
        self._first_step, self._start_time, self._wait_s = step, time.monotonic(), 0.0

    @contextmanager
    def measure_data_wait(self) -> Iterator[None]:
        """Count the time of the block as waiting for samples."""
        start = time.monotonic()
        yield
        self._wait_s += time.monotonic() - start

    def report_steps(self, progress: Progress, metrics: StepMetrics, lr: float) -> None:
        """Report the steps since the last call, or since `start_epoch`."""
        seconds = max(time.monotonic() - self._start_time, 1e-9)
        steps = progress.step - self._first_step
        stats = TrainingStats(
            step=progress.step,
            epoch=progress.epoch + progress.samples / (self._steps_per_epoch * self._samples_per_step),
            loss=metrics.loss,
            scales=metrics.by_scale,
            stacks=metrics.by_stack,
            lr=lr,
            samples_per_second=round(steps * self._samples_per_step / seconds, 2),
            data_wait=round(min(self._wait_s / seconds, 1.0), 3),
            gpu_memory_gib=self._peak_memory_gib(),
            skipped=progress.skipped,
        )
        steps_left = (self.settings.epochs - stats.epoch) * self._steps_per_epoch
        self._start_window(progress.step)
        self._write(kind="step", **dataclasses.asdict(stats))
        self._print(format_progress(stats, self.settings.epochs, steps_left * seconds / max(steps, 1)))

    def report_epoch(self, progress: Progress, loss: float, val_loss: float | None) -> None:
        """Report the end of an epoch: the mean loss of a training sample and of a validation sample."""
        self._write(kind="epoch", epoch=progress.epoch, step=progress.step, loss=loss, val_loss=val_loss)
        validation = "" if val_loss is None else f", validation {val_loss:.1f}"
        self._print(f"epoch {progress.epoch} of {self.settings.epochs} done: loss {loss:.1f}{validation}")

    def report_ap(self, progress: Progress, ap: float, ap50: float) -> None:
        """Report the result of the COCO evaluation."""
        self._write(kind="ap", epoch=progress.epoch, step=progress.step, ap=ap, ap50=ap50)
        self._print(f"epoch {progress.epoch}: AP {ap:.3f}, AP50 {ap50:.3f}")

    def report_note(self, text: str) -> None:
        """Report a text, as a warning."""
        self._write(kind="note", text=text)
        if self.journal is not None:
            logger.warning("%s", text)

    def write_images(self, step: int, image: np.ndarray, target: np.ndarray, predicted: np.ndarray) -> None:
        """Draw one sample and log it to TensorBoard; shapes as in `DrawMapsFunction`."""
        if self.board is not None and self.draw is not None:
            self.board.write_images(step, {"sample": self.draw(image, target, predicted)})

    @property
    def writes_images(self) -> bool:
        """Whether `write_images` has an effect."""
        return self.board is not None and self.draw is not None

    def close(self) -> None:
        """Flush and close all logs."""
        for log in (self.journal, self.board):
            if log is not None:
                log.close()

    def _write(self, **line: Any) -> None:
        if self.journal is not None:
            self.journal.write(**line)
        if self.board is not None and line["kind"] != "note":
            self.board.write(**line)

    def _print(self, line: str) -> None:
        if self.journal is not None:
            print(line, flush=True)

    def _peak_memory_gib(self) -> float | None:
        return torch.cuda.max_memory_allocated(self.device) / 2**30 if self.device.type == "cuda" else None
