"""Time of the grouping by number of people, and of the same algorithm in plain Python, in one run.

    OMP_NUM_THREADS=1 python benchmarks/grouping.py [REFERENCE_FOLDER] [--scenes 40]

The grouping runs on one core. Times are medians over scenes, the best of 5 runs each. The file
(tests/helpers/slow_grouping.py) implements the same rules in plain Python, so the ratio hardly depends on the
machine. Maps are 50 x 128 x 160: the targets of synthetic people, or the scenes of the folder with the
numbers of the published implementation. Only then are the published times (from another machine) printed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from simplepose import targets
from simplepose.config import TargetSettings
from simplepose.grouping import Settings, group
from simplepose.skeleton import COCO
from simplepose.synthetic.scenes import draw_scene

PUBLISHED_MS = {1: 311, 2: 283, 3: 286, 5: 323, 8: 364, 12: 460, 20: 656, 30: 1139}


def measure_ms(call: Callable[[], object], repeats: int) -> float:
    """Measure the fastest of several calls, ms."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def synthetic_maps(scenes: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of people, maps) of synthetic people."""
    for scene in range(scenes):
        people = list(PUBLISHED_MS)[scene % len(PUBLISHED_MS)]
        keypoints = draw_scene(np.random.default_rng(scene), (512, 640), people).keypoints
        joints = torch.from_numpy(COCO.to_network(keypoints))[None]
        yield people, targets.draw(joints, torch.zeros(1, 128, 160), COCO, TargetSettings())[0].numpy()


def reference_maps(folder: Path, count: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of people, maps) of the reference scenes."""
    sys.path.insert(0, str(folder))
    import scenes

    poses = scenes.load_poses()
    for scene in range(count):
        yield scenes.PEOPLE_WANTED[scene % len(scenes.PEOPLE_WANTED)], scenes.make_maps(scene, poses)[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reference", type=Path, nargs="?", help="folder with scenes.py and poses.npz")
    parser.add_argument("--scenes", type=int, default=40)
    args = parser.parse_args()
    if args.reference and not (args.reference / "scenes.py").is_file():
        parser.error(f"{args.reference} contains no scenes.py; pass the path of the reference folder")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/helpers"))
    import slow_grouping

    cpp_times, python_times = defaultdict(list), defaultdict(list)
    scenes = reference_maps(args.reference, args.scenes) if args.reference else synthetic_maps(args.scenes)
    for people, maps in scenes:
        cpp_times[people].append(measure_ms(lambda m=maps: group(m, COCO), 5))
        python_times[people].append(measure_ms(lambda m=maps: slow_grouping.group(m, COCO, Settings()), 1))

    print("people   C++, ms Python, ms Python / C++" + "   published, ms" * bool(args.reference))
    for people in sorted(cpp_times):
        fast, slow = statistics.median(cpp_times[people]), statistics.median(python_times[people])
        published = f"{PUBLISHED_MS[people]:16d}" if args.reference else ""
        print(f"{people:6d} {fast:9.2f} {slow:10.1f} {slow / fast:12.0f}{published}")


if __name__ == "__main__":
    main()
