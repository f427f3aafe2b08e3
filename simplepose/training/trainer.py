"""The training step, and the state that a resumed run needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from simplepose import config, targets
from simplepose.data.batch import Batch
from simplepose.losses import MultiScaleLoss
from simplepose.models import checkpoints
from simplepose.models.checkpoints import Model
from simplepose.models.fastpose import FastPose
from simplepose.training import batch_norm, checkpointing
from simplepose.training.batch_norm import BatchNormSnapshot, convert_batchnorm
from simplepose.training.ema import EMA, SWA
from simplepose.training.metrics import LossMeter
from simplepose.training.optim import (
    MixedPrecision,
    build_optimizer,
    find_frozen_batch_norms,
    freeze,
    set_learning_rate,
    set_training_mode,
)
from simplepose.utils.distributed import World

SINGLE_PROCESS = World()


@dataclass
class Progress:
    """Progress of a run.

    Attributes:
        step: steps done, including skipped ones.
        epoch: epochs done.
        epochs_validated: epochs whose losses and AP were reported.
        samples: samples of the current epoch that are done, over all processes.
        skipped: steps that changed nothing because a loss or a gradient was unusable.
        loss_sum: sum of the losses of applied steps since the last reported epoch, as far as they were read.
        loss_steps: number of these steps.
    """

    step: int = 0
    epoch: int = 0
    epochs_validated: int = 0
    samples: int = 0
    skipped: int = 0
    loss_sum: float = 0.0
    loss_steps: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the progress as plain values; checkpoints call `epochs_validated` "watched"."""
        values = dict(vars(self))
        values["watched"] = values.pop("epochs_validated")
        return values

    @classmethod
    def from_state_dict(cls, values: dict[str, Any]) -> Progress:
        """Build the progress from the result of `state_dict()`."""
        values = dict(values)
        return cls(epochs_validated=values.pop("watched"), **values)


