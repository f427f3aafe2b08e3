"""Options and helpers that the commands for images and videos share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from tqdm import tqdm

import simplepose
from simplepose import config, writers
from simplepose.cli import EXIT_INTERRUPTED, arguments
from simplepose.frames import Frame
from simplepose.inference import runner
from simplepose.inference.detectors import BottomUpDetector
from simplepose.inference.heatmaps import Maps
from simplepose.inference.pipeline import DrawFunction
from simplepose.inference.runner import PipelineRun
from simplepose.inference.topdown import AnyPredictor, TopDownPredictor
from simplepose.models import backends, run_modes
from simplepose.models.layers import DTYPES
from simplepose.people import People
from simplepose.utils import atomic
from simplepose.utils.file_lock import locked
from simplepose.utils.files import check_output_file, create_folder, printable
from simplepose.utils.parallel import available_cores
from simplepose.visualize import maps
from simplepose.visualize.drawing import draw_people

DEFAULT_MODEL = "imhn_mobile"

# Threads of each parallel pipeline stage other than the network.
THREADS_PER_STAGE = max(1, min(4, available_cores() // 4))

COLOR_MODES = ("person", "limb")


def add_model_options(parser: arguments.Parser) -> None:
    """Add the options that select a network and how it runs."""
    add = parser.add_argument
    add(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME_OR_PATH",
        help=f"name of a released model, or path of a checkpoint (default: {DEFAULT_MODEL})",
    )
    _add_top_down_options(parser)
    arguments.add_weights(parser)
    arguments.add_device(parser)
    _add_runtime_options(parser)
    add(
        "--preset",
        choices=tuple(config.PRESETS),
        default="default",
        help="named inference settings (docs/inference.md); --set overrides single values",
    )
    parser.add_set(
        "override inference.*, grouping.*, topdown.*, tracking.*, for example inference.height=256"
    )


def _add_top_down_options(parser: arguments.Parser) -> None:
    """Add the options that join a bottom-up model or a detector with a FastPose model."""
    add = parser.add_argument
    add(
        "--refine",
        metavar="NAME_OR_PATH",
        help="with a bottom-up model: a FastPose model that finds the keypoints of each "
        "person again, in a crop: more accurate, slower",
    )
    add(
        "--detector",
        metavar="NAME_OR_JSON",
        help="with a FastPose model: what finds the boxes: a bottom-up model (default: imhn_mobile), a json "
        "of detections in COCO's result format, or a network of torchvision and its weights "
        "(fasterrcnn_resnet50_fpn:FILE.pth, or :download)",
    )


def _add_runtime_options(parser: arguments.Parser) -> None:
    """Add the options of how the networks run."""
    add = parser.add_argument
    add(
        "--runtime",
        choices=get_args(backends.Runtime),
        default="auto",
        help="inference backend; auto (default): on a CPU the first installed of openvino, onnx, torch; "
        "on a GPU torch",
    )
    add(
        "--precision",
        choices=tuple(DTYPES),
        default="fp32",
        help="floating-point precision of the network (default: fp32)",
    )
    add(
        "--stacks",
        type=arguments.integer_at_least(1, "stacks"),
        metavar="N",
        help="run only the first N stacks of the network: faster, less accurate",
    )
    add(
        "--batch",
        type=arguments.integer_at_least(1),
        metavar="N",
        help="batch size in images (default: 8 on a GPU, else 1)",
    )
    add(
        "--run",
        choices=get_args(run_modes.RunMode),
        default="eager",
        help="how to run the network: eager (default), graphs (CUDA graphs, GPU only) or compile "
        "(torch.compile); the last two are slow on the first image of each shape",
    )


def load_predictor(args: argparse.Namespace) -> AnyPredictor:
    """Load the predictor that the options select; each process of a launcher uses its own GPU."""
    return simplepose.load(
        args.model,
        arguments.device_of_process(args.device),
        args.precision,
        args.set,
        weights=args.weights,
        stacks=args.stacks,
        batch=args.batch,
        run=args.run,
        preset=args.preset,
        runtime=args.runtime,
        refine=args.refine,
        detector=args.detector,
    )


def add_range_options(parser: argparse.ArgumentParser, unit: str) -> None:
    """Add the options that select frames of a source; `unit` ("image", "frame") is for the help text."""
    add = parser.add_argument
    add(
        "--start",
        type=arguments.integer_at_least(0, f"{unit}s"),
        default=0,
        metavar="N",
        help=f"index of the first {unit} (default: 0)",
    )
    add(
        "--every",
        type=arguments.integer_at_least(1, f"{unit}s"),
        default=1,
        metavar="N",
        help=f"use every N-th {unit} (default: 1)",
    )
    add(
        "--max-frames",
        type=arguments.integer_at_least(1, f"{unit}s"),
        metavar="N",
        help=f"stop after N {unit}s",
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for results and drawings."""
    add = parser.add_argument
    add(
        "--output",
        type=Path,
        default=Path("output"),
        metavar="DIR",
        help="folder for results (default: output)",
    )
    add(
        "--format",
        type=_formats,
        default=("coco",),
        metavar="NAME,...",
        help=f"result formats, one or more of {', '.join(writers.FORMATS)} (default: coco)",
    )
    add("--draw", action=argparse.BooleanOptionalAction, default=True, help="draw the detected people")
    add(
        "--colors",
        choices=COLOR_MODES,
        default="person",
        help="one color per person or per limb (default: person)",
    )
    add(
        "--colours",
        dest="colors",
        action=arguments.DeprecatedOption,
        choices=COLOR_MODES,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
    )
    add(
        "--heatmaps",
        metavar="NAME",
        help="overlay an output map of the network: a keypoint (left_wrist), a limb "
        "(left_elbow-left_wrist), keypoints, limbs or person",
    )
    add("--profile", type=output_file, metavar="FILE.json", help="write the time of each stage")


