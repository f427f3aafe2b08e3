"""Speedup of two threads that group different images over one thread, in one run.

    OMP_NUM_THREADS=1 python benchmarks/grouping_threads.py [--num-images 96] [--rounds 9]

Each round groups the same images in one thread and then in two. Printed are the medians over rounds and their
ratio. The scenes are the synthetic ones of benchmarks/grouping.py with 1 to 30 people each.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from grouping import synthetic_maps

from simplepose.grouping import group
from simplepose.skeleton import COCO


def measure_seconds(pool: ThreadPoolExecutor, all_maps: list[np.ndarray]) -> float:
    """Measure the time of grouping all maps, s."""
    start = time.perf_counter()
    list(pool.map(lambda maps: group(maps, COCO), all_maps))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-images", "--pictures", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    all_maps = [maps for _, maps in synthetic_maps(args.num_images)]
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(2) as two:
        rounds = [
            (measure_seconds(one, all_maps), measure_seconds(two, all_maps)) for _ in range(args.rounds)
        ]
    single, double = (1e3 * statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"one thread {single:.1f} ms, two threads {double:.1f} ms: {single / double:.2f} times as fast")


if __name__ == "__main__":
    main()
