"""Measure the latency of each stage for one image, and the throughput by batch size, up to --batch."""

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
from simplepose.image_io import MAX_PIXELS
from simplepose.inference import concurrency
from simplepose.inference.predictor import Predictor
from simplepose.inference.stages import Timing
from simplepose.inference.topdown import TopDownPredictor
from simplepose.people import People
from simplepose.sources.images import list_images, read_image
from simplepose.synthetic.demo_images import write_demo_images
from simplepose.utils import atomic, environment, malloc
from simplepose.utils.files import printable
from simplepose.utils.parallel import available_cores
from simplepose.visualize.drawing import draw_people

# Stages timed by `measure_latency`: decode the file, preprocess, network, grouping, drawing; and their sum.
STAGES = ("read", "frame", "see", "group", "draw", "total")

MIN_SPEEDUP = 1.03  # a larger batch counts as faster if its throughput exceeds the best so far by this factor
MAX_BATCHES_WITHOUT_SPEEDUP = 2  # in a row; then the search for the best batch size stops
MAX_BATCH = 1024  # images; default limit of the search
MIN_ROUNDS = 3  # repetitions of each measurement, at least


@dataclass(frozen=True)
class BatchRate:
    """Throughput of the network at one batch size.

    Attributes:
        batch: images of one forward pass.
        images_per_second: median over the repetitions.
    """

    batch: int
    images_per_second: float


def measure_latency(
    predictor: Predictor,
    paths: Sequence[str | Path],
    draw: Callable[[np.ndarray, People], np.ndarray],
    device: torch.device,
    seconds: float,
    max_pixels: int = MAX_PIXELS,
) -> dict[str, Timing]:
    """Time the stages for one image at a time; each stage waits for the GPU.

    Args:
        predictor: the model to measure.
        paths: image files, used in turn; each is run once before the measurement.
        draw: (H, W, 3) uint8 BGR and its people -> the drawn image.
        device: device of the network.
        seconds: duration of the measurement; at least `MIN_ROUNDS` rounds over all images.
        max_pixels: limit of the size of an image, see `image_io.decode`.

    Returns:
        The timings by stage, as named in `STAGES`.

    Raises:
        UnreadableImageError: a file cannot be decoded as an image.
    """
    timings = {stage: Timing() for stage in STAGES}
    for path in paths:
        _stage_times(predictor, path, draw, device, max_pixels)
    for _ in _repeat_for(seconds):
        for path in paths:
            times = _stage_times(predictor, path, draw, device, max_pixels)
            for stage, start, end in zip(STAGES, times, times[1:], strict=False):
                timings[stage].add(end - start)
            timings["total"].add(times[-1] - times[0])
    return timings


def _stage_times(
    predictor: Predictor,
    path: str | Path,
    draw: Callable[[np.ndarray, People], np.ndarray],
    device: torch.device,
    max_pixels: int,
) -> list[float]:
    """Run the stages on one image; returns the start time of each stage and the end time, seconds."""
    times = [time.perf_counter()]
    image = read_image(path, max_pixels=max_pixels)
    times.append(time.perf_counter())
    model_input = predictor.preprocess(image)
    times.append(time.perf_counter())
    (maps,) = predictor.infer([model_input])
    synchronize(device)
    times.append(time.perf_counter())
    people = predictor.group(maps, model_input)
    times.append(time.perf_counter())
    draw(image, people)
    times.append(time.perf_counter())
    return times


def measure_throughput(
    predictor: Predictor, image: np.ndarray, device: torch.device, seconds: float, max_batch: int = MAX_BATCH
) -> Iterator[BatchRate]:
    """Measure the network stage at batch sizes 1, 2, 4, ... until larger ones are not faster or do not fit.

    As many forward passes run concurrently as in a pipeline. The stage starts with model inputs in host
    memory and ends with their averaged maps.

    Args:
        predictor: the model to measure.
        image: (H, W, 3) uint8 BGR; each batch repeats it.
        device: device of the network.
        seconds: duration of the measurement for each batch size; at least `MIN_ROUNDS` repetitions.
        max_batch: largest batch size, images.
    """
    model_input, best_rate, batches_without_speedup, batch = predictor.preprocess(image), 0.0, 0, 1
    with concurrency.forward_thread_pool(predictor.max_concurrent_forwards) as threads:

        def time_forward(batch: int) -> float:
            start = time.perf_counter()
            list(threads.map(predictor.infer, [[model_input] * batch] * predictor.max_concurrent_forwards))
            synchronize(device)
            return time.perf_counter() - start

        while batches_without_speedup < MAX_BATCHES_WITHOUT_SPEEDUP and batch <= max_batch:
            failure: RuntimeError | MemoryError | None = None
            try:
                time_forward(batch)
                times = [time_forward(batch) for _ in _repeat_for(seconds)]
            except (RuntimeError, MemoryError) as error:
                failure = error.with_traceback(None)  # the traceback would keep the batch in memory
            if failure is not None:
                torch.cuda.empty_cache()
                if not isinstance(failure, torch.OutOfMemoryError | MemoryError):
                    # torch's CPU allocator raises a plain RuntimeError; other errors occur with one image too
                    time_forward(1)
                    common.log_line(f"batch {batch} does not run: {failure}")
                return
            rate = predictor.max_concurrent_forwards * batch / float(np.median(times))
            yield BatchRate(batch, rate)
            batches_without_speedup = 0 if rate > MIN_SPEEDUP * best_rate else batches_without_speedup + 1
            best_rate, batch = max(best_rate, rate), 2 * batch


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished its work; on other devices all work is synchronous."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _repeat_for(seconds: float) -> Iterator[None]:
    """Yield repeatedly for this duration, and at least `MIN_ROUNDS` times."""
    start, count = time.perf_counter(), 0
    while count < MIN_ROUNDS or time.perf_counter() - start < seconds:
        yield
        count += 1


