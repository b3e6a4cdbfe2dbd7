"""A boolean network as a diagram: operators with their footprints, and what reads what."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bimonn_jax.deployment.circuit import Circuit, circuit_of
from bimonn_jax.networks.architecture import stage_outputs
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.viz.columns import Column, Columns, Node
from bimonn_jax.viz.figures import lines_height, new_figure, text_width, wrapped
from bimonn_jax.viz.legends import add_legend, line, operator_marks, sign
from bimonn_jax.viz.tiles import BELOW, draw_tiles, rows_of, tile_marks

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches, and at the same time units of the axes.
_BOX, _ROW, _COLUMN, _LEAST_WIDTH = 0.7, 1.25, 2.1, 4.0
# Points.
_SMALL = 8
_LINE = "0.35"
# Of lines: the thinnest, and by how much the thickest is thicker.
_THIN, _THICKER = 0.6, 2.2
_READS = {"-": "is read as it is", "--": "is read inverted", "-.": "is read both ways"}
_VOTES = {"-": "votes for the class", "--": "votes against it", "-.": "votes for and against it"}
_BY_READING = "thicker: more pixels of it are read"
_BY_DECIDING = "thicker: decides the result more often on the example"
_BY_VOTES = "thicker: more votes, or larger weights"


def _place(count: int, rows: int, row: float) -> np.ndarray:
    """Vertical positions of nodes, from the top, centered among rows of so many inches."""
    return row * ((rows - count) / 2 + np.arange(count) + 0.5)


def _draw_node(axis: "Axes", column: Column, node: int, x: float, y: float) -> float:
    """Draws a node centered at (x, y); returns half of its width."""
    tiles, label = column.pictures[node], column.labels[node]
    if not tiles:
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "black"}
        label = wrapped(label, _COLUMN - 0.6, 9)
        axis.text(x, y, label, ha="center", va="center", fontsize=9, bbox=box, zorder=3)
        return 0.06 + text_width(max(label.split("\n"), key=len), 9) / 2
    width, height = draw_tiles(axis, tiles, (x, y), (_COLUMN - 0.5, _BOX))
    label = wrapped(f"{label}{column.notes[node]}", _COLUMN - 0.3, _SMALL)
    above = axis.text(x, y - height / 2 - 0.03, label, fontsize=_SMALL, zorder=4)
    above.set(ha="center", va="bottom")
    return width / 2


def _edges(column: Column, reader: int) -> list[tuple[Node, str, float]]:
    """What a node reads: the node, the style and the width of a line."""
    weights, found = column.weights[reader], []
    highest = float(weights.max(initial=0)) or 1.0
    for source, node in enumerate(column.sources):
        plain, inverted = column.reads[reader, source]
        if plain + inverted:
            style = "-" if not inverted else "--" if not plain else "-."
            found.append((node, style, _THIN + _THICKER * float(weights[source]) / highest))
    return found


def _activities(
    network: BooleanNetwork, circuit: Circuit, x: np.ndarray | None
) -> list[np.ndarray] | None:
    """How often each channel of the input and of each stage is set on examples."""
    if x is None:
        return None
    circuit.check_batch(x)
    passed = stage_outputs(network.architecture, network.params, x)
    outputs = [np.asarray(x), *(np.asarray(output) for _, output in passed)]
    return [o.reshape(-1, o.shape[-1]).mean(axis=0) for o in outputs]


def columns_of(
    network: BooleanNetwork,
    input_shape: Sequence[int],
    x: np.ndarray | None,
    max_neurons: int | None,
) -> Columns:
    """The columns of a network's diagram, see `plot_network`."""
    if max_neurons is not None and max_neurons < 1:
        raise ValueError(f"max_neurons must be at least 1, or None for all; got {max_neurons}")
    circuit = circuit_of(network.architecture, network.params, tuple(input_shape))
    return Columns(circuit, _activities(network, circuit, x), max_neurons)


