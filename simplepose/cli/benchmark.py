"""How fast a network is on this machine: each stage for one image, and the best batch, up to --batch."""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import simplepose
from simplepose.cli import arguments, common
from simplepose.inference import concurrency
from simplepose.inference.predictor import Predictor
from simplepose.inference.stages import Timing
from simplepose.people import People
from simplepose.sources.images import images, read
from simplepose.synthetic.demo_images import write_samples
from simplepose.utils import atomic, environment, malloc
from simplepose.utils.parallel import cores
from simplepose.visualize.drawing import draw

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
    with concurrency.threads(predictor.passes) as threads:

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


def parser() -> arguments.Parser:
    """The verb's options."""
    parser = arguments.Parser(prog="benchmark", description=__doc__)
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="pictures, folders or patterns; none: sample pictures")
    add("--seconds", type=_seconds, default=2.0, metavar="S", help="each batch is measured so long (2)")
    add("--json", type=common.in_a_folder, metavar="FILE", help="write all of it there too")
    common.add_network(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = parser().parse_args(argv)
    malloc.keep()
    predictor = common.load(args)
    machine = environment.describe(simplepose.__version__)
    with tempfile.TemporaryDirectory() as folder:
        paths = [source.path for source in images(args.paths)] if args.paths else _samples(Path(folder))
        first = read(paths[0])
        print(_heading(args, machine, predictor, first, len(paths)))
        timings = _latency(args, predictor, paths)
    print(_steps(timings))
    rates = _throughput(args, predictor, first)
    if args.json is not None:
        atomic.write_json(args.json, _values(args, machine, predictor, first, timings, rates))
    return 0


def _samples(folder: Path) -> list[Path]:
    """As JPEG, as cameras write pictures."""
    return [_as_jpeg(path) for path in write_samples(folder)]


def _as_jpeg(path: Path) -> Path:
    jpeg = path.with_suffix(".jpg")
    if jpeg != path:
        jpeg.write_bytes(cv2.imencode(".jpg", read(path))[1].tobytes())
    return jpeg


def _latency(args: argparse.Namespace, predictor: Predictor, paths: list[Path]) -> dict[str, Timing]:
    def paint(image: np.ndarray, people: People) -> np.ndarray:
        return draw(image, people, predictor.skeleton)

    return latency(predictor, paths, paint, args.device, 3 * args.seconds)


def _heading(
    args: argparse.Namespace, machine: dict[str, Any], predictor: Predictor, image: np.ndarray, pictures: int
) -> str:
    gpu = torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else ""
    processor = f"{machine['processor']}, {cores()} cores, {torch.get_num_threads()} threads"
    on = f"{args.device}: {gpu}; {processor}" if gpu else f"{args.device}: {processor}"
    rows, columns = image.shape[:2]
    height, width = predictor.frame(image).padded[-1].shape[:2]
    flip = "with the mirrored picture" if predictor.settings.inference.flip else "without mirroring"
    return (
        f"{on}\n"
        f"simplepose {machine['simplepose']}, torch {machine['torch']}, Python {machine['python']}\n"
        f"{args.model}, {predictor.runtime}, {predictor.precision}, {args.run}, preset {args.preset}; "
        f"{pictures} pictures; the first, {columns} x {rows}, goes through the network as "
        f"{width} x {height}, {flip}"
    )


def _steps(timings: dict[str, Timing]) -> str:
    rows = ["\none picture at a time", f"{'step':8}{'p50 ms':>10}{'p95 ms':>10}"]
    for name, timing in timings.items():
        p50, p95 = (1e3 * timing.percentile(share) for share in (0.5, 0.95))
        rows.append(f"{name:8}{p50:10.2f}{p95:10.2f}")
    return "\n".join(rows)


def _throughput(args: argparse.Namespace, predictor: Predictor, image: np.ndarray) -> list[Rate]:
    """Told while it is measured, the best last; no batch larger than --batch."""
    told = f", {predictor.passes} passes at once" if predictor.passes > 1 else ""
    print(f"\nthe network alone, many pictures at once{told}\n{'batch':8}{'pictures/s':>12}")
    rates = []
    largest = args.batch or LARGEST
    for rate in throughput(predictor, image, args.device, args.seconds, largest):
        rates.append(rate)
        print(f"{rate.batch:<8}{rate.pictures_per_second:12.2f}", flush=True)
    if not rates:
        raise ValueError("not one picture fits into the memory; a smaller inference.height may")
    best = _best(rates)
    print(f"best: {best.pictures_per_second:.2f} pictures a second with --batch {best.batch}")
    return rates


def _best(rates: list[Rate]) -> Rate:
    return max(rates, key=lambda rate: rate.pictures_per_second)


def _values(
    args: argparse.Namespace,
    machine: dict[str, Any],
    predictor: Predictor,
    image: np.ndarray,
    timings: dict[str, Timing],
    rates: list[Rate],
) -> dict[str, Any]:
    """For programs: plain values."""
    return {
        "machine": machine,
        "device": str(args.device),
        "threads": torch.get_num_threads(),
        "model": args.model,
        "runtime": predictor.runtime,
        "precision": predictor.precision,
        "stacks": args.stacks,
        "run": args.run,
        "preset": args.preset,
        "settings": args.set,
        "picture_hw": list(image.shape[:2]),
        "network_hw": list(predictor.frame(image).padded[-1].shape[:2]),
        "steps_ms": {
            name: {"p50": 1e3 * timing.percentile(0.5), "p95": 1e3 * timing.percentile(0.95)}
            for name, timing in timings.items()
        },
        "pictures_per_second": {str(rate.batch): rate.pictures_per_second for rate in rates},
        "best_batch": _best(rates).batch,
    }


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"seconds above 0 expected, got {text!r}")
    return seconds
