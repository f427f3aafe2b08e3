"""How fast a network is on this machine: one picture by step, and the best batch, up to --batch."""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import simplepose
from simplepose import atomic, freed_memory
from simplepose.cli import options, seeing
from simplepose.data.parallel import cores
from simplepose.data.samples import write_samples
from simplepose.inference import speed
from simplepose.inference.predictor import Predictor
from simplepose.inference.sources.listing import images
from simplepose.inference.sources.pictures import read
from simplepose.inference.speed import Rate
from simplepose.inference.timing import Timing
from simplepose.people import People
from simplepose.training import environment
from simplepose.visual.drawing import draw


def parser() -> options.Parser:
    """The verb's options."""
    parser = options.Parser(prog="benchmark", description=__doc__)
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="pictures, folders or patterns; none: sample pictures")
    add("--seconds", type=_seconds, default=2.0, metavar="S", help="each batch is measured so long (2)")
    add("--json", type=seeing.in_a_folder, metavar="FILE", help="write all of it there too")
    seeing.add_network(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = parser().parse_args(argv)
    freed_memory.keep()
    predictor = seeing.load(args)
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

    return speed.latency(predictor, paths, paint, args.device, 3 * args.seconds)


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
    largest = args.batch or speed.LARGEST
    for rate in speed.throughput(predictor, image, args.device, args.seconds, largest):
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
