"""Draw the curves of one or several runs: losses, AP, learning rate, speed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from simplepose.training import loggers
from simplepose.training.run_dir import JOURNAL
from simplepose.visualize import plots


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    parser = argparse.ArgumentParser(prog="plot-run", description=__doc__)
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs, as train writes them")
    add("--output", type=Path, metavar="FILE.png", help="default: curves.png in the first run's folder")
    add("--along", choices=["epoch", "step"], default="epoch", help="the horizontal axis (default: epoch)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit status."""
    args = parser().parse_args(argv)
    short = {run.resolve().name for run in args.runs}
    names = [run.resolve().name if len(short) == len(args.runs) else str(run) for run in args.runs]
    runs = {}
    for name, folder in zip(names, args.runs, strict=True):
        runs[name] = loggers.read(folder / JOURNAL)
        if not runs[name]:
            raise ValueError(f"{folder / JOURNAL} tells of no step yet; wait for its first line")
    output = args.output or args.runs[0] / "curves.png"
    plots.write_runs(runs, output, args.along)
    print(f"wrote {output}")
    return 0
