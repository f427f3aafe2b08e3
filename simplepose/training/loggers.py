"""Logs of a training run: a metric logger sends records to the journal, TensorBoard and the terminal.

A record has a kind and these values; scales and stacks are the mean loss of a sample at each scale, finest
first and before weighting, and at each stack:

* step: step, epoch (with its fraction), loss, scales [5], stacks [S], lr, samples_per_second, data_wait
  (share of the time, 0 to 1), gpu_memory_gib (or null), skipped (steps so far);
* epoch: epoch, step, loss, val_loss (or null);
* ap: epoch, step, ap, ap50;
* resume: step; it supersedes earlier lines about later steps;
* note: text.

The journal has one record per line, as a JSON object, and can be read during the run, or after it was killed.
A number that is not finite is null there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from simplepose.training.metrics import StepMetrics
from simplepose.training.trainer import Progress
from simplepose.utils import json_lines
from simplepose.utils.json_lines import JsonLine

logger = logging.getLogger(__name__)

# "kind", and the values of this kind by name: see the module's docstring.
Record = Mapping[str, Any]

# (H, W, 3) uint8 BGR input, (C, h, w) target maps, (C, h, w) predicted maps -> (H', W', 3) uint8 BGR image.
DrawMapsFunction = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Sink(Protocol):
    """A destination of records."""

    def write(self, record: Record, text: str = "") -> None:
        """Write a record; `text` is the same record as one line for the terminal."""

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Write images by name, each (H, W, 3) uint8 BGR; not every sink supports images."""

    def close(self) -> None:
        """Flush and close the sink."""


class MetricLogger:
    """Turns the metrics of a run into records and sends each to all sinks.

    Args:
        epochs: epochs of the whole run.
        device: the device whose memory is logged.
        sinks: receive each record, in this order; empty on all ranks but the first.
        draw: draws the images.
    """

    def __init__(
        self,
        epochs: int,
        device: torch.device,
        sinks: Sequence[Sink] = (),
        draw: DrawMapsFunction | None = None,
    ) -> None:
        self._epochs, self._device, self._sinks, self._draw = epochs, device, sinks, draw
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

    def log_steps(self, progress: Progress, metrics: StepMetrics, lr: float) -> None:
        """Log the steps since the last call, or since `start_epoch`.

        Args:
            progress: of the run after these steps.
            metrics: of these steps.
            lr: learning rate of the last step.
        """
        seconds = max(time.monotonic() - self._start_time, 1e-9)
        steps = progress.step - self._first_step
        epoch = progress.epoch + progress.samples / (self._steps_per_epoch * self._samples_per_step)
        record = {
            "kind": "step",
            "step": progress.step,
            "epoch": epoch,
            "loss": metrics.loss,
            "scales": metrics.by_scale,
            "stacks": metrics.by_stack,
            "lr": lr,
            "samples_per_second": round(steps * self._samples_per_step / seconds, 2),
            "data_wait": round(min(self._wait_s / seconds, 1.0), 3),
            "gpu_memory_gib": self._peak_memory_gib(),
            "skipped": progress.skipped,
        }
        seconds_left = (self._epochs - epoch) * self._steps_per_epoch * seconds / max(steps, 1)
        self._start_window(progress.step)
        self._write(record, format_progress(record, self._epochs, seconds_left))

    def log_epoch(self, progress: Progress, loss: float, val_loss: float | None) -> None:
        """Log the end of an epoch: the mean loss of a training sample and of a validation sample."""
        record = {"kind": "epoch", "epoch": progress.epoch, "step": progress.step}
        validation = "" if val_loss is None else f", validation {val_loss:.1f}"
        text = f"epoch {progress.epoch} of {self._epochs} done: loss {loss:.1f}{validation}"
        self._write({**record, "loss": loss, "val_loss": val_loss}, text)

    def log_ap(self, progress: Progress, ap: float, ap50: float) -> None:
        """Log the result of the COCO evaluation."""
        record = {"kind": "ap", "epoch": progress.epoch, "step": progress.step, "ap": ap, "ap50": ap50}
        self._write(record, f"epoch {progress.epoch}: AP {ap:.3f}, AP50 {ap50:.3f}")

    def log_note(self, text: str) -> None:
        """Log a text, as a warning."""
        self._write({"kind": "note", "text": text}, text)

    @property
    def logs_images(self) -> bool:
        """Whether `log_sample` has an effect."""
        return bool(self._sinks) and self._draw is not None

    def log_sample(self, step: int, image: np.ndarray, target: np.ndarray, predicted: np.ndarray) -> None:
        """Draw one sample and log its image; shapes as in `DrawMapsFunction`."""
        if self._draw is not None and self._sinks:
            drawn = self._draw(image, target, predicted)
            for sink in self._sinks:
                sink.write_images(step, {"sample": drawn})

    def close(self) -> None:
        """Flush and close all sinks."""
        for sink in self._sinks:
            sink.close()

    def _write(self, record: Record, text: str) -> None:
        for sink in self._sinks:
            sink.write(record, text)

    def _peak_memory_gib(self) -> float | None:
        return torch.cuda.max_memory_allocated(self._device) / 2**30 if self._device.type == "cuda" else None


