"""Compute the COCO AP of a model; for images without annotations, write a file for the COCO server.

Results are saved image by image: after an interruption, the same command continues where it stopped.
Under torchrun the processes share the images, and the last one to finish writes the results.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO as Annotations

import simplepose
from simplepose import config
from simplepose.cli import EXIT_INTERRUPTED, arguments, common, compare, resumable_run
from simplepose.cli.ap import list_annotated_images
from simplepose.cli.resumable_run import STARTUP_TIMEOUT_MINUTES, ResumableRun
from simplepose.data.split import held_out_ids
from simplepose.evaluation import coco_eval, error_analysis, map_cache, report, result_file
from simplepose.evaluation.coco_eval import MAX_PEOPLE, Row
from simplepose.evaluation.map_cache import MapCache
from simplepose.frames import BadFrame, Frame
from simplepose.inference import runner
from simplepose.inference.detectors import FileDetector
from simplepose.inference.heatmaps import Maps
from simplepose.inference.pipeline import Pipeline
from simplepose.inference.predictor import OVERRIDABLE_SECTIONS
from simplepose.inference.runner import PipelineRun
from simplepose.inference.topdown import AnyPredictor, TopDownPredictor
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton
from simplepose.sources import ImageSource, SourceOptions
from simplepose.utils import atomic, distributed, environment, malloc
from simplepose.utils.files import check_output_file, printable
from simplepose.utils.parallel import available_cores
from simplepose.utils.signals import GracefulShutdown
from simplepose.writers.append import JSON_LIST, AppendWriter
from simplepose.writers.base import ResultWriter

ROWS_PER_WRITE = 1000

DEFAULT_CACHE_GIGABYTES = 20

OUTPUTS = ("results.json", "metrics.json", "errors.json", "report.html")

# Details of a run that the report shows, if they have a value.
REPORTED_DETAILS = ("results", "model", "preset", "annotations", "subset")

UPLOAD_URL = "https://cocodataset.org/#upload"


@dataclass(frozen=True, eq=False)
class Task:
    """What is evaluated.

    Attributes:
        args: the parsed options.
        skeleton: of the results.
        truth: the annotations.
        images: entries of the evaluated images, in the order of the run.
        details: plain values for metrics.json: how the results were made.
        other: the run of `--compare-to`; None without the option.
    """

    args: argparse.Namespace
    skeleton: Skeleton
    truth: Annotations
    images: list[dict[str, Any]]
    details: dict[str, Any]
    other: report.Run | None

    @property
    def image_ids(self) -> list[int]:
        """The ids of the evaluated images."""
        return [entry["id"] for entry in self.images]


def build_parser() -> arguments.Parser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(
        prog="evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    _add_image_options(parser)
    _add_result_options(parser)
    arguments.add_max_pixels(parser)
    arguments.add_annotation_options(parser)
    common.add_model_options(parser)
    add(
        "--protocol",
        dest="preset",
        choices=config.PROTOCOLS,
        default=argparse.SUPPRESS,
        help="inference settings of published figures: --preset under its other name",
    )
    return parser


def _add_result_options(parser: arguments.Parser) -> None:
    """Add the options about results and maps in files."""
    add = parser.add_argument
    add(
        "--name",
        default="simplepose",
        help="name of the method in the file for the COCO server (default: simplepose)",
    )
    add(
        "--results",
        type=Path,
        metavar="FILE.json",
        help="validate and evaluate these results, in COCO's result format, in place of running a model",
    )
    add(
        "--compare-to",
        type=Path,
        metavar="DIR",
        help="show in report.html the differences from this output folder of evaluate for the same images",
    )
    add(
        "--all-people",
        action="store_true",
        help=f"keep all people in the result file, not only the {MAX_PEOPLE} of an image that COCO counts",
    )
    add(
        "--cache-maps",
        type=Path,
        metavar="DIR",
        help="also write the network's maps, for tune_grouping; float16, compressed",
    )
    add(
        "--cache-gigabytes",
        type=arguments.integer_at_least(1, "gigabytes"),
        default=DEFAULT_CACHE_GIGABYTES,
        metavar="N",
        help=f"maximum size of the folder of --cache-maps (default: {DEFAULT_CACHE_GIGABYTES})",
    )


def _add_image_options(parser: arguments.Parser) -> None:
    """Add the options that select images of the annotations."""
    add = parser.add_argument
    add(
        "--split",
        default="",
        metavar="WHICH",
        help="use only the images that prepare holds out with this --split: first:N, or a text file of ids",
    )
    add(
        "--subset",
        type=arguments.integer_at_least(1),
        metavar="N",
        help="use only N of these images: a fixed choice with the same mix of numbers of people",
    )
    add(
        "--limit",
        type=arguments.integer_at_least(1),
        metavar="N",
        help="use only the first N of these images",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 1 if an image could not be read, 130 after Ctrl-C or SIGTERM, else 0.
    """
    args = build_parser().parse_args(argv)
    arguments.require_image_folder(args.images)
    if not args.results:
        return _evaluate_model(args)
    with GracefulShutdown(), common.lock_output_folder(args.output):
        task = _open_task(
            args, COCO, {"results": str(args.results), **_describe_files({"results": args.results})}
        )
        rows = result_file.read_rows(args.results, task.truth, len(COCO.annotated))
        selected = set(task.image_ids)
        _remove_outputs(args)
        _write_outputs(task, [row for row in rows if row["image_id"] in selected], None)
        return 0


