"""The training step, and the state that is needed to resume it.

Includes activation checkpointing: parts of the network do not store their activations but compute them again
in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from simplepose import config, targets
from simplepose.data.batch import Batch
from simplepose.losses import MultiScaleLoss
from simplepose.models import checkpoints
from simplepose.models.checkpoints import Model
from simplepose.models.imhn import IMHN
from simplepose.training import amp, batch_norm, checkpointing
from simplepose.training.batch_norm import Statistics, synchronise
from simplepose.training.ema import MovingAverage, RunningMean
from simplepose.training.metrics import Meter
from simplepose.training.optim import freeze, make_optimizer, set_learning_rate
from simplepose.utils.distributed import World


def recompute(network: IMHN) -> None:
    """Let the stem, each hourglass and each head keep nothing but their inputs until the gradients need it.

    Batch norm counts a batch once, although it sees it twice.
    """
    heads = [head for stack in network.heads for head in cast(nn.ModuleList, stack)]
    for part in (network.stem, *network.hourglasses, *heads):
        part.forward = _forgetful(part, part.forward)


def _forgetful(part: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(part)

    def forget_between(*inputs: Tensor) -> Any:
        return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)

    return forget_between


@contextmanager
def _statistics_kept(part: nn.Module) -> Iterator[None]:
    """Batch norms keep their statistics; the same tensors are kept for the gradients, though."""
    norms = [module for module in part.modules() if isinstance(module, _BatchNorm) and module.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.sub_(1)


ALONE = World()


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: steps done in all, skipped ones too.
        epoch: epochs done.
        watched: epochs of which the losses and AP were told.
        samples: of the next epoch that are done, by all processes together.
        skipped: steps that changed nothing, because a loss or a gradient was unusable.
        loss_sum, loss_steps: of the other steps since an epoch's losses were told, as far as they were read.
    """

    step: int = 0
    epoch: int = 0
    watched: int = 0
    samples: int = 0
    skipped: int = 0
    loss_sum: float = 0.0
    loss_steps: float = 0.0


