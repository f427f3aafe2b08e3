"""How the grouping's time grows with candidate pairs, and what the worst maps cost.

    OMP_NUM_THREADS=1 python benchmarks/grouping_growth.py [--rounds 5]

Growth: maps of 50 x 256 x 256 with the same number of peaks in every keypoint map, at random cells, above
limb maps that are 0 (no pair is a limb) or noise. Printed are medians over the rounds, the pairs of all
limbs' ends, the time a pair beyond what maps without peaks take, and its ratio to the row above: about 1 or
less where growth is no worse than linear.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from simplepose.grouping import group
from simplepose.skeleton import COCO

SIZE = 256
CELLS = SIZE // 2  # a peak lies on every second cell at most


def milliseconds(maps: np.ndarray, rounds: int) -> float:
    """To group them, the median."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        group(maps, COCO)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def with_peaks(rng: np.random.Generator, channels: range, count: int) -> np.ndarray:
    """Maps with `count` peaks in each of these channels, 0 elsewhere."""
    maps = np.zeros((COCO.channels, SIZE, SIZE), np.float32)
    for channel in channels:
        rows, columns = np.divmod(rng.choice(CELLS * CELLS, count, replace=False), CELLS)
        maps[channel, 2 * rows, 2 * columns] = rng.uniform(0.2, 1, count)
    return maps


def growth(rng: np.random.Generator, rounds: int) -> None:
    """A row for each number of peaks."""
    keypoints = range(COCO.keypoint_channels.start, COCO.keypoint_channels.stop)
    empty = milliseconds(with_peaks(rng, keypoints, 0), rounds)
    print(f"limb maps  peaks a joint      pairs        ms   ns a pair   ratio     (no peaks: {empty:.2f} ms)")
    for limbs in ("0", "noise"):
        before = None
        for count in (16, 32, 64, 128, 256):
            maps = with_peaks(rng, keypoints, count)
            if limbs == "noise":
                maps[COCO.limb_channels] = rng.uniform(0, 1, (len(COCO.limb_ends), SIZE, SIZE))
            ms, pairs = milliseconds(maps, rounds), len(COCO.limb_ends) * count**2
            each = 1e6 * (ms - empty) / pairs
            ratio = "" if before is None else f"{each / before:8.2f}"
            print(f"{limbs:9s} {count:14d} {pairs:10,d} {ms:9.2f} {each:11.0f}{ratio}", flush=True)
            before = each


def worst(rng: np.random.Generator, rounds: int) -> None:
    """A row for each kind of odd maps."""
    first = COCO.keypoint_channels.start
    lit = with_peaks(rng, range(first, first + 2), 10_000)
    lit[COCO.limb_channels] = 1
    kinds = {
        "10,000 peaks in one channel": with_peaks(rng, range(first, first + 1), 10_000),
        "10,000 in each of two, every limb map 1": lit,
        "every cell 1": np.ones((COCO.channels, SIZE, SIZE), np.float32),
        "white noise": rng.uniform(0, 1, (COCO.channels, SIZE, SIZE)).astype(np.float32),
    }
    for name, maps in kinds.items():
        print(f"{name:42s} {milliseconds(maps, rounds):9.2f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    growth(rng, args.rounds)
    worst(rng, args.rounds)


if __name__ == "__main__":
    main()
