"""Time of the grouping by number of people, beside its slow Python twin in the same run.

    OMP_NUM_THREADS=1 python benchmarks/grouping.py [REFERENCE_FOLDER] [--scenes 40]

Grouping runs on one core; medians over scenes of each one's best of 5. The twin (tests/grouping_twin.py)
follows the same rules in plain Python, so the ratio does not depend on the machine. Maps are 50 x 128 x 160:
the targets of drawn people, or, given the folder that holds the published implementation's numbers, its
scenes; only then are the published times (measured there, on another machine) shown beside ours.
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


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """The best of some calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def drawn_maps(scenes: int) -> Iterator[tuple[int, np.ndarray]]:
    """(people, maps) of drawn people."""
    for scene in range(scenes):
        people = list(PUBLISHED_MS)[scene % len(PUBLISHED_MS)]
        keypoints = draw_scene(np.random.default_rng(scene), (512, 640), people).keypoints
        joints = torch.from_numpy(COCO.to_network(keypoints))[None]
        yield people, targets.draw(joints, torch.zeros(1, 128, 160), COCO, TargetSettings())[0].numpy()


def reference_maps(folder: Path, count: int) -> Iterator[tuple[int, np.ndarray]]:
    """(people, maps) of the reference scenes."""
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
        parser.error(f"{args.reference} holds no scenes.py; give the reference folder's path")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/helpers"))
    import grouping_twin

    ours, twins = defaultdict(list), defaultdict(list)
    scenes = reference_maps(args.reference, args.scenes) if args.reference else drawn_maps(args.scenes)
    for people, maps in scenes:
        ours[people].append(milliseconds(lambda m=maps: group(m, COCO), 5))
        twins[people].append(milliseconds(lambda m=maps: grouping_twin.group(m, COCO, Settings()), 1))

    print("people   C++, ms   twin, ms   twin / C++" + "   published, ms" * bool(args.reference))
    for people in sorted(ours):
        fast, slow = statistics.median(ours[people]), statistics.median(twins[people])
        published = f"{PUBLISHED_MS[people]:16d}" if args.reference else ""
        print(f"{people:6d} {fast:9.2f} {slow:10.1f} {slow / fast:12.0f}{published}")


if __name__ == "__main__":
    main()
