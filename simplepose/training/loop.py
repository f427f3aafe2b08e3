"""The loop around the training step: epochs, what is told, what is saved, and when it ends."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from simplepose.data.batch import Batch
from simplepose.data.dataset import EpochSampler, TrainingSamples
from simplepose.data.loader import Loader
from simplepose.models.checkpoints import Model
from simplepose.training import ema
from simplepose.training.loggers import Reporter
from simplepose.training.optim import lr_at
from simplepose.training.run_dir import RunFolder, SaveFailed
from simplepose.training.trainer import Trainer
from simplepose.utils.distributed import Vote
from simplepose.utils.signals import Ending

STATISTICS_BATCHES = 200
"""Batch norm statistics of averaged weights are taken over so many batches, or all of an epoch."""


@dataclass(frozen=True)
class Watch:
    """What is looked at beside the steps; each part may be missing.

    Attributes:
        held_out: samples to tell the loss on.
        measure_ap: what COCO's evaluation says of a model: AP and AP50; all processes call it together.
    """

    held_out: TrainingSamples | None = None
    measure_ap: Callable[[Model], tuple[float, float]] | None = None


NOTHING = Watch()


def train(
    trainer: Trainer,
    samples: TrainingSamples,
    folder: RunFolder | None,
    reporter: Reporter,
    watch: Watch = NOTHING,
) -> bool:
    """Train to the last epoch, or until any process is sent SIGINT or SIGTERM.

    Args:
        trainer: fresh, or with the state of a checkpoint.
        samples: to learn from.
        folder: takes the checkpoints; None in all processes but the first.
        reporter: is told of the steps.
        watch: what else to look at.

    Returns:
        Whether the run reached its end. Either way its last state is saved.

    Raises:
        ValueError: fewer samples than a step takes, or a loss that stays unusable.
        SaveFailed: the last state could not be saved.
    """
    return _Loop(trainer, samples, folder, reporter, watch).run()


class _Loop:
    """One run; see `train`."""

    def __init__(
        self,
        trainer: Trainer,
        samples: TrainingSamples,
        folder: RunFolder | None,
        reporter: Reporter,
        watch: Watch,
    ) -> None:
        self.trainer, self.folder, self.reporter, self.watch = trainer, folder, reporter, watch
        self.settings, self.progress, self.world = trainer.settings, trainer.progress, trainer.world
        settings, world = self.settings, self.world
        batch = settings.batch_size * settings.accumulate
        self.samples_of_step = batch * world.size
        self.sampler = EpochSampler(len(samples), settings.seed, batch, world.rank, world.size)
        self.steps_per_epoch = self.sampler.steps
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"{len(samples)} samples do not fill one step of {self.samples_of_step} (train.batch_size x "
                f"train.accumulate x {world.size} processes); make train.batch_size smaller"
            )
        self.loader = Loader(samples, self.sampler)
        self.held_out = watch.held_out and Loader(
            watch.held_out, [(0, i) for i in range(world.rank, len(watch.held_out), world.size)]
        )
        self.vote = Vote(world, 2)
        self.last_saved = time.monotonic()

    def run(self) -> bool:
        progress, stopped = self.progress, False
        with Ending(waits=True) as ending:
            if progress.watched < progress.epoch:  # the run was ended while it did that
                stopped = self._watch(ending)
            while progress.epoch < self.settings.epochs and not stopped:
                stopped = self._epoch(ending) or self._end_of_epoch(ending)
            self._save(last=True)
        return progress.watched >= self.settings.epochs

    def _epoch(self, ending: Ending) -> bool:
        """What is left of the epoch; returns whether it was stopped."""
        progress = self.progress
        self.sampler.epoch, self.sampler.start = progress.epoch, progress.samples
        self.reporter.begin(progress.step, self.steps_per_epoch, self.samples_of_step)
        for batches in self._steps():
            self.vote.cast(ending.asked, self._save_is_due())
            place = progress.epoch * self.steps_per_epoch + progress.samples // self.samples_of_step
            rate = self._rate(place)
            self.trainer.step(batches, rate)
            progress.samples += self.samples_of_step
            self._tell(rate, batches[-1])
            stopped, due = self.vote.passed()
            if due:
                self._save()
            if stopped:
                return True
        return False

    def _rate(self, place: int) -> float:
        """The learning rate of a step, counted over all epochs."""
        return lr_at(place, self.steps_per_epoch, self.settings, self.world.size)

    def _steps(self) -> Iterator[Sequence[Batch]]:
        """The batches of each step; the time until they are there is told."""
        batches = iter(self.loader)
        while True:
            with self.reporter.waiting():
                of_step = list(itertools.islice(batches, self.settings.accumulate))
            if not of_step:
                return
            yield of_step

    def _tell(self, rate: float, batch: Batch) -> None:
        progress, settings = self.progress, self.settings
        if progress.step % settings.log_steps == 0:
            self._read_meter(rate)
        if self.reporter.shows_pictures and _each(settings.picture_steps, progress.step):
            self.reporter.pictures(progress.step, *self.trainer.show(batch))

    def _read_meter(self, rate: float) -> None:
        """Wait for the device, tell what the steps have shown, and end the run if they come to nothing."""
        progress, reading = self.progress, self.trainer.meter.read(self.world)
        progress.skipped += reading.skipped
        progress.loss_sum += reading.loss_sum
        progress.loss_steps += reading.steps
        self.reporter.window(progress, reading, rate)
        if reading.skipped_in_a_row >= self.settings.skips_in_a_row:
            raise ValueError(
                f"a loss or gradient was unusable (not finite, or a loss beyond train.loss_limit) in all of "
                f"the last {reading.skipped_in_a_row} steps up to step {progress.step}; the last such loss "
                f"here was {reading.last_unusable}; lower train.learning_rate, or look at the samples"
            )

    def _save_is_due(self) -> bool:
        """After the next step."""
        due = _each(self.settings.checkpoint_steps, self.progress.step + 1)
        return due or time.monotonic() - self.last_saved > 60 * self.settings.checkpoint_minutes

    def _end_of_epoch(self, ending: Ending) -> bool:
        """Average and watch; returns whether the run was stopped."""
        progress, settings = self.progress, self.settings
        if progress.step % settings.log_steps:
            self._read_meter(self._rate((progress.epoch + 1) * self.steps_per_epoch - 1))
        progress.epoch, progress.samples = progress.epoch + 1, 0
        if ema.is_due(progress.epoch, settings):
            self.sampler.epoch, self.sampler.start = progress.epoch, 0
            self.trainer.average_weights(itertools.islice(self.loader, STATISTICS_BATCHES))
        return self._watch(ending)

    def _watch(self, ending: Ending) -> bool:
        """Validate, measure, tell of the epoch; returns whether the run was stopped before it was done."""
        progress, settings = self.progress, self.settings
        validates = self.held_out is not None and _each(settings.validate_epochs, progress.epoch)
        measures = self.watch.measure_ap is not None and _each(settings.ap_epochs, progress.epoch)
        if validates or measures:
            self.trainer.agree()
            self._save()  # what follows can take long
        val_loss = self._validate(ending) if validates else None
        if self._any(ending.asked):
            return True
        self.reporter.epoch(progress, progress.loss_sum / max(progress.loss_steps, 1), val_loss)
        if measures:
            self._measure()
        progress.loss_sum = progress.loss_steps = 0.0
        progress.watched = progress.epoch
        return False

    def _validate(self, ending: Ending) -> float:
        """The loss of the held-out samples, or of a part of them if a signal comes."""
        batches = itertools.takewhile(lambda _: not ending.asked, self.held_out or ())
        return self.trainer.validate(batches)

    def _measure(self) -> None:
        assert self.watch.measure_ap is not None
        with self.trainer.best_weights() as model:
            ap, ap50 = self.watch.measure_ap(model)
            self.reporter.accuracy(self.progress, ap, ap50)
            if self.folder is not None:
                try:
                    self.folder.save_best(model, "AP", ap, self.progress.step)
                except SaveFailed as error:
                    self.reporter.note(f"{error}; the run goes on")

    def _any(self, flag: bool) -> bool:
        self.vote.cast(flag, False)
        return self.vote.passed()[0]

    def _save(self, last: bool = False) -> None:
        """All processes together, because they make the state together; the first writes it."""
        self.last_saved = time.monotonic()
        values = self.trainer.state()
        if self.folder is None:
            return
        try:
            self.folder.save(self.progress.step, values, self.settings.keep)
        except SaveFailed as error:
            if last:
                raise
            self.reporter.note(f"{error}; the run goes on, and tries again next time")


def _each(often: int, count: int) -> bool:
    """Whether something that is done each time so many are done is due; 0: never."""
    return often > 0 and count % often == 0
