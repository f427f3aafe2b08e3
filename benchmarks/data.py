"""Training samples per second of one and two loader workers, and the time of each step.

    OMP_NUM_THREADS=1 python benchmarks/data.py [--annotations FILE.json --images DIR | --samples FILE.h5 ...]

A raw and a compressed file are first prepared from COCO-style annotations, or from synthetic people without
any. Samples are 512 x 512 with the published augmentation (scale 0.7 to 1.3, rotation 40 degrees, shift 50
pixels, flip, tint) and both masks; OpenCV and torch use one thread. Workers are processes of the loader; the
rate is that of the samples that this process receives. Values are medians over rounds. The same run measures
the same steps in plain NumPy (`plain_pipeline.py`). A separate round in this process gives the shares.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import plain_pipeline
import torch
from stage_clock import measure_stages

from simplepose import targets
from simplepose.cli import prepare_coco
from simplepose.config import Settings
from simplepose.data import batch
from simplepose.data.batch import collate
from simplepose.data.dataset import TrainingSamples
from simplepose.data.hdf5 import layout
from simplepose.data.hdf5.reader import SampleFile
from simplepose.data.loader import BatchLoader
from simplepose.data.transforms import augment
from simplepose.skeleton import COCO
from simplepose.synthetic import coco_export
from simplepose.synthetic.scenes import draw_scene
from simplepose.utils import malloc

PUBLISHED_RATE = (
    "the published pipeline: 70 samples/s on one core, from raw HDF5 (published figure, not measured here)"
)
BATCH = 8
WARMUP_BATCHES = 4
"""Batches of each loader that are not measured."""

STAGES = {  # name: (owner of the function, its name)
    "read": (SampleFile, "__getitem__"),
    "decode": (layout, "decode_image"),
    "masks unpacked": (layout, "unpack_masks"),
    "tint": (augment, "tint"),
    "warp": (augment, "_warp_image"),
    "masks": (augment, "_warp_mask_miss"),
    "masks downsampled": (augment, "_downsample"),
    "collate": (batch, "collate"),
    "random, affine, joints": (TrainingSamples, "__getitem__"),
}


def prepare_files(args: argparse.Namespace, folder: Path) -> list[Path]:
    """Return the files to read; prepare them if none are given."""
    if args.samples:
        return args.samples
    annotations, images = args.annotations, args.images
    if annotations is None:
        scenes = (draw_scene(np.random.default_rng(n), (480, 640), 4) for n in range(args.num_images))
        annotations, images = coco_export.write_coco(folder, scenes), folder / coco_export.IMAGES_FOLDER
    paths = []
    for store in ("raw", "compressed"):
        paths.append(folder / f"{store}.h5")
        arguments = [
            "--annotations",
            annotations,
            "--images",
            images,
            "--output",
            paths[-1],
            "--store",
            store,
        ]
        prepare_coco.main([str(part) for part in arguments])
    return paths


def open_samples(path: Path, workers: int) -> TrainingSamples:
    settings = Settings()
    train = replace(settings.train, workers=workers, batch_size=BATCH)
    return TrainingSamples(path, replace(settings, train=train), COCO)


def make_order(samples: TrainingSamples, count: int) -> list[tuple[int, int]]:
    """List (epoch, index) of `count` samples, shuffled in each epoch."""
    epochs = range(-(-count // len(samples)))
    order = [(e, int(i)) for e in epochs for i in np.random.default_rng(e).permutation(len(samples))]
    return order[:count]


def measure_loader_rate(path: Path, workers: int, count: int) -> float:
    """Measure the samples per second of a loader with `workers` processes."""
    samples = open_samples(path, workers)
    batches = iter(BatchLoader(samples, make_order(samples, count + WARMUP_BATCHES * BATCH)))
    for _ in range(WARMUP_BATCHES):
        next(batches)
    start = time.perf_counter()
    done = sum(len(batch.images) for batch in batches)
    return done / (time.perf_counter() - start)


def measure_local_rate(
    samples: TrainingSamples, make: Callable[[tuple[int, int]], object], count: int
) -> float:
    """Measure the samples per second in this process, without a loader."""
    chosen = make_order(samples, count)
    start = time.perf_counter()
    for place in chosen:
        make(place)
    return count / (time.perf_counter() - start)


def numpy_sampler(samples: TrainingSamples) -> Callable[[tuple[int, int]], object]:
    """Build a function that makes the same samples in plain NumPy."""

    def make(place: tuple[int, int]) -> object:
        rng = np.random.default_rng([samples.settings.train.seed, *place])
        parameters = augment.sample_params(rng, samples.settings.augment)
        return plain_pipeline.sample(samples.record(place), parameters, samples.settings, COCO)

    return make


def print_shares(path: Path, count: int) -> None:
    samples, seconds_by_stage = open_samples(path, 0), defaultdict(float)
    chosen = make_order(samples, count)
    with measure_stages(STAGES, seconds_by_stage):
        for first in range(0, count, BATCH):
            batch.collate([samples[place] for place in chosen[first : first + BATCH]])
    total = sum(seconds_by_stage.values())
    for name, seconds in sorted(seconds_by_stage.items(), key=lambda item: -item[1]):
        print(f"    {name:24}{1e3 * seconds / count:7.3f} ms{100 * seconds / total:6.1f} %")


def print_targets(path: Path, count: int) -> None:
    """Print the time of drawing targets on one CPU core in float32, ms a sample."""
    samples = open_samples(path, 0)
    chosen, times_ms = make_order(samples, count), []
    for first in range(0, count, BATCH):
        batch = collate([samples[place] for place in chosen[first : first + BATCH]])
        mask, start = batch.person_mask.float() / 255, time.perf_counter()
        targets.draw(batch.joints, mask, COCO, samples.settings.targets)
        times_ms.append(1e3 * (time.perf_counter() - start) / len(batch.images))
    print(f"targets, batches of {BATCH} on one CPU core: {statistics.median(times_ms):.2f} ms a sample")


def print_memory(path: Path, count: int) -> None:
    """Print the memory of a worker after a tenth of `count` samples, and after all."""
    samples = open_samples(path, 1)
    batches, steps = iter(BatchLoader(samples, make_order(samples, count))), count // BATCH
    memory_mb = []
    for step, _ in enumerate(batches, 1):
        if step in (steps // 10, steps):
            (worker,) = multiprocessing.active_children()
            fields = Path(f"/proc/{worker.pid}/status").read_text().split()
            memory_mb.append(int(fields[fields.index("RssAnon:") + 1]) / 1024)
    print(
        f"memory of a worker after {count // 10:,} samples: {memory_mb[0]:.0f} MB, "
        f"after {count:,}: {memory_mb[-1]:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--annotations", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--samples", type=Path, nargs="+")
    parser.add_argument(
        "--num-images", "--pictures", type=int, default=100, help="of synthetic scenes, without files"
    )
    parser.add_argument("--count", type=int, default=800, help="samples a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--memory", type=int, default=0, help="samples over which a worker's memory is measured"
    )
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    malloc.tune_malloc()  # as the loader's workers do
    with tempfile.TemporaryDirectory() as folder:
        for path in (paths := prepare_files(args, Path(folder))):
            print_rates(path, args)
        print_targets(paths[0], min(args.count, 200))
        if args.memory:
            print_memory(paths[-1], args.memory)


def print_rates(path: Path, args: argparse.Namespace) -> None:
    """Print the rates of one file and the share of each step."""
    samples = open_samples(path, 0)
    warmup_count = min(len(samples), args.count)
    measure_local_rate(samples, samples.__getitem__, warmup_count)  # the file is then in the page cache
    local_rates, numpy_rates, one_worker_rates, two_worker_rates = [], [], [], []
    for _ in range(args.rounds):
        local_rates.append(measure_local_rate(samples, samples.__getitem__, args.count))
        numpy_rates.append(measure_local_rate(samples, numpy_sampler(samples), max(args.count // 40, 8)))
        one_worker_rates.append(measure_loader_rate(path, 1, args.count))
        two_worker_rates.append(measure_loader_rate(path, 2, args.count))
    local, numpy_rate, one_worker, two_workers = (
        statistics.median(rates) for rates in (local_rates, numpy_rates, one_worker_rates, two_worker_rates)
    )
    print(f"{path.name}: {len(samples):,} samples, {path.stat().st_size / 2**20:,.0f} MB")
    print(f"    this process: {local:.0f} samples/s; one worker {one_worker:.0f}, two {two_workers:.0f}")
    ratio = statistics.median(b / a for a, b in zip(one_worker_rates, two_worker_rates, strict=True))
    print(f"    two workers are {ratio:.2f} times as fast as one")
    print(
        f"    plain NumPy {numpy_rate:.1f} samples/s: {local / numpy_rate:.0f} times slower; {PUBLISHED_RATE}"
    )
    print_shares(path, args.count)


if __name__ == "__main__":
    main()
