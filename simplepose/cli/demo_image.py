"""Detect and draw the people in images; write drawn images and results in the selected formats.

Results are saved image by image: after an interruption, the same command continues where it stopped.
Under torchrun the processes share the images, and the last one to finish writes the results.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simplepose import config, writers
from simplepose.cli import arguments, common
from simplepose.frames import BadFrame, Frame
from simplepose.inference import runner
from simplepose.inference.pipeline import FrameResult, Pipeline
from simplepose.inference.predictor import Predictor, find_model
from simplepose.inference.runner import PipelineRun, format_count
from simplepose.people import People
from simplepose.sources import ImageSource, SourceOptions, open_source, read_image
from simplepose.synthetic.demo_images import write_demo_images
from simplepose.utils import distributed, malloc
from simplepose.utils.distributed import World
from simplepose.utils.signals import GracefulShutdown
from simplepose.visualize.drawing import contact_sheet
from simplepose.writers.base import MultiWriter, ResultWriter
from simplepose.writers.drawn_images import ImageFolderWriter, write_image
from simplepose.writers.naming import FileNames
from simplepose.writers.shards import Shards

MAX_SHEET_IMAGES = 60  # images on a contact sheet
STARTUP_TIMEOUT_MINUTES = 10.0  # how long the processes of torchrun wait for each other at the start


def build_parser() -> arguments.Parser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(
        prog="demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "paths",
        nargs="*",
        metavar="PATH",
        help="images, folders, glob patterns or lists (@list.txt); default: sample images",
    )
    add(
        "--start",
        type=arguments.integer_at_least(0),
        default=0,
        metavar="N",
        help="index of the first image (default: 0)",
    )
    add(
        "--every",
        type=arguments.integer_at_least(1),
        default=1,
        metavar="N",
        help="use every N-th image (default: 1)",
    )
    add("--max-frames", type=arguments.integer_at_least(1), metavar="N", help="stop after N images")
    common.add_output_options(parser)
    add(
        "--contact-sheet",
        action="store_true",
        help=f"also write a contact sheet of the first {MAX_SHEET_IMAGES} drawn images "
        "(always written for the sample images)",
    )
    common.add_model_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 1 if an image could not be read, 130 after Ctrl-C, else 0. With several processes,
        the one that writes the results reports the unreadable images of all of them.
    """
    args = build_parser().parse_args(argv)
    if args.contact_sheet and not args.draw:
        raise ValueError("--contact-sheet: expected drawn images, got --no-draw; leave one of them out")
    args.contact_sheet |= not args.paths
    malloc.tune_malloc()
    common.silence_opencv()
    with contextlib.ExitStack() as stack:
        with distributed.process_group(STARTUP_TIMEOUT_MINUTES) as world:
            predictor, images = common.load_predictor(args), _open_images(args, world)
            shards = _open_shards(args, predictor, images, world, stack)
            remaining = _remaining_images(shards, images, world)
            world.all_gather([None])  # every process has listed the finished images before one can finish
        shutdown = stack.enter_context(GracefulShutdown())
        run = _run(args, predictor, images, shards, remaining, world, shutdown)
        return _finish(args, predictor, images, shards, run, world)


def _open_images(args: argparse.Namespace, world: World) -> ImageSource:
    paths = args.paths
    if not paths:  # one process writes the samples, so that all processes use the same files
        paths = world.broadcast(write_demo_images(args.output / "samples") if world.is_main else [])
    options = SourceOptions(args.start, args.every, args.max_frames, readers=common.THREADS_PER_STAGE)
    source = open_source(paths, options, common.log_line)
    if not isinstance(source, ImageSource):
        source.close()
        raise ValueError(f"{source.name}: expected images, got a video, camera or stream; use demo_video")
    folders = {os.path.abspath(image.path.parent) for image in source.images}
    if world.is_main and args.draw and os.path.abspath(args.output) in folders:
        common.log_line(
            f"{args.output}: the output folder contains input images; drawn images are written next to them, "
            "and the next run would read both; use another --output"
        )
    return source


def _open_shards(
    args: argparse.Namespace,
    predictor: Predictor,
    images: ImageSource,
    world: World,
    stack: contextlib.ExitStack,
) -> Shards:
    """Lock the output folder and open the partial results of all processes; `stack` closes both."""
    fingerprint = _run_fingerprint(args, predictor, images)
    shards: Shards | None = None
    for turn in (world.is_main, not world.is_main):  # the main process removes stale files first
        with world.raise_on_all_ranks():
            if turn:
                stack.enter_context(common.lock_output_folder(args.output, world.rank))
                shards = Shards(args.output / "parts", fingerprint, world.rank, predictor.skeleton)
                stack.callback(shards.close)
    assert shards is not None
    return shards