def build_parser() -> arguments.Parser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(prog="benchmark", description=__doc__)
    add = parser.add_argument
    add(
        "paths",
        nargs="*",
        metavar="PATH",
        help="images, folders or glob patterns; default: sample images",
    )
    add(
        "--seconds",
        type=_seconds,
        default=2.0,
        metavar="S",
        help="duration of the measurement for each batch size (default: 2)",
    )
    arguments.add_max_pixels(parser)
    add("--json", type=common.output_file, metavar="FILE", help="also write the results to this json file")
    common.add_model_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = build_parser().parse_args(argv)
    malloc.tune_malloc()
    predictor = common.load_predictor(args)
    if isinstance(predictor, TopDownPredictor):
        raise ValueError("benchmark: expected a bottom-up model without --refine; see benchmarks/topdown.py")
    machine = environment.describe(simplepose.__version__)
    with tempfile.TemporaryDirectory() as folder:
        paths = (
            [source.path for source in list_images(args.paths, common.log_line)]
            if args.paths
            else _samples(Path(folder))
        )
        first = read_image(paths[0], max_pixels=args.max_pixels)
        print(_format_heading(args, machine, predictor, first, len(paths)))
        timings = _latency(args, predictor, paths)
    print(_format_latency(timings))
    rates = _throughput(args, predictor, first)
    if args.json is not None:
        atomic.write_json(args.json, _json_values(args, machine, predictor, first, timings, rates))
    return 0


def _samples(folder: Path) -> list[Path]:
    """Write the sample images as JPEG files, the format of most cameras."""
    return [_as_jpeg(path) for path in write_demo_images(folder)]


def _as_jpeg(path: Path) -> Path:
    jpeg = path.with_suffix(".jpg")
    if jpeg != path:
        jpeg.write_bytes(cv2.imencode(".jpg", read_image(path))[1].tobytes())
    return jpeg


def _latency(args: argparse.Namespace, predictor: Predictor, paths: list[Path]) -> dict[str, Timing]:
    def paint(image: np.ndarray, people: People) -> np.ndarray:
        return draw_people(image, people, predictor.skeleton)

    return measure_latency(predictor, paths, paint, args.device, 3 * args.seconds, args.max_pixels)


def _format_heading(
    args: argparse.Namespace,
    machine: dict[str, Any],
    predictor: Predictor,
    image: np.ndarray,
    image_count: int,
) -> str:
    gpu = torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else ""
    processor = f"{machine['processor']}, {available_cores()} cores, {torch.get_num_threads()} threads"
    device_line = f"{args.device}: {gpu}; {processor}" if gpu else f"{args.device}: {processor}"
    rows, columns = image.shape[:2]
    height, width = predictor.preprocess(image).padded[-1].shape[:2]
    flip = "with flip" if predictor.settings.inference.flip else "without flip"
    return (
        f"{device_line}\n"
        f"simplepose {machine['simplepose']}, torch {machine['torch']}, Python {machine['python']}\n"
        f"{printable(args.model)}, {predictor.runtime}, {predictor.precision}, {args.run}, "
        f"preset {args.preset}; "
        f"{image_count} images; model input of the first, {columns} x {rows}: {width} x {height}, {flip}"
    )


def _format_latency(timings: dict[str, Timing]) -> str:
    rows = ["\nlatency, one image at a time", f"{'stage':8}{'p50 ms':>10}{'p95 ms':>10}"]
    for name, timing in timings.items():
        p50, p95 = (1e3 * timing.percentile(fraction) for fraction in (0.5, 0.95))
        rows.append(f"{name:8}{p50:10.2f}{p95:10.2f}")
    return "\n".join(rows)


def _throughput(args: argparse.Namespace, predictor: Predictor, image: np.ndarray) -> list[BatchRate]:
    """Measure and print the throughput by batch size, up to --batch; the best comes last."""
    concurrent = (
        f", {predictor.max_concurrent_forwards} concurrent forward passes"
        if predictor.max_concurrent_forwards > 1
        else ""
    )
    print(f"\nthroughput of the network{concurrent}\n{'batch':8}{'images/s':>12}")
    rates = []
    for rate in measure_throughput(predictor, image, args.device, args.seconds, args.batch or MAX_BATCH):
        rates.append(rate)
        print(f"{rate.batch:<8}{rate.images_per_second:12.2f}", flush=True)
    if not rates:
        raise ValueError("out of memory with a batch of one image; use a smaller inference.height")
    best = _best(rates)
    print(f"best: {best.images_per_second:.2f} images per second with --batch {best.batch}")
    return rates


def _best(rates: list[BatchRate]) -> BatchRate:
    return max(rates, key=lambda rate: rate.images_per_second)


def _json_values(
    args: argparse.Namespace,
    machine: dict[str, Any],
    predictor: Predictor,
    image: np.ndarray,
    timings: dict[str, Timing],
    rates: list[BatchRate],
) -> dict[str, Any]:
    """Return the results as plain values for the json file."""
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
        "network_hw": list(predictor.preprocess(image).padded[-1].shape[:2]),
        "steps_ms": {
            name: {"p50": 1e3 * timing.percentile(0.5), "p95": 1e3 * timing.percentile(0.95)}
            for name, timing in timings.items()
        },
        "pictures_per_second": {str(rate.batch): rate.images_per_second for rate in rates},
        "best_batch": _best(rates).batch,
    }


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds > 0, got {text!r}")
    return seconds
