"""What a training run reports: lines on the terminal, the journal, and TensorBoard.

The journal has one JSON object a line and can be read during the run and after it was killed. Its kinds of
line (a number that is not finite is written as null):

* step: step, epoch (with its fraction), loss, scales [5], stacks [S], lr, samples_per_second, data_wait
  (share of the time, 0 to 1), gpu_memory_gib (or null), skipped (steps so far);
* epoch: epoch, step, loss, val_loss (or null);
* ap: epoch, step, ap, ap50;
* resume: step; earlier lines about later steps are superseded;
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
from simplepose.training.metrics import Reading
from simplepose.training.trainer import Progress

logger = logging.getLogger(__name__)


class Journal:
    """Appends to a file, and hands each line to the system at once, so that a kill costs at most one.

    A full disk costs lines, with a warning, but never the run.

    Args:
        path: a last line that a kill has torn is cut off, with a warning.
        resume_step: steps done when the run begins or goes on.
    """

    def __init__(self, path: Path, resume_step: int = 0) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._failing = False
        _cut_torn_end(path)
        if self._file.seek(0, 2) > 0:
            self.write(kind="resume", step=resume_step)

    def write(self, **values: Any) -> None:
        """Add a line."""
        line = (json.dumps(_finite(values), allow_nan=False) + "\n").encode()
        before = self._file.seek(0, 2)
        try:
            if self._file.write(line) < len(line):
                raise OSError("only a part of the line was written, perhaps the disk is full")
            self._failing = False
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(before)
            if not self._failing:
                logger.warning("%s lacks lines from here on: %s", self._path, error)
            self._failing = True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal, in order, without those that a resumed run told anew.

    What is no line of a journal, such as a torn end, is passed over with a warning.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; the folder of a run, as train writes it, is expected")
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, line in enumerate(_lines(path)):
        if line["kind"] == "resume":
            kept = {key: old for key, old in kept.items() if old.get("step", 0) <= line["step"]}
        told_once = line["kind"] in ("step", "epoch", "ap")  # before and after a resume at that very step
        kept[(line["kind"], line["step"]) if told_once else (number,)] = line
    return list(kept.values())


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            values = _parsed(line)
            if values is None:
                logger.warning("%s, line %d: no line of a journal, perhaps torn; passed over", path, number)
            else:
                yield values


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line's values, or None where it is torn, or lacks what each line of its kind has."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):  # the latter: "[" without end
        return None
    if not isinstance(values, dict) or "kind" not in values:
        return None
    return values if values["kind"] == "note" or isinstance(values.get("step"), int) else None


def _cut_torn_end(path: Path) -> None:
    """Cut off the last line where it cannot be read."""
    last = b""
    with path.open("rb") as file:
        for line in file:
            last = line
    if last and (not last.endswith(b"\n") or _parsed(last) is None):
        logger.warning("%s ends in a torn line, which is cut off", path)
        with path.open("rb+") as file:
            file.truncate(path.stat().st_size - len(last))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


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


UNKNOWN = 1000 * 24 * 3600.0
"""Seconds beyond which nothing is said of the time left."""


@dataclass(frozen=True)
class Window:
    """The means over the last steps (`train.log_steps` of them), and where the run stands after them.

    Its fields are those of the journal's line of kind "step".

    Attributes:
        step: steps done.
        epoch: epochs done, with the fraction of the next.
        loss: a sample's.
        scales: (5,) a sample's loss at each scale, finest first, before weights.
        stacks: (S,) a sample's loss at each stack.
        lr: learning rate of the last step.
        samples_per_second: of all processes.
        data_wait: share of the time that was spent waiting for samples, 0 to 1.
        gpu_memory_gib: the most that was held since the run began, or None without a GPU.
        skipped: steps of the run whose loss was unusable.
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


def progress_line(window: Window, epochs: int, seconds_left: float) -> str:
    """One line for the terminal: with four stacks about 150 characters, and below 200 even late in long runs.

    Args:
        window: what to tell.
        epochs: of the whole run.
        seconds_left: until its end at the present speed; inf or nan where nothing can be said.
    """
    memory = [] if window.gpu_memory_gib is None else [f"{window.gpu_memory_gib:.1f} GiB"]
    skipped = [f"{window.skipped} skipped"] if window.skipped else []
    parts = [
        f"epoch {window.epoch:.2f}/{epochs} step {window.step}",
        f"loss {_short(window.loss)}",
        f"scales {' '.join(map(_short, window.scales))}",
        f"stacks {' '.join(map(_short, window.stacks))}",
        f"lr {window.lr:.3g}",
        f"{_short(window.samples_per_second)} samples/s",
        f"data {100 * window.data_wait:.0f}%",
        *memory,
        *skipped,
        time_left(seconds_left),
    ]
    return " | ".join(parts)


