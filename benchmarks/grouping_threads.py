"""How much two threads that group different pictures gain over one, in one run.

    OMP_NUM_THREADS=1 python benchmarks/grouping_threads.py [--pictures 96] [--rounds 9]

Each round times the same pictures in one thread and then shared out to two; the medians of the rounds and
their ratio are printed. The pictures are the drawn ones of benchmarks/grouping.py, 1 to 30 people in each.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from grouping import drawn_maps

from simplepose.grouping import group
from simplepose.skeleton import COCO


def seconds(pool: ThreadPoolExecutor, pictures: list[np.ndarray]) -> float:
    """To group them all."""
    start = time.perf_counter()
    list(pool.map(lambda maps: group(maps, COCO), pictures))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    pictures = [maps for _, maps in drawn_maps(args.pictures)]
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(2) as two:
        rounds = [(seconds(one, pictures), seconds(two, pictures)) for _ in range(args.rounds)]
    single, double = (1e3 * statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"one thread {single:.1f} ms, two threads {double:.1f} ms: {single / double:.2f} times as fast")


if __name__ == "__main__":
    main()
