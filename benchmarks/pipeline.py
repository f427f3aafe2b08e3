"""The pipeline: each stage alone, and all stages together, in one run.

    python benchmarks/pipeline.py [--model imhn_mobile] [--frames 40] [--rounds 5] [--jobs images video]

640 x 480 frames of synthetic people, as JPEG files and as a video, are processed as in tools/demo_image.py
and tools/demo_video.py: images are read, people found, drawn and written as JPEG with JSON lines; in videos
people are also tracked, and the frames written as a video with JSON lines. Each stage alone processes one
frame after the other with all cores that it can use, and with its inputs in memory; the network also with
several forward passes at once, as the pipeline runs it on a CPU. The baseline is the slowest stage in its
faster variant, and both are measured in each round. Values are medians over rounds. "together" is measured
from the frame after the pipeline is full to the last one; the first frame of a video, for which codecs are
tried, is excluded.

"CPU ms" is the time of all threads, including those of OpenCV and FFmpeg. "around" is the whole pipeline with
recorded results instead of the network and the grouping: the cost of everything else.

On a GPU: 1,000 images, and one image at a time.
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
from synthetic_video import SyntheticVideo

import simplepose
from simplepose import writers
from simplepose.cli import benchmark
from simplepose.cli.common import THREADS_PER_STAGE
from simplepose.frames import Frame, FrameSource
from simplepose.inference import concurrency, runner
from simplepose.inference.heatmaps import Maps
from simplepose.inference.pipeline import FrameResult, Pipeline
from simplepose.inference.predictor import Predictor
from simplepose.inference.preprocess import ModelInput
from simplepose.people import People
from simplepose.sources import SourceOptions, open_source
from simplepose.tracking import Tracker
from simplepose.utils import malloc
from simplepose.visualize.drawing import draw_people
from simplepose.writers.drawn_images import ImageFolderWriter
from simplepose.writers.drawn_video import VideoWriter

SIZE_HW = (480, 640)
PEOPLE = 5
DISTINCT_FRAMES = 40  # rendered frames; longer jobs repeat them
MAX_STAGE_FRAMES = 40  # frames for the measurement of a single stage
FRAME_RATE = 25.0
GOAL, GPU_GOAL, CPU_GOAL_MS = 0.9, 0.8, 8.0
# Job kinds by the value of --jobs; "pictures" is an old name.
KINDS = {"images": "images", "video": "video", "pictures": "images"}


@dataclass(frozen=True)
class Cost:
    """Milliseconds a frame: wall time, and CPU time of all threads."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Job:
    """Source files and an output folder; `kind` is "images" or "video"."""

    kind: str
    source: Path
    output: Path

    def open(self) -> FrameSource:
        return open_source(self.source, SourceOptions(readers=THREADS_PER_STAGE))

    def track(self, predictor: Predictor) -> Callable[[People, Frame], People] | None:
        if self.kind == "images":
            return None
        tracker = Tracker(predictor.skeleton, predictor.settings.tracking)
        return lambda people, frame: tracker(people, image=frame.image)

    def open_outputs(self, stack: ExitStack, predictor: Predictor) -> Callable[[FrameResult], None]:
        """Open the output files until `stack` is closed; returns the function that writes a result."""
        lines = stack.enter_context(writers.open_writers(["jsonl"], self.output, predictor.skeleton))
        video = (
            stack.enter_context(VideoWriter(self.output / "video.mp4", FRAME_RATE))
            if self.kind == "video"
            else None
        )
        folder = ImageFolderWriter(self.output, sorted(self.source.iterdir())) if video is None else None

        def write_result(result: FrameResult) -> None:
            assert result.visualization is not None
            if video is not None:
                video.write(result.visualization)
            if folder is not None:
                folder.write(result.frame, result.visualization)
            lines.write(result.frame, result.people)

        return write_result


class RecordedPredictor:
    """Replaces a predictor: returns recorded people at once, in the order of the frames."""

    def __init__(self, predictor: Predictor, people: Sequence[People]) -> None:
        self.batch, self.max_concurrent_forwards = 1, 1
        self.device, self.preprocess_frame = torch.device("cpu"), predictor.preprocess_frame
        self._people, self._next = people, 0

    def infer(self, model_inputs: Sequence[ModelInput]) -> list[int]:
        self._next += 1
        return [self._next - 1]

    def group(self, maps: int, model_input: ModelInput) -> People:
        return self._people[maps % len(self._people)]