def time_left(seconds: float) -> str:
    """For example "2d 03:14 left", "3:14:15 left"."""
    if not seconds < UNKNOWN:
        return "?:??:?? left"
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours_of_day = divmod(hours, 24)
    if days:
        return f"{days}d {hours_of_day:02}:{minutes:02} left"
    return f"{hours}:{minutes:02}:{rest:02} left"


def _short(value: float) -> str:
    """Three digits that say something: 1234, 123, 12.3, 1.23, 0.123, 0.012; 1.2e+06 beyond these."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 99999.5 or 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    rounded = abs(float(f"{value:.3g}"))  # 9.999 is 10.0
    digits = 2 - math.floor(math.log10(rounded)) if rounded else 0
    return f"{value:.{min(max(digits, 0), 3)}f}"


Drawer = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(H, W, 3) uint8 BGR input, (C, h, w) target maps, (C, h, w) the network's -> a picture to show."""


class Reporter:
    """Tells of the steps; in all processes but the first it is silent.

    Args:
        settings: how many steps a line tells of.
        device: whose memory is told.
        journal: None where nothing is to be told.
        board: TensorBoard's files, if they are wanted.
        draw: makes the pictures for them.
    """

    def __init__(
        self,
        settings: TrainSettings,
        device: torch.device,
        journal: Journal | None,
        board: Board | None = None,
        draw: Drawer | None = None,
    ) -> None:
        self.settings, self.device = settings, device
        self.journal, self.board, self.draw = journal, board, draw
        self._steps_per_epoch = self._samples_of_step = 0
        self._start_window(0)

    def begin(self, step: int, steps_per_epoch: int, samples_of_step: int) -> None:
        """Steps follow each other from here on; `step` are done."""
        self._steps_per_epoch, self._samples_of_step = steps_per_epoch, samples_of_step
        self._start_window(step)

    def _start_window(self, step: int) -> None:
        self._first_step, self._started, self._waited = step, time.monotonic(), 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The time of this block was spent waiting for samples."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    def window(self, progress: Progress, reading: Reading, rate: float) -> None:
        """Tell of the steps since the last call, or since `begin`."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        steps = progress.step - self._first_step
        window = Window(
            step=progress.step,
            epoch=progress.epoch + progress.samples / (self._steps_per_epoch * self._samples_of_step),
            loss=reading.loss,
            scales=reading.by_scale,
            stacks=reading.by_stack,
            lr=rate,
            samples_per_second=round(steps * self._samples_of_step / seconds, 2),
            data_wait=round(min(self._waited / seconds, 1.0), 3),
            gpu_memory_gib=self._memory(),
            skipped=progress.skipped,
        )
        left = (self.settings.epochs - window.epoch) * self._steps_per_epoch
        self._start_window(progress.step)
        self._write(kind="step", **dataclasses.asdict(window))
        self._print(progress_line(window, self.settings.epochs, left * seconds / max(steps, 1)))

    def epoch(self, progress: Progress, loss: float, val_loss: float | None) -> None:
        """Tell that an epoch has ended, its mean loss and the held-out samples', of a sample."""
        self._write(kind="epoch", epoch=progress.epoch, step=progress.step, loss=loss, val_loss=val_loss)
        told = "" if val_loss is None else f", validation {val_loss:.1f}"
        self._print(f"epoch {progress.epoch} of {self.settings.epochs} done: loss {loss:.1f}{told}")

    def accuracy(self, progress: Progress, ap: float, ap50: float) -> None:
        """Tell what COCO's evaluation says."""
        self._write(kind="ap", epoch=progress.epoch, step=progress.step, ap=ap, ap50=ap50)
        self._print(f"epoch {progress.epoch}: AP {ap:.3f}, AP50 {ap50:.3f}")

    def note(self, text: str) -> None:
        """Tell something that is no number."""
        self._write(kind="note", text=text)
        if self.journal is not None:
            logger.warning("%s", text)

    def pictures(self, step: int, image: np.ndarray, target: np.ndarray, predicted: np.ndarray) -> None:
        """Show one sample; shapes as in `Drawer`."""
        if self.board is not None and self.draw is not None:
            self.board.pictures(step, {"sample": self.draw(image, target, predicted)})

    @property
    def shows_pictures(self) -> bool:
        """Whether `pictures` comes to anything."""
        return self.board is not None and self.draw is not None

    def close(self) -> None:
        """Bring everything to the files."""
        for written in (self.journal, self.board):
            if written is not None:
                written.close()

    def _write(self, **line: Any) -> None:
        if self.journal is not None:
            self.journal.write(**line)
        if self.board is not None and line["kind"] != "note":
            self.board.write(**line)

    def _print(self, line: str) -> None:
        if self.journal is not None:
            print(line, flush=True)

    def _memory(self) -> float | None:
        return torch.cuda.max_memory_allocated(self.device) / 2**30 if self.device.type == "cuda" else None
