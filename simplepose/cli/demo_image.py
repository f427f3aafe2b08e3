"""Detect and draw the people in images; write drawn images and results in the selected formats.

Results are saved image by image: after an interruption, the same command continues where it stopped.
Under torchrun the processes share the images, and the last one to finish writes the results.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Sequence

from simplepose.cli import arguments, common, resumable_run
from simplepose.cli.resumable_run import MAX_SHEET_IMAGES, STARTUP_TIMEOUT_MINUTES, ResumableRun
from simplepose.frames import BadFrame
from simplepose.inference import runner
from simplepose.inference.pipeline import Pipeline
from simplepose.inference.runner import PipelineRun
from simplepose.sources import ImageSource, SourceOptions, open_source
from simplepose.synthetic.demo_images import write_demo_images
from simplepose.utils import distributed, malloc
from simplepose.utils.distributed import World
from simplepose.utils.signals import GracefulShutdown


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
    common.add_range_options(parser, "image")
    arguments.add_max_pixels(parser)
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
            options = (args.draw, args.colors, args.heatmaps)
            job = stack.enter_context(resumable_run.open_run(args, predictor, images, world, options))
        shutdown = stack.enter_context(GracefulShutdown())
        return job.finish(process_images(job, shutdown))


def process_images(job: ResumableRun, shutdown: GracefulShutdown) -> PipelineRun:
    """Find the people in the remaining images of a run, and write results and drawn images."""
    args, predictor = job.args, job.predictor
    draw = common.build_painter(args, predictor)
    pipeline = Pipeline(
        predictor, draw=draw, keep_maps=args.heatmaps is not None, threads=common.THREADS_PER_STAGE
    )
    drawn_images = job.open_drawn_images() if args.draw else None
    with (
        job.open_writer() as records,
        runner.start_run(pipeline, job.remaining, job.world.is_main) as (results, run),
    ):
        for result in results:
            with shutdown.uninterrupted():
                if isinstance(result, BadFrame):
                    records.skip(result)
                    continue
                if drawn_images is not None and result.visualization is not None:
                    drawn_images.write(result.frame, result.visualization)
                records.write(result.frame, result.people)  # last: an image with a record counts as done
    return run


def _open_images(args: argparse.Namespace, world: World) -> ImageSource:
    paths = args.paths
    if not paths:  # one process writes the samples, so that all processes use the same files
        paths = world.broadcast(write_demo_images(args.output / "samples") if world.is_main else [])
    options = SourceOptions(
        args.start,
        args.every,
        args.max_frames,
        readers=common.THREADS_PER_STAGE,
        max_pixels=args.max_pixels,
    )
    source = open_source(paths, options, common.log_line if world.is_main else lambda line: None)
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
