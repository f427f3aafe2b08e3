"""Compute the COCO AP of a model; for images without annotations, write a file for the COCO server."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simplepose.cli import EXIT_INTERRUPTED, arguments, common
from simplepose.cli.ap import list_annotated_images, predict_coco_rows
from simplepose.data.split import held_out_ids
from simplepose.evaluation import coco_eval
from simplepose.inference import runner
from simplepose.inference.detectors import FileDetector
from simplepose.inference.topdown import TopDownPredictor
from simplepose.utils import atomic, malloc
from simplepose.utils.files import check_output_file, create_folder, printable
from simplepose.utils.signals import GracefulShutdown
from simplepose.writers.append import JSON_LIST, AppendWriter

ROWS_PER_WRITE = 1000

UPLOAD_URL = "https://cocodataset.org/#upload"


def build_parser() -> arguments.Parser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(prog="evaluate", description=__doc__)
    add = parser.add_argument
    add(
        "--annotations",
        required=True,
        type=Path,
        metavar="FILE.json",
        help="COCO annotations, person_keypoints_*.json or image_info_*.json",
    )
    add("--images", required=True, type=Path, metavar="DIR", help="folder of the images")
    add("--output", required=True, type=Path, metavar="DIR", help="folder for results.json and metrics.json")
    add(
        "--split",
        default="",
        metavar="WHICH",
        help="use only the images that prepare holds out with this --split: first:N, or a text file of ids",
    )
    add(
        "--limit",
        type=arguments.integer_at_least(1),
        metavar="N",
        help="use only the first N of these images",
    )
    add(
        "--name",
        default="simplepose",
        help="name of the method in the file for the COCO server (default: simplepose)",
    )
    arguments.add_max_pixels(parser)
    arguments.add_annotation_options(parser)
    common.add_model_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 1 if an image could not be read, 130 after Ctrl-C or SIGTERM, else 0.
    """
    args = build_parser().parse_args(argv)
    with GracefulShutdown():
        return _evaluate(args)


def _evaluate(args: argparse.Namespace) -> int:
    arguments.require_image_folder(args.images)
    malloc.tune_malloc()
    predictor = common.load_predictor(args)
    options = arguments.annotation_options(args)
    annotations = coco_eval.read_annotations(args.annotations, predictor.skeleton.annotated, options)
    image_entries = _select_images(annotations.dataset["images"], args.split)[: args.limit]
    if isinstance(predictor, TopDownPredictor) and isinstance(predictor.detector, FileDetector):
        predictor.detector.image_ids = {entry["file_name"]: entry["id"] for entry in image_entries}
    images = list_annotated_images(args.images, image_entries)
    results_file, metrics_file = args.output / "results.json", args.output / "metrics.json"
    server_file = args.output / coco_eval.server_file_name(args.annotations, args.name)
    create_folder(args.output)
    for path in (results_file, metrics_file, server_file):
        check_output_file(path)
        path.unlink(missing_ok=True)  # files of an earlier run
    rows, run = predict_coco_rows(predictor, images, common.THREADS_PER_STAGE, max_pixels=args.max_pixels)
    print(run)
    if run.is_partial:
        _write_rows(results_file, rows)
        common.log_line(f"wrote partial results to {results_file}; AP needs all images")
        run.raise_failure()
        return EXIT_INTERRUPTED
    common.raise_if_none_readable(
        run.bad,
        len(images),
        runner.describe_bad_frame(run.first_bad_frames[0]) if run.first_bad_frames else "",
    )
    if annotations.anns:
        metrics = coco_eval.evaluate_rows(
            annotations, rows, [image["id"] for image in image_entries], predictor.skeleton.sigmas
        )
        print(coco_eval.format_table(metrics))  # first: a full disk must not cost the figures
        atomic.write_json(metrics_file, {"preset": args.preset, **metrics})
        _write_rows(results_file, rows)
    else:
        _write_rows(server_file, rows)
        print(
            f"wrote {common.escape_for_stdout(printable(server_file))}\n"
            f"the json has no annotations, so no AP; to get AP, zip this file and upload it at {UPLOAD_URL}"
        )
    return 1 if run.bad else 0


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as a JSON list. If the disk is full, the file keeps the rows that fit.

    Raises:
        OSError: not all rows could be written; names the file.
    """
    file = AppendWriter(path, *JSON_LIST)
    try:
        for start in range(0, len(rows), ROWS_PER_WRITE):
            file.add(*(json.dumps(row).encode() for row in rows[start : start + ROWS_PER_WRITE]))
    finally:
        file.close()


def _select_images(image_entries: list[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    """Select the json's images that the split holds out; all images if `split` is empty."""
    if not split:
        return image_entries
    held_out = held_out_ids(split, [image["id"] for image in image_entries])
    return [image for image in image_entries if image["id"] in held_out]