def make_job(kind: str, frames: int, folder: Path) -> Job:
    """Render the frames and write the source files."""
    video = SyntheticVideo(7, PEOPLE, DISTINCT_FRAMES, SIZE_HW)
    images = [video.draw(number)[0].image for number in range(min(frames, DISTINCT_FRAMES))]
    output = folder / f"{kind}_output"
    output.mkdir()
    if kind == "video":
        with VideoWriter(folder / "source.mp4", FRAME_RATE) as writer:
            for number in range(frames):
                writer.write(images[number % DISTINCT_FRAMES])
        return Job(kind, folder / "source.mp4", output)
    (folder / "source").mkdir()
    jpegs = [cv2.imencode(".jpg", image)[1].tobytes() for image in images]
    for number in range(frames):
        (folder / "source" / f"{number:06d}.jpg").write_bytes(jpegs[number % DISTINCT_FRAMES])
    return Job(kind, folder / "source", output)


def measure_cost(work: Callable[[], object], count: int) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    times = time.perf_counter() - wall, time.process_time() - cpu
    return Cost(*(1e3 * seconds / count for seconds in times))


def make_drawer(predictor: Predictor) -> Callable[[Frame, People, Maps | None], np.ndarray]:
    return lambda frame, people, maps: draw_people(frame.image, people, predictor.skeleton)


def for_each(work: Callable[..., object], *columns: Sequence[object]) -> Callable[[], None]:
    """Build a function that calls `work` with each row and discards the results."""

    def run() -> None:
        for row in zip(*columns, strict=True):
            work(*row)

    return run


def measure_concurrent_forwards(predictor: Predictor, batches: Sequence[Sequence[ModelInput]]) -> Cost:
    """Measure the network with several concurrent forward passes, as in the pipeline."""
    with concurrency.forward_thread_pool(predictor.max_concurrent_forwards) as threads:
        barrier = threading.Barrier(predictor.max_concurrent_forwards)
        list(
            threads.map(
                lambda _: (predictor.infer(batches[0]), barrier.wait()),
                range(predictor.max_concurrent_forwards),
            )
        )
        return measure_cost(lambda: list(threads.map(predictor.infer, batches)), sum(map(len, batches)))


def measure_stages(
    job: Job, predictor: Predictor, device: torch.device
) -> tuple[dict[str, Cost], list[People]]:
    """Measure each stage alone; returns the costs by stage and the people found."""
    source = job.open()
    costs = {"read": measure_cost(lambda: [None for _ in source], source.total or 1)}
    frames = [
        frame
        for frame, _ in zip(job.open(), range(MAX_STAGE_FRAMES), strict=False)
        if isinstance(frame, Frame)
    ]
    count = len(frames)
    images = [frame.image for frame in frames]
    costs["frame"] = measure_cost(for_each(predictor.preprocess, images), count)
    model_inputs = [predictor.preprocess(image) for image in images]
    batches = [model_inputs[first : first + predictor.batch] for first in range(0, count, predictor.batch)]

    def infer_all() -> None:
        for_each(predictor.infer, batches)()
        benchmark.synchronize(device)

    costs["see"] = measure_cost(infer_all, count)
    if predictor.max_concurrent_forwards > 1:
        costs[f"see, {predictor.max_concurrent_forwards} at once"] = measure_concurrent_forwards(
            predictor, batches
        )
    maps = [maps for batch in batches for maps in predictor.infer(batch)]
    costs["group"] = measure_cost(for_each(predictor.group, maps, model_inputs), count)
    people = [predictor.group(*row) for row in zip(maps, model_inputs, strict=True)]
    if job.kind == "video":
        costs["track"] = measure_cost(for_each(job.track(predictor), people, frames), count)
        track = job.track(predictor)
        people = [track(*row) for row in zip(people, frames, strict=True)]
    draw_frame = make_drawer(predictor)
    costs["draw"] = measure_cost(for_each(draw_frame, frames, people, [None] * count), count)
    results = [FrameResult(*row, draw_frame(*row, None)) for row in zip(frames, people, strict=True)]
    with ExitStack() as stack:
        write_result = job.open_outputs(stack, predictor)
        write_result(results[0])
        write_rest = for_each(write_result, results[1:])
        costs["write"] = measure_cost(lambda: (write_rest(), stack.close()), count - 1)
    return costs, people