def _open_task(args: argparse.Namespace, skeleton: Skeleton, details: dict[str, Any]) -> Task:
    """Read the annotations and select the images."""
    options = arguments.annotation_options(args)
    truth = coco_eval.read_annotations(args.annotations, skeleton.annotated, options)
    images = truth.dataset["images"]
    image_ids = [entry["id"] for entry in images]
    if args.split:
        held_out = held_out_ids(args.split, image_ids)
        image_ids = [image_id for image_id in image_ids if image_id in held_out]
    if args.subset:
        image_ids = coco_eval.choose_subset(truth, image_ids, args.subset)
    selected = set(image_ids[: args.limit])
    entries = [entry for entry in images if entry["id"] in selected]
    other = None
    if args.compare_to:
        metrics = compare.read_metrics(
            args.compare_to, [entry["id"] for entry in entries], dataclasses.asdict(skeleton)
        )
        rows = result_file.read_rows(args.compare_to / "results.json", truth, len(skeleton.annotated))
        other = report.Run(printable(args.compare_to), rows, metrics)
    return Task(args, skeleton, truth, entries, details, other)


def _evaluate_model(args: argparse.Namespace) -> int:
    malloc.tune_malloc()
    with contextlib.ExitStack() as stack:
        with distributed.process_group(STARTUP_TIMEOUT_MINUTES) as world:
            predictor = common.load_predictor(args)
            task = _open_task(args, predictor.skeleton, _describe_run(args, predictor))
            images = _open_images(task, predictor)
            options = ("evaluate", args.runtime, args.max_pixels, str(args.cache_maps), task.image_ids)
            job = stack.enter_context(resumable_run.open_run(args, predictor, images, world, options))
            cache = _open_map_cache(task, job)
            with world.raise_on_all_ranks():
                if world.is_main:
                    _remove_outputs(args)
        stack.enter_context(GracefulShutdown())
        return _finish(task, job, _predict(task, job, cache))


def _open_images(task: Task, predictor: AnyPredictor) -> ImageSource:
    """Open the images in their stored orientation, in which they are annotated."""
    args = task.args
    if isinstance(predictor, TopDownPredictor) and isinstance(predictor.detector, FileDetector):
        predictor.detector.image_ids = {entry["file_name"]: entry["id"] for entry in task.images}
    options = SourceOptions(upright=False, readers=common.THREADS_PER_STAGE, max_pixels=args.max_pixels)
    return ImageSource(list_annotated_images(args.images, task.images), options)


