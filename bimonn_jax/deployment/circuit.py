"""A boolean network as gates: what the packed runtime and the exporters are written from.

`circuit_of` turns an architecture and its boolean parameters into stages on images (H, W, C), flat
features being images of one pixel, each after those that it reads. All neurons, of whatever layer,
become `Gates`: whether so many literals hold, a literal being an input bit or its complement.
The kinds of stages are a closed union: whoever writes them matches all of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import jax
import numpy as np

from bimonn_jax.morphology.levels import read_thresholds
from bimonn_jax.morphology.windows import Border, check_padding, pad_widths
from bimonn_jax.networks.architecture import read_by
from bimonn_jax.networks.kinds import (
    Architecture,
    ComplementLayer,
    ConcatenateLayer,
    FlattenLayer,
    Layer,
    LevelSetsLayer,
    NeuronLayer,
    PopcountLayer,
    RealLayer,
    TernaryLayer,
    UpsampleLayer,
)
from bimonn_jax.neurons.apply import inputs_read
from bimonn_jax.neurons.heads import check_countable, popcount_signs
from bimonn_jax.neurons.params import BinaryNeurons
from bimonn_jax.neurons.sets import NeuronSet, Reads

Shape = tuple[int, int, int]
Widths = tuple[tuple[int, int], tuple[int, int]]
_NO_PADDING: Widths = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Gates:
    """Whether enough literals hold, at every position of a window on an image.

    A rank of 1 makes a gate the union of its literals, one of all of them their intersection.
    Constants have no literals: their ranks are 0, always 1, and 1, always 0.

    Literals of gate m are rows ``starts[m]`` to ``starts[m + 1]`` of ``literals``.

    Attributes:
      name: of the neurons in the parameter tree.
      literals: int (T, 3): row and column in the window, channel.
      is_inverted: bool (T,); whether a literal is the complement of its bit. Padding comes first:
        a zero outside of the image is an inverted literal's 1.
      starts: int (M + 1,).
      ranks: int (M,); how many literals of a gate must hold.
      complement: bool (M,); whether the output is complemented.
      channels: of the input.
      window: height and width.
      padding: ((top, bottom), (left, right)) of the image.
      border: what the padding holds.
      pool: side and stride of the union over windows of outputs; 1 for none.
    """

    name: str
    literals: np.ndarray
    is_inverted: np.ndarray
    starts: np.ndarray
    ranks: np.ndarray
    complement: np.ndarray
    channels: int
    window: tuple[int, int] = (1, 1)
    padding: Widths = _NO_PADDING
    border: Border = "zero"
    pool: int = 1

    def __len__(self) -> int:
        """The number of gates."""
        return len(self.ranks)

    def literals_of(self, gate: int) -> tuple[np.ndarray, np.ndarray]:
        """A gate's literals, int (t, 3), and which of them are inverted, bool (t,)."""
        at = slice(self.starts[gate], self.starts[gate + 1])
        return self.literals[at], self.is_inverted[at]

    @property
    def sizes(self) -> np.ndarray:
        """How many literals each gate has, int (M,)."""
        return np.diff(self.starts)

    @property
    def is_erosion(self) -> np.ndarray:
        """Which gates are intersections, bool (M,); of no literals that is 1, of one a copy."""
        return np.asarray(self.ranks == self.sizes)

    @property
    def is_end(self) -> np.ndarray:
        """Which gates are unions or intersections, constants among them, bool (M,)."""
        is_end: np.ndarray = (self.ranks <= 1) | self.is_erosion
        return is_end

    def requirements(self, gate: int) -> tuple[np.ndarray, np.ndarray, int, bool]:
        """What a gate asks of bits; of a union as of an intersection, by De Morgan's law.

        Returns:
          Literals int (a, 3) that are to be set, int (b, 3) that are to be clear, at least how many
          of all these must be as they are to be, and whether the output is the complement of that.
        """
        literals, is_inverted = self.literals_of(gate)
        is_union = bool(self.is_end[gate]) and not self.is_erosion[gate]
        is_clear = is_inverted ^ is_union
        needed = len(literals) if is_union else int(self.ranks[gate])
        is_complement = bool(self.complement[gate]) ^ is_union
        return literals[~is_clear], literals[is_clear], needed, is_complement

    def positions(self, shape: Shape) -> tuple[int, int]:
        """Rows and columns of positions of the window on an image of a shape."""
        height, width = (
            size + sum(widths) - side + 1
            for size, widths, side in zip(shape[:2], self.padding, self.window, strict=True)
        )
        return height, width

    def shape_after(self, shape: Shape) -> Shape:
        """The shape of the output on an image of a shape."""
        if shape[2] != self.channels:
            raise ValueError(f"{self.name} takes {self.channels} channels; got {shape[2]}")
        try:
            check_padding(shape[:2], self.window, self.padding, self.border)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error
        height, width = (-(-size // self.pool) for size in self.positions(shape))
        return height, width, len(self)


@dataclass(frozen=True)
class Thresholds:
    """Level sets: bit c q + k is set where channel c is at least ``values[c, k]``.

    Attributes:
      values: float32 (C, q), from `bimonn_jax.morphology.read_thresholds`.
    """

    values: np.ndarray

    def shape_after(self, shape: Shape) -> Shape:
        """The shape of the output on an image of a shape."""
        return shape[0], shape[1], self.values.size


@dataclass(frozen=True)
class Flatten:
    """All bits of an image as the channels of one pixel, row by row, channels innermost."""

    def shape_after(self, shape: Shape) -> Shape:
        """The shape of the output on an image of a shape."""
        return 1, 1, math.prod(shape)


@dataclass(frozen=True)
class Votes:
    """Scores of classes: the bits that vote for each, minus those that vote against it.

    Attributes:
      positive: bool (n, classes).
      negative: bool (n, classes).
    """

    positive: np.ndarray
    negative: np.ndarray

    def shape_after(self, shape: Shape) -> Shape:
        """The shape of the output on an image of a shape."""
        return _head_shape(shape, self.positive.shape)


@dataclass(frozen=True)
class Linear:
    """A real head: scores x kernel + bias.

    Attributes:
      kernel: float32 (n, classes).
      bias: float32 (classes,).
    """

    kernel: np.ndarray
    bias: np.ndarray

    def shape_after(self, shape: Shape) -> Shape:
        """The shape of the output on an image of a shape."""
        return _head_shape(shape, self.kernel.shape)


@dataclass(frozen=True)
class Upsample:
    """Every pixel as ``factor`` x ``factor`` pixels, cut to a height and width.

    Attributes:
      factor: rows and columns of each pixel.
      height: of the output.
      width: of the output.
    """

    factor: int
    height: int
    width: int

    def shape_after(self, shape: Shape) -> Shape:
        """The shape of the output on an image of a shape."""
        return self.height, self.width, shape[2]


Stage = Gates | Thresholds | Flatten | Upsample | Votes | Linear


def _head_shape(shape: Shape, weights: tuple[int, ...]) -> Shape:
    if shape != (1, 1, weights[0]):
        raise ValueError(
            f"the head takes {weights[0]} flat features; got an image of shape {shape}: put a "
            "Flatten before it"
        )
    return 1, 1, weights[1]


@dataclass(frozen=True)
class Circuit:
    """The stages of a network on inputs of one shape.

    Values are images: 0 is the input of the network, i + 1 the output of stage i.

    Attributes:
      stages: each after those that it reads; the output of the last is that of the network.
      sources: the values that each stage reads, their channels one after the other.
      input_shape: as it was given, (H, W, C) or (n,).
      shapes: (H, W, C) of each value; flat features are (1, 1, n).
    """

    stages: tuple[Stage, ...]
    sources: tuple[tuple[int, ...], ...]
    input_shape: tuple[int, ...]
    shapes: tuple[Shape, ...]

    def shape_before(self, stage: int) -> Shape:
        """The shape of what a stage reads, its channels together."""
        return joined_shape([self.shapes[value] for value in self.sources[stage]])

    @property
    def is_chain(self) -> bool:
        """Whether every stage reads the one before it, and nothing else."""
        return all(values == (index,) for index, values in enumerate(self.sources))

    @property
    def thresholds(self) -> Thresholds | None:
        """The level sets that the network begins with, if it takes numbers rather than bits."""
        first = self.stages[0] if self.stages else None
        return first if isinstance(first, Thresholds) else None

    @property
    def head(self) -> Votes | Linear | None:
        """The last stage, if the output is scores rather than bits."""
        last = self.stages[-1] if self.stages else None
        return last if isinstance(last, Votes | Linear) else None

    @property
    def on_bits(self) -> dict[int, Gates | Flatten | Upsample]:
        """The stages between level sets and head, by their numbers, in order."""
        return {
            index: stage
            for index, stage in enumerate(self.stages)
            if isinstance(stage, Gates | Flatten | Upsample)
        }

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of what comes out: (H, W, C), or (n,) where it is flat."""
        is_flat = len(self.input_shape) == 1 or any(isinstance(s, Flatten) for s in self.stages)
        return self.shapes[-1][2:] if is_flat else self.shapes[-1]

    def check_batch(self, x: jax.Array | np.ndarray) -> None:
        """Raises ValueError unless ``x`` has the shape (N, *input_shape)."""
        if x.ndim == 0 or x.shape[1:] != self.input_shape:
            raise ValueError(
                f"x has shape {x.shape}; (N, {', '.join(map(str, self.input_shape))}) was "
                "expected: prepare the network anew for every shape of input"
            )


def joined_shape(shapes: Sequence[Shape]) -> Shape:
    """The shape of images whose channels are joined; ValueError if their sizes differ."""
    if len({shape[:2] for shape in shapes}) > 1:
        raise ValueError(f"images of the shapes {list(shapes)} cannot be joined along the channels")
    height, width, _ = shapes[0]
    return height, width, sum(shape[2] for shape in shapes)


# (ranks, complement) of gates, int and bool (M,).
Operators = tuple[np.ndarray, np.ndarray]


def _operators(neurons: BinaryNeurons) -> Operators:
    return np.asarray(neurons.ranks).reshape(-1), np.asarray(neurons.complement).reshape(-1)


def _gates(
    name: str,
    operators: Operators,
    gate: np.ndarray,
    literals: tuple[np.ndarray, np.ndarray, np.ndarray],
    channels: int,
    **options: Any,
) -> Gates:
    """Gates whose literals (row, column, channel) belong to the gates of that number.

    Channels from ``channels`` on stand for the complements of the first ones.
    """
    ranks, complement = operators
    sizes = np.bincount(gate, minlength=len(ranks))
    is_live = (ranks >= 1) & (ranks <= sizes)
    ranks = np.where(is_live, ranks, ranks > 0)
    kept = np.flatnonzero(is_live[gate])
    order = kept[np.argsort(gate[kept], kind="stable")]
    row, column, channel = (axis[order] for axis in literals)
    return Gates(
        name,
        np.stack([row, column, channel % channels], axis=-1),
        channel >= channels,
        np.searchsorted(gate[order], np.arange(len(ranks) + 1)),
        ranks,
        complement,
        channels,
        **options,
    )


def rank_gates(footprint: np.ndarray, rank: int) -> Gates:
    """One gate: whether so many pixels of a footprint, bool (kh, kw), are set in one channel."""
    row, column = np.nonzero(footprint)
    zero = np.zeros_like(row)
    window = footprint.shape
    return _gates(
        f"rank {rank}",
        (np.array([rank]), np.array([False])),
        zero,
        (row, column, zero),
        1,
        window=window,
        padding=pad_widths(window, "SAME"),
    )


def _gates_of(layer: NeuronLayer, neuron_set: NeuronSet, neurons: BinaryNeurons) -> Gates:
    """One set of neurons of a layer."""
    footprint = np.asarray(neurons.footprint)
    *window, rows, count = footprint.shape
    *at, channel, neuron = np.nonzero(footprint)
    row, column = at or (np.zeros_like(neuron), np.zeros_like(neuron))
    channels, gate = inputs_read(rows, complements=neuron_set.complements), neuron
    if neuron_set.reads is Reads.OWN_CHANNEL:
        gate = channel * count + neuron
    elif neuron_set.reads is Reads.OWN_COLUMN:
        # Neuron m reads the maps (c, m) of the neurons before it.
        channels, channel = rows * count, channel * count + neuron
    options: dict[str, Any] = {}
    if neuron_set.slides:
        options = {**layer.window, "window": tuple(window)}
        options["padding"] = pad_widths(options["window"], options["padding"])
    name, literals = layer.path_of(neuron_set.part), (row, column, channel)
    return _gates(name, _operators(neurons), gate, literals, channels, **options)


def copies(name: str, channels: int, *, inverted: bool = False) -> Gates:
    """Gates that give all channels as they are and, after these, inverted, if that is wanted."""
    gate = np.arange(2 * channels if inverted else channels)
    zero = np.zeros_like(gate)
    # Each gate is the intersection of one literal.
    return _gates(name, (np.ones_like(gate), gate < 0), gate, (zero, zero, gate), channels)


@singledispatch
def stages(layer: Layer, own: Mapping[str, Any], shape: Shape, *others: Shape) -> Sequence[Stage]:
    """The stages of a layer, the first of which reads what the layer reads.

    Args:
      layer: the layer.
      own: its part of the boolean tree.
      shape: of what it reads.
      others: of its inputs of which only the shape counts.
    """
    raise NotImplementedError(
        f"circuits of layers of type {type(layer).__name__} are not known: register a function "
        "with bimonn_jax.deployment.circuit.stages"
    )


@stages.register
def _(layer: NeuronLayer, own: Mapping[str, Any], shape: Shape) -> Sequence[Stage]:
    return [_gates_of(layer, neuron_set, own[neuron_set.part]) for neuron_set in layer.sets]


@stages.register
def _(layer: ComplementLayer, own: Mapping[str, Any], shape: Shape) -> Sequence[Stage]:
    return [copies(layer.title, shape[2], inverted=True)]


@stages.register
def _(layer: ConcatenateLayer, own: Mapping[str, Any], shape: Shape) -> Sequence[Stage]:
    """None: whoever reads it reads its inputs."""
    return []


@stages.register
def _(
    layer: UpsampleLayer, own: Mapping[str, Any], shape: Shape, *others: Shape
) -> Sequence[Stage]:
    whole = shape[0] * layer.factor, shape[1] * layer.factor
    height, width = others[0][:2] if others else whole
    if height > whole[0] or width > whole[1]:
        raise ValueError(f"an image of {whole} pixels does not cover {(height, width)}")
    return [Upsample(layer.factor, height, width)]


@stages.register
def _(layer: LevelSetsLayer, own: Mapping[str, Any], shape: Shape) -> Sequence[Stage]:
    values = read_thresholds(layer.thresholds, shape[2])
    return [Thresholds(np.broadcast_to(values, (shape[2], values.shape[-1])))]


@stages.register
def _(layer: FlattenLayer, own: Mapping[str, Any], shape: Shape) -> Sequence[Stage]:
    if layer.rank != 3 and shape[:2] != (1, 1):
        raise ValueError(f"flatten of {layer.rank} axes: only whole images (rank 3) become gates")
    return [Flatten()]


@stages.register
def _(layer: TernaryLayer, own: Mapping[str, Any], shape: Shape) -> Sequence[Stage]:
    head = own["head"]
    check_countable(head.positive.shape[0])
    return [Votes(np.asarray(head.positive), np.asarray(head.negative))]


@stages.register
def _(layer: PopcountLayer, own: Mapping[str, Any], shape: Shape) -> Sequence[Stage]:
    check_countable(shape[2])
    signs = np.asarray(popcount_signs(shape[2], layer.classes))
    return [Votes(signs > 0, signs < 0)]


@stages.register
def _(layer: RealLayer, own: Mapping[str, Any], shape: Shape) -> Sequence[Stage]:
    kernel, bias = (np.asarray(own[part], np.float32) for part in ("kernel", "bias"))
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise ValueError(f"the real head {layer.name!r} holds numbers that are not finite")
    return [Linear(kernel, bias)]


def circuit_of(
    architecture: Architecture, boolean: Mapping[str, Any], input_shape: tuple[int, ...]
) -> Circuit:
    """Turns a boolean network into gates.

    Args:
      architecture: its layers.
      boolean: its boolean tree.
      input_shape: of one input, (H, W, C) or (n,).

    Returns:
      The circuit; `Circuit.shapes` has the shape of what every stage gives.

    Raises:
      TypeError: if a layer's parameters are real-valued.
      ValueError: if the layers do not fit the shape or each other, the image is smaller than a
        border needs, thresholds are refused by `bimonn_jax.morphology.read_thresholds`, or a head
        has more features than it can count, or numbers that are not finite.
    """
    if len(input_shape) not in (1, 3) or min(input_shape) < 1:
        raise ValueError(
            f"input_shape must be (height, width, channels) or (n,); got {input_shape}"
        )
    sizes = (1, 1, *input_shape)[-3:]
    building = _Building([(sizes[0], sizes[1], sizes[2])])
    # What the output of each layer consists of: values whose channels are joined.
    outputs: list[tuple[int, ...]] = [(0,)]
    for layer, read in zip(architecture, read_by(architecture), strict=True):
        content, sizes_alone = layer.split(read)
        values = tuple(value for i in content for value in outputs[i])
        others = [building.shape(outputs[i]) for i in sizes_alone]
        own = layer.boolean_params_of(boolean)
        for stage in stages(layer, own, building.shape(values), *others):
            values = building.add(layer, stage, values)
        outputs.append(values)
    if outputs[-1] != (len(building.stages),):
        end = ConcatenateLayer("output")
        building.add(end, copies("output", building.shape(outputs[-1])[2]), outputs[-1])
    return Circuit(
        tuple(building.stages), tuple(building.sources), tuple(input_shape), tuple(building.shapes)
    )


@dataclass
class _Building:
    """A circuit while stages are added to it."""

    shapes: list[Shape]
    stages: list[Stage] = field(default_factory=list)
    sources: list[tuple[int, ...]] = field(default_factory=list)

    def shape(self, values: tuple[int, ...]) -> Shape:
        return joined_shape([self.shapes[value] for value in values])

    def add(self, layer: Layer, stage: Stage, values: tuple[int, ...]) -> tuple[int, ...]:
        """Adds a stage that reads values; its own value."""
        if isinstance(stage, Thresholds) and self.stages:
            raise ValueError("level sets can only be the first layer of a circuit")
        if self.stages and isinstance(self.stages[0], Thresholds) and 0 in values:
            raise ValueError(
                f"layer {layer.title!r} reads the numbers that level sets read: only they can"
            )
        if any(value and isinstance(self.stages[value - 1], Votes | Linear) for value in values):
            raise ValueError(f"layer {layer.title!r} reads scores: they can only be the output")
        shape = stage.shape_after(self.shape(values))
        if 0 in shape:
            raise ValueError(f"a layer of kind {layer.kind!r} gives nothing: {shape}")
        self.stages.append(stage)
        self.sources.append(values)
        self.shapes.append(shape)
        return (len(self.stages),)
