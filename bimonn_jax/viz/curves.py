"""Curves of a training, and what a sweep found."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from bimonn_jax.viz.figures import new_figure, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart without colors too.
_LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
_MARKS = "os^Dv<>P"
# Inches that a line of a legend is wide at most.
_LABEL = 1.8
_COLORS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")


def _plot_lines(axis: "Axes", rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> None:
    styles = zip(cycle(_LINES), cycle(_COLORS), strict=False)
    for name, (line, color) in zip(names, styles, strict=False):
        points = [(row["step"], row[name]) for row in rows if name in row]
        label = wrapped(name, _LABEL, 7)
        axis.plot(*zip(*points, strict=True), linestyle=line, color=color, label=label)
    axis.set_xlabel("step")
    axis.grid(color="0.9")
    axis.legend(fontsize=7)


def plot_history(rows: Sequence[Mapping[str, float]], *, title: str = "") -> "Figure":
    """Draws a training: the loss, the metrics, and the shares of neurons, over the steps.

    Args:
      rows: the history of `bimonn_jax.fit`: "step", "loss", names with "share" (activated
        or live neurons, of the whole network or, as NAME/LAYER, of a layer), and metrics, all
        others.
      title: over the figure.

    Returns:
      The figure, with an axis for each of the three that has something to show.

    Raises:
      ValueError: if there is nothing to draw.
    """
    names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
    if not names:
        raise ValueError("rows must hold at least one row of a history, with a value beside step")
    shares = [name for name in names if "share" in name]
    metrics = [name for name in names if name != "loss" and name not in shares]
    losses = [row["loss"] for row in rows if "loss" in row]
    scale = "log" if losses and min(losses) > 0 else "linear"
    panels: list[tuple[str, list[str], dict[str, Any]]] = [
        ("loss", ["loss"] if losses else [], {"yscale": scale}),
        ("metric", metrics, {}),
        ("share of neurons", shares, {"ylim": (-0.02, 1.02)}),
    ]
    panels = [panel for panel in panels if panel[1]]
    figure = new_figure(3.7 * len(panels), 3.6)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (label, drawn, options) in zip(axes, panels, strict=True):
        _plot_lines(axis, rows, drawn)
        axis.set(ylabel=label, **options)
    figure.suptitle(wrapped(title, figure.get_figwidth() - 0.2, 10), fontsize=10)
    return figure


def plot_sweep(
    rows: Sequence[Mapping[str, Any]],
    hyperparameters: Sequence[str],
    metric: str,
    *,
    group: str | None = None,
) -> "Figure":
    """Draws the trials of a sweep: a metric against each hyperparameter.

    Args:
      rows: a mapping for each trial.
      hyperparameters: names of numbers in the rows; an axis each, logarithmic where the values are
        positive and span more than a factor of ten. Rows without one are left out there.
      metric: name of the number to draw.
      group: name of what tells groups of trials apart, by mark and color; None for one group.

    Returns:
      The figure, with an axis for each hyperparameter.

    Raises:
      ValueError: if there is nothing to draw, or a name is in no row.
    """
    if not rows or not hyperparameters:
        raise ValueError("a sweep needs rows and hyperparameters to be drawn")
    known = {name for row in rows for name in row}
    missing = {*hyperparameters, metric, *([group] if group else [])} - known
    if missing:
        raise ValueError(f"no row has {sorted(missing)}; they have {sorted(known)}")
    side = _LABEL + 0.8 if group else 0.6
    figure = new_figure(3 * len(hyperparameters) + side, 3.4)
    axes = figure.subplots(1, len(hyperparameters), squeeze=False, sharey=True)[0]
    groups = list(dict.fromkeys(row.get(group) if group else None for row in rows))
    for axis, name in zip(axes, hyperparameters, strict=True):
        drawn = []
        for index, chosen in enumerate(groups):
            points = [
                (row[name], row[metric])
                for row in rows
                if name in row and (not group or row.get(group) == chosen)
            ]
            x, y = np.array(points, float).reshape(-1, 2).T
            drawn += list(x)
            style = {"color": _COLORS[index % len(_COLORS)], "alpha": 0.7, "s": 22}
            label = wrapped(str(chosen), _LABEL, 7)
            axis.scatter(x, y, marker=_MARKS[index % len(_MARKS)], label=label, **style)
        if drawn and min(drawn) > 0 and max(drawn) > 10 * min(drawn):
            axis.set_xscale("log")
        axis.set_xlabel(wrapped(name, 2.4, 10))
        axis.grid(color="0.9")
    axes[0].set_ylabel(wrapped(metric, 1.8, 10))
    if group:
        heading = wrapped(group, _LABEL, 8)
        axes[-1].legend(
            title=heading, title_fontsize=8, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5)
        )
    return figure
