"""COCO AP of a model on annotated pictures; of pictures without annotations, a file for COCO's server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simplepose.cli import INTERRUPTED, arguments, common
from simplepose.cli.ap import coco_rows
from simplepose.data.split import held_out
from simplepose.evaluation import coco_eval
from simplepose.inference import runner
from simplepose.sources import Source
from simplepose.utils import atomic, malloc
from simplepose.utils.signals import Ending

SERVER = "https://cocodataset.org/#upload"


def parser() -> arguments.Parser:
    """The verb's options."""
    parser = arguments.Parser(prog="evaluate", description=__doc__)
    add = parser.add_argument
    add(
        "--annotations",
        required=True,
        type=Path,
        metavar="FILE.json",
        help="person_keypoints_* or image_info_*",
    )
    add("--images", required=True, type=Path, metavar="DIR", help="the folder of its pictures")
    add("--output", required=True, type=Path, metavar="DIR", help="where results.json and metrics.json go")
    add(
        "--split",
        default="",
        metavar="WHICH",
        help="only the pictures that prepare holds out by this --split: first:N, or a text of picture ids",
    )
    add("--limit", type=arguments.count(1), metavar="N", help="only the first N of these pictures")
    add("--name", default="simplepose", help="what the file for COCO's server calls the method")
    common.add_network(parser, required=True)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb. Exit status 1 when a picture could not be read, 130 after Ctrl-C or SIGTERM, else 0."""
    args = parser().parse_args(argv)
    with Ending():
        return _evaluate(args)


def _evaluate(args: argparse.Namespace) -> int:
    arguments.require_folder_of_pictures(args.images)
    malloc.keep()
    predictor = common.load(args)
    annotations = coco_eval.read_annotations(args.annotations, predictor.skeleton.annotated)
    listed = _asked_for(annotations.dataset["images"], args.split)[: args.limit]
    pictures = [Source(args.images / image["file_name"], image["file_name"], image["id"]) for image in listed]
    results, metrics_file = args.output / "results.json", args.output / "metrics.json"
    for_server = args.output / coco_eval.server_file_name(args.annotations, args.name)
    args.output.mkdir(parents=True, exist_ok=True)
    for path in (results, metrics_file, for_server):
        path.unlink(missing_ok=True)  # an earlier run's must not lie beside this one's
    rows, run = coco_rows(predictor, pictures, common.THREADS)
    print(run)
    if run.is_part:
        atomic.write_json(results, rows)
        print(f"wrote the part that was found to {results}; no AP of a part", file=sys.stderr)
        run.raise_failure()
        return INTERRUPTED
    common.require_some(run.bad, len(pictures), runner.in_words(run.named[0]) if run.named else "")
    if annotations.anns:
        atomic.write_json(results, rows)
        metrics = coco_eval.evaluate_rows(
            annotations, rows, [image["id"] for image in listed], predictor.skeleton.sigmas
        )
        atomic.write_json(metrics_file, {"preset": args.preset, **metrics})
        print(coco_eval.table(metrics))
    else:
        atomic.write_json(for_server, rows)
        print(
            f"wrote {common.printable(str(for_server))}\nthe json has no annotations, so no AP: "
            f"zip this file and upload it at {SERVER}"
        )
    return 1 if run.bad else 0


def _asked_for(listed: list[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    """The json's pictures that the split holds out; all where there is none."""
    if not split:
        return listed
    held = held_out(split, [image["id"] for image in listed])
    return [image for image in listed if image["id"] in held]
