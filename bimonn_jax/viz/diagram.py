"""A boolean network as a diagram: operators with their footprints, and what reads what."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

import numpy as np

from bimonn_jax.deployment.circuit import (
    Circuit,
    Flatten,
    Gates,
    Linear,
    Shape,
    Thresholds,
    Upsample,
    Votes,
    circuit_of,
)
from bimonn_jax.deployment.describe import title
from bimonn_jax.networks.architecture import stage_outputs
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.viz.figures import (
    RANK_SIGN,
    SYMBOLS,
    lines_height,
    new_figure,
    symbol,
    text_width,
    wrapped,
)

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
# A column, and a node in it.
_Node = tuple[int, int]


@dataclass
class _Column:
    """The nodes of one stage, and the edges that lead to them.

    Attributes:
      name: of the stage.
      labels: of all nodes.
      pictures: of all nodes, a tile for each channel that is drawn, with its name; none for nodes
        that have no picture.
      sources: what it reads: the number of a column, and of a node in it.
      reads: by reader and source, literals that read it as it is and inverted; int (nodes,
        sources, 2).
      weights: float (nodes, sources), thickness of the edges before scaling.
      drawn: the nodes that are drawn.
    """

    name: str
    labels: list[str]
    pictures: list[list[_Tile]]
    sources: list[_Node]
    reads: np.ndarray
    weights: np.ndarray
    drawn: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class _Channels:
    """The channels of a value, or its features.

    Attributes:
      nodes: which node each is.
      image: the shape of the image that the features come from, None if they are channels.
    """

    nodes: list[_Node]
    image: Shape | None = None


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
    sign = symbol(title(gates, gate))
    # Two numbers side by side would read as one.
    number = f", no. {gate}" if sign[-1].isdigit() and "/" in sign else f" {gate}"
    return f"{sign}{number}{more if is_cut else ''}"


def _reads(gates: Gates, source: np.ndarray, sources: int) -> np.ndarray:
    """Literals by gate, source and sign, where ``source`` is that of each channel."""
    counts = np.zeros((len(gates), sources, 2), int)
    gate = np.repeat(np.arange(len(gates)), np.diff(gates.starts))
    of = source[gates.literals[:, 2]]
    np.add.at(counts, (gate, of, gates.is_inverted.astype(int)), 1)
    return counts


def _votes(stage: Votes | Linear, source: np.ndarray, sources: int) -> tuple[np.ndarray, ...]:
    """Votes by class, source and sign, and their weights by class and source."""
    signed = (
        np.stack([stage.positive, stage.negative], axis=-1)
        if isinstance(stage, Votes)
        else np.stack([stage.kernel > 0, stage.kernel < 0], axis=-1)
    )
    classes = signed.shape[1]
    counts, weights = np.zeros((sources, classes, 2), int), np.zeros((sources, classes))
    np.add.at(counts, source, signed.astype(int))
    size = signed.sum(axis=-1) if isinstance(stage, Votes) else np.abs(stage.kernel)
    np.add.at(weights, source, size)
    return counts.swapaxes(0, 1), weights.T


class _Drawing:
    """The columns of a circuit, as its stages are read."""

    def __init__(self, circuit: Circuit, activities: Sequence[np.ndarray] | None) -> None:
        self.circuit, self.activities = circuit, activities
        self.columns: list[_Column] = []
        # How often each node is set, if there are examples.
        self.activity: list[np.ndarray] = []
        inputs = circuit.shapes[0][2]
        labels = [f"x {c}" if inputs > 1 else "x" for c in range(inputs)]
        self.values = [self._input(0, labels)]
        for index in range(len(circuit.stages)):
            self.values.append(self._value(index))

    def _input(self, value: int, labels: list[str]) -> _Channels:
        """The first column: the input, or its level sets."""
        none = np.zeros((len(labels), 0, 2), int), np.zeros((len(labels), 0))
        self.columns = [_Column("input", labels, [[] for _ in labels], [], *none)]
        self.activity = [self.activities[value]] if self.activities else []
        return _Channels([(0, node) for node in range(len(labels))])

    def _value(self, index: int) -> _Channels:
        """What a stage gives; adds its column, if it has one."""
        stage = self.circuit.stages[index]
        read = [self.values[value] for value in self.circuit.sources[index]]
        nodes = [node for channels in read for node in channels.nodes]
        image = read[0].image if len(read) == 1 else None
        match stage:
            case Thresholds():
                labels = self.columns[0].labels
                levels = enumerate(stage.values)
                return self._input(1, [f"{labels[c]} ≥ {t:.4g}" for c, row in levels for t in row])
            case Upsample():
                return _Channels(nodes)
            case Flatten():
                shape = self.circuit.shape_before(index)
                pixels = shape[0] * shape[1]
                return _Channels(nodes * pixels, image or (shape if pixels > 1 else None))
            case Gates() | Votes() | Linear():
                return self._add(index, stage, nodes, image)
            case _:
                assert_never(stage)

    def _add(
        self, index: int, stage: Gates | Votes | Linear, nodes: list[_Node], image: Shape | None
    ) -> _Channels:
        sources = list(dict.fromkeys(nodes))
        number = {node: i for i, node in enumerate(sources)}
        source = np.array([number[node] for node in nodes])
        if isinstance(stage, Gates):
            reads = _reads(stage, source, len(sources))
            weights = reads.sum(axis=2).astype(float)
            if self.activities is not None:
                set_share = np.array([self.activity[column][node] for column, node in sources])
                weights = _deciding(stage, reads, set_share)
            names = [self._name(node) for node in nodes]
            pictures = [_picture(stage, gate, image, names) for gate in range(len(stage))]
            labels = [_label(stage, gate) for gate in range(len(stage))]
            column = _Column(stage.name, labels, pictures, sources, reads, weights)
        else:
            reads, weights = _votes(stage, source, len(sources))
            labels = [f"class {c}" for c in range(len(reads))]
            name = "votes" if isinstance(stage, Votes) else "real head"
            column = _Column(name, labels, [[] for _ in labels], sources, reads, weights)
        self.columns.append(column)
        if self.activities is not None:
            self.activity.append(self.activities[index + 1])
        return _Channels([(len(self.columns) - 1, node) for node in range(len(column.labels))])

    def _name(self, node: _Node) -> str:
        """What a channel is called in a picture."""
        return self.columns[0].labels[node[1]] if node[0] == 0 else str(node[1])


def _deciding(gates: Gates, reads: np.ndarray, set_share: np.ndarray) -> np.ndarray:
    """How often each source decides a gate: a union by what is set, an intersection by the rest.

    Between these it is both, the more the latter the higher the rank.
    """
    shares = np.stack([set_share, 1 - set_share], axis=-1)
    by_clear = np.where(gates.is_erosion, 1.0, (gates.ranks - 1) / np.maximum(gates.sizes - 1, 1))
    by_clear = by_clear[:, None, None]
    deciding = by_clear * (1 - shares) + (1 - by_clear) * shares
    return np.asarray(np.max(np.where(reads > 0, deciding, 0.0), axis=2))


def _choose(columns: list[_Column], max_neurons: int) -> None:
    """Marks what is drawn: of each column the nodes that those drawn behind it read most."""
    columns[-1].drawn = list(range(min(max_neurons, len(columns[-1].labels))))
    weights = [np.zeros(len(column.labels)) for column in columns]
    literals = [np.zeros(len(column.labels), int) for column in columns]
    for index in reversed(range(len(columns))):
        column = columns[index]
        if index < len(columns) - 1:
            order = np.lexsort((-weights[index], literals[index] == 0))
            column.drawn = sorted(int(i) for i in order[:max_neurons] if literals[index][i])
        for source, (of, node) in enumerate(column.sources):
            weights[of][node] += column.weights[column.drawn, source].sum()
            literals[of][node] += column.reads[column.drawn, source].sum()


def _place(count: int, rows: int) -> np.ndarray:
    """Vertical positions of nodes, from the top, centered among ``rows`` rows."""
    return _ROW * ((rows - count) / 2 + np.arange(count) + 0.5)


def _draw_node(axis: "Axes", column: _Column, node: int, x: float, y: float) -> float:
    """Draws a node centered at (x, y); returns half of its width."""
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
    label = wrapped(label, _COLUMN - 0.3, _SMALL)
    axis.text(x, top - 0.03, label, ha="center", va="bottom", fontsize=_SMALL, zorder=4)
    return half_width


def _draw_edges(
    axis: "Axes", column: _Column, start: dict[_Node, tuple[float, float]], reader: int,
    end: tuple[float, float],
) -> None:  # fmt: skip
    weights, reads = column.weights[reader], column.reads[reader]
    drawn = [source for source, node in enumerate(column.sources) if node in start]
    highest = max((weights[source] for source in drawn), default=0.0) or 1.0
    for source in drawn:
        x, y = start[column.sources[source]]
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
    over the channels of a pixel is drawn as its sign: ∪ or ∩, or 5 / 9 for at least 5 of 9. Of the
    channels of a window that are read the first three are drawn, each in a frame over its name.
    Lines lead to what reads it; dashed ones where the complement is read. Neurons that nothing
    reads are left out. Of stages with more than ``max_neurons`` neurons those are drawn that are
    read most, and their number is said.

    Args:
      network: the network; `bimonn_jax.simplify` it first, for less to read.
      input_shape: of one input, (H, W, C) or (n,).
      x: examples, (N, *input_shape): a line is then the thicker the more often its source decides
        its reader, being set before a union or clear before an intersection, and by both before
        what lies between; else by how many of the inputs of its reader it has.
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
    columns = _Drawing(circuit, activities).columns
    _choose(columns, max_neurons)
    rows = max(len(column.drawn) for column in columns)
    width, height = _COLUMN * len(columns), _ROW * rows
    legend = wrapped(_legend(columns, x is not None), width - 0.2, _LEGEND)
    names = [wrapped(_column_name(column), _COLUMN - 0.2, _SMALL) for column in columns]
    above, below = lines_height(names, _SMALL) + 0.2, lines_height([legend], _LEGEND) + 0.2
    figure = new_figure(width, above + height + below)
    axis = figure.subplots()
    ends: dict[_Node, tuple[float, float]] = {}
    for index, (column, name) in enumerate(zip(columns, names, strict=True)):
        at_x = _COLUMN * index
        for node, y in zip(column.drawn, _place(len(column.drawn), rows), strict=True):
            half = _draw_node(axis, column, node, at_x, y)
            _draw_edges(axis, column, ends, node, (at_x - half, y))
            ends[index, node] = (at_x + half, y)
        axis.text(at_x, -0.1, name, ha="center", va="bottom", fontsize=_SMALL, color="0.3")
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
    """What the signs and colors mean that are drawn, and the lines."""
    labels = {column.labels[node] for column in columns for node in column.drawn}
    ranks = [found for label in labels if (found := RANK_SIGN.match(label))]
    drawn = {label.split(" ")[0] for label in labels if not RANK_SIGN.match(label)}
    drawn |= {sign for found in ranks for sign in found.groups("")}
    # Lines are not broken between a sign and its name.
    signs = [
        f"{sign} {name}".replace(" ", "\u00a0")
        for name, sign in (*SYMBOLS.items(), *([("at least k of n", "k / n")] if ranks else []))
        if any(sign in label for label in drawn) or sign == "k / n"
    ]
    has_pixels = any(column.pictures[node] for column in columns for node in column.drawn)
    lines = f"{_LINES}; {_BY_DECIDING if is_by_deciding else _BY_READING}"
    return "\n".join(filter(None, ["   ".join(signs), _PIXELS if has_pixels else "", lines]))
