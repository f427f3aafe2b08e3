"""Growth of the grouping's time with the number of candidate pairs, and the time of worst-case maps.

    OMP_NUM_THREADS=1 python benchmarks/grouping_growth.py [--rounds 5]

Growth: maps of 50 x 256 x 256 with the same number of peaks in every heatmap, at random cells. The limb maps
are 0 (no pair is a limb) or noise. Each row has the median over rounds, the number of candidate pairs of all
limbs, the time a pair in excess of maps without peaks, and its ratio to the row above, which is about 1 or
less if growth is at most linear.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from simplepose.grouping import group
from simplepose.skeleton import COCO

SIZE = 256
CELLS = SIZE // 2  # at most every second cell is a peak


def measure_ms(maps: np.ndarray, rounds: int) -> float:
    """Measure the median time of grouping, ms."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        group(maps, COCO)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def make_peaks(rng: np.random.Generator, channels: range, count: int) -> np.ndarray:
    """Make maps with `count` peaks in each of the channels, 0 elsewhere."""
    maps = np.zeros((COCO.channels, SIZE, SIZE), np.float32)
    for channel in channels:
        rows, columns = np.divmod(rng.choice(CELLS * CELLS, count, replace=False), CELLS)
        maps[channel, 2 * rows, 2 * columns] = rng.uniform(0.2, 1, count)
    return maps


def measure_growth(rng: np.random.Generator, rounds: int) -> None:
    """Print a row for each number of peaks."""
    keypoints = range(COCO.keypoint_channels.start, COCO.keypoint_channels.stop)
    empty = measure_ms(make_peaks(rng, keypoints, 0), rounds)
    print(f"limb maps  peaks a joint      pairs        ms   ns a pair   ratio     (no peaks: {empty:.2f} ms)")
    for limbs in ("0", "noise"):
        previous = None
        for count in (16, 32, 64, 128, 256):
            maps = make_peaks(rng, keypoints, count)
            if limbs == "noise":
                maps[COCO.limb_channels] = rng.uniform(0, 1, (len(COCO.limb_ends), SIZE, SIZE))
            ms, pairs = measure_ms(maps, rounds), len(COCO.limb_ends) * count**2
            ns_per_pair = 1e6 * (ms - empty) / pairs
            ratio = "" if previous is None else f"{ns_per_pair / previous:8.2f}"
            print(f"{limbs:9s} {count:14d} {pairs:10,d} {ms:9.2f} {ns_per_pair:11.0f}{ratio}", flush=True)
            previous = ns_per_pair


def measure_worst_cases(rng: np.random.Generator, rounds: int) -> None:
    """Print a row for each kind of worst-case maps."""
    first = COCO.keypoint_channels.start
    bright = make_peaks(rng, range(first, first + 2), 10_000)
    bright[COCO.limb_channels] = 1
    cases = {
        "10,000 peaks in one channel": make_peaks(rng, range(first, first + 1), 10_000),
        "10,000 in each of two, every limb map 1": bright,
        "every cell 1": np.ones((COCO.channels, SIZE, SIZE), np.float32),
        "white noise": rng.uniform(0, 1, (COCO.channels, SIZE, SIZE)).astype(np.float32),
    }
    for name, maps in cases.items():
        print(f"{name:42s} {measure_ms(maps, rounds):9.2f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    measure_growth(rng, args.rounds)
    measure_worst_cases(rng, args.rounds)


if __name__ == "__main__":
    main()
