"""The curves of one or several runs in one picture, from the lines of their journals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from simplepose import atomic

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


def draw(runs: Mapping[str, Sequence[Line]], path: Path, along: Along = "epoch") -> None:
    """Write a PNG: a panel a value, a colour a run; what a run does not tell is left out.

    In the panel of the training loss a cross marks where steps were skipped, a dashed line where a run was
    resumed.

    Args:
        runs: each run's lines, in order and with none superseded, by the run's name.
        along: what lies on the horizontal axis.
    """
    figure = Figure(figsize=(20, 9), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for axes, (title, kind, value) in zip(figure.subplots(2, 4).flat, PANELS, strict=True):
        axes.set_title(title)
        axes.set_xlabel(along)
        axes.grid(alpha=0.3)
        for number, lines in enumerate(runs.values()):
            _draw_values(axes, lines, kind, value, along, f"C{number % 10}", alone=len(runs) == 1)
            if value == "loss":
                _mark_events(axes, lines, along, f"C{number % 10}")
        if value in LOGARITHMIC and axes.lines:
            axes.set_yscale("log", nonpositive="mask")
    handles = [figure.axes[0].plot([], [], color=f"C{i % 10}", label=name)[0] for i, name in enumerate(runs)]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(runs), 4))
    atomic.write(path, lambda temporary: canvas.print_figure(str(temporary), format="png", dpi=80))


def _draw_values(
    axes: Axes, lines: Sequence[Line], kind: str, value: str, along: Along, colour: str, alone: bool
) -> None:
    """One curve, or one for each entry where the value is a list: paler from the first to the last."""
    told = [line for line in lines if line["kind"] == kind and along in line]
    series = [line.get(value) for line in told]
    count = max((len(entry) for entry in series if isinstance(entry, list)), default=0)
    if not any(entry is not None for entry in series):
        return
    xs = [line[along] for line in told]
    marker = "o" if kind != "step" or len(xs) == 1 else ""
    if count == 0:
        axes.plot(xs, [_number(entry) for entry in series], color=colour, marker=marker, linewidth=1.2)
    for i in range(count):
        ys = [_number(entry[i]) if entry and i < len(entry) else float("nan") for entry in series]
        look: dict[str, Any] = {"color": colour, "alpha": 1 - 0.75 * i / count}
        if alone:
            look = {"color": colormaps["viridis"](0.9 * i / count), "label": str(i + 1)}
        axes.plot(xs, ys, marker=marker, linewidth=1.2, **look)
    if count and alone:
        axes.legend(fontsize="small")


def _mark_events(axes: Axes, lines: Sequence[Line], along: Along, colour: str) -> None:
    """Crosses where the count of skipped steps grew, dashed lines where the run was resumed."""
    skipped, here = 0, None
    for line in lines:
        if line["kind"] == "resume" and here is not None:
            axes.axvline(here, color=colour, linestyle="--", linewidth=0.8)
        here = line.get(along, here)
        if line["kind"] != "step":
            continue
        if line.get("skipped", 0) > skipped and here is not None:
            height = axes.get_xaxis_transform()  # at the panel's lower edge: the loss may be no number
            axes.plot([here], [0.02], marker="x", color=colour, transform=height, clip_on=False)
        skipped = line.get("skipped", 0)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
