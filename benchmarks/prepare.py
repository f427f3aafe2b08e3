"""Speed of the preparation of training files with one and two processes in one run, and an estimate for COCO.

    OMP_NUM_THREADS=1 python benchmarks/prepare.py [ANNOTATIONS.json IMAGES] [--rounds 3] [--store compressed]

Each round prepares the same images with one process and with two, including the join. Printed are the medians
over rounds and their ratio. One process is this one; two are separate processes, which keep freed memory.
Without a json and its image folder, synthetic images are used. --times lists each image repeatedly, so that
start and end have no larger share than for COCO. The estimate for COCO train2017 assumes that all of its
64,115 images with people give samples, and that eight cores are four times as fast as two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from simplepose.cli.prepare_coco import TRAIN2017_COUNTS
from simplepose.data.hdf5.preparation import Preparation, PreparationPlan
from simplepose.data.hdf5.reader import SampleFile
from simplepose.synthetic import coco_export
from simplepose.synthetic.scenes import draw_scene

SYNTHETIC_IMAGES = 160
SIZE_HW = (480, 640)
CORES = 8


def make_dataset(folder: Path) -> tuple[Path, Path]:
    """Write synthetic people; return the json and the image folder."""
    rng = np.random.default_rng(0)
    scenes = (draw_scene(rng, SIZE_HW, int(rng.integers(1, 6))) for _ in range(SYNTHETIC_IMAGES))
    return coco_export.write_coco(folder, scenes), folder / coco_export.IMAGES_FOLDER


def repeat_images(annotations: Path, times: int, folder: Path) -> Path:
    """Write a json that lists each image of another one `times` times."""
    content = json.loads(annotations.read_text())
    step = 1 + max(image["id"] for image in content["images"])
    people = 1 + max(person["id"] for person in content["annotations"])
    content["images"] = [
        {**image, "id": image["id"] + n * step} for n in range(times) for image in content["images"]
    ]
    content["annotations"] = [
        {**person, "id": person["id"] + n * people, "image_id": person["image_id"] + n * step}
        for n in range(times)
        for person in content["annotations"]
    ]
    path = folder / "repeated.json"
    path.write_text(json.dumps(content))
    return path


def measure_seconds(plan: PreparationPlan, processes: int) -> float:
    """Measure making and joining the parts, without reading the json, s."""
    with Preparation(plan) as preparation:
        start = time.perf_counter()
        list(preparation.prepare_parts(processes))
        list(preparation.join_parts(processes))
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("annotations", type=Path, nargs="?")
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=1, help="repetitions of each image")
    parser.add_argument("--store", choices=("compressed", "raw"), default="compressed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        annotations, images = (args.annotations, args.images) if args.images else make_dataset(Path(folder))
        annotations = repeat_images(annotations, args.times, Path(folder))
        plan = PreparationPlan(annotations, (images,), Path(folder) / "prepared.h5", store=args.store)
        measure_seconds(plan, 1)  # the image files are then in the page cache
        rounds = [(measure_seconds(plan, 1), measure_seconds(plan, 2)) for _ in range(args.rounds)]
        file = SampleFile(plan.output)
        report(rounds, len(file.image_ids), plan.output.stat().st_size)


def report(rounds: list[tuple[float, float]], images_count: int, size: int) -> None:
    one, two = (statistics.median(times[n] for times in rounds) for n in (0, 1))
    print(f"{images_count} images that give samples, {size / images_count / 1e3:.0f} kB each in the file")
    speeds = f"one process {images_count / one:.0f} images/s, two {images_count / two:.0f}"
    print(f"{speeds}: {one / two:.2f} times as fast")
    coco = TRAIN2017_COUNTS["images with people"] / images_count
    minutes, gigabytes = coco * two * 2 / CORES / 60, coco * size / 1e9
    print(f"COCO train2017 on {CORES} cores: about {minutes:.1f} minutes, {gigabytes:.1f} GB")


if __name__ == "__main__":
    main()
