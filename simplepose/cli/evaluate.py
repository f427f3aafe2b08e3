"""Compute the COCO AP of a model; for images without annotations, write a file for the COCO server."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO as Annotations

import simplepose
from simplepose.cli import EXIT_INTERRUPTED, arguments, common
from simplepose.cli.ap import list_annotated_images, predict_coco_rows
from simplepose.data.split import held_out_ids
from simplepose.evaluation import coco_eval, error_analysis, report
from simplepose.inference import runner
from simplepose.inference.detectors import FileDetector
from simplepose.inference.runner import PipelineRun
from simplepose.inference.topdown import AnyPredictor, TopDownPredictor
from simplepose.skeleton import COCO, Skeleton
from simplepose.utils import atomic, malloc
from simplepose.utils.files import check_output_file, create_folder, printable
from simplepose.utils.signals import GracefulShutdown
from simplepose.writers.append import JSON_LIST, AppendWriter

ROWS_PER_WRITE = 1000

OUTPUTS = ("results.json", "metrics.json", "errors.json", "report.html")

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
    add(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder for results.json, metrics.json, errors.json and report.html",
    )
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
    add(
        "--results",
        type=Path,
        metavar="FILE.json",
        help="evaluate these results, in COCO's result format, in place of running a model",
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
    predictor = None if args.results else common.load_predictor(args)
    joints = COCO if predictor is None else predictor.skeleton
    annotations = coco_eval.read_annotations(
        args.annotations, joints.annotated, arguments.annotation_options(args)
    )
    image_entries = _select_images(annotations.dataset["images"], args.split)[: args.limit]
    create_folder(args.output)
    for path in (*(args.output / name for name in OUTPUTS), _server_file(args)):
        check_output_file(path)
        path.unlink(missing_ok=True)  # files of an earlier run
    if predictor is None:
        rows, run = coco_eval.read_rows(args.results, annotations, len(joints.annotated)), None
        selected = {entry["id"] for entry in image_entries}
        rows = [row for row in rows if row["image_id"] in selected]
    else:
        rows, run = _predict(args, predictor, image_entries)
        if run.is_partial:
            _write_rows(args.output / "results.json", rows)
            common.log_line(f"wrote partial results to {args.output / 'results.json'}; AP needs all images")
            run.raise_failure()
            return EXIT_INTERRUPTED
    if annotations.anns:
        _write_evaluation(args, joints, annotations, [entry["id"] for entry in image_entries], rows, run)
    else:
        _write_rows(_server_file(args), rows)
        print(
            f"wrote {common.escape_for_stdout(printable(_server_file(args)))}\n"
            f"the json has no annotations, so no AP; to get AP, zip this file and upload it at {UPLOAD_URL}"
        )
    return 1 if run is not None and run.bad else 0


def _predict(
    args: argparse.Namespace, predictor: AnyPredictor, image_entries: list[dict[str, Any]]
) -> tuple[list[coco_eval.Row], PipelineRun]:
    """Run the model on the images and print the times."""
    if isinstance(predictor, TopDownPredictor) and isinstance(predictor.detector, FileDetector):
        predictor.detector.image_ids = {entry["file_name"]: entry["id"] for entry in image_entries}
    images = list_annotated_images(args.images, image_entries)
    rows, run = predict_coco_rows(predictor, images, common.THREADS_PER_STAGE, max_pixels=args.max_pixels)
    print(run)
    if not run.is_partial:
        first_error = runner.describe_bad_frame(run.first_bad_frames[0]) if run.first_bad_frames else ""
        common.raise_if_none_readable(run.bad, len(images), first_error)
    return rows, run


def _write_evaluation(
    args: argparse.Namespace,
    joints: Skeleton,
    annotations: Annotations,
    image_ids: list[int],
    rows: list[coco_eval.Row],
    run: PipelineRun | None,
) -> None:
    """Print AP; write metrics, results, error analysis and report."""
    metrics = coco_eval.evaluate_rows(annotations, rows, image_ids, joints.sigmas)
    if metrics["AP"] < 0:
        common.log_line("AP is -1: the images have no annotated people with keypoints")
    print(coco_eval.format_table(metrics))  # first: a full disk must not cost the figures
    source = (
        {"results": str(args.results)} if run is None else {"model": str(args.model), "preset": args.preset}
    )
    details = {**source, "annotations": str(args.annotations), "image_ids": image_ids}
    atomic.write_json(args.output / "metrics.json", {**details, **metrics})
    _write_rows(args.output / "results.json", rows)
    flip = tuple(map(int, joints.annotated_flip))
    errors = error_analysis.analyze(annotations, rows, joints.sigmas, flip, joints.annotated, image_ids)
    atomic.write_json(args.output / "errors.json", errors)
    name = str(args.results if run is None else args.model)
    report.write_report(
        args.output / "report.html",
        annotations,
        report.Run(name, rows, metrics),
        errors,
        args.images,
        joints,
        image_ids,
        profile=None if run is None else runner.build_profile(run),
        settings={"simplepose": simplepose.__version__, **source, "annotations": str(args.annotations)},
    )
    print(f"results, errors and report.html are in {common.escape_for_stdout(printable(args.output))}")


def _server_file(args: argparse.Namespace) -> Path:
    path: Path = args.output / coco_eval.server_file_name(args.annotations, args.name)
    return path


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
