"""Plot the learning rate of one or more settings files over the epochs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from simplepose import config
from simplepose.cli import arguments
from simplepose.config import TrainSettings
from simplepose.training.optim import learning_rate_at
from simplepose.utils.files import check_output_file, printable
from simplepose.visualize import plots

# Plotted points per epoch. A schedule counts epochs, so the number of steps in an epoch does not matter.
POINTS_PER_EPOCH = 100


def build_parser() -> arguments.Parser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(prog="plot-schedule", description=__doc__)
    add = parser.add_argument
    add("configs", nargs="+", metavar="CONFIG", help="settings files, for example configs/imhn4_512.yaml")
    add(
        "--output",
        type=Path,
        default=Path("schedule.png"),
        metavar="FILE.png",
        help="image to write (default: schedule.png)",
    )
    add(
        "--world-size",
        type=_processes,
        default=1,
        metavar="N",
        help="number of training processes (default: 1)",
    )
    parser.add_set("override values of every settings file")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = build_parser().parse_args(argv)
    check_output_file(args.output)
    curves = {path: _curve(config.load(path, args.set).train, args.world_size) for path in args.configs}
    zero = [path for path, (_, rates) in curves.items() if max(rates) == 0]
    if zero:
        raise ValueError(f"{', '.join(zero)}: expected train.learning_rate > 0, got 0")
    plots.write_schedules(args.output, curves, "epoch", "learning rate", log_y=True)
    print(printable(f"{args.output}: learning rate of {', '.join(curves)}"))
    return 0


def _curve(settings: TrainSettings, world_size: int) -> tuple[list[float], list[float]]:
    steps = range(settings.epochs * POINTS_PER_EPOCH)
    rates = [learning_rate_at(step, POINTS_PER_EPOCH, settings, world_size) for step in steps]
    return [step / POINTS_PER_EPOCH for step in steps], rates


def _processes(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer >= 1 (processes), got {text!r}")
    return int(text)
