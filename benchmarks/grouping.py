"""Time of the grouping by number of people, beside its Python twin and the published implementation.

    OMP_NUM_THREADS=1 python benchmarks/grouping.py PATH_OF_REFERENCE_FOLDER [--scenes 200]

Grouping runs on one core. The twin (tests/grouping_twin.py) follows the same rules in plain Python and is
timed in the same run, so that the ratio does not depend on the machine. The published figures are those
of the reference folder's README.md: the published implementation, one thread, on another machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

PUBLISHED_MS = {1: 311, 2: 283, 3: 286, 5: 323, 8: 364, 12: 460, 20: 656, 30: 1139}


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """The best of some calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reference", type=Path, help="folder with scenes.py and poses.npz")
    parser.add_argument("--scenes", type=int, default=200)
    args = parser.parse_args()
    if not (args.reference / "scenes.py").is_file():
        parser.error(f"{args.reference} holds no scenes.py; give the reference folder's path")
    sys.path[:0] = [str(args.reference), str(Path(__file__).resolve().parents[1] / "tests")]
    import grouping_twin
    import scenes

    from simplepose.grouping import Settings, group
    from simplepose.skeleton import COCO

    ours, twins = defaultdict(list), defaultdict(list)
    poses = scenes.load_poses()
    for scene in range(args.scenes):
        maps, _ = scenes.make_maps(scene, poses)
        people = scenes.PEOPLE_WANTED[scene % len(scenes.PEOPLE_WANTED)]
        ours[people].append(milliseconds(lambda m=maps: group(m, COCO), 5))
        twins[people].append(milliseconds(lambda m=maps: grouping_twin.group(m, COCO, Settings()), 1))

    print("people   C++, ms   twin, ms   twin / C++   published, ms (another machine)")
    for people in sorted(ours):
        fast, slow = statistics.median(ours[people]), statistics.median(twins[people])
        print(f"{people:6d} {fast:9.2f} {slow:10.1f} {slow / fast:12.0f} {PUBLISHED_MS[people]:15d}")


if __name__ == "__main__":
    main()
