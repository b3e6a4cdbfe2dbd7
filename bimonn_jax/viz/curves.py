"""Curves of a training, and what a sweep found."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from bimonn_jax.viz.figures import lines_height, make_room, new_figure, wrapped
from bimonn_jax.viz.words import SHARE, unit, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart without colors too.
_LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
_MARKS = "os^Dv<>P"
# Inches that a line of a legend of a sweep is wide at most, and the axis of a history.
_LABEL, _PANEL = 1.8, 3.7
# Curves of so many points have marks.
_FEW = 12
_COLORS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")


def _plot_lines(
    axis: "Axes", rows: Sequence[Mapping[str, float]], names: Sequence[str], step: str
) -> None:
    styles = zip(cycle(_LINES), cycle(_COLORS), strict=False)
    points_of = {n: [(row["step"], row[n]) for row in rows if n in row] for n in names}
    is_few = max(map(len, points_of.values())) <= _FEW
    marks = cycle(_MARKS) if is_few else cycle([""])
    for name, (line, color), mark in zip(names, styles, marks, strict=False):
        x, y = zip(*points_of[name], strict=True)
        label = wrapped(words(name), _PANEL - 0.8, 7)
        style: dict[str, Any] = {"linestyle": line, "color": color, "marker": mark, "markersize": 4}
        axis.plot(x, y, label=label, **style)
    axis.set_xlabel(step)
    axis.grid(color="0.9")
    axis.margins(x=0.08)
    if is_few and len(names) == 1:
        _write_values(axis, points_of[names[0]])


def _write_values(axis: "Axes", points: Sequence[tuple[float, float]]) -> None:
    """Writes values over their points, from the last on, where they do not meet."""
    steps = [step for step, _ in points]
    least, free = 0.16 * ((max(steps) - min(steps)) or 1.0), float("inf")
    axis.margins(y=0.2)
    for step, value in reversed(points):
        if free - step >= least:
            is_long = not 0.01 <= abs(value) < 10
            text = axis.annotate(
                f"{value:.2g}" if is_long else f"{value:.3f}",
                (step, value),
                xytext=(0, 6),
                textcoords="offset points",
                fontsize=6.5,
                ha="center",
            )
            # On white: the curve may pass behind.
            text.set_bbox({"color": "white", "pad": 0.3, "alpha": 0.8})
            text.set_in_layout(False)
            free = step


def plot_history(
    rows: Sequence[Mapping[str, float]], *, title: str = "", step: str = "training step"
) -> "Figure":
    """Draws a training: loss, measures and shares of neurons over the steps, an axis for each unit.

    Curves of few points have marks, single ones of few points their values too.

    Args:
      rows: the history of `bimonn_jax.fit`: "step", "loss", names with "share" (activated
        or live neurons, of the whole network or, as NAME/LAYER, of a layer), and metrics, all
        others. Known names are written as words.
      title: over the figure.
      step: what a step is.

    Returns:
      The figure, with an axis for each unit in which something is measured.

    Raises:
      ValueError: if there is nothing to draw.
    """
    names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
    if not names:
        raise ValueError("rows must hold at least one row of a history, with a value beside step")
    panels: dict[str, list[str]] = {}
    for name in names:
        panels.setdefault(unit(name), []).append(name)
    order = sorted(panels, key=lambda label: (label == SHARE) - (label == unit("loss")))
    titled = wrapped(title, _PANEL * len(panels) - 0.2, 10)
    figure = new_figure(_PANEL * len(panels), 3.4 + lines_height([titled] if title else [], 10))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    most = max(map(len, panels.values()))
    for axis, label in zip(axes, order, strict=True):
        drawn = panels[label]
        _plot_lines(axis, rows, drawn, step)
        axis.set_ylabel(label)
        if label == SHARE:
            axis.set_ylim(-0.02, 1.02)
        is_log = label == unit("loss") and min(row["loss"] for row in rows if "loss" in row) > 0
        if is_log:
            axis.set_yscale("log")
        if len(drawn) > 1 or words(drawn[0]) != label:
            # Below: nothing is covered.
            axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.18), frameon=False,
                        handlelength=3)  # fmt: skip
    make_room(figure, 0.17 * most)
    figure.suptitle(titled, fontsize=10)
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
