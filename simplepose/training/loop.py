"""The training loop: epochs, logging, validation, checkpoints and shutdown."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from simplepose.data.batch import Batch
from simplepose.data.dataset import EpochSampler, TrainingSamples
from simplepose.data.loader import BatchLoader
from simplepose.models.checkpoints import Model
from simplepose.training import ema
from simplepose.training.loggers import MetricLogger
from simplepose.training.optim import learning_rate_at
from simplepose.training.run_dir import RunFolder, SaveError
from simplepose.training.trainer import Trainer
from simplepose.utils.distributed import FlagReducer
from simplepose.utils.signals import GracefulShutdown

# Maximum number of batches for the batch norm statistics of averaged weights; an epoch may have fewer.
BN_UPDATE_BATCHES = 200


@dataclass(frozen=True)
class Validation:
    """Validation during training; each part is optional.

    Attributes:
        samples: validation samples, for the validation loss.
        compute_ap: returns AP and AP50 of a model on COCO annotations; all ranks call it together.
    """

    samples: TrainingSamples | None = None
    compute_ap: Callable[[Model], tuple[float, float]] | None = None


NO_VALIDATION = Validation()


def train(
    trainer: Trainer,
    samples: TrainingSamples,
    folder: RunFolder | None,
    metric_logger: MetricLogger,
    validation: Validation = NO_VALIDATION,
) -> bool:
    """Train to the last epoch, or until any process receives SIGINT or SIGTERM.

    Args:
        trainer: new, or with the state of a checkpoint.
        samples: training samples.
        folder: where checkpoints are saved; None on all ranks but the first.
        metric_logger: logs the progress.
        validation: what to validate.

    Returns:
        Whether the run reached its last epoch. In both cases the last state is saved.

    Raises:
        ValueError: the samples do not fill one step, or the loss stays unusable.
        SaveError: the last state could not be saved.
    """
    return _Loop(trainer, samples, folder, metric_logger, validation).run()


class _Loop:
    """The state of one run; see `train`."""

    def __init__(
        self,
        trainer: Trainer,
        samples: TrainingSamples,
        folder: RunFolder | None,
        metric_logger: MetricLogger,
        validation: Validation,
    ) -> None:
        self.trainer, self.folder, self.validation = trainer, folder, validation
        self.metric_logger = metric_logger
        self.settings, self.progress, self.world = trainer.settings, trainer.progress, trainer.world
        settings, world = self.settings, self.world
        samples_per_rank = settings.batch_size * settings.accumulate
        self.samples_per_step = samples_per_rank * world.size
        self.sampler = EpochSampler(len(samples), settings.seed, samples_per_rank, world.rank, world.size)
        self.steps_per_epoch = self.sampler.steps
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"{len(samples)} samples do not fill one step of {self.samples_per_step} samples "
                f"(train.batch_size x train.accumulate x {world.size} processes); decrease train.batch_size"
            )
        self.loader = BatchLoader(samples, self.sampler)
        self.validation_loader = validation.samples and BatchLoader(
            validation.samples, [(0, i) for i in range(world.rank, len(validation.samples), world.size)]
        )
        self.flags = FlagReducer(world, 2)  # shutdown requested, save due
        self.last_save_time = time.monotonic()

    def run(self) -> bool:
        """Train; returns whether the run reached its last epoch."""
        progress, stopped = self.progress, False
        with GracefulShutdown(deferred=True) as shutdown:
            if progress.epochs_validated < progress.epoch:  # interrupted during the validation of that epoch
                stopped = self._validate_and_log(shutdown)
            while progress.epoch < self.settings.epochs and not stopped:
                stopped = self._train_epoch(shutdown) or self._end_epoch(shutdown)
            self._save(last=True)
        return progress.epochs_validated >= self.settings.epochs

    def _train_epoch(self, shutdown: GracefulShutdown) -> bool:
        """Train the rest of the current epoch; returns whether a shutdown was requested."""
        progress = self.progress
        self.sampler.epoch, self.sampler.start = progress.epoch, progress.samples
        self.metric_logger.start_epoch(progress.step, self.steps_per_epoch, self.samples_per_step)
        for batches in self._step_batches():
            self.flags.start(shutdown.requested, self._save_is_due())
            schedule_step = progress.epoch * self.steps_per_epoch + progress.samples // self.samples_per_step
            lr = self._learning_rate(schedule_step)
            self.trainer.step(batches, lr)
            progress.samples += self.samples_per_step
            self._log_step(lr, batches[-1])
            stopped, due = self.flags.result()
            if due:
                self._save()
            if stopped:
                return True
        return False

    def _learning_rate(self, schedule_step: int) -> float:
        """Return the learning rate of a step, counted over all epochs without skipping any."""
        return learning_rate_at(schedule_step, self.steps_per_epoch, self.settings, self.world.size)

    def _step_batches(self) -> Iterator[Sequence[Batch]]:
        """Yield the batches of each step, and measure the time spent waiting for them."""
        batches = iter(self.loader)
        while True:
            with self.metric_logger.measure_data_wait():
                step_batches = list(itertools.islice(batches, self.settings.accumulate))
            if not step_batches:
                return
            yield step_batches

    def _log_step(self, lr: float, batch: Batch) -> None:
        """Log the metrics and an image, each if it is due."""
        progress, settings = self.progress, self.settings
        if progress.step % settings.log_steps == 0:
            self._log_metrics(lr)
        if self.metric_logger.logs_images and _is_multiple(settings.image_log_steps, progress.step):
            self.metric_logger.log_sample(progress.step, *self.trainer.predict_sample(batch))

    def _log_metrics(self, lr: float) -> None:
        """Wait for the device and log the metrics; raise an error after too many skipped steps."""
        progress, metrics = self.progress, self.trainer.meter.read(self.world)
        progress.skipped += metrics.skipped
        progress.loss_sum += metrics.loss_sum
        progress.loss_steps += metrics.steps
        self.metric_logger.log_steps(progress, metrics, lr)
        if metrics.consecutive_skips >= self.settings.max_consecutive_skips:
            raise ValueError(
                f"a loss or gradient was unusable (not finite, or a loss above train.loss_limit) in all of "
                f"the last {metrics.consecutive_skips} steps up to step {progress.step}; the last unusable "
                f"loss here was {metrics.last_unusable}; lower train.learning_rate, or check the samples"
            )

    def _save_is_due(self) -> bool:
        """Return whether a checkpoint is due after the next step."""
        due = _is_multiple(self.settings.checkpoint_steps, self.progress.step + 1)
        return due or time.monotonic() - self.last_save_time > 60 * self.settings.checkpoint_minutes

    def _end_epoch(self, shutdown: GracefulShutdown) -> bool:
        """Average the weights and validate; returns whether a shutdown was requested."""
        progress, settings = self.progress, self.settings
        if progress.step % settings.log_steps:
            self._log_metrics(self._learning_rate((progress.epoch + 1) * self.steps_per_epoch - 1))
        progress.epoch, progress.samples = progress.epoch + 1, 0
        if ema.is_swa_due(progress.epoch, settings):
            self.sampler.epoch, self.sampler.start = progress.epoch, 0
            self.trainer.average_weights(itertools.islice(self.loader, BN_UPDATE_BATCHES))
        return self._validate_and_log(shutdown)

    def _validate_and_log(self, shutdown: GracefulShutdown) -> bool:
        """Validate and log the epoch; returns whether a shutdown was requested before."""
        progress, settings = self.progress, self.settings
        validates = self.validation_loader is not None and _is_multiple(
            settings.validate_epochs, progress.epoch
        )
        computes_ap = self.validation.compute_ap is not None and _is_multiple(
            settings.ap_epochs, progress.epoch
        )
        if validates or computes_ap:
            self.trainer.broadcast_buffers()
            self._save()  # validation can take long
        val_loss = self._validation_loss(shutdown) if validates else None
        if self._any_rank(shutdown.requested):
            return True
        self.metric_logger.log_epoch(progress, progress.loss_sum / max(progress.loss_steps, 1), val_loss)
        if computes_ap:
            self._log_ap()
        progress.loss_sum = progress.loss_steps = 0.0
        progress.epochs_validated = progress.epoch
        return False

    def _validation_loss(self, shutdown: GracefulShutdown) -> float:
        """Return the validation loss; after a signal, that of the samples so far."""
        batches = itertools.takewhile(lambda _: not shutdown.requested, self.validation_loader or ())
        return self.trainer.validate(batches)

    def _log_ap(self) -> None:
        """Compute and log AP, and save the network if it is the best so far."""
        assert self.validation.compute_ap is not None
        with self.trainer.best_weights() as model:
            ap, ap50 = self.validation.compute_ap(model)
            self.metric_logger.log_ap(self.progress, ap, ap50)
            if self.folder is not None:
                try:
                    self.folder.save_best(model, "AP", ap, self.progress.step)
                except SaveError as error:
                    self.metric_logger.log_note(f"{error}; the run continues")

    def _any_rank(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        self.flags.start(flag, False)
        return self.flags.result()[0]

    def _save(self, last: bool = False) -> None:
        """Save a checkpoint; all ranks build the state together and rank 0 writes it."""
        self.last_save_time = time.monotonic()
        values = self.trainer.state()
        if self.folder is None:
            return
        try:
            self.folder.save(self.progress.step, values, self.settings.keep_checkpoints)
        except SaveError as error:
            if last:
                raise
            self.metric_logger.log_note(f"{error}; the run continues and retries at the next checkpoint")


def _is_multiple(interval: int, count: int) -> bool:
    """Return whether `count` is a multiple of `interval`; an interval of 0 means never."""
    return interval > 0 and count % interval == 0
