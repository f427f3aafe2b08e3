"""The training step, and all that it needs to go on later."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simplepose import config, targets
from simplepose.config import Train
from simplepose.data.dataset import Batch
from simplepose.losses import MultiScaleLoss
from simplepose.models import checkpoints
from simplepose.models.checkpoints import Model
from simplepose.models.precision import DTYPES
from simplepose.training.averaging import MovingAverage


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: steps done in all, skipped ones too.
        epoch: epochs done.
        batches: of the next epoch that are done.
        loss_sum: of these batches, to tell the epoch's mean.
        skipped, skipped_in_a_row: steps whose loss was unusable.
    """

    step: int = 0
    epoch: int = 0
    batches: int = 0
    loss_sum: float = 0.0
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
        decay = self.settings.ema_decay
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
        statistics = [buffer.clone() for buffer in self.network.buffers()]
        total, scales = self._forward(batch)
        value = total.item()
        self.progress.step += 1
        if self._must_skip(value):
            for buffer, before in zip(self.network.buffers(), statistics, strict=True):
                buffer.copy_(before)  # batch norm has looked at the batch already
            return value, scales
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update()
        return value, scales

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> float:
        """The mean loss of a sample, batch norm in evaluation mode."""
        self.network.eval()
        sums = [(self._forward(batch)[0].item() * len(batch.images), len(batch.images)) for batch in batches]
        return sum(loss for loss, _ in sums) / max(sum(count for _, count in sums), 1)

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        batch = Batch(*(tensor.to(self.device, non_blocking=True) for tensor in batch))
        images = batch.images.permute(0, 3, 1, 2).float().div_(255)
        target = targets.draw(
            batch.joints, batch.person_mask.float() / 255, self.model.skeleton, self.model.settings.targets
        )
        precision = DTYPES[self.settings.precision]
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
            "skeleton": self.model.skeleton.to_text(),
            "weights": self.network.state_dict(),
            "ema": self.average.state_dict() if self.average else None,
            "swa": None,
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
            self.average.load_state_dict(values["ema"])

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
