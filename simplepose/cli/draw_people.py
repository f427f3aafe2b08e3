"""Generate images of synthetic people, with a COCO json of their keypoints and masks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from simplepose import image_io
from simplepose.cli import arguments
from simplepose.synthetic import backdrops, coco_export, poses
from simplepose.synthetic.backdrops import Backdrop, BackgroundFolder
from simplepose.synthetic.figures import Figure
from simplepose.synthetic.poses import PoseFile
from simplepose.synthetic.scenes import Scene, draw_scene
from simplepose.utils.files import printable


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(prog="draw-people", description=__doc__)
    add = parser.add_argument
    add("--count", type=arguments.integer_at_least(1), required=True, metavar="N", help="number of images")
    add(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for person_keypoints.json and images/",
    )
    add(
        "--people",
        type=arguments.integer_at_least(0, "people"),
        nargs="+",
        default=[0, 8],
        metavar="P",
        help="people per image: one number, or minimum and maximum (default: 0 8)",
    )
    add(
        "--size",
        type=arguments.integer_at_least(1, "pixels"),
        nargs=2,
        default=(512, 512),
        metavar=("HEIGHT", "WIDTH"),
        help="image size in pixels (default: 512 512)",
    )
    add(
        "--poses",
        type=Path,
        metavar="FILE",
        help="poses to use: a COCO json, or .npz of (P, 17, 3); default: random poses",
    )
    add(
        "--backgrounds",
        type=Path,
        metavar="DIR",
        help="folder of images without people; default: synthetic backgrounds",
    )
    add("--seed", type=int, default=0, help="random seed (default: 0)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = build_parser().parse_args(argv)
    if len(args.people) > 2 or args.people != sorted(args.people):
        raise ValueError(f"--people: expected one number, or a minimum and a maximum, got {args.people}")
    coco_export.create_output(args.output)
    figure = PoseFile(args.poses) if args.poses else poses.sample_figure
    backdrop = BackgroundFolder(args.backgrounds) if args.backgrounds else backdrops.draw_backdrop
    if isinstance(backdrop, BackgroundFolder) and backdrop.others:
        tqdm.write(printable(image_io.describe_others(args.backgrounds, backdrop.others)), sys.stderr)
    scenes = _scenes(args, figure, backdrop)
    progress = tqdm(scenes, total=args.count, desc=f"drawing {printable(args.output.name)}", unit=" images")
    written = coco_export.write_coco(args.output, progress)
    print(
        f"wrote {args.count:,} images to {printable(written.parent / coco_export.IMAGES_FOLDER)} "
        f"and their annotations to {printable(written)}"
    )
    return 0


def _scenes(
    args: argparse.Namespace, figure: Callable[[np.random.Generator], Figure], backdrop: Backdrop
) -> Iterator[Scene]:
    """Generate the scenes; each one depends only on the seed and its index."""
    for index in range(args.count):
        rng = np.random.default_rng([args.seed, index])
        people = int(rng.integers(args.people[0], args.people[-1], endpoint=True))
        yield draw_scene(rng, tuple(args.size), people, figure, backdrop)