class Trainer:
    """Trains one network, in one process or in all processes of a distributed run.

    Args:
        model: the network with its settings and skeleton; trained in place.
        device: where to train.
        world: the processes that share each step.
        data_parallel: use all GPUs from one process, as in the published code.

    Raises:
        ValueError: `data_parallel` or this machine does not support the settings.
    """

    def __init__(
        self, model: Model, device: torch.device, world: World = SINGLE_PROCESS, data_parallel: bool = False
    ) -> None:
        self.model, self.device, self.world = model, device, world
        self.settings = settings = model.settings.train
        if data_parallel:
            _check_data_parallel(settings)
        self.network = network = model.network.to(device)
        if settings.channels_last:
            network.to(memory_format=torch.channels_last)
        if settings.sync_batchnorm and world.size > 1:
            convert_batchnorm(network, device)
        freeze(network, settings.freeze)
        self.frozen_batch_norms = find_frozen_batch_norms(network, settings.freeze_batchnorm)
        network.activation_checkpointing = settings.activation_checkpointing
        self.is_top_down = isinstance(network, FastPose)
        loss_skeleton = None if self.is_top_down else model.skeleton
        self.loss = MultiScaleLoss(model.settings.loss, loss_skeleton).to(device)
        self.optimizer = build_optimizer(network, settings)
        self.precision = MixedPrecision(device, settings.precision)
        self.ema = EMA(network, settings.ema_decay) if settings.ema_decay > 0 else None
        self.swa = SWA(network) if settings.swa_start is not None else None
        self.batch_norm_snapshot = BatchNormSnapshot(network)
        self.meter = LossMeter(network.stacks, len(model.settings.loss.scale_weights), device)
        self.progress = Progress()
        self.parallel = _wrap_parallel(network, device, world, data_parallel, settings.compile)

    def step(self, batches: Sequence[Batch], learning_rate: float) -> None:
        """Take one step on all ranks, without waiting for the device.

        A loss that is not finite, or exceeds the limit, becomes NaN. After the exchange the gradients of all
        ranks are then NaN: all ranks skip the step and nothing changes.

        Args:
            batches: the `train.accumulate` batches of this rank.
            learning_rate: of the step, before the factors of parameter groups.
        """
        set_learning_rate(self.optimizer, learning_rate)
        set_training_mode(self.network, self.frozen_batch_norms)
        self.batch_norm_snapshot.save()
        self.optimizer.zero_grad(set_to_none=True)
        for number, batch in enumerate(batches, 1):
            with self._gradient_sync(last=number == len(batches)):
                total, parts = self._forward(self.parallel, batch)
                usable = total.detach() <= self.settings.loss_limit  # NaN is not
                self.precision.backward(total * torch.where(usable, 1 / len(batches), torch.nan))
            self.meter.add_batch(total, parts, 1 / len(batches), usable)
        applied = self.precision.step(self.optimizer, self.settings.clip_norm)
        self.batch_norm_snapshot.restore_if_skipped(applied)
        self.meter.end_step(applied)
        self.progress.step += 1
        if self.ema is not None:
            self.ema.update()

    def _gradient_sync(self, last: bool) -> AbstractContextManager[Any]:
        """Return a context that exchanges gradients only with the last batch of a step."""
        if last or not isinstance(self.parallel, DistributedDataParallel):
            return nullcontext()
        return self.parallel.no_sync()

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> float:
        """Return the mean loss of a sample over the batches of all ranks, in evaluation mode.

        The ranks may have different numbers of batches.
        """
        self.network.eval()
        sums = torch.zeros(2, dtype=torch.float64)
        for batch in batches:
            total, _ = self._forward(self.network, batch)
            sums += torch.tensor([total.item() * len(batch.images), len(batch.images)], dtype=torch.float64)
        loss, count = map(float, self.world.all_reduce_sum(sums).tolist())
        return loss / max(count, 1)

    def _forward(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss and its parts (S, 5), both as the mean of a sample."""
        target, weight = self.targets(batch)
        with self.precision.autocast():
            outputs = network(self.images(batch))
        total, parts = self.loss(outputs, target, weight)
        return total, parts / len(batch.images)

    def images(self, batch: Batch) -> Tensor:
        """Return the network's input for a batch: (N, 3, H, W) BGR in [0, 1], in the dtype of the weights."""
        images = batch.images.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        images = images.to(next(self.network.parameters()).dtype).div_(255)
        return images if self.settings.channels_last else images.contiguous()

    def average_weights(self, batches: Iterable[Batch]) -> None:
        """Add the weights to the SWA, and compute its batch norm statistics on these batches."""
        if self.swa is None:
            return
        self.swa.update()
        with self.swa.swapped(), self.precision.autocast():
            batch_norm.update_bn(self.network, map(self.images, batches), self.world.all_reduce_sum)

    @contextmanager
    def best_weights(self) -> Iterator[Model]:
        """Yield the model with its best weights: those of the SWA, else of the EMA, else its own."""
        average = self.swa if self.swa is not None and self.swa.updates > 0 else self.ema
        with nullcontext() if average is None else average.swapped():
            yield self.model

    @torch.no_grad()
    def predict_sample(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predict the first sample of a batch, for display.

        Returns:
            The image, (H, W, 3) uint8 BGR; its target maps and the predicted maps, both (C, h, w).
        """
        first = Batch(*(tensor[:1] for tensor in batch))
        self.network.eval()
        with self.precision.autocast():
            maps = self.network(self.images(first))[-1][0]
        target = self.targets(first)[0][0].cpu().numpy()
        predicted = maps[0].float().cpu().numpy()
        return first.images[0].numpy(), target, predicted

    def targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the target maps of a batch, (N, C, h, w), and their weights, (N, 1 or C, h, w)."""
        skeleton, settings = self.model.skeleton, self.model.settings.targets
        if self.is_top_down:
            height, width = batch.mask_miss.shape[1:]
            return targets.draw_crops(batch.joints, (height, width), skeleton, settings, self.device)
        mask = batch.person_mask.to(self.device, non_blocking=True).float() / 255
        mask_miss = batch.mask_miss.to(self.device, non_blocking=True)
        return targets.draw(batch.joints, mask, skeleton, settings), mask_miss[:, None].float() / 255

    def broadcast_buffers(self) -> None:
        """Copy rank 0's batch norm statistics, which checkpoints contain, to all ranks.

        Without train.sync_batchnorm each rank has its own statistics, which validation would use.
        """
        if self.world.size == 1:
            return
        averages = [average.state for average in (self.ema, self.swa) if average is not None]
        for state in (self.network.state_dict(), *averages):
            names = [name for name, _ in self.network.named_buffers() if name in state]
            buffers = self.world.broadcast({name: state[name].cpu() for name in names})
            for name, tensor in buffers.items():
                state[name].copy_(tensor)

    def state(self) -> dict[str, Any]:
        """Return all that a resumed run needs, as plain tensors and values; call it on all ranks."""
        return {
            "format": checkpoints.TRAINING_FORMAT,
            "settings": config.to_text(self.model.settings),
            "skeleton": self.model.skeleton.to_yaml(),
            "weights": self.network.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "swa": None if self.swa is None else self.swa.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.state_dict(),
            "progress": self.progress.state_dict(),
            "meter": self.meter.state_dict(self.world),
            "random": checkpointing.capture_rng_states(self.device),
        }

    def load_state(self, values: dict[str, Any], source: str) -> None:
        """Restore the result of `state()`.

        Args:
            values: the state.
            source: name of the checkpoint, for error messages.

        Raises:
            ValueError: the state is that of another network.
        """
        checkpoints.load_state_strictly(self.network, values["weights"], source)
        self.optimizer.load_state_dict(values["optimizer"])
        self.precision.load_state_dict(values["scaler"])
        self.progress = Progress.from_state_dict(values["progress"])
        self.meter.load_state_dict(values["meter"])
        checkpointing.restore_rng_states(values["random"], self.device)
        for average, state in ((self.ema, values["ema"]), (self.swa, values["swa"])):
            if average is not None and state is not None:
                average.load_state_dict(state)


def _wrap_parallel(
    network: nn.Module, device: torch.device, world: World, data_parallel: bool, compiled: bool
) -> nn.Module:
    """Wrap the network for a training step: compiled, and for several processes or GPUs."""
    wrapped = cast(nn.Module, torch.compile(network)) if compiled else network
    if world.size > 1:
        return DistributedDataParallel(wrapped, device_ids=[device] if device.type == "cuda" else None)
    return DataParallel(wrapped) if data_parallel else wrapped


def _check_data_parallel(settings: config.TrainSettings) -> None:
    """Raise an error for settings that DataParallel does not support.

    Its threads autocast to fp16 whatever the requested number type. Its replicas are not tested with
    activation checkpointing or torch.compile.
    """
    unsupported = {
        "activation_checkpointing": settings.activation_checkpointing,
        "compile": settings.compile,
        "precision=bf16": settings.precision == "bf16",
    }
    names = [f"train.{name}" for name, is_set in unsupported.items() if is_set]
    if names:
        raise ValueError(
            f"--data-parallel does not support {', '.join(names)}; "
            "start one process per GPU with tools/train_distributed.py"
        )
