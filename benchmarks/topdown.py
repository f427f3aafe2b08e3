"""Top-down inference: the network for crops inside the pipeline against the network alone, and crowds.

    python benchmarks/topdown.py [--model fastpose_mobile] [--frames 60] [--rounds 5] [--device cuda]

Images of 640 x 480 with synthetic people, as JPEG files, go through the pipeline of tools/demo_image.py. The
boxes are known, so that only the cost of the crops counts. Printed are the crops a second of the network
alone in full batches, their ratio to those inside the pipeline, and the time of an image with 15 people
relative to one with 4.6, the mean of the published measurement (AlphaPose: 20 FPS on COCO val with 4.6 people
an image, above 10 FPS with 15). The parts take turns in each round; medians over rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

import simplepose
from simplepose.cli.common import THREADS_PER_STAGE
from simplepose.frames import Frame
from simplepose.inference import runner
from simplepose.inference.crops import Crop
from simplepose.inference.detectors import Detections
from simplepose.inference.pipeline import FrameResult, Pipeline
from simplepose.inference.topdown import TopDownPredictor
from simplepose.people import boxes_around
from simplepose.sources import SourceOptions, open_source
from simplepose.synthetic.scenes import draw_scene
from simplepose.utils import malloc

SIZE_HW = (480, 640)
PEOPLE = {"4.6 people": (5, 4, 5, 4, 5), "15 people": (15,)}  # an image's number of people, repeated
GOAL_RATIO, GOAL_CROWD = 0.9, 3.5


@dataclass(frozen=True, eq=False)
class KnownInput:
    """The number of a frame, in place of a network's input."""

    number: int
    shape: tuple[int, ...] = ()


class KnownDetector:
    """Replaces a detector: returns known boxes at once."""

    def __init__(self, detections: Sequence[Detections]) -> None:
        self.device, self.batch, self.max_concurrent_forwards = torch.device("cpu"), 1, 1
        self._detections = detections

    def preprocess_frame(self, frame: Frame) -> KnownInput:
        return KnownInput(frame.number)

    def infer(self, inputs: Sequence[KnownInput]) -> Sequence[KnownInput]:
        return inputs

    def detect(self, output: KnownInput, model_input: KnownInput) -> Detections:
        return self._detections[output.number % len(self._detections)]


def make_job(folder: Path, people: Sequence[int], frames: int) -> list[Detections]:
    """Write the images of a folder; returns the boxes of each."""
    detections = []
    for number in range(frames):
        scene = draw_scene(np.random.default_rng(number), SIZE_HW, people[number % len(people)])
        boxes = boxes_around(scene.keypoints[..., :2], scene.keypoints[..., 2] > 0).astype(np.float64)
        detections.append(Detections(boxes, np.ones(len(boxes))))
        cv2.imwrite(str(folder / f"{number:06d}.jpg"), scene.image)
    return detections


def measure_network(predictor: TopDownPredictor, crops: Sequence[Crop]) -> float:
    """Measure the crops a second of the network alone, in full batches, with decoding."""
    batch = predictor.crops.batch
    full = len(crops) // batch * batch
    start = time.perf_counter()
    for first in range(0, full, batch):
        part = crops[first : first + batch]
        predictor.crops.decode(predictor.crops.infer(part), part)
    return full / (time.perf_counter() - start)


def measure_pipeline(folder: Path, predictor: TopDownPredictor) -> float:
    """Measure the seconds of a frame in the whole pipeline, once it is full."""
    pipeline = Pipeline(predictor, None, None, threads=THREADS_PER_STAGE)
    source = open_source(folder, SourceOptions(readers=THREADS_PER_STAGE))
    timestamps = []
    with runner.start_run(pipeline, source, show_progress=False) as (results, outcome):
        for result in results:
            if isinstance(result, FrameResult):
                timestamps.append(time.perf_counter())
    outcome.raise_failure()
    first = len(timestamps) // 5
    return (timestamps[-1] - timestamps[first]) / (len(timestamps) - 1 - first)


def collect_crops(folder: Path, predictor: TopDownPredictor, detections: Sequence[Detections]) -> list[Crop]:
    """Crop all people of a folder's images."""
    crops: list[Crop] = []
    for path, known in zip(sorted(folder.iterdir()), detections, strict=True):
        image = cv2.imread(str(path))
        assert image is not None
        crops += predictor.crop(image, known)[0]
    return crops


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="fastpose_mobile")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    malloc.tune_malloc()
    loaded = simplepose.load(args.model, args.device, args.precision)
    assert isinstance(loaded, TopDownPredictor)
    print(f"{args.model}, {args.precision}, batch {loaded.crops.batch}, {args.device}, 640 x 480")
    with tempfile.TemporaryDirectory() as temporary:
        jobs = {}
        for name, people in PEOPLE.items():
            folder = Path(temporary) / name
            folder.mkdir()
            detections = make_job(folder, people, args.frames)
            known = TopDownPredictor(KnownDetector(detections), loaded.crops, loaded.settings)
            crops = collect_crops(folder, known, detections)
            jobs[name] = (folder, known, crops)
        alone, together = [], {name: [] for name in jobs}
        for _ in range(args.rounds):
            for name, (folder, known, crops) in jobs.items():
                with ThreadPoolExecutor(1) as thread:  # as in the pipeline; OpenMP's threads end with it
                    alone.append(thread.submit(measure_network, known, crops).result())
                together[name].append(measure_pipeline(folder, known))
    print_results(alone, together, {name: len(crops) / args.frames for name, (*_, crops) in jobs.items()})


def print_results(alone: list[float], together: dict[str, list[float]], people: dict[str, float]) -> None:
    """Print the medians and the ratios with their goals."""
    few, many = together
    print(f"network alone: {statistics.median(alone):.1f} crops/s")
    for name, seconds in together.items():
        rates = [people[name] / second for second in seconds]
        matching = alone[list(together).index(name) :: len(together)]
        ratio = statistics.median(rate / single for rate, single in zip(rates, matching, strict=True))
        print(
            f"pipeline, {name} an image: {1e3 * statistics.median(seconds):.1f} ms an image, "
            f"{statistics.median(rates):.1f} crops/s, {ratio:.3f} of the network alone (goal {GOAL_RATIO})"
        )
    ratio = statistics.median(b / a for a, b in zip(together[few], together[many], strict=True))
    print(f"an image with {many} / with {few}: {ratio:.2f} (goal at most {GOAL_CROWD})")


if __name__ == "__main__":
    main()