@contextmanager
def lock_output_folder(folder: Path, rank: int | None = None) -> Iterator[None]:
    """Create a folder for results and lock it against other runs.

    Args:
        folder: the output folder.
        rank: of this process in a run of several, which use the folder together; None: a run of one process.

    Raises:
        ValueError: another process writes to the folder.
        OSError: the folder cannot be created or written to.
    """
    create_folder(folder)
    in_use = (
        f"{folder}: another process is writing to this folder; wait until it ends, or use another --output"
    )
    with locked(folder / (f"lock-{rank}" if rank else "lock"), in_use):
        if rank is None:
            for path in folder.glob("lock-*"):
                with locked(path, in_use):
                    pass
        yield


def build_painter(args: argparse.Namespace, predictor: AnyPredictor) -> DrawFunction | None:
    """Build the drawing stage that the options select; None with `--no-draw`.

    Raises:
        ValueError: the predictor's skeleton has no map of the name in `--heatmaps`, or it has no maps.
    """
    if not args.draw:
        return None
    skeleton, stride = predictor.skeleton, predictor.settings.targets.stride
    if args.heatmaps:
        if isinstance(predictor, TopDownPredictor) and not isinstance(predictor.detector, BottomUpDetector):
            raise ValueError(f"--heatmaps: expected a bottom-up model or detector, got {args.detector}")
        maps.map_channels(args.heatmaps, skeleton)

    def paint(frame: Frame, people: People, output: Maps | None) -> np.ndarray:
        image = frame.image
        if output is not None:
            heatmap = maps.select_map(output.values, args.heatmaps, skeleton)
            image = maps.overlay(image, heatmap, stride, output.to_image)
        return draw_people(image, people, skeleton, args.colors)

    return paint


def raise_if_none_readable(bad: int, images: int, first_error: str) -> None:
    """Raise ValueError if no image could be read: `bad` of `images`."""
    if bad and bad == images:
        raise ValueError(f"none of the {images:,} images could be read; first error: {first_error}")


def report_run(
    args: argparse.Namespace, run: PipelineRun, message: str, bad: int, is_main: bool = True
) -> int:
    """Print the summary of a run; returns the exit status.

    Args:
        args: the parsed options.
        run: the run that ended.
        message: where the results are.
        bad: number of images in the results that could not be read.
        is_main: whether this process reports the time of each stage (one process of a launcher does).

    Raises:
        Exception: the error that ended the run.
    """
    print(escape_for_stdout(f"{runner.format_summary(run) if is_main else run}\n{message}"))
    if is_main and args.profile is not None:
        atomic.write_json(args.profile, runner.build_profile(run))
    run.raise_failure()
    if run.interrupted:
        return EXIT_INTERRUPTED
    return 1 if bad else 0


def escape_for_stdout(text: str) -> str:
    """Escape the characters that the encoding of standard output does not have."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def silence_opencv() -> None:
    """Silence the log messages of OpenCV and FFmpeg; SimplePose reports unreadable files itself."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def log_line(line: str) -> None:
    """Write a line to stderr, with control characters escaped, without breaking the progress bar."""
    tqdm.write(printable(line), file=sys.stderr)


def _formats(text: str) -> tuple[str, ...]:
    try:
        return writers.parse_formats(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def output_file(text: str) -> Path:
    """Parse the path of an output file; its folder must exist, so that the write at the end succeeds."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"expected a file in an existing folder, got {text!r}")
    try:
        check_output_file(path)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return path
