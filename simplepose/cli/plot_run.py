"""Plot the curves of one or more training runs: losses, AP, learning rate, throughput."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from simplepose.cli import arguments
from simplepose.training import loggers
from simplepose.training.run_dir import JOURNAL_NAME
from simplepose.utils.files import check_output_file, printable
from simplepose.visualize import plots

X_AXES = ("epoch", "step")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(prog="plot-run", description=__doc__)
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="run folders, written by train")
    add(
        "--output",
        type=Path,
        metavar="FILE.png",
        help="image to write (default: curves.png in the first run folder)",
    )
    add("--x-axis", choices=X_AXES, default="epoch", help="horizontal axis (default: epoch)")
    add(
        "--along",
        dest="x_axis",
        action=arguments.DeprecatedOption,
        choices=X_AXES,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = build_parser().parse_args(argv)
    output = args.output or args.runs[0] / "curves.png"
    check_output_file(output)
    short_names = {run.resolve().name for run in args.runs}
    names = [run.resolve().name if len(short_names) == len(args.runs) else str(run) for run in args.runs]
    runs = {}
    for name, folder in zip(names, args.runs, strict=True):
        runs[name] = loggers.read_journal(folder / JOURNAL_NAME)
        if not runs[name]:
            raise ValueError(f"{folder / JOURNAL_NAME} has no training step yet; wait for its first line")
    plots.write_runs(runs, output, args.x_axis)
    print(f"wrote {printable(output)}")
    return 0
