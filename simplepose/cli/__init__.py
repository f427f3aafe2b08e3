"""The command line: one module per command, each with `main(argv) -> exit status`."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Sequence

from simplepose.utils.files import printable

# Command name: (module in simplepose.cli, one line of help).
COMMANDS: dict[str, tuple[str, str]] = {
    "prepare": ("prepare_coco", "convert COCO images and annotations to one HDF5 file of training samples"),
    "train": ("train", "train a network on HDF5 files of training samples"),
    "train-distributed": ("train_distributed", "train in several processes, started by torchrun"),
    "evaluate": ("evaluate", "compute the COCO AP of a model, or write the zip file for the COCO server"),
    "compare": ("compare", "compare two evaluations: differences of AP, and the images that changed most"),
    "evaluate-tracking": (
        "evaluate_tracking",
        "compute MOTA, IDF1, id switches and HOTA of MOT and PoseTrack files",
    ),
    "tune-grouping": ("tune_grouping", "compare settings of the grouping on cached maps"),
    "demo": ("demo_image", "detect and draw the people in images"),
    "demo-video": ("demo_video", "detect, track and draw the people in a video, camera or stream"),
    "benchmark": ("benchmark", "measure the latency of each stage and the throughput by batch size"),
    "plot-run": ("plot_run", "plot the curves of one or more training runs"),
    "plot-schedule": ("plot_schedule", "plot the learning rate schedule of settings files"),
    "draw-people": ("draw_people", "generate a dataset of synthetic people in COCO format"),
    "draw-targets": ("draw_targets", "draw training samples with their masks, joints and target maps"),
    "shrink-encoder": ("shrink_encoder", "shrink MoveNet's encoder for a small FastPose"),
    "convert": ("convert_checkpoint", "convert between published checkpoints and safetensors"),
}

EXIT_INTERRUPTED = 130  # exit status after Ctrl-C: 128 + SIGINT, as shells report it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the installed program: `simplepose COMMAND ...`; returns the exit status."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print("usage: simplepose COMMAND ... (simplepose COMMAND --help shows its options)\n")
        print("\n".join(f"  {command:19}{help_line}" for command, (_, help_line) in COMMANDS.items()))
        return 0 if args else 2
    if args[0] not in COMMANDS:
        print(
            f"simplepose: unknown command {args[0]!r}; expected one of {', '.join(COMMANDS)}", file=sys.stderr
        )
        return 2
    module = importlib.import_module(f"simplepose.cli.{COMMANDS[args[0]][0]}")
    return run_command(module.main, args[1:])


class _EscapingHandler(logging.Handler):
    """Prints log messages to stderr, with control characters of file names escaped."""

    def emit(self, record: logging.LogRecord) -> None:
        print(printable(self.format(record)), file=sys.stderr)


def configure_logging(level: int) -> None:
    """Print the log messages of this level and above to stderr, one line each."""
    logging.basicConfig(handlers=[_EscapingHandler()], format="%(message)s")
    logging.getLogger().setLevel(level)


def run_command(command: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a command's `main`; returns the exit status.

    A ValueError or OSError, which the user can correct, becomes one line on stderr and exit status 2.
    """
    configure_logging(logging.WARNING)
    try:
        return command(argv)
    except (ValueError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