def _open_map_cache(task: Task, job: ResumableRun) -> MapCache | None:
    """Open the folder of `--cache-maps`, in the main process first; None without the option."""
    folder = task.args.cache_maps
    if folder is None:
        return None
    if isinstance(job.predictor, TopDownPredictor):
        raise ValueError("--cache-maps: expected a bottom-up model without --refine")
    keys = ("sha256", "options")
    description = {key: task.details[key] for key in keys} | {
        "inference": task.details["settings"]["inference"]
    }
    cache = None
    for turn in (job.world.is_main, not job.world.is_main):
        with job.world.raise_on_all_ranks():
            if turn:
                cache = MapCache(folder, description, 1e9 * task.args.cache_gigabytes, job.world.size)
    return cache


def _predict(task: Task, job: ResumableRun, cache: MapCache | None) -> PipelineRun:
    """Find the people in the remaining images of a run."""

    def write_maps(frame: Frame, people: People, maps: Maps | None) -> np.ndarray:
        if cache is not None and maps is not None:
            cache.write(task.image_ids[frame.number], maps.values, maps.to_image)
        return frame.image

    has_cache = cache is not None
    draw = write_maps if has_cache else None  # drawn images come before their records, and so do maps
    pipeline = Pipeline(job.predictor, draw=draw, keep_maps=has_cache, threads=common.THREADS_PER_STAGE)
    with (
        job.open_writer() as records,
        runner.start_run(pipeline, job.remaining, job.world.is_main) as (results, run),
    ):
        for result in results:
            if isinstance(result, BadFrame):
                records.skip(result)
            else:
                records.write(result.frame, result.people)
    print(run)
    return run


def _finish(task: Task, job: ResumableRun, run: PipelineRun) -> int:
    """Evaluate if all images are done; returns the exit status."""
    numbers, results_path = job.images.indices, task.args.output / "results.json"
    if run.is_partial:
        if job.world.size == 1:
            job.shards.merge(
                numbers, lambda: _RowCollector(task, lambda rows, bad: _write_rows(results_path, rows))
            )
            common.log_line(
                f"wrote partial results to {results_path}; run the same command again to continue"
            )
        run.raise_failure()
        return EXIT_INTERRUPTED

    def write_outputs(rows: list[Row], bad: list[BadFrame]) -> None:
        first_error = runner.describe_bad_frame(bad[0]) if bad else ""
        common.raise_if_none_readable(len(bad), len(numbers), first_error)
        _write_outputs(task, rows, runner.build_profile(run))

    outcomes = job.shards.finish(numbers, lambda: _RowCollector(task, write_outputs))
    if outcomes is None:
        print("this process is done; others are running")
        return 0
    _report_missing_maps(task)
    return 1 if any(error is not None for error in outcomes.values()) else 0


def _report_missing_maps(task: Task) -> None:
    """Log how many of the evaluated images have no maps in the folder of `--cache-maps`."""
    folder = task.args.cache_maps
    if folder is not None and (missing := {*task.image_ids} - {*map_cache.cached_ids(folder)}):
        common.log_line(
            f"{folder}: no maps of {len(missing):,} of {len(task.images):,} images: their files cannot be "
            "read, or the folder is full (--cache-gigabytes), or files were removed"
        )


class _RowCollector(ResultWriter):
    """Collects the rows of all images, which `close` passes on.

    The partial results are kept until `close` returns: an evaluation that fails can be repeated.
    """

    def __init__(self, task: Task, finish: Callable[[list[Row], list[BadFrame]], None]) -> None:
        self._image_ids, self._finish = task.image_ids, finish
        self._rows: list[Row] = []
        self._bad: list[BadFrame] = []

    def write(self, frame: Frame, people: People) -> None:
        self._rows += people.to_coco_rows(self._image_ids[frame.number])

    def skip(self, bad: BadFrame) -> None:
        self._bad.append(bad)

    def close(self, keep: bool = True) -> None:
        if keep:
            self._finish(self._rows, self._bad)


def _write_outputs(task: Task, rows: list[Row], profile: dict[str, Any] | None) -> None:
    """Write the evaluation, or without annotations the file for COCO's server."""
    lines = result_file.describe_rows(rows, task.truth, len(task.images))
    print(lines[0])
    for line in lines[1:]:
        common.log_line(line)
    kept = rows if task.args.all_people else result_file.best_rows(rows)
    if task.truth.anns:
        _write_evaluation(task, kept, profile)
    else:
        _write_server_file(task, kept)


