"""The pipeline: each stage alone, and all together, in one run.

    python benchmarks/pipeline.py [--model imhn_mobile] [--frames 40] [--rounds 5] [--jobs pictures video]

640 x 480 frames of drawn people, as JPEG files and as a video, go through what tools/demo_image.py and
tools/demo_video.py do: pictures are read, people found, drawn and written as JPEG with JSON lines; videos are
followed too, and written as a film with JSON lines. Each stage alone does one frame after the other, with
all the cores that it takes, and its inputs lie ready; the network also with several passes at once, as the
pipeline runs it on a CPU. The baseline is the slowest stage, run in the quicker way, and both are measured in
each round; medians over rounds. Together is told from the frame after the pipeline is full to
the last; the first frame of a film, for which codecs are tried, is left out of both.

"CPU ms" is the time of all threads, those of OpenCV and FFmpeg included. "Around" is the whole pipeline with
the network's step and grouping replaced by answers that are known before: what all else costs a frame.

On a GPU: 1,000 pictures, and one picture at a time.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from synthetic_video import Film

import simplepose
from simplepose import writers
from simplepose.cli import benchmark
from simplepose.cli.common import THREADS
from simplepose.frames import Frame, FrameSource
from simplepose.inference import concurrency, runner
from simplepose.inference.heatmaps import Maps
from simplepose.inference.pipeline import Pipeline, Seen
from simplepose.inference.predictor import Predictor
from simplepose.inference.preprocess import Framed
from simplepose.people import People
from simplepose.sources import SourceOptions, open_source
from simplepose.tracking import Tracker
from simplepose.utils import malloc
from simplepose.visualize.drawing import draw
from simplepose.writers.drawn_images import PictureFolder
from simplepose.writers.drawn_video import FilmWriter

SIZE_HW = (480, 640)
PEOPLE = 5
DISTINCT = 40
"""Frames that are drawn; longer jobs repeat them."""

ALONE = 40
"""Frames that a stage alone is measured on, at most."""

RATE = 25.0
GOAL, GPU_GOAL, CPU_GOAL = 0.9, 0.8, 8.0


@dataclass(frozen=True)
class Cost:
    """Milliseconds a frame: by the clock, and of all threads."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Job:
    """Frames on the disk, and where what is made of them goes."""

    kind: str
    source: Path
    output: Path

    def open(self) -> FrameSource:
        return open_source(self.source, SourceOptions(readers=THREADS))

    def track(self, predictor: Predictor) -> Callable[[People, Frame], People] | None:
        if self.kind == "pictures":
            return None
        tracker = Tracker(predictor.skeleton, predictor.settings.tracking)
        return lambda people, frame: tracker(people, image=frame.image)

    def keeping(self, kept: ExitStack, predictor: Predictor) -> Callable[[Seen], None]:
        """What is done with what comes out of a pipeline, until `kept` is closed."""
        lines = kept.enter_context(writers.open_writers(["jsonl"], self.output, predictor.skeleton))
        film = (
            kept.enter_context(FilmWriter(self.output / "film.mp4", RATE)) if self.kind == "video" else None
        )
        folder = PictureFolder(self.output, sorted(self.source.iterdir())) if film is None else None

        def keep(seen: Seen) -> None:
            assert seen.drawn is not None
            if film is not None:
                film.write(seen.drawn)
            if folder is not None:
                folder.write(seen.frame, seen.drawn)
            lines.write(seen.frame, seen.people)

        return keep


class Known:
    """In a predictor's place: answers at once what another found, in the order in which frames come."""

    def __init__(self, predictor: Predictor, people: Sequence[People]) -> None:
        self.batch, self.passes, self.device, self.frame = 1, 1, torch.device("cpu"), predictor.frame
        self._people, self._next = people, 0

    def see(self, pictures: Sequence[Framed]) -> list[int]:
        self._next += 1
        return [self._next - 1]

    def group(self, maps: int, picture: Framed) -> People:
        return self._people[maps % len(self._people)]


