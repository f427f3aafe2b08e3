"""How fast a predictor is on this machine: each step for one picture, and the network for many at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from simplepose.inference import passes
from simplepose.inference.predictor import Predictor
from simplepose.inference.sources.pictures import read
from simplepose.inference.timing import Timing
from simplepose.people import People

STEPS = ("read", "frame", "see", "group", "draw", "total")
"""What `latency` tells of; total is all of them, one after the other."""

GAIN = 1.03
"""A batch that is not so many times as fast as the fastest smaller one gains nothing."""

IDLE = 2
"""After so many batches in a row without gain no larger one is tried."""

LARGEST = 1024
"""Pictures; no larger batch is tried, where nothing else is said."""

LEAST = 3
"""Whatever is measured is measured so often at least."""


@dataclass(frozen=True)
class Rate:
    """How fast the network's step is at one batch.

    Attributes:
        batch: pictures of one pass.
        pictures_per_second: the median over runs.
    """

    batch: int
    pictures_per_second: float


def latency(
    predictor: Predictor,
    paths: Sequence[str | Path],
    draw: Callable[[np.ndarray, People], np.ndarray],
    device: torch.device,
    seconds: float,
) -> dict[str, Timing]:
    """Times of one picture at a time, each step waited for.

    Args:
        paths: of pictures, taken in turn; each goes through once before times are taken.
        draw: (H, W, 3) uint8 BGR and its people -> the drawn picture.
        device: where the network lies.
        seconds: so long times are taken, at least three rounds.

    Returns:
        The timings of `STEPS`.

    Raises:
        UnreadablePicture: one of the files is no picture.
    """
    timings = {step: Timing() for step in STEPS}
    for path in paths:
        _one(predictor, path, draw, device)
    for _ in _rounds(seconds):
        for path in paths:
            marks = _one(predictor, path, draw, device)
            for step, start, end in zip(STEPS, marks, marks[1:], strict=False):
                timings[step].add(end - start)
            timings["total"].add(marks[-1] - marks[0])
    return timings


def _one(
    predictor: Predictor,
    path: str | Path,
    draw: Callable[[np.ndarray, People], np.ndarray],
    device: torch.device,
) -> list[float]:
    """The moments between the steps, seconds."""
    marks = [time.perf_counter()]
    image = read(path)
    marks.append(time.perf_counter())
    framed = predictor.frame(image)
    marks.append(time.perf_counter())
    (maps,) = predictor.see([framed])
    wait_for(device)
    marks.append(time.perf_counter())
    people = predictor.group(maps, framed)
    marks.append(time.perf_counter())
    draw(image, people)
    marks.append(time.perf_counter())
    return marks


def throughput(
    predictor: Predictor, image: np.ndarray, device: torch.device, seconds: float, largest: int = LARGEST
) -> Iterator[Rate]:
    """The network's step at batches of 1, 2, 4, ... until they gain nothing, or exceed the memory.

    As many passes go on at once as in a pipeline. The step begins at resized pictures in the computer's
    memory and ends at their averaged maps.

    Args:
        image: (H, W, 3) uint8 BGR, of which each batch consists.
        device: where the network lies.
        seconds: each batch is measured so long, at least three times.
        largest: pictures; no larger batch is tried.
    """
    framed, best, idle, batch = predictor.frame(image), 0.0, 0, 1
    with passes.threads(predictor.passes) as threads:

        def see() -> float:
            start = time.perf_counter()
            list(threads.map(predictor.see, [[framed] * batch] * predictor.passes))
            wait_for(device)
            return time.perf_counter() - start

        while idle < IDLE and batch <= largest:
            try:
                see()
                times = [see() for _ in _rounds(seconds)]
            except (RuntimeError, MemoryError) as error:  # torch has several for the one reason
                if not isinstance(error, MemoryError) and "memory" not in str(error):
                    raise
                torch.cuda.empty_cache()
                return
            rate = predictor.passes * batch / float(np.median(times))
            yield Rate(batch, rate)
            idle = 0 if rate > GAIN * best else idle + 1
            best, batch = max(best, rate), 2 * batch


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given; no other device does things later."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _rounds(seconds: float) -> Iterator[None]:
    """Again and again, so long and `LEAST` times at least."""
    start, count = time.perf_counter(), 0
    while count < LEAST or time.perf_counter() - start < seconds:
        yield
        count += 1
