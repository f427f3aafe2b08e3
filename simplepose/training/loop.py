"""The loop around the training step: epochs, progress bar, journal, checkpoints, Ctrl-C."""

from __future__ import annotations

import itertools
import time
from typing import Any

from torch import Tensor
from tqdm import tqdm

from simplepose.data.dataset import EpochSampler, TrainingSamples, loader
from simplepose.training.engine import Trainer
from simplepose.training.interrupt import Interrupt
from simplepose.training.journal import Journal
from simplepose.training.run_folder import RunFolder
from simplepose.training.schedule import lr_at

JOURNAL_SECONDS = 10.0
"""A line of the journal this often."""


def train(
    trainer: Trainer, samples: TrainingSamples, held_out: TrainingSamples | None, folder: RunFolder
) -> bool:
    """Train to the last epoch, or until Ctrl-C.

    Args:
        trainer: fresh, or with the state of a checkpoint.
        samples: to learn from.
        held_out: to tell the loss on, after each epoch.
        folder: takes the journal and the checkpoints.

    Returns:
        Whether the run reached its end. Either way its last state is saved.

    Raises:
        ValueError: fewer samples than a batch takes, or a loss that stays unusable.
    """
    return _Loop(trainer, samples, held_out, folder).run()


class _Loop:
    """One run; see `train`."""

    def __init__(
        self, trainer: Trainer, samples: TrainingSamples, held_out: TrainingSamples | None, folder: RunFolder
    ) -> None:
        self.trainer, self.folder = trainer, folder
        self.settings, self.progress = trainer.settings, trainer.progress
        self.sampler = EpochSampler(len(samples), self.settings.seed)
        self.loader = loader(samples, self.sampler, drop_last=True)
        self.held_out = held_out and loader(
            held_out, EpochSampler(len(held_out), 0, shuffled=False), drop_last=False
        )
        self.steps_per_epoch = len(samples) // self.settings.batch_size
        if self.steps_per_epoch == 0:
            raise ValueError(f"{len(samples)} samples do not fill one batch; train.batch_size is too large")
        self.journal = Journal(folder.journal)
        self.last_saved = self.last_told = time.monotonic()

    def run(self) -> bool:
        progress, epochs = self.progress, self.settings.epochs
        done = progress.epoch * self.steps_per_epoch + progress.batches
        bar = tqdm(total=epochs * self.steps_per_epoch, initial=done, unit="step")
        with Interrupt() as interrupt, bar:
            while progress.epoch < epochs and not interrupt.asked:
                self._epoch(bar, interrupt)
                if progress.batches == self.steps_per_epoch:
                    self._end_of_epoch(interrupt)
            self._save()
        self.journal.close()
        return progress.epoch >= epochs

    def _epoch(self, bar: tqdm[Any], interrupt: Interrupt) -> None:
        progress = self.progress
        self.sampler.epoch, self.sampler.start = progress.epoch, progress.batches * self.settings.batch_size
        started, done = time.monotonic(), 0
        for batch in self.loader:
            place = progress.epoch * self.steps_per_epoch + progress.batches
            rate = lr_at(place, self.steps_per_epoch, self.settings)
            loss, scales = self.trainer.step(batch, rate)
            progress.batches += 1
            progress.loss_sum += loss
            done += len(batch.images)
            self._tell(bar, loss, scales, rate, done / (time.monotonic() - started))
            if time.monotonic() - self.last_saved > 60 * self.settings.checkpoint_minutes:
                self._save()
            if interrupt.asked:
                return

    def _tell(self, bar: tqdm[Any], loss: float, scales: Tensor, rate: float, speed: float) -> None:
        bar.set_postfix_str(f"loss {loss:.1f}, {speed:.1f} samples/s, lr {rate:.2e}", refresh=False)
        bar.update()
        if time.monotonic() - self.last_told < JOURNAL_SECONDS:
            return
        self.last_told = time.monotonic()
        self.journal.write(
            kind="step",
            step=self.progress.step,
            epoch=self.progress.epoch,
            loss=loss,
            scales=scales.tolist(),
            lr=rate,
            samples_per_second=round(speed, 2),
            skipped=self.progress.skipped,
        )

    def _end_of_epoch(self, interrupt: Interrupt) -> None:
        progress = self.progress
        loss = progress.loss_sum / self.steps_per_epoch
        progress.epoch, progress.batches, progress.loss_sum = progress.epoch + 1, 0, 0.0
        val_loss = self._validate(interrupt) if self.held_out else None
        self.journal.write(
            kind="epoch", epoch=progress.epoch, step=progress.step, loss=loss, val_loss=val_loss
        )
        told = "" if val_loss is None else f", validation {val_loss:.1f}"
        tqdm.write(f"epoch {progress.epoch} of {self.settings.epochs}: loss {loss:.1f}{told}")

    def _validate(self, interrupt: Interrupt) -> float | None:
        """The loss of the held-out samples; None if Ctrl-C came before the last of them."""
        self._save()  # validation can take long
        batches = itertools.takewhile(lambda _: not interrupt.asked, self.held_out or ())
        loss = self.trainer.validate(batches)
        return None if interrupt.asked else loss

    def _save(self) -> None:
        self.folder.save(self.progress.step, self.trainer.state(), self.settings.keep)
        self.last_saved = time.monotonic()
