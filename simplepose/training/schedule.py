"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from simplepose.config import Train


def lr_at(step: int, steps_per_epoch: int, settings: Train, world_size: int = 1) -> float:
    """The learning rate of one optimiser step.

    Linear warm-up from 0, times `learning_rate` and the number of processes, times the factor of the
    named schedule:

    - "step": `step_factor` again each `step_epochs`; from `restart_epoch` on the count begins anew, each
      `restart_step_epochs`, so the rate jumps up there (as the released code has it).
    - "cosine": falls from 1 to 0 between the end of the warm-up and the last epoch.
    - "cyclic": falls in a line from 1 in a cycle's first step to `cycle_factor` in its last, again and
      again; the first cycle begins where the warm-up ends.

    Args:
        step: counted from 0.
        steps_per_epoch: optimiser steps of an epoch, at least 1.
        settings: lengths are in epochs, and are rounded to whole steps.
        world_size: processes that train together.
    """
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    if settings.schedule == "cosine":
        factor = _cosine(step - warmup, round(settings.epochs * steps_per_epoch) - warmup)
    elif settings.schedule == "cyclic":
        factor = _cyclic(step - warmup, _length(settings.cycle_epochs, steps_per_epoch), settings)
    else:
        factor = _step(step, steps_per_epoch, settings)
    return settings.learning_rate * world_size * min(1.0, (step + 1) / max(1, warmup)) * factor


def _cosine(done: int, steps: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(max(done / max(steps, 1), 0.0), 1.0)))


def _cyclic(done: int, cycle: int, settings: Train) -> float:
    share = max(done, 0) % cycle / max(cycle - 1, 1)
    return 1 + (settings.cycle_factor - 1) * share


def _step(step: int, steps_per_epoch: int, settings: Train) -> float:
    length = _length(settings.step_epochs, steps_per_epoch)
    if settings.restart_epoch is not None:
        restart = round(settings.restart_epoch * steps_per_epoch)
        if step >= restart:
            length = _length(settings.restart_step_epochs, steps_per_epoch)
            step -= restart
    return settings.step_factor ** (step // length)


def _length(epochs: float, steps_per_epoch: int) -> int:
    return max(1, round(epochs * steps_per_epoch))
