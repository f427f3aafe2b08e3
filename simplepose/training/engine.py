"""The training step and the loop around it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from simplepose import config, targets
from simplepose.config import Train
from simplepose.data.dataset import Batch, EpochSampler, TrainingSamples, loader
from simplepose.losses import MultiScaleLoss
from simplepose.models import checkpoints
from simplepose.models.checkpoints import Model
from simplepose.training.averaging import MovingAverage
from simplepose.training.interrupt import Interrupt
from simplepose.training.journal import Journal
from simplepose.training.run_folder import RunFolder
from simplepose.training.schedule import lr_at

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
JOURNAL_SECONDS = 10.0


@dataclass
class Progress:
    """Where a run stands: `step` steps done in all, `epoch` epochs done, `batches` of the next one."""

    step: int = 0
    epoch: int = 0
    batches: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0


class Trainer:
    """Trains one network on one device.

    Args:
        model: the network with its settings and skeleton; trained in place.
        device: where to train.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        self.model, self.device = model, device
        self.settings = model.settings.train
        self.network = model.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = MultiScaleLoss(model.settings.loss, model.skeleton).to(device)
        self.optimizer = make_optimizer(self.network, self.settings)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.settings.precision == "fp16")
        decay = self.settings.averaging
        self.average = MovingAverage(self.network, decay) if decay > 0 else None
        self.progress = Progress()

    def step(self, batch: Batch, learning_rate: float) -> tuple[float, Tensor]:
        """One optimiser step; a loss that is not finite or beyond the limit changes nothing.

        Returns:
            The loss (a sample's), and each scale's loss of a sample (5,).

        Raises:
            ValueError: too many steps in a row had to be skipped.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.network.train()
        total, scales = self._forward(batch)
        value = total.item()
        self.progress.step += 1
        if self._must_skip(value):
            return value, scales
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.network)
        return value, scales

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> float:
        """The mean loss of a sample, batch norm in evaluation mode."""
        self.network.eval()
        sums = [(self._forward(batch)[0].item() * len(batch.images), len(batch.images)) for batch in batches]
        return sum(loss for loss, _ in sums) / sum(count for _, count in sums)

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        batch = Batch(*(tensor.to(self.device, non_blocking=True) for tensor in batch))
        images = batch.images.permute(0, 3, 1, 2).float().div_(255)
        target = targets.draw(
            batch.joints, batch.person_mask.float() / 255, self.model.skeleton, self.model.settings.targets
        )
        precision = PRECISIONS[self.settings.precision]
        with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
            outputs = self.network(images)
        total, scales = self.loss(outputs, target, batch.mask_miss[:, None].float() / 255)
        return total, scales / len(batch.images)

    def _must_skip(self, loss: float) -> bool:
        if math.isfinite(loss) and loss <= self.settings.loss_limit:
            self.progress.skipped_in_a_row = 0
            return False
        self.progress.skipped += 1
        self.progress.skipped_in_a_row += 1
        if self.progress.skipped_in_a_row >= self.settings.skips_in_a_row:
            raise ValueError(
                f"the loss was {loss} in step {self.progress.step}, and unusable (beyond train.loss_limit or "
                f"not finite) in all of the last {self.progress.skipped_in_a_row} steps; "
                "lower train.learning_rate, or look at the samples"
            )
        return True

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on, as plain tensors and values."""
        return {
            "format": checkpoints.TRAINING_FORMAT,
            "settings": config.to_text(self.model.settings),
            "skeleton": json.dumps(self.model.skeleton.to_dict()),
            "weights": self.network.state_dict(),
            "averaged": self.average.state if self.average else None,
            "average_updates": self.average.updates if self.average else 0,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": dict(vars(self.progress)),
        }

    def load_state(self, values: dict[str, Any], source: str) -> None:
        """Go on from `state()`. Raises ValueError if it is of another network."""
        checkpoints.fill(self.network, values["weights"], source)
        self.optimizer.load_state_dict(values["optimizer"])
        self.scaler.load_state_dict(values["scaler"])
        self.progress = Progress(**values["progress"])
        if self.average is not None:
            self.average.load(values["averaged"] or values["weights"], values["average_updates"])

    def result(self) -> Model:
        """The network to use: the averaged weights where an average is kept."""
        if self.average is not None:
            checkpoints.fill(self.network, self.average.state, "the average")
        return self.model