def _write_server_file(task: Task, rows: list[Row]) -> None:
    """Write the result file for COCO's server; validate it as it was written, then write its zip archive."""
    path = _server_file(task.args)
    _write_rows(path, rows)
    result_file.read_rows(path, task.truth, len(task.skeleton.annotated))
    archive = result_file.write_zip(path)
    sizes = [f"{printable(file)} ({file.stat().st_size / 1e6:.1f} MB)" for file in (path, archive)]
    print(common.escape_for_stdout(f"wrote {sizes[0]} and {sizes[1]}"))
    print(f"the json has no annotations, so no AP; to get AP, upload the zip file at {UPLOAD_URL}")


def _write_evaluation(task: Task, rows: list[Row], profile: dict[str, Any] | None) -> None:
    """Print AP; write metrics, results, error analysis and report."""
    args, truth, joints, image_ids = task.args, task.truth, task.skeleton, task.image_ids
    metrics = coco_eval.evaluate_rows(truth, rows, image_ids, joints.sigmas)
    if metrics["AP"] < 0:
        common.log_line("AP is -1: the images have no annotated people with keypoints")
    print(coco_eval.format_table(metrics))  # first: a full disk must not cost the figures
    groups = coco_eval.evaluate_groups(truth, rows, image_ids, joints.sigmas)
    print(coco_eval.format_groups(groups))
    values = {**task.details, "annotations": str(args.annotations), "subset": args.subset}
    skeleton = {name: getattr(joints, name) for name in ("name", "annotated", "sigmas")}
    atomic.write_json(
        args.output / "metrics.json",
        {**values, "skeleton": skeleton, "image_ids": image_ids, **metrics, "groups": groups},
    )
    _write_rows(args.output / "results.json", rows)
    flip = tuple(map(int, joints.annotated_flip))
    errors = error_analysis.analyze(truth, rows, joints.sigmas, flip, joints.annotated, image_ids)
    atomic.write_json(args.output / "errors.json", errors)
    source = {key: values.get(key) for key in REPORTED_DETAILS}
    source |= values.get("settings", {}).get("inference", {}) | values.get("options", {})
    source = {key: value for key, value in source.items() if value is not None}
    report.write_report(
        args.output / "report.html",
        truth,
        report.Run(
            " + ".join(map(str, filter(None, (args.results or args.model, args.refine)))), rows, metrics
        ),
        errors,
        args.images,
        joints,
        image_ids,
        task.other,
        profile=profile,
        settings={"simplepose": simplepose.__version__, **source},
    )
    print(f"results, errors and report.html are in {common.escape_for_stdout(printable(args.output))}")


def _describe_run(args: argparse.Namespace, predictor: AnyPredictor) -> dict[str, Any]:
    """Describe the model, its settings, and the machine; the same command gives the same values."""
    settings = {name: dataclasses.asdict(getattr(predictor.settings, name)) for name in OVERRIDABLE_SECTIONS}
    options = {name: getattr(args, name) for name in ("weights", "precision", "runtime", "stacks", "run")}
    return {
        "model": str(args.model),
        "preset": args.preset,
        "options": {**options, "device": predictor.device.type, "batch": predictor.batch},
        "settings": settings,
        **_describe_files(resumable_run.find_model_files(args, predictor)),
    }


def _describe_files(files: dict[str, Path]) -> dict[str, Any]:
    """Return the SHA-256 of files, by name, and the environment without the time."""
    machine = environment.describe(simplepose.__version__)
    del machine["started"]
    return {
        "sha256": {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in files.items()
            if path.is_file()
        },
        "environment": {**machine, "threads": available_cores()},
    }


def _remove_outputs(args: argparse.Namespace) -> None:
    """Remove the files of an earlier run."""
    server_file = _server_file(args)
    for path in (*(args.output / name for name in OUTPUTS), server_file, server_file.with_suffix(".zip")):
        check_output_file(path)
        path.unlink(missing_ok=True)


def _server_file(args: argparse.Namespace) -> Path:
    path: Path = args.output / result_file.server_file_name(args.annotations, args.name)
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
