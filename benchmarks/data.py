"""Samples a second that one worker makes, and where its time goes.

    OMP_NUM_THREADS=1 python benchmarks/data.py [--annotations FILE.json --images DIR | --samples FILE.h5 ...]

Of COCO-style annotations a raw and a compressed file are prepared first; without any, of drawn people. All
at 512 x 512 with the published augmentation (scale 0.7 to 1.3, rotation 40 degrees, shift 50 pixels, flip,
tint) and both masks; OpenCV and torch on one thread. Workers are processes of the loader, and what is counted
is what this process gets from them; medians over the rounds. Compared in the same run with the same steps in
plain NumPy (`plain_pipeline.py`). The shares are of a round of their own in this process.
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
from stage_clock import clocked

from simplepose import targets
from simplepose.cli import prepare_coco
from simplepose.config import Settings
from simplepose.data import batch
from simplepose.data.batch import collate
from simplepose.data.dataset import TrainingSamples
from simplepose.data.hdf5 import layout
from simplepose.data.hdf5.reader import SampleFile
from simplepose.data.loader import Loader
from simplepose.data.transforms import augment
from simplepose.skeleton import COCO
from simplepose.synthetic import coco_export
from simplepose.synthetic.scenes import draw_scene
from simplepose.utils import malloc

PUBLISHED = (
    "the published pipeline: 70 a second on one core, from raw HDF5 (published figure, not measured here)"
)
BATCH = 8
WARM_UP = 4
"""Batches of each loader that are not counted."""

STAGES = {  # name: whose function, which one
    "read": (SampleFile, "__getitem__"),
    "decode": (layout, "decode_picture"),
    "masks unpacked": (layout, "unpack"),
    "tint": (augment, "tint"),
    "warp": (augment, "_warp_picture"),
    "masks": (augment, "_warp_mask_miss"),
    "masks reduced": (augment, "_to_cells"),
    "collate": (batch, "collate"),
    "chance, affine, joints": (TrainingSamples, "__getitem__"),
}


def files(args: argparse.Namespace, folder: Path) -> list[Path]:
    """The files to read, made if need be."""
    if args.samples:
        return args.samples
    annotations, images = args.annotations, args.images
    if annotations is None:
        scenes = (draw_scene(np.random.default_rng(n), (480, 640), 4) for n in range(args.pictures))
        annotations, images = coco_export.write_coco(folder, scenes), folder / coco_export.IMAGES
    paths = []
    for store in ("raw", "compressed"):
        paths.append(folder / f"{store}.h5")
        made = ["--annotations", annotations, "--images", images, "--output", paths[-1], "--store", store]
        prepare_coco.main([str(part) for part in made])
    return paths


def open_samples(path: Path, workers: int) -> TrainingSamples:
    settings = Settings()
    train = replace(settings.train, workers=workers, batch_size=BATCH)
    return TrainingSamples(path, replace(settings, train=train), COCO)


def places(samples: TrainingSamples, count: int) -> list[tuple[int, int]]:
    """So many samples in an order drawn anew each epoch."""
    epochs = range(-(-count // len(samples)))
    order = [(e, int(i)) for e in epochs for i in np.random.default_rng(e).permutation(len(samples))]
    return order[:count]


def rate(path: Path, workers: int, count: int) -> float:
    """Samples a second that come from so many workers."""
    samples = open_samples(path, workers)
    batches = iter(Loader(samples, places(samples, count + WARM_UP * BATCH)))
    for _ in range(WARM_UP):
        next(batches)
    start = time.perf_counter()
    done = sum(len(batch.images) for batch in batches)
    return done / (time.perf_counter() - start)


def rate_here(samples: TrainingSamples, make: Callable[[tuple[int, int]], object], count: int) -> float:
    """Samples a second in this process, without a loader."""
    chosen = places(samples, count)
    start = time.perf_counter()
    for place in chosen:
        make(place)
    return count / (time.perf_counter() - start)


def plain(samples: TrainingSamples) -> Callable[[tuple[int, int]], object]:
    """The same samples in plain NumPy."""

    def make(place: tuple[int, int]) -> object:
        rng = np.random.default_rng([samples.settings.train.seed, *place])
        parameters = augment.draw(rng, samples.settings.augment)
        return plain_pipeline.sample(samples.record(place), parameters, samples.settings, COCO)

    return make


def print_shares(path: Path, count: int) -> None:
    samples, spent = open_samples(path, 0), defaultdict(float)
    chosen = places(samples, count)
    with clocked(STAGES, spent):
        for first in range(0, count, BATCH):
            batch.collate([samples[place] for place in chosen[first : first + BATCH]])
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"    {name:24}{1e3 * seconds / count:7.3f} ms{100 * seconds / sum(spent.values()):6.1f} %")


def print_targets(path: Path, count: int) -> None:
    """Milliseconds a sample that the targets take, here on a CPU core in float32."""
    samples = open_samples(path, 0)
    chosen, spent = places(samples, count), []
    for first in range(0, count, BATCH):
        batch = collate([samples[place] for place in chosen[first : first + BATCH]])
        mask, start = batch.person_mask.float() / 255, time.perf_counter()
        targets.draw(batch.joints, mask, COCO, samples.settings.targets)
        spent.append(1e3 * (time.perf_counter() - start) / len(batch.images))
    print(f"targets, batches of {BATCH} on one CPU core: {statistics.median(spent):.2f} ms a sample")


def print_memory(path: Path, count: int) -> None:
    """What a worker holds in memory after a tenth of so many samples, and after all."""
    samples = open_samples(path, 1)
    batches, steps = iter(Loader(samples, places(samples, count))), count // BATCH
    held = []
    for step, _ in enumerate(batches, 1):
        if step in (steps // 10, steps):
            (worker,) = multiprocessing.active_children()
            fields = Path(f"/proc/{worker.pid}/status").read_text().split()
            held.append(int(fields[fields.index("RssAnon:") + 1]) / 1024)
    print(
        f"a worker's memory after {count // 10:,} samples: {held[0]:.0f} MB, after {count:,}: {held[-1]:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--annotations", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--samples", type=Path, nargs="+")
    parser.add_argument("--pictures", type=int, default=100, help="that are drawn, without any of these")
    parser.add_argument("--count", type=int, default=800, help="samples a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, default=0, help="samples to watch a worker's memory over")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    malloc.keep()  # as the loader's workers do
    with tempfile.TemporaryDirectory() as folder:
        for path in (paths := files(args, Path(folder))):
            measure(path, args)
        print_targets(paths[0], min(args.count, 200))
        if args.memory:
            print_memory(paths[-1], args.memory)


def measure(path: Path, args: argparse.Namespace) -> None:
    samples = open_samples(path, 0)
    rate_here(samples, samples.__getitem__, min(len(samples), args.count))  # the file lies in memory now
    here, slow, one, two = [], [], [], []
    for _ in range(args.rounds):
        here.append(rate_here(samples, samples.__getitem__, args.count))
        slow.append(rate_here(samples, plain(samples), max(args.count // 40, 8)))
        one.append(rate(path, 1, args.count))
        two.append(rate(path, 2, args.count))
    inside, numpy, alone, both = (statistics.median(rates) for rates in (here, slow, one, two))
    print(f"{path.name}: {len(samples):,} samples, {path.stat().st_size / 2**20:,.0f} MB")
    print(
        f"    in this process {inside:.0f} samples a second; from one worker {alone:.0f}, from two {both:.0f}"
    )
    ratio = statistics.median(b / a for a, b in zip(one, two, strict=True))
    print(f"    two workers are {ratio:.2f} times as fast as one")
    print(f"    plain NumPy {numpy:.1f} a second: {inside / numpy:.0f} times as slow; {PUBLISHED}")
    print_shares(path, args.count)


if __name__ == "__main__":
    main()