class Trainer:
    """Trains one network, together with the same trainer in other processes.

    Args:
        model: the network with its settings and skeleton; trained in place.
        device: where to train.
        world: the processes that share each step.
        data_parallel: one process, all GPUs (the published single-process mode).

    Raises:
        ValueError: the settings ask for what `data_parallel`, or this machine, cannot do.
    """

    def __init__(
        self, model: Model, device: torch.device, world: World = ALONE, data_parallel: bool = False
    ) -> None:
        self.model, self.device, self.world = model, device, world
        self.settings = settings = model.settings.train
        if data_parallel:
            _require_data_parallel(settings)
        self.network = network = model.network.to(device)
        if settings.channels_last:
            network.to(memory_format=torch.channels_last)
        if settings.sync_batchnorm and world.size > 1:
            synchronise(network, device)
        freeze(network, settings.freeze, settings.freeze_batchnorm)
        if settings.recompute:
            recompute(network)
        self.loss = MultiScaleLoss(model.settings.loss, model.skeleton).to(device)
        self.optimizer = make_optimizer(network, settings)
        self.precision = amp.prepare(network, self.optimizer, settings, device)
        self.ema = MovingAverage(network, settings.ema_decay) if settings.ema_decay > 0 else None
        self.swa = RunningMean(network) if settings.swa_start is not None else None
        self.statistics = Statistics(network)
        self.meter = Meter(len(network.heads), len(model.settings.loss.scale_weights), device)
        self.progress = Progress()
        self.parallel = _parallel(network, device, world, data_parallel, settings.compile)

    def step(self, batches: Sequence[Batch], learning_rate: float) -> None:
        """One step of all processes, over `train.accumulate` batches in each; nothing waits for the device.

        A loss that is not finite or beyond the limit becomes NaN, and so, once the processes have exchanged
        them, do the gradients of all of them: all skip that step, and nothing has changed.
        """
        set_learning_rate(self.optimizer, learning_rate)
        self.network.train()
        self.statistics.remember()
        self.optimizer.zero_grad(set_to_none=True)
        for number, batch in enumerate(batches, 1):
            with self._exchange(number == len(batches)):
                total, parts = self._forward(self.parallel, batch)
                usable = total.detach() <= self.settings.loss_limit  # NaN is not
                self.precision.backward(total * torch.where(usable, 1 / len(batches), torch.nan))
            self.meter.batch(total, parts, 1 / len(batches), usable)
        taken = self.precision.step(self.optimizer, self.settings.clip_norm)
        self.statistics.settle(taken)
        self.meter.step(taken)
        self.progress.step += 1
        if self.ema is not None:
            self.ema.update()

    def _exchange(self, last: bool) -> AbstractContextManager[Any]:
        """Gradients are exchanged with the last batch of a step."""
        if last or not isinstance(self.parallel, DistributedDataParallel):
            return nullcontext()
        return self.parallel.no_sync()

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> float:
        """The mean loss of a sample of all processes' batches, batch norm in evaluation mode.

        Here the processes may have different numbers of batches.
        """
        self.network.eval()
        sums = torch.zeros(2, dtype=torch.float64)
        for batch in batches:
            total, _ = self._forward(self.network, batch)
            sums += torch.tensor([total.item() * len(batch.images), len(batch.images)], dtype=torch.float64)
        loss, count = self.world.sums(sums).tolist()
        return loss / max(count, 1)

    def _forward(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss, and its parts (S, 5), both a sample's mean."""
        target = self.targets(batch)
        with self.precision.autocast():
            outputs = network(self.images(batch))
        mask_miss = batch.mask_miss.to(self.device, non_blocking=True)
        total, parts = self.loss(outputs, target, mask_miss[:, None].float() / 255)
        return total, parts / len(batch.images)

    def images(self, batch: Batch) -> Tensor:
        """(N, 3, H, W) BGR in [0, 1], of the weights' type, as the network takes them."""
        images = batch.images.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        images = images.to(next(self.network.parameters()).dtype).div_(255)
        return images if self.settings.channels_last else images.contiguous()

    def average_weights(self, batches: Iterable[Batch]) -> None:
        """Take the weights into the SWA, and let these batches give it batch norm statistics of its own."""
        if self.swa is None:
            return
        self.swa.update()
        with self.swa.exchanged(), self.precision.autocast():
            batch_norm.recompute(self.network, map(self.images, batches), self.world.sums)

    @contextmanager
    def best_weights(self) -> Iterator[Model]:
        """The model with the weights to use: the SWA's, else the EMA's, else its own."""
        average = self.swa if self.swa is not None and self.swa.updates > 0 else self.ema
        with nullcontext() if average is None else average.exchanged():
            yield self.model

    @torch.no_grad()
    def show(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A batch's first sample: (H, W, 3) uint8 BGR, its targets and the maps found, both (C, h, w)."""
        first = Batch(*(tensor[:1] for tensor in batch))
        self.network.eval()
        with self.precision.autocast():
            maps = self.network(self.images(first))[-1][0]
        found = [self.targets(first), maps.float()]
        target, predicted = (tensor[0].cpu().numpy() for tensor in found)
        return first.images[0].numpy(), target, predicted

    def targets(self, batch: Batch) -> Tensor:
        """(N, C, h, w) of a batch on the device."""
        mask = batch.person_mask.to(self.device, non_blocking=True).float() / 255
        return targets.draw(batch.joints, mask, self.model.skeleton, self.model.settings.targets)

    def agree(self) -> None:
        """Give all processes the first one's batch norm statistics, those that checkpoints hold.

        Without train.sync_batchnorm each has its own, and looks at the network through them.
        """
        if self.world.size == 1:
            return
        averages = [average.state for average in (self.ema, self.swa) if average is not None]
        for state in (self.network.state_dict(), *averages):
            names = [name for name, _ in self.network.named_buffers() if name in state]
            told = self.world.first_says({name: state[name].cpu() for name in names})
            for name, tensor in told.items():
                state[name].copy_(tensor)

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on, as plain tensors and values; all processes together."""
        return {
            "format": checkpoints.TRAINING_FORMAT,
            "settings": config.to_text(self.model.settings),
            "skeleton": self.model.skeleton.to_text(),
            "weights": self.network.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "swa": None if self.swa is None else self.swa.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.state_dict(),
            "progress": dict(vars(self.progress)),
            "meter": self.meter.state_dict(self.world),
            "random": checkpointing.capture(self.device),
        }

    def load_state(self, values: dict[str, Any], source: str) -> None:
        """Go on from `state()`. Raises ValueError if it is of another network."""
        checkpoints.fill(self.network, values["weights"], source)
        self.optimizer.load_state_dict(values["optimizer"])
        self.precision.load_state_dict(values["scaler"])
        self.progress = Progress(**values["progress"])
        self.meter.load_state_dict(values["meter"])
        checkpointing.restore(values["random"], self.device)
        for average, state in ((self.ema, values["ema"]), (self.swa, values["swa"])):
            if average is not None and state is not None:
                average.load_state_dict(state)


def _parallel(
    network: nn.Module, device: torch.device, world: World, data_parallel: bool, compiled: bool
) -> nn.Module:
    """The network as it is called in a step."""
    called = cast(nn.Module, torch.compile(network)) if compiled else network
    if world.size > 1:
        return DistributedDataParallel(called, device_ids=[device] if device.type == "cuda" else None)
    return DataParallel(called) if data_parallel else called


def _require_data_parallel(settings: config.TrainSettings) -> None:
    """A copy that DataParallel makes of a module whose `forward` was replaced runs the first GPU's, and its
    threads take fp16 for whatever type autocast has.
    """
    asked = {
        "recompute": settings.recompute,
        "compile": settings.compile,
        "precision=bf16": settings.precision == "bf16",
    }
    if any(asked.values()):
        raise ValueError(
            f"--data-parallel cannot do {', '.join(f'train.{name}' for name in asked if asked[name])}; "
            "start one process a GPU with tools/train_distributed.py"
        )
