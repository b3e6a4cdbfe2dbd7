"""The kinds of layers, as data: what a layer is called, what it reads, and its options.

A kind is a frozen, hashable dataclass. What is done with layers (running them, proofs, circuits,
simplification) are functions with one implementation per kind, by `functools.singledispatch`: a
kind of one's own, defined anywhere, is registered with those that are to know it. Kinds made of
neurons only say how these are wired, by `bimonn_jax.neurons.sets.NeuronSet`: all functions know
them then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, TypeVar, get_args

import numpy as np

from bimonn_jax.morphology.levels import LevelThresholds, read_thresholds
from bimonn_jax.morphology.windows import Border, Padding, pad_widths
from bimonn_jax.neurons.params import RealNeurons
from bimonn_jax.neurons.sets import NeuronSet, Reads

Input = TypeVar("Input")

# The name by which layers read the input of the network.
INPUT = "input"

# By their names in files.
KINDS: dict[str, type["Layer"]] = {}
# Names of older files.
_OLDER_NAMES = {"dense_lui": "lui", "dense": "real"}

# What options may be, so that a file from elsewhere cannot ask for more memory than there is.
_MAX_COUNT = 2**16
_MAX_AXES = 32
_MAX_PADDING = 2**12


@dataclass(frozen=True)
class Layer:
    """One layer of a network; its kinds are subclasses.

    Attributes:
      name: where its parameters stand in the tree: a key, or keys joined by "/"; "" at the root, or
        where it has none. Other layers read it by this name.
      inputs: the names of the layers that it reads, their channels one after the other; `INPUT` is
        the input of the network. By default, () for the layer before it.

    Raises:
      ValueError: for names that are not text, or options that the kind does not take.
    """

    name: str = ""
    _: KW_ONLY
    inputs: tuple[str, ...] = ()

    kind: ClassVar[str] = ""
    # What it reads from its part of the parameter tree.
    parts: ClassVar[tuple[str, ...]] = ()
    # Of how many of its inputs it takes the channels, None for all; of the others only the size.
    joins: ClassVar[int | None] = None

    def __init_subclass__(cls, *, kind: str = "", **arguments: Any) -> None:
        """Keeps the kind under its name in files, if it has one."""
        super().__init_subclass__(**arguments)
        cls.kind = kind
        if not kind:
            return
        known = KINDS.get(kind)
        if known is not None and (known.__module__, known.__qualname__) != (
            cls.__module__,
            cls.__qualname__,
        ):
            raise ValueError(f"there is a kind of layers {kind!r} already: {known.__qualname__}")
        KINDS[kind] = cls

    def __post_init__(self) -> None:
        """Checks what is given."""
        if not self.kind:
            raise TypeError(f"{type(self).__name__} is no kind of layer, but what kinds share")
        if not isinstance(self.name, str):
            raise ValueError(f"the name of a layer must be text, '' for none; got {self.name!r}")
        names = self.inputs
        if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"inputs must be a tuple of names of layers; got {names!r}")
        object.__setattr__(self, "inputs", tuple(names))

    @property
    def options(self) -> dict[str, Any]:
        """What a file says of the layer beside its kind, name and inputs: the other fields."""
        return {option: getattr(self, option) for option in options_of(type(self))}

    @property
    def title(self) -> str:
        """What people read: the name, or the kind of a layer without parameters."""
        return self.name if self.name and self.parts else self.kind

    def params_of(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """This layer's part of the network's parameter tree; {} if it is not there."""
        node: Any = params
        for key in self.path_in(params):
            node = node.get(key, {}) if isinstance(node, Mapping) else {}
        own: Mapping[str, Any] = node
        return own

    def path_in(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The keys of this layer's part of a tree, in which the name may be one key as it is."""
        if not self.name:
            return ()
        return (self.name,) if self.name in params else tuple(self.name.split("/"))

    def path_of(self, part: str) -> str:
        """How a part of its parameters is called, as by `bimonn_jax.neurons.named_neurons`."""
        return f"{self.name}/{part}" if self.name else part

    def split(self, inputs: Sequence[Input]) -> tuple[Sequence[Input], Sequence[Input]]:
        """Of what stands for its inputs: those whose channels it takes, and those of a size."""
        count = len(inputs) if self.joins is None else self.joins
        return inputs[:count], inputs[count:]

    def boolean_params_of(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Like `params_of`; raises TypeError where neurons are real-valued."""
        own = self.params_of(params)
        if isinstance(own, Mapping) and any(isinstance(n, RealNeurons) for n in own.values()):
            raise TypeError(f"params[{self.name!r}] is real-valued: binarize the parameters first")
        return own


Architecture = tuple[Layer, ...]


def options_of(kind: type[Layer]) -> tuple[str, ...]:
    """The options of a kind: its fields beside the name and the inputs."""
    return tuple(f.name for f in fields(kind) if f.name not in ("name", "inputs"))


def layer_of(kind: str, name: str = "", **options: Any) -> Layer:
    """A layer by the name of its kind, as files have it.

    Raises:
      ValueError: for an unknown kind, or options other than those of the kind.
    """
    kind = _OLDER_NAMES.get(kind, kind)
    if kind not in KINDS:
        raise ValueError(f"layer kind must be one of {sorted(KINDS)}; got {kind!r}")
    expected, given = set(options_of(KINDS[kind])), set(options) - {"inputs"}
    if given != expected:
        raise ValueError(
            f"a layer of kind {kind!r} takes the options {sorted(expected)}; got "
            f"{sorted(map(str, given))}: {sorted(map(str, given ^ expected))} differ"
        )
    return KINDS[kind](name, **options)


def _check_count(name: str, value: object, most: int = _MAX_COUNT) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{name} must be an int of 1 to {most}; got {value!r}")


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class NeuronLayer(Layer):
    """A layer of neurons: each of its `sets` reads what the one before it gives."""

    sets: ClassVar[tuple[NeuronSet, ...]] = ()

    def __init_subclass__(cls, *, kind: str = "", **arguments: Any) -> None:
        """The parts are those of the sets."""
        super().__init_subclass__(kind=kind, **arguments)
        cls.parts = tuple(neuron_set.part for neuron_set in cls.sets)

    @property
    def window(self) -> dict[str, Any]:
        """How its neurons slide: padding, border and pool, where the kind has them."""
        return {}


@dataclass(frozen=True)
class SlidingLayer(NeuronLayer):
    """Neurons over windows of an image.

    Attributes:
      padding: "SAME", "VALID", ints or pairs.
      border: "zero", "edge", "reflect" or "wrap".
    """

    _: KW_ONLY
    padding: Padding = "SAME"
    border: Border = "zero"

    def __post_init__(self) -> None:
        """Checks what is given."""
        super().__post_init__()
        object.__setattr__(self, "padding", _as_tuples(self.padding))
        if np.max(pad_widths((1, 1), self.padding)) > _MAX_PADDING:
            raise ValueError(f"padding must be at most {_MAX_PADDING}; got {self.padding!r}")
        if self.border not in get_args(Border):
            raise ValueError(f"border must be one of {get_args(Border)}; got {self.border!r}")

    @property
    def window(self) -> dict[str, Any]:
        """How its neurons slide: padding, border and pool, where the kind has them."""
        return {"padding": self.padding, "border": self.border}


@dataclass(frozen=True)
class PooledLayer(SlidingLayer):
    """Neurons over windows of an image, then a union over windows of their outputs.

    Attributes:
      pool: side and stride of the windows of the union; 1 for none.
    """

    _: KW_ONLY
    pool: int = 1

    def __post_init__(self) -> None:
        """Checks what is given."""
        super().__post_init__()
        _check_count("pool", self.pool)

    @property
    def window(self) -> dict[str, Any]:
        """How its neurons slide: padding, border and pool, where the kind has them."""
        return {**super().window, "pool": self.pool}


_OWN_CHANNEL = NeuronSet("bise", Reads.OWN_CHANNEL, slides=True)


@dataclass(frozen=True)
class BiSELayer(SlidingLayer, kind="bise"):
    """Neurons that slide over one channel each; the neurons of channel 0 come first."""

    sets = (_OWN_CHANNEL,)


@dataclass(frozen=True)
class BiSELLayer(SlidingLayer, kind="bisel"):
    """Neurons that slide over one channel each, then a union or intersection for each output."""

    sets = (_OWN_CHANNEL, NeuronSet("lui", Reads.OWN_COLUMN))


@dataclass(frozen=True)
class LUILayer(NeuronLayer, kind="lui"):
    """Unions and intersections of all channels of a pixel, or of flat features."""

    sets = (NeuronSet("lui", Reads.ALL),)


@dataclass(frozen=True)
class LUIConvLayer(PooledLayer, kind="lui_conv"):
    """Neurons over all channels of a window."""

    sets = (NeuronSet("lui", Reads.ALL, slides=True),)


@dataclass(frozen=True)
class HitOrMissLayer(NeuronLayer, kind="hit_or_miss"):
    """Neurons over all channels of a pixel, or flat features, and their complements."""

    sets = (NeuronSet("lui", Reads.ALL, complements=True),)


@dataclass(frozen=True)
class HitOrMissConvLayer(PooledLayer, kind="hit_or_miss_conv"):
    """Neurons over all channels of a window and their complements."""

    sets = (NeuronSet("lui", Reads.ALL, slides=True, complements=True),)


@dataclass(frozen=True)
class ComplementLayer(Layer, kind="complement"):
    """The channels, then their complements."""


@dataclass(frozen=True)
class LevelSetsLayer(Layer, kind="level_sets"):
    """Binary channels [x_c >= t_k] of numbers.

    Attributes:
      thresholds: q increasing numbers for all channels, or one row of q per channel.
    """

    _: KW_ONLY
    thresholds: LevelThresholds

    def __post_init__(self) -> None:
        """Checks what is given."""
        super().__post_init__()
        values = self.thresholds
        if not isinstance(values, list | tuple) or not _are_numbers(values):
            raise ValueError(
                f"thresholds must be a list of numbers or of such lists; got {values!r}"
            )
        read_thresholds(values)
        object.__setattr__(self, "thresholds", _as_tuples(values))

    @property
    def levels(self) -> int:
        """Thresholds per channel."""
        return int(np.shape(self.thresholds)[-1])


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(
        _are_numbers(v) if isinstance(v, list | tuple) else type(v) in (int, float) for v in values
    )


@dataclass(frozen=True)
class FlattenLayer(Layer, kind="flatten"):
    """The last axes as one.

    Attributes:
      rank: how many: 3 for images.
    """

    _: KW_ONLY
    rank: int = 3

    def __post_init__(self) -> None:
        """Checks what is given."""
        super().__post_init__()
        _check_count("rank", self.rank, _MAX_AXES)


@dataclass(frozen=True)
class ConcatenateLayer(Layer, kind="concatenate"):
    """The channels of its inputs, one after the other."""


@dataclass(frozen=True)
class UpsampleLayer(Layer, kind="upsample"):
    """Every pixel as ``factor`` x ``factor`` pixels.

    Of two inputs, the second only says where the rows and columns end: the image is cut to its
    height and width, which a union over windows that reach beyond the image may have exceeded.

    Attributes:
      factor: rows and columns of each pixel.
    """

    joins = 1

    _: KW_ONLY
    factor: int = 2

    def __post_init__(self) -> None:
        """Checks what is given."""
        super().__post_init__()
        _check_count("factor", self.factor)
        if len(self.inputs) > 2:
            raise ValueError(f"an upsampling reads one layer, and the size of another; got {self}")


@dataclass(frozen=True)
class RealLayer(Layer, kind="real"):
    """A linear classification layer with real weights."""

    parts = ("kernel", "bias")


@dataclass(frozen=True)
class TernaryLayer(Layer, kind="ternary"):
    """A classification layer with weights in {-1, 0, 1}."""

    parts = ("head",)


@dataclass(frozen=True)
class PopcountLayer(Layer, kind="popcount"):
    """Counts of the set bits of one group of features per class.

    Attributes:
      classes: how many.
    """

    _: KW_ONLY
    classes: int

    def __post_init__(self) -> None:
        """Checks what is given."""
        super().__post_init__()
        _check_count("classes", self.classes)
