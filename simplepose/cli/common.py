"""What the verbs that look at pictures and videos have in common: options, and what is made of them."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from tqdm import tqdm

import simplepose
from simplepose import config, writers
from simplepose.cli import INTERRUPTED, arguments
from simplepose.frames import Frame
from simplepose.inference import runner
from simplepose.inference.heatmaps import Maps
from simplepose.inference.pipeline import Draw
from simplepose.inference.predictor import Predictor
from simplepose.inference.runner import Run
from simplepose.models import backends, run_modes
from simplepose.models.layers import DTYPES
from simplepose.people import People
from simplepose.skeleton import Skeleton
from simplepose.utils import atomic
from simplepose.utils.file_lock import held
from simplepose.utils.parallel import cores
from simplepose.visualize import maps
from simplepose.visualize.drawing import draw

THREADS = max(1, min(4, cores() // 4))
"""Of each step beside the network that can have several."""


def add_network(parser: arguments.Parser, required: bool = False) -> None:
    """Add what network is used, and how; `required`: it must be named."""
    add = parser.add_argument
    default = None if required else "imhn_mobile"
    told = "a network that ships, or a checkpoint" + ("" if required else f" (default: {default})")
    add("--model", required=required, default=default, metavar="NAME_OR_PATH", help=told)
    arguments.add_weights(parser)
    arguments.add_device(parser)
    add(
        "--runtime",
        choices=get_args(backends.Runtime),
        default="auto",
        help="what runs the network; auto (the default): on a CPU openvino, else onnx, where it is "
        "installed, else torch; on a GPU torch",
    )
    add(
        "--precision",
        choices=tuple(DTYPES),
        default="fp32",
        help="of the network (default: fp32)",
    )
    add(
        "--stacks",
        type=arguments.count(1, "stacks"),
        metavar="N",
        help="run only its first N stacks: faster, finds less",
    )
    add(
        "--batch", type=arguments.count(1), metavar="N", help="pictures at once (default: 8 on a GPU, else 1)"
    )
    add(
        "--run",
        choices=get_args(run_modes.Run),
        default="eager",
        help="of the network: graphs (GPU) and compile cost time at the first picture of each shape",
    )
    add(
        "--preset",
        choices=tuple(config.PRESETS),
        default="default",
        help="named inference settings, from the fastest to the most accurate; --set changes single ones",
    )
    parser.add_set("inference.*, grouping.*, tracking.*; inference.height=256 is fast")


def load(args: argparse.Namespace) -> Predictor:
    """The predictor that the options ask for; several processes on a machine share its GPUs out."""
    return simplepose.load(
        args.model,
        arguments.own_gpu(args.device),
        args.precision,
        args.set,
        weights=args.weights,
        stacks=args.stacks,
        batch=args.batch,
        run=args.run,
        preset=args.preset,
        runtime=args.runtime,
    )


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add what is made of the people found."""
    add = parser.add_argument
    add("--output", type=Path, default=Path("output"), metavar="DIR", help="for results (default: output)")
    add(
        "--format",
        type=_formats,
        default=("coco",),
        metavar="NAME,...",
        help=f"of {', '.join(writers.FORMATS)}, one or several (default: coco)",
    )
    add("--draw", action=argparse.BooleanOptionalAction, default=True, help="draw what is found")
    add("--colours", choices=("person", "limb"), default="person", help="of what is drawn (default: person)")
    add(
        "--heatmaps",
        metavar="NAME",
        help="lay the network's map of a joint or limb beneath: left_wrist, left_elbow-left_wrist, "
        "keypoints, limbs or person",
    )
    add("--profile", type=in_a_folder, metavar="FILE.json", help="write how long each step took")


def writing_to(folder: Path, shared: bool = False) -> AbstractContextManager[None]:
    """Make a folder for results, and keep out who would write there too; `shared`: but for those who share.

    Raises:
        ValueError: another process writes there.
        OSError: the folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    in_use = f"{folder}: another process writes there now; wait for its end, or name another folder"
    return held(folder / "lock", in_use, shared)


def painter(args: argparse.Namespace, skeleton: Skeleton, stride: float) -> Draw | None:
    """Draws as the options ask for; None where nothing is to be drawn.

    Raises:
        ValueError: there is no such map.
    """
    if not args.draw:
        return None
    if args.heatmaps:
        maps.channels(args.heatmaps, skeleton)

    def paint(frame: Frame, people: People, seen: Maps | None) -> np.ndarray:
        image = frame.image
        if seen is not None:
            heat = maps.named(seen.values, args.heatmaps, skeleton)
            image = maps.overlay(image, heat, stride, seen.to_picture)
        return draw(image, people, skeleton, args.colours)

    return paint


def require_some(bad: int, pictures: int, first: str) -> None:
    """Raises ValueError where none of so many pictures could be read; `first`: why not the first."""
    if bad and bad == pictures:
        raise ValueError(f"none of the {pictures:,} pictures could be read; the first: {first}")


def conclude(args: argparse.Namespace, run: Run, where: str, bad: int, is_first: bool = True) -> int:
    """Tell the end of a run; returns the exit status.

    Args:
        where: its results are.
        bad: pictures of the results that could not be read.
        is_first: of several processes, the one that tells how long each step took.

    Raises:
        Exception: what ended the run.
    """
    print(printable(f"{runner.table(run) if is_first else run}\n{where}"))
    if is_first and args.profile is not None:
        atomic.write_json(args.profile, runner.profile(run))
    run.raise_failure()
    if run.interrupted:
        return INTERRUPTED
    return 1 if bad else 0


def printable(text: str) -> str:
    """In characters that standard output takes, whatever a folder is called."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def hush_libraries() -> None:
    """Keep OpenCV and FFmpeg from saying in their own words what this program says in its own."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def tell(line: str) -> None:
    """Say a line beside the progress bar."""
    tqdm.write(line, file=sys.stderr)


def _formats(text: str) -> tuple[str, ...]:
    try:
        return writers.formats(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def in_a_folder(text: str) -> Path:
    """An argument's `type`: a file that can be written when the work is done."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"a file in a folder that is there expected, got {text!r}")
    return path
