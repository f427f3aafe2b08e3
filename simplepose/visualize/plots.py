"""Plot learning rate schedules, and the curves of one or several training runs, as PNG files."""

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

# Different line styles keep overlapping curves visible.
LINE_STYLES = ("-", "--", "-.", ":")


def write_schedules(
    path: str | Path,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    log_y: bool = False,
) -> None:
    """Plot curves over one pair of axes.

    Args:
        path: of the PNG, which is written atomically.
        curves: label -> x and y of equal length; a y of 0 is not drawn on a logarithmic axis.
        x_label: name and unit of x.
        y_label: name and unit of y.
        log_y: whether the y axis is logarithmic.
    """
    figure = Figure(SIZE_INCHES, DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, (label, (x, y)) in enumerate(curves.items()):
        axes.plot(x, y, LINE_STYLES[index % len(LINE_STYLES)], label=label)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if log_y:
        axes.set_yscale("log", nonpositive="mask")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    atomic.write(path, lambda temporary: figure.savefig(temporary, format="png"))


JournalLine = Mapping[str, Any]
XAxis = Literal["epoch", "step"]

# Title, line kind and key of each panel; kinds and keys are those of training.journal.
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

# Keys with a logarithmic y axis.
LOG_SCALE_KEYS = {"loss", "scales", "stacks", "val_loss"}


def write_runs(runs: Mapping[str, Sequence[JournalLine]], path: Path, x_axis: XAxis = "epoch") -> None:
    """Write the figure of `build_figure` as a PNG."""
    canvas = FigureCanvasAgg(build_figure(runs, x_axis))
    atomic.write(path, lambda temporary: canvas.print_figure(str(temporary), format="png", dpi=80))


def build_figure(runs: Mapping[str, Sequence[JournalLine]], x_axis: XAxis = "epoch") -> Figure:
    """Plot one panel per value, with one color per run. Values that a run lacks are not drawn.

    In the panel of the training loss, a cross marks skipped steps and a dashed line marks where a run was
    resumed.

    Args:
        runs: run name -> its journal lines in order, without superseded ones.
        x_axis: quantity on the horizontal axis.
    """
    figure = Figure(figsize=(20, 9), layout="constrained")
    for axes, (title, kind, key) in zip(figure.subplots(2, 4).flat, PANELS, strict=True):
        axes.set_title(title)
        axes.set_xlabel(x_axis)
        axes.grid(alpha=0.3)
        for index, lines in enumerate(runs.values()):
            _plot_values(axes, lines, kind, key, x_axis, f"C{index % 10}", single_run=len(runs) == 1)
            if key == "loss":
                _mark_events(axes, lines, x_axis, f"C{index % 10}")
    handles = [Line2D([], [], color=f"C{index % 10}", label=name) for index, name in enumerate(runs)]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(runs), 4))
    return figure


def _plot_values(
    axes: Axes,
    lines: Sequence[JournalLine],
    kind: str,
    key: str,
    x_axis: XAxis,
    color: str,
    single_run: bool,
) -> None:
    """Plot one curve, or one per element if the value is a list: paler from the first to the last."""
    selected = [line for line in lines if line["kind"] == kind and x_axis in line]
    values = [line.get(key) for line in selected]
    series = [value if isinstance(value, list) else [value] for value in values]
    count = max(map(len, series), default=0)
    xs = [line[x_axis] for line in selected]
    marker = "o" if kind != "step" or len(xs) == 1 else ""
    for i in range(count):
        ys = [_to_float(elements[i]) if i < len(elements) else math.nan for elements in series]
        style: dict[str, Any] = {"color": color, "alpha": 1 - 0.75 * i / count}
        if single_run and count > 1:
            style = {"color": colormaps["viridis"](0.9 * i / count), "label": str(i + 1)}
        if all(math.isnan(y) for y in ys):
            continue
        axes.plot(xs, ys, marker=marker, linewidth=1.2, **style)
        if single_run and count > 1:
            axes.legend(fontsize="small")
        if key in LOG_SCALE_KEYS and any(y > 0 for y in ys):
            axes.set_yscale("log", nonpositive="mask")


def _mark_events(axes: Axes, lines: Sequence[JournalLine], x_axis: XAxis, color: str) -> None:
    """Draw a cross where the number of skipped steps grew, and a dashed line where the run was resumed."""
    skipped, x = 0, None
    for line in lines:
        x = line.get(x_axis, x)
        if line["kind"] == "resume" and x is not None:
            axes.axvline(x, color=color, linestyle="--", linewidth=0.8)
        if line["kind"] != "step":
            continue
        if line.get("skipped", 0) > skipped and x is not None:
            transform = axes.get_xaxis_transform()  # at the panel's lower edge: the loss may be NaN
            axes.plot([x], [0.02], marker="x", color=color, transform=transform, clip_on=False)
        skipped = line.get("skipped", 0)


def _to_float(value: float | None) -> float:
    return math.nan if value is None else value
