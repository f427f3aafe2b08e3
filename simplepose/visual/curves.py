"""Curves drawn into a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from simplepose import atomic

SIZE_INCHES = (8.0, 4.5)
DOTS_PER_INCH = 120
STYLES = ("-", "--", "-.", ":")
"""Curves that lie upon each other stay visible."""


def write(
    path: str | Path,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    log_y: bool = False,
) -> None:
    """Draw curves over one pair of axes.

    Args:
        path: of the PNG, written whole or not at all.
        curves: label -> x and y, of the same length; on a logarithmic axis a y of 0 is left out.
        x_label: name and unit of x.
        y_label: name and unit of y.
        log_y: whether the y axis is logarithmic.
    """
    figure = Figure(SIZE_INCHES, DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (label, (x, y)) in enumerate(curves.items()):
        axes.plot(x, y, STYLES[number % len(STYLES)], label=label)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if log_y:
        axes.set_yscale("log", nonpositive="mask")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    atomic.write(path, lambda temporary: figure.savefig(temporary, format="png"))
