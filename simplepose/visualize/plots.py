"""Plot learning rate schedules, and the curves of one or several training runs, into a PNG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simplepose.utils import atomic

SIZE_INCHES = (8.0, 4.5)
DOTS_PER_INCH = 120
STYLES = ("-", "--", "-.", ":")
"""Curves that lie upon each other stay visible."""


def write_schedules(
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


Line = Mapping[str, Any]
Along = Literal["epoch", "step"]

PANELS = (
    ("training loss (x: steps skipped, - -: resumed)", "step", "loss"),
    ("loss by scale", "step", "scales"),
    ("loss by stack", "step", "stacks"),
    ("validation loss", "epoch", "val_loss"),
    ("AP", "ap", "ap"),
    ("learning rate", "step", "lr"),
    ("samples / s", "step", "samples_per_second"),
    ("share of time waiting for data", "step", "data_wait"),
)
"""Title, kind of line, and value of each panel; kinds and values are those of training.journal."""

LOGARITHMIC = {"loss", "scales", "stacks", "val_loss"}


def write_runs(runs: Mapping[str, Sequence[Line]], path: Path, along: Along = "epoch") -> None:
    """Write the `figure` of some runs as a PNG."""
    canvas = FigureCanvasAgg(figure(runs, along))
    atomic.write(path, lambda temporary: canvas.print_figure(str(temporary), format="png", dpi=80))


def figure(runs: Mapping[str, Sequence[Line]], along: Along = "epoch") -> Figure:
    """A panel a value, a colour a run; what a run does not tell is left out.

    In the panel of the training loss a cross marks where steps were skipped, a dashed line where a run was
    resumed.

    Args:
        runs: each run's lines, in order and with none superseded, by the run's name.
        along: what lies on the horizontal axis.
    """
    drawn = Figure(figsize=(20, 9), layout="constrained")
    for axes, (title, kind, value) in zip(drawn.subplots(2, 4).flat, PANELS, strict=True):
        axes.set_title(title)
        axes.set_xlabel(along)
        axes.grid(alpha=0.3)
        for number, lines in enumerate(runs.values()):
            _draw_values(axes, lines, kind, value, along, f"C{number % 10}", alone=len(runs) == 1)
            if value == "loss":
                _mark_events(axes, lines, along, f"C{number % 10}")
    handles = [Line2D([], [], color=f"C{number % 10}", label=name) for number, name in enumerate(runs)]
    drawn.legend(handles=handles, loc="outside upper center", ncols=min(len(runs), 4))
    return drawn


def _draw_values(
    axes: Axes, lines: Sequence[Line], kind: str, value: str, along: Along, colour: str, alone: bool
) -> None:
    """One curve, or one for each entry where the value is a list: paler from the first to the last."""
    told = [line for line in lines if line["kind"] == kind and along in line]
    values = [line.get(value) for line in told]
    series = [entry if isinstance(entry, list) else [entry] for entry in values]
    count = max(map(len, series), default=0)
    xs = [line[along] for line in told]
    marker = "o" if kind != "step" or len(xs) == 1 else ""
    for i in range(count):
        ys = [_number(entry[i]) if i < len(entry) else math.nan for entry in series]
        look: dict[str, Any] = {"color": colour, "alpha": 1 - 0.75 * i / count}
        if alone and count > 1:
            look = {"color": colormaps["viridis"](0.9 * i / count), "label": str(i + 1)}
        if all(math.isnan(y) for y in ys):
            continue
        axes.plot(xs, ys, marker=marker, linewidth=1.2, **look)
        if alone and count > 1:
            axes.legend(fontsize="small")
        if value in LOGARITHMIC and any(y > 0 for y in ys):
            axes.set_yscale("log", nonpositive="mask")


def _mark_events(axes: Axes, lines: Sequence[Line], along: Along, colour: str) -> None:
    """Crosses where the count of skipped steps grew, dashed lines where the run was resumed."""
    skipped, here = 0, None
    for line in lines:
        here = line.get(along, here)
        if line["kind"] == "resume" and here is not None:
            axes.axvline(here, color=colour, linestyle="--", linewidth=0.8)
        if line["kind"] != "step":
            continue
        if line.get("skipped", 0) > skipped and here is not None:
            height = axes.get_xaxis_transform()  # at the panel's lower edge: the loss may be no number
            axes.plot([here], [0.02], marker="x", color=colour, transform=height, clip_on=False)
        skipped = line.get("skipped", 0)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