def make_job(kind: str, frames: int, folder: Path) -> Job:
    """Draw the frames and write them."""
    film = Film(7, PEOPLE, DISTINCT, SIZE_HW)
    images = [film.draw(number)[0].image for number in range(min(frames, DISTINCT))]
    output = folder / f"{kind}_output"
    output.mkdir()
    if kind == "video":
        with FilmWriter(folder / "source.mp4", RATE) as writer:
            for number in range(frames):
                writer.write(images[number % DISTINCT])
        return Job(kind, folder / "source.mp4", output)
    (folder / "source").mkdir()
    jpegs = [cv2.imencode(".jpg", image)[1].tobytes() for image in images]
    for number in range(frames):
        (folder / "source" / f"{number:06d}.jpg").write_bytes(jpegs[number % DISTINCT])
    return Job(kind, folder / "source", output)


def cost(work: Callable[[], object], count: int) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    times = time.perf_counter() - wall, time.process_time() - cpu
    return Cost(*(1e3 * seconds / count for seconds in times))


def painter(predictor: Predictor) -> Callable[[Frame, People, Maps | None], np.ndarray]:
    return lambda frame, people, maps: draw(frame.image, people, predictor.skeleton)


def each(work: Callable[..., object], *columns: Sequence[object]) -> Callable[[], None]:
    """Do it with each row, and keep nothing."""

    def run() -> None:
        for row in zip(*columns, strict=True):
            work(*row)

    return run


def cost_of_passes(predictor: Predictor, batches: Sequence[Sequence[Framed]]) -> Cost:
    """What a frame costs the network where several passes go on at once, as in the pipeline."""
    with concurrency.threads(predictor.passes) as threads:
        begun = threading.Barrier(predictor.passes)
        list(threads.map(lambda _: (predictor.see(batches[0]), begun.wait()), range(predictor.passes)))
        return cost(lambda: list(threads.map(predictor.see, batches)), sum(map(len, batches)))


def stages_alone(
    job: Job, predictor: Predictor, device: torch.device
) -> tuple[dict[str, Cost], list[People]]:
    """What each stage costs alone, and the people that were found."""
    source = job.open()
    costs = {"read": cost(lambda: [None for _ in source], source.total or 1)}
    frames = [frame for frame, _ in zip(job.open(), range(ALONE), strict=False) if isinstance(frame, Frame)]
    count = len(frames)
    images = [frame.image for frame in frames]
    costs["frame"] = cost(each(predictor.frame, images), count)
    framed = [predictor.frame(image) for image in images]
    batches = [framed[first : first + predictor.batch] for first in range(0, count, predictor.batch)]

    def see() -> None:
        each(predictor.see, batches)()
        benchmark.wait_for(device)

    costs["see"] = cost(see, count)
    if predictor.passes > 1:
        costs[f"see, {predictor.passes} at once"] = cost_of_passes(predictor, batches)
    maps = [maps for batch in batches for maps in predictor.see(batch)]
    costs["group"] = cost(each(predictor.group, maps, framed), count)
    people = [predictor.group(*row) for row in zip(maps, framed, strict=True)]
    if job.kind == "video":
        costs["track"] = cost(each(job.track(predictor), people, frames), count)
        track = job.track(predictor)
        people = [track(*row) for row in zip(people, frames, strict=True)]
    paint = painter(predictor)
    costs["draw"] = cost(each(paint, frames, people, [None] * count), count)
    drawn = [Seen(*row, paint(*row, None)) for row in zip(frames, people, strict=True)]
    with ExitStack() as kept:
        keep = job.keeping(kept, predictor)
        keep(drawn[0])
        costs["write"] = cost(lambda: (each(keep, drawn[1:])(), kept.close()), count - 1)
    return costs, people


