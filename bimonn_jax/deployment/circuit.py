"""A boolean network as gates: what the packed runtime and the exporters are written from.

`circuit_of` turns an architecture and its boolean parameters into a list of stages on images
(H, W, C), flat features being images of one pixel. All neurons, of whatever layer, become `Gates`:
intersections or unions of literals, a literal being an input bit or its complement.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from bimonn_jax.morphology.levels import read_thresholds
from bimonn_jax.morphology.windows import Border, check_padding, pad_widths
from bimonn_jax.networks.architecture import Architecture, Layer
from bimonn_jax.neurons.heads import check_countable, popcount_signs
from bimonn_jax.neurons.params import BooleanNeurons

Shape = tuple[int, int, int]
Widths = tuple[tuple[int, int], tuple[int, int]]
_NO_PADDING: Widths = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Gates:
    """Intersections and unions of literals, at every position of a window on an image.

    Literals of gate m are rows ``starts[m]`` to ``starts[m + 1]`` of ``literals``.

    Attributes:
      name: of the neurons in the parameter tree.
      literals: int (T, 3): row and column in the window, channel.
      is_inverted: bool (T,); whether a literal is the complement of its bit. Padding comes first:
        a zero outside of the image is an inverted literal's 1.
      starts: int (M + 1,).
      is_erosion: bool (M,); intersection where True, else union.
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
    is_erosion: np.ndarray
    complement: np.ndarray
    channels: int
    window: tuple[int, int] = (1, 1)
    padding: Widths = _NO_PADDING
    border: Border = "zero"
    pool: int = 1

    def __len__(self) -> int:
        """The number of gates."""
        return len(self.is_erosion)

    def literals_of(self, gate: int) -> tuple[np.ndarray, np.ndarray]:
        """A gate's literals, int (t, 3), and which of them are inverted, bool (t,)."""
        at = slice(self.starts[gate], self.starts[gate + 1])
        return self.literals[at], self.is_inverted[at]

    def requirements(self, gate: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """A gate as one intersection, by De Morgan's law.

        Returns:
          Literals int (a, 3) that must be set, int (b, 3) that must be clear, and whether the
          output is the complement of "all of this holds".
        """
        literals, is_inverted = self.literals_of(gate)
        must_be_clear = is_inverted == self.is_erosion[gate]
        is_complement = bool(self.complement[gate]) ^ (not self.is_erosion[gate])
        return literals[~must_be_clear], literals[must_be_clear], is_complement

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


Stage = Gates | Thresholds | Flatten | Votes | Linear


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

    Attributes:
      stages: in order.
      input_shape: as it was given, (H, W, C) or (n,).
      shapes: (H, W, C) before each stage and after the last; flat features are (1, 1, n).
    """

    stages: tuple[Stage, ...]
    input_shape: tuple[int, ...]
    shapes: tuple[Shape, ...]

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
    def on_bits(self) -> tuple[Gates | Flatten, ...]:
        """The stages between level sets and head."""
        return tuple(stage for stage in self.stages if isinstance(stage, Gates | Flatten))

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


# (is_erosion, complement) of gates, bool (M,) each.
Operators = tuple[np.ndarray, np.ndarray]


def _operators(neurons: BooleanNeurons) -> Operators:
    return np.asarray(neurons.is_erosion).reshape(-1), np.asarray(neurons.complement).reshape(-1)


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
    order = np.argsort(gate, kind="stable")
    row, column, channel = (axis[order] for axis in literals)
    is_erosion, complement = operators
    return Gates(
        name,
        np.stack([row, column, channel % channels], axis=-1),
        channel >= channels,
        np.searchsorted(gate[order], np.arange(len(is_erosion) + 1)),
        is_erosion,
        complement,
        channels,
        **options,
    )


def operator_gates(footprint: np.ndarray, *, is_erosion: bool) -> Gates:
    """One gate: the dilation or erosion of one channel by a footprint, bool (kh, kw)."""
    row, column = np.nonzero(footprint)
    zero = np.zeros_like(row)
    window = footprint.shape
    return _gates(
        "erosion" if is_erosion else "dilation",
        (np.array([is_erosion]), np.array([False])),
        zero,
        (row, column, zero),
        1,
        window=window,
        padding=pad_widths(window, "SAME"),
    )


def _sliding(layer: Layer, footprint: np.ndarray) -> dict[str, Any]:
    window = footprint.shape[:2]
    padding = pad_widths(window, layer.options["padding"])
    return {"window": window, "padding": padding, "border": layer.options["border"]}


def _bise(layer: Layer, params: Mapping[str, Any]) -> list[Stage]:
    neurons = params["bise"]
    footprint = np.asarray(neurons.footprint)
    channels, count = footprint.shape[2:]
    # Each neuron reads the channel that it belongs to.
    row, column, channel, neuron = np.nonzero(footprint)
    gate = channel * count + neuron
    name = f"{layer.name}/bise"
    options = _sliding(layer, footprint)
    return [_gates(name, _operators(neurons), gate, (row, column, channel), channels, **options)]


def _bisel(layer: Layer, params: Mapping[str, Any]) -> list[Stage]:
    neurons = params["lui"]
    footprint = np.asarray(neurons.footprint)
    count = footprint.shape[1]
    # Output m reads the maps (c, m) of the neurons before it.
    channel, gate = np.nonzero(footprint)
    zero = np.zeros_like(gate)
    literals = (zero, zero, channel * count + gate)
    lui = _gates(f"{layer.name}/lui", _operators(neurons), gate, literals, footprint.size)
    return [*_bise(layer, params), lui]


def _flat(layer: Layer, neurons: BooleanNeurons, channels: int) -> list[Stage]:
    channel, gate = np.nonzero(np.asarray(neurons.footprint))
    zero = np.zeros_like(gate)
    return [_gates(f"{layer.name}/lui", _operators(neurons), gate, (zero, zero, channel), channels)]


def _lui(layer: Layer, params: Mapping[str, Any]) -> list[Stage]:
    return _flat(layer, params["lui"], params["lui"].footprint.shape[0])


def _hit_or_miss(layer: Layer, params: Mapping[str, Any]) -> list[Stage]:
    return _flat(layer, params["lui"], params["lui"].footprint.shape[0] // 2)


def _hit_or_miss_conv(layer: Layer, params: Mapping[str, Any]) -> list[Stage]:
    neurons = params["lui"]
    footprint = np.asarray(neurons.footprint)
    row, column, channel, gate = np.nonzero(footprint)
    options = _sliding(layer, footprint) | {"pool": layer.options["pool"]}
    literals = (row, column, channel)
    half = footprint.shape[2] // 2
    return [_gates(f"{layer.name}/lui", _operators(neurons), gate, literals, half, **options)]


def _complement(layer: Layer, params: Mapping[str, Any], channels: int) -> list[Stage]:
    gate = np.arange(2 * channels)
    zero = np.zeros_like(gate)
    # Each gate is the intersection of one literal.
    operators = (gate >= 0, gate < 0)
    name = layer.name or "complement"
    return [_gates(name, operators, gate, (zero, zero, gate), channels)]


def _ternary(layer: Layer, params: Mapping[str, Any]) -> list[Stage]:
    head = params["head"]
    check_countable(head.positive.shape[0])
    return [Votes(np.asarray(head.positive), np.asarray(head.negative))]


def _popcount(layer: Layer, params: Mapping[str, Any], channels: int) -> list[Stage]:
    check_countable(channels)
    signs = np.asarray(popcount_signs(channels, layer.options["classes"]))
    return [Votes(signs > 0, signs < 0)]


def _dense(layer: Layer, params: Mapping[str, Any]) -> list[Stage]:
    kernel, bias = (np.asarray(params[part], np.float32) for part in ("kernel", "bias"))
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise ValueError(f"the real head {layer.name!r} holds numbers that are not finite")
    return [Linear(kernel, bias)]


# By kind: (layer, its parameters) -> stages; those that depend on the channels take them too.
_FROM_PARAMS: dict[str, Callable[[Layer, Mapping[str, Any]], list[Stage]]] = {
    "bise": _bise,
    "bisel": _bisel,
    "lui": _lui,
    "dense_lui": _lui,
    "hit_or_miss": _hit_or_miss,
    "hit_or_miss_conv": _hit_or_miss_conv,
    "ternary": _ternary,
    "dense": _dense,
}
_FROM_CHANNELS: dict[str, Callable[[Layer, Mapping[str, Any], int], list[Stage]]] = {
    "complement": _complement,
    "popcount": _popcount,
}


def _stages(layer: Layer, params: Mapping[str, Any], shape: Shape) -> list[Stage]:
    own = layer.boolean_params_of(params)
    if layer.kind in _FROM_PARAMS:
        return _FROM_PARAMS[layer.kind](layer, own)
    if layer.kind in _FROM_CHANNELS:
        return _FROM_CHANNELS[layer.kind](layer, own, shape[2])
    if layer.kind == "level_sets":
        values = read_thresholds(layer.options["thresholds"], shape[2])
        return [Thresholds(np.broadcast_to(values, (shape[2], values.shape[-1])))]
    if layer.options["rank"] != 3 and shape[:2] != (1, 1):
        raise ValueError(
            f"flatten of {layer.options['rank']} axes: only whole images (rank 3) become gates"
        )
    return [Flatten()]


def circuit_of(
    architecture: Architecture, boolean: Mapping[str, Any], input_shape: tuple[int, ...]
) -> Circuit:
    """Turns a boolean network into gates.

    Args:
      architecture: its layers.
      boolean: its boolean tree.
      input_shape: of one input, (H, W, C) or (n,).

    Returns:
      The circuit; `Circuit.shapes` has the shape between all stages.

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
    shapes: list[Shape] = [(sizes[0], sizes[1], sizes[2])]
    stages: list[Stage] = []
    for layer in architecture:
        for stage in _stages(layer, boolean, shapes[-1]):
            if isinstance(stage, Thresholds) and stages:
                raise ValueError("level sets can only be the first layer of a circuit")
            shapes.append(stage.shape_after(shapes[-1]))
            if 0 in shapes[-1]:
                raise ValueError(f"a layer of kind {layer.kind!r} gives nothing: {shapes[-1]}")
            stages.append(stage)
    return Circuit(tuple(stages), tuple(input_shape), tuple(shapes))
