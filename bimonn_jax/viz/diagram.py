"""A boolean network as a diagram: operators with their footprints, and what reads what."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bimonn_jax.deployment.circuit import (
    Circuit,
    Flatten,
    Gates,
    Linear,
    Shape,
    Thresholds,
    Votes,
    circuit_of,
)
from bimonn_jax.deployment.describe import title
from bimonn_jax.networks.architecture import stage_outputs
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.viz.figures import SYMBOLS, lines_height, new_figure, symbol, text_width, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PIXELS = "pixels: dark is read, white is read as its complement (must be clear), gray is not read"
_LINES = "lines: dashed where the complement is read, or a vote against a class; dash-dotted: both"
_BY_READING = "thicker: more of a neuron's inputs"
_BY_DECIDING = "thicker: decides its reader more often on the example"
_MOST_CHANNELS = 3
# Inches, and at the same time units of the axes.
_BOX, _ROW, _COLUMN, _GAP = 0.62, 1.15, 2.0, 0.08
# Points.
_SMALL, _LEGEND, _TINY = 8, 7, 6
# Read as its complement, not read, read.
_READ = ("white", "0.75", "0.1")


# The name of a channel, and what is read of it: (height, width).
_Tile = tuple[str, np.ndarray]


@dataclass
class _Column:
    """The nodes of one stage, and the edges that lead to them.

    Attributes:
      name: of the stage.
      labels: of all nodes.
      pictures: of all nodes, a tile for each channel that is drawn, with its name; none for nodes
        that have no picture.
      reads: by reader and source, literals that read it as it is and inverted; int (nodes,
        sources, 2).
      weights: float (nodes, sources), thickness of the edges before scaling.
    """

    name: str
    labels: list[str]
    pictures: list[list[_Tile]]
    reads: np.ndarray
    weights: np.ndarray
    drawn: list[int] = field(default_factory=list)


def _picture(gates: Gates, gate: int, flattened: Shape | None, names: Sequence[str]) -> list[_Tile]:
    """The footprint of a gate, a tile for each channel: 1 where a bit must be set, -1 where clear.

    Gates over the pixels of a flattened image are drawn on that image, others that read one
    position not at all.
    """
    literals, inverted = gates.literals_of(gate)
    sign = np.where(inverted, -1.0, 1.0)
    row, column, channel = literals.T
    (height, width), channels = gates.window, gates.channels
    if gates.window == (1, 1):
        if flattened is None or flattened[:2] == (1, 1):
            return []
        height, width, channels = flattened
        row, column = channel // (width * channels), channel // channels % width
        channel = channel % channels
    used = np.unique(channel)[:_MOST_CHANNELS]
    tiles = []
    for each in used if len(used) else [0]:
        tile = np.zeros((height, width))
        mine = channel == each
        np.add.at(tile, (row[mine], column[mine]), sign[mine])
        tiles.append((names[each] if channels > 1 else "", tile))
    return tiles


def _label(gates: Gates, gate: int) -> str:
    """Sign and number, and how many channels are read where not all are drawn."""
    literals, _ = gates.literals_of(gate)
    channels = len(np.unique(literals[:, 2]))
    more = f", {_MOST_CHANNELS} of {channels} channels"
    is_cut = gates.window != (1, 1) and channels > _MOST_CHANNELS
    return f"{symbol(title(gates, gate))} {gate}{more if is_cut else ''}"


def _reads(gates: Gates, sources: int) -> np.ndarray:
    counts = np.zeros((len(gates), sources, 2), int)
    gate = np.repeat(np.arange(len(gates)), np.diff(gates.starts))
    # Features that were flattened are counted by the channel that they came from.
    np.add.at(counts, (gate, gates.literals[:, 2] % sources, gates.is_inverted.astype(int)), 1)
    return counts


def _gates_column(
    gates: Gates, names: Sequence[str], flattened: Shape | None, activity: np.ndarray | None
) -> _Column:
    reads = _reads(gates, len(names))
    weights = reads.sum(axis=2).astype(float)
    if activity is not None:
        # A union is decided by what is set, an intersection by what is clear.
        set_share = np.stack([activity, 1 - activity], axis=-1)
        deciding = np.where(gates.is_erosion[:, None, None], 1 - set_share, set_share)
        weights = np.max(np.where(reads > 0, deciding, 0.0), axis=2)
    return _Column(
        gates.name,
        [_label(gates, g) for g in range(len(gates))],
        [_picture(gates, g, flattened, names) for g in range(len(gates))],
        reads,
        weights,
    )


def _head_column(stage: Votes | Linear, sources: int) -> _Column:
    signed = (
        np.stack([stage.positive, stage.negative], axis=-1)
        if isinstance(stage, Votes)
        else np.stack([stage.kernel > 0, stage.kernel < 0], axis=-1)
    )
    classes = signed.shape[1]
    counts, weights = np.zeros((classes, sources, 2), int), np.zeros((classes, sources))
    size = signed.sum(axis=-1) if isinstance(stage, Votes) else np.abs(stage.kernel)
    for feature, votes in enumerate(signed.astype(int)):
        counts[:, feature % sources] += votes
        weights[:, feature % sources] += size[feature]
    labels = [f"class {c}" for c in range(classes)]
    name = "votes" if isinstance(stage, Votes) else "real head"
    return _Column(name, labels, [[]] * classes, counts, weights)


def _columns(circuit: Circuit, activities: Sequence[np.ndarray] | None) -> list[_Column]:
    inputs = circuit.shapes[0][2]
    labels = [f"x {c}" if inputs > 1 else "x" for c in range(inputs)]
    first = activities[0] if activities else None
    stages = list(zip(circuit.stages, circuit.shapes[:-1], strict=True))
    thresholds = circuit.thresholds
    if isinstance(thresholds, Thresholds):
        labels = [f"{labels[c]} ≥ {t:.4g}" for c, row in enumerate(thresholds.values) for t in row]
        first = activities[1] if activities else None
        stages = stages[1:]
    count = len(labels)
    columns = [
        _Column("input", labels, [[]] * count, np.zeros((count, 0, 2), int), np.zeros((count, 0)))
    ]
    activity, flattened = first, None
    offset = len(circuit.stages) - len(stages)
    for index, (stage, shape) in enumerate(stages):
        if isinstance(stage, Flatten):
            flattened = flattened or shape
            continue
        sources = (flattened or shape)[2]
        if isinstance(stage, Gates):
            # What the last column calls its channels.
            names = labels if len(columns) == 1 else [str(c) for c in range(sources)]
            columns.append(_gates_column(stage, names, flattened, activity))
        elif isinstance(stage, Votes | Linear):
            columns.append(_head_column(stage, sources))
        activity = activities[offset + index + 1] if activities else None
        flattened = None
    return columns


def _choose(columns: list[_Column], max_neurons: int) -> None:
    """Marks what is drawn: of each column the nodes that those drawn behind it read most."""
    columns[-1].drawn = list(range(min(max_neurons, len(columns[-1].labels))))
    for column, behind in zip(columns[-2::-1], columns[:0:-1], strict=True):
        read = behind.weights[behind.drawn].sum(axis=0)
        literals = behind.reads[behind.drawn].sum(axis=(0, 2))
        order = np.lexsort((-read, literals == 0))
        chosen = [int(i) for i in order[:max_neurons] if literals[i]]
        column.drawn = sorted(chosen)


def _place(count: int, rows: int) -> np.ndarray:
    """Vertical positions of nodes, from the top, centred among ``rows`` rows."""
    return _ROW * ((rows - count) / 2 + np.arange(count) + 0.5)


def _draw_node(axis: "Axes", column: _Column, node: int, x: float, y: float) -> float:
    """Draws a node centred at (x, y); returns half of its width."""
    tiles, label = column.pictures[node], column.labels[node]
    if not tiles:
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "black"}
        label = wrapped(label, _COLUMN - 0.6, 9)
        axis.text(x, y, label, ha="center", va="center", fontsize=9, bbox=box, zorder=3)
        return 0.06 + text_width(max(label.split("\n"), key=len), 9) / 2
    from matplotlib.colors import ListedColormap

    height, width = tiles[0][1].shape
    gaps = (len(tiles) - 1) * _GAP
    pixel = min(_BOX / height, (_COLUMN - 0.6 - gaps) / (width * len(tiles)))
    half_width: float = (len(tiles) * width * pixel + gaps) / 2
    top, bottom, left = y - height * pixel / 2, y + height * pixel / 2, x - half_width
    for name, tile in tiles:
        right = left + width * pixel
        axis.imshow(
            tile,
            cmap=ListedColormap(_READ),
            vmin=-1,
            vmax=1,
            extent=(left, right, bottom, top),
            interpolation="nearest",
            zorder=3,
            origin="upper",
        )
        frame_x, frame_y = [left, right, right, left, left], [bottom, bottom, top, top, bottom]
        axis.plot(frame_x, frame_y, color="black", linewidth=0.8, zorder=4)
        if name and tile.any():
            # On white: lines may pass behind.
            below = axis.text((left + right) / 2, bottom + 0.02, name, fontsize=_TINY, zorder=4)
            below.set(ha="center", va="top", bbox={"color": "white", "pad": 0.2})
        left = right + _GAP
    axis.text(x, top - 0.03, label, ha="center", va="bottom", fontsize=_SMALL, zorder=4)
    return half_width


def _draw_edges(
    axis: "Axes", column: _Column, start: dict[int, tuple[float, float]], reader: int,
    end: tuple[float, float],
) -> None:  # fmt: skip
    weights, reads = column.weights[reader], column.reads[reader]
    highest = max((weights[s] for s in start), default=0.0) or 1.0
    for source, (x, y) in start.items():
        plain, inverted = reads[source]
        if not plain + inverted:
            continue
        style = "-" if not inverted else "--" if not plain else "-."
        width = 0.6 + 2.2 * weights[source] / highest
        axis.plot([x, end[0]], [y, end[1]], style, color="0.35", linewidth=width, zorder=1)


def plot_network(
    network: BooleanNetwork,
    input_shape: Sequence[int],
    *,
    x: np.ndarray | None = None,
    max_neurons: int = 8,
) -> "Figure":
    """Draws a boolean network from left to right: a column for each stage, a box for each neuron.

    A neuron over a window is drawn as its footprint: dark pixels are read (must be set, for an
    erosion), white ones are read as their complement (must be clear), gray ones are not read. One
    over the channels of a pixel is drawn as its sign: ∪ or ∩. Of the channels of a window that are
    read the first three are drawn, each in a frame over its name.
    Lines lead to what reads it; dashed ones where the complement is read. Neurons that nothing
    reads are left out. Of stages with more than ``most`` neurons those are drawn that the next
    stage reads most, and their number is said.

    Args:
      network: the network; `bimonn_jax.simplify` it first, for less to read.
      input_shape: of one input, (H, W, C) or (n,).
      x: examples, (N, *input_shape): a line is then the thicker the more often its source decides
        its reader, being set before a union or clear before an intersection; else by how many of
        the inputs of its reader it has.
      max_neurons: neurons to draw of each stage.

    Returns:
      The figure.

    Raises:
      ValueError: if the network does not take the shape.
      TypeError: if the network's parameters are real-valued.
    """
    circuit = circuit_of(network.architecture, network.params, tuple(input_shape))
    activities = None
    if x is not None:
        circuit.check_batch(x)
        passed = stage_outputs(network.architecture, network.params, x)
        outputs = [np.asarray(x), *(np.asarray(output) for _, output in passed)]
        activities = [o.reshape(-1, o.shape[-1]).mean(axis=0) for o in outputs]
    columns = _columns(circuit, activities)
    _choose(columns, max_neurons)
    rows = max(len(column.drawn) for column in columns)
    width, height = _COLUMN * len(columns), _ROW * rows
    legend = wrapped(_legend(columns, x is not None), width - 0.2, _LEGEND)
    names = [wrapped(_column_name(column), _COLUMN - 0.2, _SMALL) for column in columns]
    above, below = lines_height(names, _SMALL) + 0.2, lines_height([legend], _LEGEND) + 0.2
    figure = new_figure(width, above + height + below)
    axis = figure.subplots()
    before: dict[int, tuple[float, float]] = {}
    for index, (column, name) in enumerate(zip(columns, names, strict=True)):
        at_x, ends = _COLUMN * index, {}
        for node, y in zip(column.drawn, _place(len(column.drawn), rows), strict=True):
            half = _draw_node(axis, column, node, at_x, y)
            _draw_edges(axis, column, before, node, (at_x - half, y))
            ends[node] = (at_x + half, y)
        axis.text(at_x, -0.1, name, ha="center", va="bottom", fontsize=_SMALL, color="0.3")
        before = ends
    axis.set(
        xlim=(-0.5 * _COLUMN, _COLUMN * (len(columns) - 0.5)),
        ylim=(height, -above),
        aspect="equal",
    )
    axis.set_axis_off()
    figure.supxlabel(legend, x=0.1 / width, ha="left", fontsize=_LEGEND, color="0.3")
    return figure


def _column_name(column: _Column) -> str:
    count, drawn = len(column.labels), len(column.drawn)
    return f"{column.name}\n{drawn} of {count}" if drawn < count else column.name


def _legend(columns: Sequence[_Column], is_by_deciding: bool) -> str:
    """What the signs and colours mean that are drawn, and the lines."""
    drawn = {column.labels[node].split(" ")[0] for column in columns for node in column.drawn}
    # Lines are not broken between a sign and its name.
    signs = [
        f"{sign} {name}".replace(" ", "\u00a0")
        for name, sign in SYMBOLS.items()
        if any(sign in label for label in drawn)
    ]
    has_pixels = any(column.pictures[node] for column in columns for node in column.drawn)
    lines = f"{_LINES}; {_BY_DECIDING if is_by_deciding else _BY_READING}"
    return "\n".join(filter(None, ["   ".join(signs), _PIXELS if has_pixels else "", lines]))
