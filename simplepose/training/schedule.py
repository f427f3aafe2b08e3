"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from simplepose.config import Train


def lr_at(step: int, steps_per_epoch: int, settings: Train) -> float:
    """The learning rate of step `step`, counted from 0.

    Linear warm-up, times the rate of the named schedule: "step" multiplies by `step_factor` each
    `step_epochs`, and from `restart_epoch` on counts anew in `restart_step_epochs` (so the rate jumps
    up there, as the released code has it); "cosine" falls to 0 at the last epoch.
    """
    epoch = step / steps_per_epoch
    warm_up = min(1.0, (step + 1) / max(1.0, settings.warmup_epochs * steps_per_epoch))
    factor = _cosine(epoch, settings) if settings.schedule == "cosine" else _step(int(epoch), settings)
    return settings.learning_rate * warm_up * factor


def _cosine(epoch: float, settings: Train) -> float:
    progress = (epoch - settings.warmup_epochs) / max(settings.epochs - settings.warmup_epochs, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def _step(epoch: int, settings: Train) -> float:
    if settings.restart_epoch is not None and epoch >= settings.restart_epoch:
        return settings.step_factor ** ((epoch - settings.restart_epoch) // settings.restart_step_epochs)
    return settings.step_factor ** (epoch // settings.step_epochs)