def make_optimizer(network: torch.nn.Module, settings: Train) -> torch.optim.Optimizer:
    """The named optimiser over all parameters."""
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(
            network.parameters(),
            settings.learning_rate,
            betas=(settings.momentum, 0.999),
            weight_decay=settings.weight_decay,
        )
    return torch.optim.SGD(
        network.parameters(),
        settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )


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
        Whether the run reached its end; if not, a checkpoint was written.

    Raises:
        ValueError: fewer samples than a batch takes, or a loss that stays unusable.
    """
    return _Loop(trainer, samples, held_out, folder).run()


class _Loop:
    """Epochs, progress bar, journal and checkpoints of one run."""

    def __init__(
        self, trainer: Trainer, samples: TrainingSamples, held_out: TrainingSamples | None, folder: RunFolder
    ) -> None:
        self.trainer, self.folder = trainer, folder
        self.settings = trainer.settings
        self.sampler = EpochSampler(len(samples), self.settings.seed)
        self.loader = loader(samples, self.sampler, drop_last=True)
        self.steps_per_epoch = len(samples) // self.settings.batch_size
        if self.steps_per_epoch == 0:
            raise ValueError(f"{len(samples)} samples do not fill one batch; train.batch_size is too large")
        self.held_out = held_out and loader(
            held_out, EpochSampler(len(held_out), 0, shuffled=False), drop_last=False
        )
        self.journal = Journal(folder.journal)
        self.last_saved = self.last_told = time.monotonic()
        self.loss_sum, self.loss_count = 0.0, 0

    def run(self) -> bool:
        progress = self.trainer.progress
        total = self.settings.epochs * self.steps_per_epoch
        bar = tqdm(total=total, initial=progress.epoch * self.steps_per_epoch + progress.batches, unit="step")
        with Interrupt() as interrupt, bar:
            while progress.epoch < self.settings.epochs:
                self._epoch(bar, interrupt)
                if interrupt.asked:
                    break
                progress.epoch, progress.batches = progress.epoch + 1, 0
                self._end_of_epoch()
        self.journal.close()
        return not interrupt.asked

    def _epoch(self, bar: tqdm[Any], interrupt: Interrupt) -> None:
        progress = self.trainer.progress
        self.sampler.epoch, self.sampler.start = progress.epoch, progress.batches * self.settings.batch_size
        started, done = time.monotonic(), 0
        for batch in self.loader:
            place = progress.epoch * self.steps_per_epoch + progress.batches
            rate = lr_at(place, self.steps_per_epoch, self.settings)
            loss, scales = self.trainer.step(batch, rate)
            progress.batches += 1
            done += len(batch.images)
            self.loss_sum, self.loss_count = self.loss_sum + loss, self.loss_count + 1
            self._tell(bar, loss, scales, rate, done / (time.monotonic() - started))
            if interrupt.asked or time.monotonic() - self.last_saved > 60 * self.settings.checkpoint_minutes:
                self._save()
            if interrupt.asked:
                return

    def _tell(self, bar: tqdm[Any], loss: float, scales: Tensor, rate: float, speed: float) -> None:
        bar.set_postfix_str(f"loss {loss:.1f}, {speed:.1f} samples/s, lr {rate:.2e}", refresh=False)
        bar.update()
        if time.monotonic() - self.last_told < JOURNAL_SECONDS:
            return
        self.last_told = time.monotonic()
        progress = self.trainer.progress
        self.journal.write(
            kind="step",
            step=progress.step,
            epoch=progress.epoch,
            loss=loss,
            scales=scales.tolist(),
            lr=rate,
            samples_per_second=round(speed, 2),
            skipped=progress.skipped,
        )

    def _end_of_epoch(self) -> None:
        loss, self.loss_sum, self.loss_count = self.loss_sum / max(self.loss_count, 1), 0.0, 0
        held_out = self.trainer.validate(self.held_out) if self.held_out else None
        progress = self.trainer.progress
        self.journal.write(
            kind="epoch", epoch=progress.epoch, step=progress.step, loss=loss, val_loss=held_out
        )
        told = "" if held_out is None else f", validation {held_out:.1f}"
        tqdm.write(f"epoch {progress.epoch} of {self.settings.epochs}: loss {loss:.1f}{told}")
        if progress.epoch == self.settings.epochs:
            self._save()

    def _save(self) -> None:
        self.folder.save(self.trainer.progress.step, self.trainer.state(), self.settings.keep)
        self.last_saved = time.monotonic()
