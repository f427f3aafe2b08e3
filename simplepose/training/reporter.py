"""What a run tells while it goes on: lines on the terminal, the journal, TensorBoard."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from simplepose.config import Train
from simplepose.training.engine import Progress
from simplepose.training.journal import Journal
from simplepose.training.meter import Reading
from simplepose.training.progress_line import Window, progress_line
from simplepose.training.tensorboard import Board

logger = logging.getLogger(__name__)

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
        settings: Train,
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