class TerminalSink:
    """Prints one line per record; a note is a warning."""

    def write(self, record: Record, text: str = "") -> None:
        """Print the text."""
        if record["kind"] == "note":
            logger.warning("%s", text)
        else:
            print(text, flush=True)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Ignore the images."""

    def close(self) -> None:
        """Leave the terminal open."""


# Seconds; a longer remaining time is shown as unknown.
MAX_TIME_LEFT_S = 1000 * 24 * 3600.0


def format_progress(record: Record, epochs: int, seconds_left: float) -> str:
    """Format one line for the terminal: about 150 characters with four stacks, below 200 in long runs.

    Args:
        record: of kind "step".
        epochs: epochs of the whole run.
        seconds_left: estimated time until the end of the run; inf or nan if unknown.
    """
    memory = record["gpu_memory_gib"]
    parts = [
        f"epoch {record['epoch']:.2f}/{epochs} step {record['step']}",
        f"loss {_format_number(record['loss'])}",
        f"scales {' '.join(map(_format_number, record['scales']))}",
        f"stacks {' '.join(map(_format_number, record['stacks']))}",
        f"lr {record['lr']:.3g}",
        f"{_format_number(record['samples_per_second'])} samples/s",
        f"data {100 * record['data_wait']:.0f}%",
        *([] if memory is None else [f"{memory:.1f} GiB"]),
        *([f"{record['skipped']} skipped"] if record["skipped"] else []),
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


class JournalSink:
    """Appends records to the journal without buffering, so that a kill loses at most one line.

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
            self.write({"kind": "resume", "step": resume_step})

    def write(self, record: Record, text: str = "") -> None:
        """Append the record as a line."""
        line = (json.dumps(_replace_non_finite(record), allow_nan=False) + "\n").encode()
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

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Ignore the images."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _remove_truncated_line(path: Path) -> None:
    """Remove the last line if it is not a complete record."""
    for last in deque(json_lines.read_lines(path), maxlen=1):  # none if the file is empty
        if not last.is_complete or _parse_record(last) is None:
            logger.warning("%s: the last line is truncated and is removed", path)
            os.truncate(path, last.end - len(last.content))


def _replace_non_finite(value: Any) -> Any:
    """Replace numbers that are not finite by None, in nested dicts, lists and tuples."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _replace_non_finite(item) for key, item in value.items()}
    return [_replace_non_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Read the records of a journal in order, without those that a resumed run superseded.

    Lines that cannot be parsed, such as a truncated last line, are skipped with a warning.

    Raises:
        FileNotFoundError: the file does not exist.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; expected the folder of a training run")
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in json_lines.read_lines(path):
        record = _parse_record(line)
        if record is None:
            logger.warning("%s, line %d: skipped, not a journal line, perhaps truncated", path, line.number)
            continue
        if record["kind"] == "resume":
            kept = {key: old for key, old in kept.items() if old.get("step", 0) <= record["step"]}
        unique = record["kind"] in ("step", "epoch", "ap")  # a run resumed at this very step repeats it
        kept[(record["kind"], record["step"]) if unique else (line.number,)] = record
    return list(kept.values())


def _parse_record(line: JsonLine) -> dict[str, Any] | None:
    """Parse a line; None if it is truncated or lacks the required values of its kind."""
    values = line.parse()
    if values is None or "kind" not in values:
        return None
    return values if values["kind"] == "note" or isinstance(values.get("step"), int) else None


# (kind of record, key) -> TensorBoard tag.
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


class TensorBoardSink:
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

    def write(self, record: Record, text: str = "") -> None:
        """Log the values of a record; values without a tag are ignored."""
        scalars = {
            TENSORBOARD_TAGS[record["kind"], key]: value
            for key, value in record.items()
            if (record["kind"], key) in TENSORBOARD_TAGS
        }
        if record["kind"] == "step":
            scalars["run/data_wait_percent"] = 100 * record["data_wait"]
            scalars.update({f"loss_of_scale/{i}": value for i, value in enumerate(record["scales"], 1)})
            scalars.update({f"loss_of_stack/{i}": value for i, value in enumerate(record["stacks"], 1)})
        for tag, value in scalars.items():
            if value is not None:
                self._call_writer("add_scalar", tag, value, record["step"])
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
