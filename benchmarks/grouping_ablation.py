"""Ablation of the grouping: AP and time with one default setting changed, and AP with one step replaced.

    OMP_NUM_THREADS=1 python benchmarks/grouping_ablation.py [REFERENCE_FOLDER] [--scenes 100]

All rows are measured on the first scenes, up to 100, on which the settings were chosen; the defaults and the
reference rules also on as many scenes from 100 on. The time is the median over scenes on one core, the best
of 3 runs each. The alternative steps (grouping_alternatives.py) exist only in Python and replace steps of the
plain Python version (tests/helpers/slow_grouping.py), so their time is not comparable and printed as "-".
Without the folder of reference numbers, which is not published, nothing is measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from grouping_alternatives import ROWS

from simplepose.grouping import Settings, group
from simplepose.people import People
from simplepose.skeleton import COCO

DEFAULT = Settings()
REFERENCE = Settings(rules="reference")
FIRST_HELD_OUT = 100  # first scene that was not used for tuning
CHANGES: dict[str, list[Any]] = {
    "peak_threshold": [0.05, 0.15, 0.2],
    "confident_peak": [0.01, 0.3, 0.8],
    "limb_samples": [5, 10, 40],
    "limb_threshold": [0.05, 0.2],
    "limb_support": [0.6, 0.7, 0.9, 1.0],
    "max_unassigned_keypoints": [0, 1, 2, 5],
    "min_unassigned_score": [0.0, 0.15, 0.35],
    "unassigned_reach": [0.3, 0.8],
    "min_person_score": [0.0, 0.6, 0.8],
    "min_person_keypoints": [1, 3, 4],
}

Scene = tuple[np.ndarray, np.ndarray]  # maps, (P, 17, 3) true people


def first_hundred_rows() -> Iterable[tuple[str, Settings]]:
    """Yield (name, settings) of each row on the first scenes."""
    yield "reference rules", REFERENCE
    yield "ours", DEFAULT
    for name, values in CHANGES.items():
        for value in values:
            yield f"{name} {value:g}, not {getattr(DEFAULT, name):g}", replace(DEFAULT, **{name: value})


def average_precision(scenes: list[Scene], find: Callable[[np.ndarray], People], score: Any) -> float:
    """Compute the AP of the people found in the maps of all scenes."""
    found = [find(maps) for maps, _ in scenes]
    truth = [people for _, people in scenes]
    return score.coco_ap(truth, [(people.keypoints, people.scores) for people in found])[0]


def measure_ms(scenes: list[Scene], settings: Settings) -> float:
    """Measure the median time over scenes, the best of 3 runs each, ms."""
    times = []
    for maps, _ in scenes:
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            group(maps, COCO, settings)
            best = min(best, time.perf_counter() - start)
        times.append(1e3 * best)
    return statistics.median(times)


def print_table(title: str, scenes: list[Scene], labeled: Iterable[tuple[str, Settings]], score: Any) -> None:
    """Print a row for each of the settings."""
    print(f"{title:36s}     AP       ms")
    for name, settings in labeled:
        ap = average_precision(scenes, partial(group, skeleton=COCO, settings=settings), score)
        print(f"{name:36s} {ap:6.3f} {measure_ms(scenes, settings):8.2f}", flush=True)


def print_alternatives(scenes: list[Scene], score: Any) -> None:
    """Print a row for each alternative step."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/helpers"))
    import slow_grouping

    for name, changed in ROWS.items():
        steps = slow_grouping.Steps(**changed)
        find = partial(slow_grouping.group, skeleton=COCO, settings=DEFAULT, steps=steps)
        ap = average_precision(scenes, find, score)
        print(f"{name:36s} {ap:6.3f}        -", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "reference", type=Path, nargs="?", help="folder with scenes.py, score.py and poses.npz"
    )
    parser.add_argument("--scenes", type=int, default=100, help="how many of each hundred")
    args = parser.parse_args()
    if args.reference is None:
        print("grouping_ablation: no reference folder given; nothing measured")
        return
    if not (args.reference / "score.py").is_file():
        parser.error(f"{args.reference} contains no score.py; pass the path of the reference folder")
    if not 1 <= args.scenes <= FIRST_HELD_OUT:
        parser.error(f"--scenes: expected 1 to {FIRST_HELD_OUT}, got {args.scenes}")
    sys.path.insert(0, str(args.reference))
    import scenes
    import score

    poses = scenes.load_poses()
    for first, labeled in (
        (0, first_hundred_rows()),
        (FIRST_HELD_OUT, [("reference rules", REFERENCE), ("ours", DEFAULT)]),
    ):
        numbers = range(first, first + args.scenes)
        scene_maps = [scenes.make_maps(number, poses) for number in numbers]
        print_table(f"scenes {numbers[0]} to {numbers[-1]}", scene_maps, labeled, score)
        if first == 0:
            print_alternatives(scene_maps, score)


if __name__ == "__main__":
    main()