def _run_fingerprint(args: argparse.Namespace, predictor: Predictor, images: ImageSource) -> dict[str, Any]:
    """Everything that the results depend on: images, model, settings and options."""
    image_hash = hashlib.sha256()
    for image in images.images:
        image_hash.update(repr((image.name, *_file_state(image.path))).encode())
    model = find_model(args.model)
    options = (args.weights, args.precision, args.stacks, args.draw, args.colours, args.heatmaps)
    return {
        "pictures": image_hash.hexdigest(),
        "model": [str(model.resolve()), *_file_state(model)],
        "settings": config.to_text(predictor.settings),
        "options": options,
    }


def _file_state(path: Path) -> tuple[int, int]:
    """Size and modification time (ns) of a file; zeros if it does not exist."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return 0, 0
    return state.st_size, state.st_mtime_ns


def _remaining_images(shards: Shards, images: ImageSource, world: World) -> ImageSource:
    """This process's share of the images, without those that an earlier run finished."""
    done = shards.completed()
    if world.is_main and shards.replaced_other_run:
        common.log_line("discarded the partial results of a run with other images or settings")
    done_count = sum(index in done for index in images.indices)
    if world.is_main and done_count:
        common.log_line(f"{done_count:,} images are already done; resuming")
    return images.subset([i for i in images.indices[world.rank :: world.size] if i not in done])


def _run(
    args: argparse.Namespace,
    predictor: Predictor,
    images: ImageSource,
    shards: Shards,
    remaining: ImageSource,
    world: World,
    shutdown: GracefulShutdown,
) -> PipelineRun:
    stride = predictor.settings.targets.stride
    paint = common.build_painter(args, predictor.skeleton, stride)
    pipeline = Pipeline(predictor, None, paint, args.heatmaps is not None, common.THREADS_PER_STAGE)
    drawn_images = _drawn_image_writer(args, images) if paint else None
    with shards.open_writer() as records:

        def write(result: FrameResult) -> None:
            if drawn_images is not None and result.visualization is not None:
                drawn_images.write(result.frame, result.visualization)
            records.write(result.frame, result.people)  # last: an image with a record counts as done

        return runner.run(
            pipeline,
            remaining,
            shutdown.uninterrupted(write),
            shutdown.uninterrupted(records.skip),
            show_progress=world.is_main,
        )


def _drawn_image_writer(args: argparse.Namespace, images: ImageSource) -> ImageFolderWriter:
    return ImageFolderWriter(args.output, [image.path for image in images.images])


class _PeopleCounter(ResultWriter):
    """Counts the people of the first images, for the captions of a contact sheet.

    Attributes:
        counts: number of people by image number; unreadable images are left out.
    """

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def write(self, frame: Frame, people: People) -> None:
        if len(self.counts) < MAX_SHEET_IMAGES:
            self.counts[frame.number] = len(people)

    def skip(self, bad: BadFrame) -> None:
        """Do nothing: an unreadable image is not on the sheet."""

    def close(self, keep: bool = True) -> None:
        """Do nothing: no file is open."""


def _write_contact_sheet(
    args: argparse.Namespace, images: ImageSource, counts: Mapping[int, int]
) -> Path | None:
    """Write a contact sheet of drawn images.

    Args:
        args: the parsed options.
        images: all images of the run.
        counts: number of people by image number in `images`.

    Returns:
        The path of the sheet; None if no image was drawn.
    """
    if not (args.contact_sheet and args.draw and counts):
        return None
    count_of = {images.images[number]: count for number, count in counts.items()}
    writer = _drawn_image_writer(args, images)
    files = [writer.output_path(source.path) for source in count_of]
    captions = [f"{format_count(count, 'people')} - {source.name}" for source, count in count_of.items()]
    taken = [*files, *(source.path for source in images.images)]
    path = FileNames(args.output, ".png", taken).image_path(Path("contact_sheet"), ".png")
    write_image(path, contact_sheet(map(read_image, files), captions))
    return path


def _finish(
    args: argparse.Namespace,
    predictor: Predictor,
    images: ImageSource,
    shards: Shards,
    run: PipelineRun,
    world: World,
) -> int:
    """Merge the partial results if this process is the last; returns the exit status."""
    people_counter = _PeopleCounter()

    def open_results() -> ResultWriter:
        return MultiWriter(
            [writers.open_writers(args.format, args.output, predictor.skeleton), people_counter]
        )

    outcomes, bad, sheet = None, 0, None
    if not run.is_partial:
        outcomes = shards.finish(images.indices, open_results)
        message = f"results are in {args.output}" if outcomes else "this process is done; others are running"
    elif world.size == 1:
        shards.merge(images.indices, open_results)
        message = f"partial results are in {args.output}; run the same command again to continue"
    else:
        message = "run the same command again to continue"
    if outcomes:  # the process that writes the results reports for all: torchrun ends all if one fails
        errors = [error for error in outcomes.values() if error is not None]
        bad = len(errors)
        common.raise_if_none_readable(bad, len(outcomes), errors[0] if errors else "")
        sheet = _write_contact_sheet(args, images, people_counter.counts)
    message += f"\ncontact sheet: {sheet}" if sheet else ""
    return common.report_run(args, run, message, bad, world.is_main)
