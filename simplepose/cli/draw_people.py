"""Draw people: pictures and a COCO json of their joints and masks, to prepare, train and evaluate on."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from simplepose.cli import arguments
from simplepose.synthetic import backdrops, coco_export, poses
from simplepose.synthetic.backdrops import Backdrop, PictureFolder
from simplepose.synthetic.figures import Figure
from simplepose.synthetic.poses import PoseFile
from simplepose.synthetic.scenes import Scene, draw_scene


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    parser = argparse.ArgumentParser(prog="draw-people", description=__doc__)
    add = parser.add_argument
    add("--count", type=arguments.count(1), required=True, metavar="N", help="how many pictures")
    add("--output", type=Path, required=True, metavar="DIR", help="for person_keypoints.json and images/")
    add(
        "--people",
        type=arguments.count(0, "people"),
        nargs="+",
        default=[0, 8],
        metavar="P",
        help="in each picture; two numbers: from the first to the second (default: 0 8)",
    )
    add(
        "--size",
        type=arguments.count(1, "pixels"),
        nargs=2,
        default=(512, 512),
        metavar=("HEIGHT", "WIDTH"),
        help="pixels (default: 512 512)",
    )
    add(
        "--poses", type=Path, metavar="FILE", help="COCO json or .npz of (P, 17, 3); default: drawn by chance"
    )
    add("--backgrounds", type=Path, metavar="DIR", help="pictures that show nobody; default: drawn too")
    add("--seed", type=int, default=0, help="another seed, other pictures (default: 0)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit status."""
    args = parser().parse_args(argv)
    if len(args.people) > 2 or args.people != sorted(args.people):
        raise ValueError(f"--people: one number, or the least and the most, expected, got {args.people}")
    figure = PoseFile(args.poses) if args.poses else poses.draw_figure
    backdrop = PictureFolder(args.backgrounds) if args.backgrounds else backdrops.draw_backdrop
    scenes = _scenes(args, figure, backdrop)
    shown = tqdm(scenes, total=args.count, desc=f"drawing {args.output.name}", unit=" pictures")
    written = coco_export.write_coco(args.output, shown)
    print(
        f"wrote {args.count:,} pictures to {written.parent / coco_export.IMAGES} "
        f"and their people to {written}"
    )
    return 0


def _scenes(
    args: argparse.Namespace, figure: Callable[[np.random.Generator], Figure], backdrop: Backdrop
) -> Iterator[Scene]:
    """The pictures; each one depends on the seed and its number alone."""
    for number in range(args.count):
        rng = np.random.default_rng([args.seed, number])
        people = int(rng.integers(args.people[0], args.people[-1], endpoint=True))
        yield draw_scene(rng, tuple(args.size), people, figure, backdrop)