def measure_pipeline(job: Job, predictor: Predictor | RecordedPredictor, real_predictor: Predictor) -> Cost:
    """Measure a frame's cost once the pipeline is full; `real_predictor` provides skeleton and settings."""
    pipeline = Pipeline(
        predictor, job.track(real_predictor), make_drawer(real_predictor), threads=THREADS_PER_STAGE
    )
    timestamps: list[tuple[float, float]] = []
    with ExitStack() as stack:
        write_result = job.open_outputs(stack, real_predictor)
        results, outcome = stack.enter_context(runner.start_run(pipeline, job.open(), show_progress=False))
        for result in results:
            if isinstance(result, FrameResult):
                write_result(result)
                timestamps.append((time.perf_counter(), time.process_time()))
    outcome.raise_failure()
    first = min(2 * predictor.batch + 4, len(timestamps) // 2)
    spent = (1e3 * (last - begin) for begin, last in zip(timestamps[first], timestamps[-1], strict=True))
    return Cost(*(time / (len(timestamps) - 1 - first) for time in spent))


def rounds(job: Job, predictor: Predictor, args: argparse.Namespace) -> Iterator[dict[str, Cost]]:
    for _ in range(args.rounds):
        with ThreadPoolExecutor(1) as thread:  # as in the pipeline; OpenMP's threads end with it
            costs, people = thread.submit(measure_stages, job, predictor, args.device).result()
        costs["together"] = measure_pipeline(job, predictor, predictor)
        costs["around"] = measure_pipeline(job, RecordedPredictor(predictor, people), predictor)
        yield costs


def print_table(job: Job, measured: list[dict[str, Cost]], gpu: bool) -> None:
    """Print a table of medians, and the ratios with their goals."""
    stages = [name for name in measured[0] if name not in ("together", "around")]
    print(f"{job.kind}\n{'stage':16}frames/s        ms    CPU ms")
    for name in measured[0]:
        wall = statistics.median(costs[name].wall for costs in measured)
        cpu = statistics.median(costs[name].cpu for costs in measured)
        print(f"{name:14}{1e3 / wall:10.1f}{wall:10.2f}{cpu:10.2f}")
    ratios = []
    for costs in measured:
        fastest: dict[str, float] = {}
        for name, stage in ((name, name.partition(",")[0]) for name in stages):
            fastest[stage] = min(costs[name].wall, fastest.get(stage, math.inf))
        slowest = max(fastest, key=fastest.__getitem__)
        ratios.append(fastest[slowest] / costs["together"].wall)
    goal = GPU_GOAL if gpu else GOAL
    ratios_text = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(
        f"together / slowest stage ({slowest}): {statistics.median(ratios):.3f} "
        f"(goal {goal}; rounds {ratios_text})"
    )
    around = statistics.median(costs["around"].cpu for costs in measured)
    print(f"without the network and grouping: {around:.2f} CPU ms a frame (goal {CPU_GOAL_MS:g})", flush=True)


def print_latency(job: Job, predictor: Predictor, device: torch.device) -> None:
    paths = sorted(job.source.iterdir())[:DISTINCT_FRAMES]
    timings = benchmark.measure_latency(
        predictor, paths, lambda image, people: draw_people(image, people, predictor.skeleton), device, 5
    )
    p50, p95 = (1e3 * timings["total"].percentile(share) for share in (0.5, 0.95))
    print(f"one image at a time, from the file to the drawn image: p50 {p50:.2f} ms, p95 {p95:.2f} ms")


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
    parser.add_argument("--jobs", nargs="+", choices=KINDS, default=["images", "video"])
    args = parser.parse_args()
    gpu = args.device.type == "cuda"
    malloc.tune_malloc()
    predictor = simplepose.load(args.model, args.device, args.precision, batch=args.batch, run=args.run)
    print(f"{args.model}, {args.precision}, batch {predictor.batch}, {args.device}, 640 x 480")
    for kind in (KINDS[job] for job in args.jobs):
        with tempfile.TemporaryDirectory() as folder:
            job = make_job(kind, args.frames or (1000 if gpu else 40), Path(folder))
            print_table(job, list(rounds(job, predictor, args)), gpu)
            if gpu and kind == "images":
                print_latency(job, predictor, args.device)
    if not gpu:
        print("GPU: 1,000 images from disk against the network alone, and one at a time: not yet measured")


if __name__ == "__main__":
    main()
