"""How fast a file of training samples is made, by one process and by two in one run, and COCO's time by that.

    OMP_NUM_THREADS=1 python benchmarks/prepare.py [ANNOTATIONS.json IMAGES] [--rounds 3] [--store compressed]

Each round prepares the same pictures with one process and with two, joining included; the medians of the
rounds and their ratio are printed. One process is this one; two are processes of their own, which keep the
memory that they free. Without a json and its folder of pictures, drawn ones are taken; --times lists each
picture so many times, so that what a start and an end cost does not count for more than it does for COCO. The
estimate for COCO's train2017 takes all its 64,115 pictures with people as such that give samples, and eight
cores as four times the gain of two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from simplepose.cli.prepare_coco import TRAIN2017
from simplepose.data.hdf5.preparation import Plan, Preparation
from simplepose.data.hdf5.reader import SampleFile
from simplepose.synthetic import coco_export
from simplepose.synthetic.scenes import draw_scene

DRAWN = 160
SIZE_HW = (480, 640)
CORES = 8


def draw(folder: Path) -> tuple[Path, Path]:
    """A json of drawn people and the folder of their pictures."""
    rng = np.random.default_rng(0)
    scenes = (draw_scene(rng, SIZE_HW, int(rng.integers(1, 6))) for _ in range(DRAWN))
    return coco_export.write_coco(folder, scenes), folder / coco_export.IMAGES


def repeated(annotations: Path, times: int, folder: Path) -> Path:
    """A json that lists each picture of another so many times."""
    content = json.loads(annotations.read_text())
    step = 1 + max(picture["id"] for picture in content["images"])
    people = 1 + max(person["id"] for person in content["annotations"])
    content["images"] = [
        {**picture, "id": picture["id"] + n * step} for n in range(times) for picture in content["images"]
    ]
    content["annotations"] = [
        {**person, "id": person["id"] + n * people, "image_id": person["image_id"] + n * step}
        for n in range(times)
        for person in content["annotations"]
    ]
    path = folder / "repeated.json"
    path.write_text(json.dumps(content))
    return path


def seconds(plan: Plan, processes: int) -> float:
    """To make the parts and join them; the reading of the json is not in it."""
    with Preparation(plan) as preparation:
        start = time.perf_counter()
        list(preparation.parts(processes))
        list(preparation.join(processes))
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("annotations", type=Path, nargs="?")
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=1, help="that each picture is listed")
    parser.add_argument("--store", choices=("compressed", "raw"), default="compressed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        annotations, images = (args.annotations, args.images) if args.images else draw(Path(folder))
        annotations = repeated(annotations, args.times, Path(folder))
        plan = Plan(annotations, (images,), Path(folder) / "prepared.h5", store=args.store)
        seconds(plan, 1)  # the pictures are then in memory
        rounds = [(seconds(plan, 1), seconds(plan, 2)) for _ in range(args.rounds)]
        file = SampleFile(plan.output)
        report(rounds, len(file.pictures), plan.output.stat().st_size)


def report(rounds: list[tuple[float, float]], pictures: int, size: int) -> None:
    one, two = (statistics.median(times[n] for times in rounds) for n in (0, 1))
    print(f"{pictures} pictures that give samples, {size / pictures / 1e3:.0f} kB each in the file")
    speeds = f"one process {pictures / one:.0f} pictures/s, two {pictures / two:.0f}"
    print(f"{speeds}: {one / two:.2f} times as fast")
    coco = TRAIN2017["pictures with people"] / pictures
    minutes, gigabytes = coco * two * 2 / CORES / 60, coco * size / 1e9
    print(f"COCO's train2017 on {CORES} cores: about {minutes:.1f} minutes, {gigabytes:.1f} GB")


if __name__ == "__main__":
    main()
