"""Find and draw the people in pictures: drawn copies, and one COCO-style json."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import simplepose
from simplepose.cli import INTERRUPTED, options
from simplepose.data.samples import write_samples
from simplepose.inference import sources
from simplepose.inference.pictures import find_people, write_json, write_picture
from simplepose.inference.sources import Source
from simplepose.people import People
from simplepose.visual.drawing import draw


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="pictures, folders or patterns; none: sample pictures")
    add("--model", default="imhn_tiny", metavar="NAME_OR_PATH", help="a network that ships, or a checkpoint")
    add(
        "--output", type=Path, default=Path("output"), metavar="DIR", help="for the results (default: output)"
    )
    options.add_weights(parser)
    options.add_device(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb. Exit status 1 when a picture could not be read, 130 after Ctrl-C, else 0."""
    args = parser().parse_args(argv)
    predictor = simplepose.load(args.model, args.device, weights=args.weights)
    args.output.mkdir(parents=True, exist_ok=True)
    pictures = sources.images(args.paths or write_samples(args.output / "samples"))
    drawn = sources.output_paths(pictures, args.output)

    def keep(source: Source, image: np.ndarray, people: People) -> None:
        write_picture(drawn[source.image_id], draw(image, people, predictor.skeleton))

    run = find_people(predictor, pictures, on_found=keep)
    names = {source.image_id: source.name for source in pictures}
    write_json(
        args.output / "people.json", [{"file_name": names[row["image_id"]], **row} for row in run.rows]
    )
    print(f"{run}\ndrawn pictures and people.json are in {args.output}")
    run.raise_failure()
    if run.interrupted:
        return INTERRUPTED
    return 1 if run.unreadable else 0
