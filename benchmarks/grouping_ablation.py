"""What each part of the grouping is worth: AP and time of the default settings with one of them changed, and
AP with a step done otherwise.

    OMP_NUM_THREADS=1 python benchmarks/grouping_ablation.py [REFERENCE_FOLDER] [--scenes 100]

All rows are measured on the first scenes, up to 100, which the settings were chosen on; the default and
the reference rules also on as many from scene 100 on. The time is one core's median over scenes of each one's
best of 3. The steps done otherwise (grouping_alternatives.py) exist in Python alone, in place of the slow
twin's (tests/grouping_twin.py): their time would say nothing, and stands as "-". Without the folder of
reference numbers, which only the developers have, nothing is measured.
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
HELD_OUT = 100  # the first of the scenes that the settings were not tuned on
CHANGES: dict[str, list[Any]] = {
    "peak_threshold": [0.05, 0.15, 0.2],
    "sure_peak": [0.01, 0.3, 0.8],
    "limb_samples": [5, 10, 40],
    "limb_threshold": [0.05, 0.2],
    "limb_support": [0.6, 0.7, 0.9, 1.0],
    "loose_joints": [0, 1, 2, 5],
    "loose_score": [0.0, 0.15, 0.35],
    "loose_reach": [0.3, 0.8],
    "person_score": [0.0, 0.6, 0.8],
    "person_joints": [1, 3, 4],
}

Scene = tuple[np.ndarray, np.ndarray]  # maps, (P, 17, 3) true people


def rows() -> Iterable[tuple[str, Settings]]:
    """(name, settings) of each row on the first scenes."""
    yield "reference rules", REFERENCE
    yield "ours", DEFAULT
    for name, values in CHANGES.items():
        for value in values:
            yield f"{name} {value:g}, not {getattr(DEFAULT, name):g}", replace(DEFAULT, **{name: value})


def average_precision(scenes: list[Scene], find: Callable[[np.ndarray], People], score: Any) -> float:
    """AP of the people that are found in each scene's maps."""
    found = [find(maps) for maps, _ in scenes]
    truth = [people for _, people in scenes]
    return score.coco_ap(truth, [(people.keypoints, people.scores) for people in found])[0]


def milliseconds(scenes: list[Scene], settings: Settings) -> float:
    """The median a scene, each one's best of 3."""
    times = []
    for maps, _ in scenes:
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            group(maps, COCO, settings)
            best = min(best, time.perf_counter() - start)
        times.append(1e3 * best)
    return statistics.median(times)


def table(title: str, scenes: list[Scene], named: Iterable[tuple[str, Settings]], score: Any) -> None:
    """Prints a row for each settings."""
    print(f"{title:36s}     AP       ms")
    for name, settings in named:
        ap = average_precision(scenes, partial(group, skeleton=COCO, settings=settings), score)
        print(f"{name:36s} {ap:6.3f} {milliseconds(scenes, settings):8.2f}", flush=True)


def alternatives(scenes: list[Scene], score: Any) -> None:
    """Prints a row for each step that is done otherwise."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/helpers"))
    import grouping_twin

    for name, changed in ROWS.items():
        steps = grouping_twin.Steps(**changed)
        find = partial(grouping_twin.group, skeleton=COCO, settings=DEFAULT, steps=steps)
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
        print("grouping_ablation: no reference folder given, nothing measured")
        return
    if not (args.reference / "score.py").is_file():
        parser.error(f"{args.reference} holds no score.py; give the reference folder's path")
    if not 1 <= args.scenes <= HELD_OUT:
        parser.error(f"--scenes from 1 to {HELD_OUT} expected, got {args.scenes}")
    sys.path.insert(0, str(args.reference))
    import scenes
    import score

    poses = scenes.load_poses()
    for first, named in ((0, rows()), (HELD_OUT, [("reference rules", REFERENCE), ("ours", DEFAULT)])):
        numbers = range(first, first + args.scenes)
        drawn = [scenes.make_maps(number, poses) for number in numbers]
        table(f"scenes {numbers[0]} to {numbers[-1]}", drawn, named, score)
        if first == 0:
            alternatives(drawn, score)


if __name__ == "__main__":
    main()
