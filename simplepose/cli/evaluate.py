"""COCO AP of a model on annotated pictures; of pictures without annotations, a file for COCO's server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

import simplepose
from simplepose.cli import INTERRUPTED
from simplepose.evaluation import coco
from simplepose.inference.pictures import Run, find_people, write_json
from simplepose.inference.sources import Source

SERVER = "https://cocodataset.org/#upload"


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__)
    add = parser.add_argument
    add("--model", required=True, metavar="NAME_OR_PATH", help="a network that ships, or a checkpoint")
    add(
        "--annotations",
        required=True,
        type=Path,
        metavar="FILE.json",
        help="person_keypoints_* or image_info_*",
    )
    add("--images", required=True, type=Path, metavar="DIR", help="the folder of its pictures")
    add("--output", required=True, type=Path, metavar="DIR", help="where results.json and metrics.json go")
    add("--limit", type=_count, metavar="N", help="only the first N pictures that the json lists")
    add("--name", default="simplepose", help="what the file for COCO's server calls the method")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="inference.*, grouping.*")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb. Exit status 1 when a picture could not be read, 130 after Ctrl-C, else 0."""
    args = parser().parse_args(argv)
    annotations = coco.read_annotations(args.annotations)
    if not args.images.is_dir():
        raise FileNotFoundError(
            f"no folder of pictures at {args.images}; COCO's is expected, see data/README.md"
        )
    listed = annotations.dataset["images"][: args.limit]
    pictures = [Source(args.images / image["file_name"], image["file_name"], image["id"]) for image in listed]
    predictor = simplepose.load(args.model, args.device, settings_overrides=args.set)
    args.output.mkdir(parents=True, exist_ok=True)
    run = find_people(predictor, pictures, upright=False)
    print(run)
    if run.interrupted:
        _write_part(args.output, run)
        return INTERRUPTED
    if annotations.anns:
        metrics = coco.evaluate_rows(
            annotations, run.rows, [image["id"] for image in listed], predictor.skeleton.sigmas
        )
        write_json(args.output / "results.json", run.rows)
        write_json(args.output / "metrics.json", metrics)
        print(coco.table(metrics))
    else:
        path = args.output / coco.server_file_name(args.annotations, args.name)
        write_json(path, run.rows)
        print(f"wrote {path}\nthe json has no annotations, so no AP: zip this file and upload it at {SERVER}")
    return 1 if run.unreadable else 0


def _write_part(folder: Path, run: Run) -> None:
    (folder / "metrics.json").unlink(missing_ok=True)  # an earlier run's, not of these results
    write_json(folder / "results.json", run.rows)
    print(f"wrote the part that was found to {folder / 'results.json'}; no AP of a part", file=sys.stderr)


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"a number of pictures, at least 1, is expected, got {text!r}")
    return int(text)
