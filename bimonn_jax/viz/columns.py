"""What a diagram of a boolean network holds: a column for each stage, and what is drawn of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

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
)
from bimonn_jax.deployment.describe import HIT_OR_MISS, title
from bimonn_jax.viz.figures import symbol
from bimonn_jax.viz.tiles import IN_A_ROW, Tile, tile_of

_LEFT_OVER = ("copy", "complement", "all set", "all clear")
_PLURALS = {"copy": "copies", "all set": "all set", "all clear": "all clear"}

# A column, and a node in it.
Node = tuple[int, int]


@dataclass
class Column:
    """The nodes of one stage, and the edges that lead to them.

    Attributes:
      name: of the stage, in words.
      path: of its neurons in the parameter tree; "" if it has none.
      operators: of all nodes, by name; "" for nodes that are none.
      labels: of all nodes.
      notes: what is to be said behind the labels where nodes are drawn.
      pictures: of all nodes, a tile for each channel that is drawn, with its name; none for nodes
        that have no picture.
      sources: what it reads: the number of a column, and of a node in it.
      reads: by reader and source, literals that read it as it is and inverted; int (nodes,
        sources, 2).
      weights: float (nodes, sources), thickness of the edges before scaling.
      drawn: the nodes that are drawn.
    """

    name: str
    path: str
    operators: list[str]
    labels: list[str]
    notes: list[str]
    pictures: list[list[Tile]]
    sources: list[Node]
    reads: np.ndarray
    weights: np.ndarray
    drawn: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Channels:
    """The channels of a value, or its features.

    Attributes:
      nodes: which node each is.
      image: the shape of the image that the features come from, None if they are channels.
    """

    nodes: list[Node]
    image: Shape | None = None


def _picture(
    gates: Gates, gate: int, flattened: Shape | None, names: Sequence[str], most: int | None
) -> list[Tile]:
    """The footprint of a gate, a tile for each channel that it reads, of ``most`` at most.

    Gates over the pixels of a flattened image are drawn on that image, others that read one
    position not at all.
    """
    literals, inverted = gates.literals_of(gate)
    row, column, channel = literals.T
    (height, width), channels = gates.window, gates.channels
    is_window = gates.window != (1, 1)
    if not is_window:
        if flattened is None or flattened[:2] == (1, 1):
            return []
        height, width, channels = flattened
        row, column = channel // (width * channels), channel // channels % width
        channel = channel % channels
    used = np.unique(channel)[:most]
    tiles = []
    for each in used if len(used) else [0]:
        is_read = np.zeros((2, height, width), bool)
        mine = channel == each
        is_read[inverted[mine].astype(int), row[mine], column[mine]] = True
        tiles.append(tile_of(*is_read, name=names[each] if channels > 1 else "", slides=is_window))
    return tiles


def _label(gates: Gates, gate: int) -> str:
    """Sign and number."""
    sign = symbol(title(gates, gate))
    # Two numbers side by side would read as one.
    return f"{sign}, no. {gate}" if "/" in sign else f"{sign} {gate}"


def _note(gates: Gates, gate: int, most: int | None) -> str:
    """How many channels are read where not all are drawn."""
    channels = len(np.unique(gates.literals_of(gate)[0][:, 2]))
    is_cut = gates.window != (1, 1) and most is not None and channels > most
    return f", {most} of {channels} channels" if is_cut else ""


def _words(gates: Gates) -> str:
    """What the operators of a stage are called together, and their window."""
    kinds = []
    for gate in range(len(gates)):
        name = title(gates, gate).removeprefix("complement of the ")
        kind = "rank operator" if " of " in name and HIT_OR_MISS not in name else name
        kinds.append(kind.split(",")[0])
    window = "" if gates.window == (1, 1) else " of {} x {} pixels".format(*gates.window)
    if gates.pool > 1:
        window += f", then unions over {gates.pool} x {gates.pool}"
    # Copies and constants are what is left of operators.
    of_many = [k for k in dict.fromkeys(kinds) if k not in _LEFT_OVER] or list(dict.fromkeys(kinds))
    if len(of_many) > 2:
        return f"operators{window}"
    if len(gates) == 1:
        return f"{of_many[0]}{window}"
    return f"{' and '.join(_PLURALS.get(kind, f'{kind}s') for kind in of_many)}{window}"


def _reads(gates: Gates, source: np.ndarray, sources: int) -> np.ndarray:
    """Literals by gate, source and sign, where ``source`` is that of each channel."""
    counts = np.zeros((len(gates), sources, 2), int)
    gate = np.repeat(np.arange(len(gates)), np.diff(gates.starts))
    of = source[gates.literals[:, 2]]
    np.add.at(counts, (gate, of, gates.is_inverted.astype(int)), 1)
    return counts


def _without_pictures(
    name: str, labels: list[str], sources: list[Node], reads: np.ndarray, weights: np.ndarray
) -> Column:
    """A column of nodes that are no operators."""
    none, no_tiles = [""] * len(labels), [list[Tile]() for _ in labels]
    return Column(name, "", none, labels, none, no_tiles, sources, reads, weights)


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


class Columns:
    """The columns of a circuit, and the nodes that are drawn of them.

    Attributes:
      columns: input, or its level sets, first.
      values: by value of the circuit, its channels.
    """

    def __init__(
        self,
        circuit: Circuit,
        activities: Sequence[np.ndarray] | None,
        max_neurons: int | None,
    ) -> None:
        """Reads the stages.

        Args:
          circuit: of the network.
          activities: how often each channel of each value is set, if there are examples.
          max_neurons: neurons to draw of each stage; None for all, and all channels of them.
        """
        self.circuit, self.activities = circuit, activities
        self.most_channels = None if max_neurons is None else IN_A_ROW
        self.columns: list[Column] = []
        # How often each node is set, if there are examples.
        self.activity: list[np.ndarray] = []
        inputs = circuit.shapes[0][2]
        labels = [f"x {c}" if inputs > 1 else "x" for c in range(inputs)]
        self.values = [self._input(0, labels)]
        for index in range(len(circuit.stages)):
            self.values.append(self._value(index))
        _choose(self.columns, max_neurons)

    def drawn_channels(self, value: int) -> list[int]:
        """The channels of a value of the circuit whose nodes are drawn."""
        nodes = self.values[value].nodes
        if value == 0 and self.circuit.thresholds:
            # The column shows its level sets.
            return list(range(len(nodes)))
        return [c for c, (column, node) in enumerate(nodes) if node in self.columns[column].drawn]

    @property
    def tiles(self) -> list[Tile]:
        """All that are drawn."""
        return [
            t for column in self.columns for node in column.drawn for t in column.pictures[node]
        ]

    def _input(self, value: int, labels: list[str]) -> Channels:
        """The first column: the input, or its level sets."""
        none = np.zeros((len(labels), 0, 2), int), np.zeros((len(labels), 0))
        name = "level sets of the input" if value else "input"
        self.columns = [_without_pictures(name, labels, [], *none)]
        self.activity = [self.activities[value]] if self.activities else []
        return Channels([(0, node) for node in range(len(labels))])

    def _value(self, index: int) -> Channels:
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
                return Channels(nodes)
            case Flatten():
                shape = self.circuit.shape_before(index)
                pixels = shape[0] * shape[1]
                return Channels(nodes * pixels, image or (shape if pixels > 1 else None))
            case Gates() | Votes() | Linear():
                return self._add(index, stage, nodes, image)
            case _:
                assert_never(stage)

    def _add(
        self, index: int, stage: Gates | Votes | Linear, nodes: list[Node], image: Shape | None
    ) -> Channels:
        sources = list(dict.fromkeys(nodes))
        number = {node: i for i, node in enumerate(sources)}
        source = np.array([number[node] for node in nodes])
        if isinstance(stage, Gates):
            reads = _reads(stage, source, len(sources))
            weights = reads.sum(axis=2).astype(float)
            if self.activities is not None:
                set_share = np.array([self.activity[column][node] for column, node in sources])
                weights = _deciding(stage, reads, set_share)
            names, most = [self._name(node) for node in nodes], self.most_channels
            gates = range(len(stage))
            column = Column(
                name=_words(stage),
                path=stage.name,
                operators=[title(stage, gate) for gate in gates],
                labels=[_label(stage, gate) for gate in gates],
                notes=[_note(stage, gate, most) for gate in gates],
                pictures=[_picture(stage, gate, image, names, most) for gate in gates],
                sources=sources,
                reads=reads,
                weights=weights,
            )
        else:
            reads, weights = _votes(stage, source, len(sources))
            labels = [f"class {c}" for c in range(len(reads))]
            name = "votes for classes" if isinstance(stage, Votes) else "scores of classes"
            column = _without_pictures(name, labels, sources, reads, weights)
        self.columns.append(column)
        if self.activities is not None:
            self.activity.append(self.activities[index + 1])
        return Channels([(len(self.columns) - 1, node) for node in range(len(column.labels))])

    def _name(self, node: Node) -> str:
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


def _choose(columns: list[Column], max_neurons: int | None) -> None:
    """Marks what is drawn: of each column the nodes that those drawn behind it read most."""
    columns[-1].drawn = list(range(len(columns[-1].labels)))[:max_neurons]
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