def together(job: Job, predictor: Predictor | Known, whole: Predictor) -> Cost:
    """What a frame costs when the pipeline is full; `whole` is the true predictor."""
    pipeline = Pipeline(predictor, job.track(whole), painter(whole), threads=THREADS)
    marks: list[tuple[float, float]] = []
    with ExitStack() as kept:
        keep = job.keeping(kept, whole)

        def note(seen: Seen) -> None:
            keep(seen)
            marks.append((time.perf_counter(), time.process_time()))

        outcome = runner.run(pipeline, job.open(), note, bar=False)
        outcome.raise_failure()
    first = min(2 * predictor.batch + 4, len(marks) // 2)
    spent = (1e3 * (last - begin) for begin, last in zip(marks[first], marks[-1], strict=True))
    return Cost(*(time / (len(marks) - 1 - first) for time in spent))


def rounds(job: Job, predictor: Predictor, args: argparse.Namespace) -> Iterator[dict[str, Cost]]:
    for _ in range(args.rounds):
        with ThreadPoolExecutor(1) as thread:  # as in the pipeline; OpenMP's own threads end with it
            costs, people = thread.submit(stages_alone, job, predictor, args.device).result()
        costs["together"] = together(job, predictor, predictor)
        costs["around"] = together(job, Known(predictor, people), predictor)
        yield costs


def tell(job: Job, measured: list[dict[str, Cost]], gpu: bool) -> None:
    """A table of medians, and how they stand to the goals."""
    stages = [name for name in measured[0] if name not in ("together", "around")]
    print(f"{job.kind}\n{'stage':16}frames/s        ms    CPU ms")
    for name in measured[0]:
        wall = statistics.median(costs[name].wall for costs in measured)
        cpu = statistics.median(costs[name].cpu for costs in measured)
        print(f"{name:14}{1e3 / wall:10.1f}{wall:10.2f}{cpu:10.2f}")
    ratios = []
    for costs in measured:
        quickest: dict[str, float] = {}
        for name, stage in ((name, name.partition(",")[0]) for name in stages):
            quickest[stage] = min(costs[name].wall, quickest.get(stage, math.inf))
        slowest = max(quickest, key=quickest.__getitem__)
        ratios.append(quickest[slowest] / costs["together"].wall)
    goal = GPU_GOAL if gpu else GOAL
    told = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(
        f"together / slowest alone ({slowest}): {statistics.median(ratios):.3f} (goal {goal}; rounds {told})"
    )
    around = statistics.median(costs["around"].cpu for costs in measured)
    print(f"around the network and grouping: {around:.2f} CPU ms a frame (goal {CPU_GOAL:g})", flush=True)


def tell_latency(job: Job, predictor: Predictor, device: torch.device) -> None:
    paths = sorted(job.source.iterdir())[:DISTINCT]
    timings = benchmark.latency(
        predictor, paths, lambda image, people: draw(image, people, predictor.skeleton), device, 5
    )
    p50, p95 = (1e3 * timings["total"].percentile(share) for share in (0.5, 0.95))
    print(f"one picture at a time, from the file to what is drawn: p50 {p50:.2f} ms, p95 {p95:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="imhn_mobile")
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--run", default="eager", choices=("eager", "graphs", "compile"))
    parser.add_argument("--frames", type=int, help="default: 40; 1,000 on a GPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", nargs="+", choices=("pictures", "video"), default=("pictures", "video"))
    args = parser.parse_args()
    gpu = args.device.type == "cuda"
    malloc.keep()
    predictor = simplepose.load(args.model, args.device, args.precision, batch=args.batch, run=args.run)
    print(f"{args.model}, {args.precision}, batch {predictor.batch}, {args.device}, 640 x 480")
    for kind in args.jobs:
        with tempfile.TemporaryDirectory() as folder:
            job = make_job(kind, args.frames or (1000 if gpu else 40), Path(folder))
            tell(job, list(rounds(job, predictor, args)), gpu)
            if gpu and kind == "pictures":
                tell_latency(job, predictor, args.device)
    if not gpu:
        print(
            "GPU: 1,000 pictures from the disk against the network alone, and one at a time: not yet measured"
        )


if __name__ == "__main__":
    main()