def plot_network(
    network: BooleanNetwork,
    input_shape: Sequence[int],
    *,
    x: np.ndarray | None = None,
    max_neurons: int | None = 8,
) -> "Figure":
    """Draws a boolean network from left to right: a column for each stage, a box for each neuron.

    A neuron over a window is drawn as its footprint: black pixels are read (must be set, for an
    erosion), blue ones are read inverted (must be clear), gray ones are not read. One over the
    channels of a pixel is drawn as its sign: ∪ or ∩, or 5 / 9 for at least 5 of 9. Each channel
    that a window reads is a tile of its own, over its name. Lines lead to what reads it; dashed
    ones where it is read inverted. A legend says what every color, line and sign means that is
    drawn. Neurons that nothing reads are left out. Of stages with more than ``max_neurons`` neurons
    those are drawn that are read most, and their number is said.

    Args:
      network: the network; `bimonn_jax.simplify` it first, for less to read.
      input_shape: of one input, (H, W, C) or (n,).
      x: examples, (N, *input_shape): a line is then the thicker the more often its source decides
        its reader, being set before a union or clear before an intersection, and by both before
        what lies between; else by how many of the inputs of its reader it has.
      max_neurons: neurons to draw of each stage, and the first three channels of each; None for
        all of both.

    Returns:
      The figure.

    Raises:
      ValueError: if the network does not take the shape, or ``max_neurons`` is less than 1.
      TypeError: if the network's parameters are real-valued.
    """
    found = columns_of(network, input_shape, x, max_neurons)
    columns = found.columns
    rows = max(len(column.drawn) for column in columns)
    names = [wrapped(_heading(column), _COLUMN - 0.2, _SMALL) for column in columns]
    above = lines_height(names, _SMALL) + 0.25
    # Higher where a neuron has more tiles than stand side by side.
    most = max((rows_of(c.pictures[node]) for c in columns for node in c.drawn), default=1)
    row = _ROW + (_BOX + BELOW) * max(most - 1, 0)
    body = max(_COLUMN * len(columns), _LEAST_WIDTH), above + row * rows
    figure = new_figure(*body, layout=None)
    below = add_legend(figure, _marks(found, x is not None))
    figure.set_size_inches(body[0], body[1] + below)
    axis = figure.add_axes((0, below / (body[1] + below), 1, body[1] / (body[1] + below)))
    axis.set_axis_off()
    ends: dict[Node, tuple[float, float]] = {}
    for index, (column, name) in enumerate(zip(columns, names, strict=True)):
        at_x = _COLUMN * index
        for node, y in zip(column.drawn, _place(len(column.drawn), rows, row), strict=True):
            half = _draw_node(axis, column, node, at_x, y)
            for source, style, width in _edges(column, node):
                if source in ends:
                    (x0, y0), x1 = ends[source], at_x - half
                    options: dict[str, Any] = {"color": _LINE, "linewidth": width, "zorder": 1}
                    axis.plot([x0, x1], [y0, y], style, label="edge", **options)
            ends[index, node] = (at_x + half, y)
        axis.text(at_x, -0.12, name, ha="center", va="bottom", fontsize=_SMALL, color="0.3")
    middle = _COLUMN * (len(columns) - 1) / 2
    axis.set(
        xlim=(middle - body[0] / 2, middle + body[0] / 2), ylim=(row * rows, -above), aspect="auto"
    )
    return figure


def _heading(column: Column) -> str:
    count, drawn = len(column.labels), len(column.drawn)
    shown = f"{drawn} of {count} are shown" if drawn < count else ""
    return "\n".join(filter(None, [column.name, column.path, shown]))


def _marks(found: Columns, is_by_deciding: bool) -> list["Artist"]:
    """The legend: the tiles, signs and lines that are drawn."""
    tiles, columns = found.tiles, found.columns
    marks = tile_marks(tiles)
    marks += operator_marks(c.operators[node] for c in columns for node in c.drawn)
    if any(tile.name.isdigit() for tile in tiles):
        marks.append(sign("0", "number below pixels: which channel they are of"))
    if found.circuit.thresholds:
        marks.append(sign("x ≥ t", "where the input is at least t"))
    return marks + _edge_marks(found, is_by_deciding)


def _edge_marks(found: Columns, is_by_deciding: bool) -> list["Artist"]:
    """The legend of the lines: their styles, and their widths where these differ."""
    columns = found.columns
    marks: list[Artist] = []
    # Of lines to neurons, and of those to classes.
    for meanings in (_READS, _VOTES):
        drawn = {
            (style, round(width, 3))
            for index, column in enumerate(columns)
            for reader in column.drawn
            for (of, node), style, width in _edges(column, reader)
            if node in columns[of].drawn
            and (found.circuit.head is not None and index == len(columns) - 1)
            == (meanings is _VOTES)
        }
        styles = [style for style in meanings if style in {style for style, _ in drawn}]
        marks += [line(meanings[style], style, color=_LINE, linewidth=1.4) for style in styles]
        if len({width for _, width in drawn}) > 1:
            by_reading = _BY_DECIDING if is_by_deciding else _BY_READING
            meaning = _BY_VOTES if meanings is _VOTES else by_reading
            thick: dict[str, Any] = {"color": _LINE, "linewidth": _THIN + _THICKER}
            marks.append(line(meaning, styles[0], **thick))
    return marks
