"""The learning rate of one or several settings files, epoch by epoch, as a PNG."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from simplepose import config
from simplepose.cli import arguments
from simplepose.config import TrainSettings
from simplepose.training.optim import lr_at
from simplepose.visualize import plots

STEPS_PER_EPOCH = 100
"""Points drawn for each epoch: schedules count epochs, however many steps these have."""


def parser() -> arguments.Parser:
    """The verb's options."""
    parser = arguments.Parser(prog="plot-schedule", description=__doc__)
    add = parser.add_argument
    add("configs", nargs="+", metavar="CONFIG", help="settings files, for example configs/imhn4_512.yaml")
    add("--output", type=Path, default=Path("schedule.png"), metavar="FILE.png", help="what to write")
    add("--world-size", type=_processes, default=1, metavar="N", help="processes that train together")
    parser.add_set("win over every file's")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit status."""
    args = parser().parse_args(argv)
    drawn = {path: _curve(config.load(path, args.set).train, args.world_size) for path in args.configs}
    idle = [path for path, (_, rates) in drawn.items() if max(rates) == 0]
    if idle:
        raise ValueError(f"{', '.join(idle)}: a train.learning_rate above 0 expected, there is none to draw")
    plots.write_schedules(args.output, drawn, "epoch", "learning rate", log_y=True)
    print(f"{args.output}: the learning rate of {', '.join(drawn)}")
    return 0


def _curve(settings: TrainSettings, world_size: int) -> tuple[list[float], list[float]]:
    steps = range(settings.epochs * STEPS_PER_EPOCH)
    rates = [lr_at(step, STEPS_PER_EPOCH, settings, world_size) for step in steps]
    return [step / STEPS_PER_EPOCH for step in steps], rates


def _processes(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number of processes, at least 1, expected, got {text!r}")
    return int(text)
