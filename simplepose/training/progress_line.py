"""What is told of a window of steps: the line that a person reads while the run goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

UNKNOWN = 1000 * 24 * 3600.0
"""Seconds beyond which nothing is said of the time left."""


@dataclass(frozen=True)
class Window:
    """The means over the last steps (`train.log_steps` of them), and where the run stands after them.

    Its fields are those of the journal's line of kind "step".

    Attributes:
        step: steps done.
        epoch: epochs done, with the fraction of the next.
        loss: a sample's.
        scales: (5,) a sample's loss at each scale, finest first, before weights.
        stacks: (S,) a sample's loss at each stack.
        lr: learning rate of the last step.
        samples_per_second: of all processes.
        data_wait: share of the time that was spent waiting for samples, 0 to 1.
        gpu_memory_gib: the most that was held since the run began, or None without a GPU.
        skipped: steps of the run whose loss was unusable.
    """

    step: int
    epoch: float
    loss: float
    scales: Sequence[float]
    stacks: Sequence[float]
    lr: float
    samples_per_second: float
    data_wait: float
    gpu_memory_gib: float | None = None
    skipped: int = 0


def progress_line(window: Window, epochs: int, seconds_left: float) -> str:
    """One line for the terminal: with four stacks about 150 characters, and below 200 even late in long runs.

    Args:
        window: what to tell.
        epochs: of the whole run.
        seconds_left: until its end at the present speed; inf or nan where nothing can be said.
    """
    memory = [] if window.gpu_memory_gib is None else [f"{window.gpu_memory_gib:.1f} GiB"]
    skipped = [f"{window.skipped} skipped"] if window.skipped else []
    parts = [
        f"epoch {window.epoch:.2f}/{epochs} step {window.step}",
        f"loss {_short(window.loss)}",
        f"scales {' '.join(map(_short, window.scales))}",
        f"stacks {' '.join(map(_short, window.stacks))}",
        f"lr {window.lr:.3g}",
        f"{_short(window.samples_per_second)} samples/s",
        f"data {100 * window.data_wait:.0f}%",
        *memory,
        *skipped,
        time_left(seconds_left),
    ]
    return " | ".join(parts)


def time_left(seconds: float) -> str:
    """For example "2d 03:14 left", "3:14:15 left"."""
    if not seconds < UNKNOWN:
        return "?:??:?? left"
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours_of_day = divmod(hours, 24)
    if days:
        return f"{days}d {hours_of_day:02}:{minutes:02} left"
    return f"{hours}:{minutes:02}:{rest:02} left"


def _short(value: float) -> str:
    """Three digits that say something: 1234, 123, 12.3, 1.23, 0.123, 0.012; 1.2e+06 beyond these."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 99999.5 or 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    rounded = abs(float(f"{value:.3g}"))  # 9.999 is 10.0
    digits = 2 - math.floor(math.log10(rounded)) if rounded else 0
    return f"{value:.{min(max(digits, 0), 3)}f}"
