"""Whether a boolean tree is one that its architecture can run, and how many channels there are."""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import jax.numpy as jnp
import numpy as np

from bimonn_jax.networks.architecture import joined_by, read_by
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
from bimonn_jax.neurons.heads import TernaryWeights
from bimonn_jax.neurons.params import BinaryNeurons, check_neurons, weights_of
from bimonn_jax.neurons.sets import Reads

Count = int | None
Ends = tuple[Count, Count]


@singledispatch
def channels(layer: Layer, own: Mapping[str, Any], before: Count, after: Count) -> Ends:
    """Channels, or flat features, that a layer reads and writes.

    Args:
      layer: the layer.
      own: its part of the parameter tree.
      before: what is known of them before it, None for nothing.
      after: what is known of them after it.

    Returns:
      Both, as far as the layer or the other one tells.

    Raises:
      ValueError: if the parameters of the layer do not fit together.
    """
    raise NotImplementedError(
        f"the channels of layers of type {type(layer).__name__} are not known: register a function "
        "with bimonn_jax.networks.consistency.channels"
    )


@channels.register
def _(layer: NeuronLayer, own: Mapping[str, Any], before: Count, after: Count) -> Ends:
    first = layer.sets[0].channels(own[layer.sets[0].part])
    writes = first[1]
    for previous, neuron_set in zip(layer.sets, layer.sets[1:], strict=False):
        neurons = own[neuron_set.part]
        reads, following = neuron_set.channels(neurons)
        maps = weights_of(own[previous.part]).shape[-2:]
        is_own_column = neuron_set.reads is Reads.OWN_COLUMN
        if writes != reads or (is_own_column and weights_of(neurons).shape != maps):
            raise ValueError(
                f"its {neuron_set.part!r} has weights of shape {weights_of(neurons).shape}; its "
                f"{previous.part!r} gives {maps} maps"
            )
        writes = following
    return first[0], writes


@channels.register
def _(layer: TernaryLayer, own: Mapping[str, Any], before: Count, after: Count) -> Ends:
    head = own["head"]
    if not isinstance(head, TernaryWeights):
        return _two(head.latent.shape)
    if head.positive.shape != head.negative.shape:
        raise ValueError(
            f"its votes for and against differ in shape: {head.positive.shape}, "
            f"{head.negative.shape}"
        )
    return _two(head.positive.shape)


@channels.register
def _(layer: RealLayer, own: Mapping[str, Any], before: Count, after: Count) -> Ends:
    kernel, bias = own["kernel"].shape, own["bias"].shape
    if kernel[1:] != bias:
        raise ValueError(f"its kernel is {kernel}, its bias {bias}")
    return _two(kernel)


@channels.register
def _(layer: PopcountLayer, own: Any, before: Count, after: Count) -> Ends:
    return before, layer.classes


@channels.register
def _(layer: ComplementLayer, own: Any, before: Count, after: Count) -> Ends:
    return _multiplied(2, before, after)


@channels.register
def _(layer: LevelSetsLayer, own: Any, before: Count, after: Count) -> Ends:
    return _multiplied(layer.levels, before, after)


@channels.register
def _(layer: FlattenLayer, own: Any, before: Count, after: Count) -> Ends:
    return before, after


@channels.register(ConcatenateLayer)
@channels.register(UpsampleLayer)
def _(layer: Layer, own: Any, before: Count, after: Count) -> Ends:
    known = after if before is None else before
    return known, known


def _two(shape: Sequence[int]) -> Ends:
    reads, writes = map(int, shape)
    return reads, writes


def _multiplied(factor: int, before: Count, after: Count) -> Ends:
    """Of a layer that writes so many channels for each that it reads."""
    if before is not None:
        return before, factor * before
    return (None if after is None or after % factor else after // factor), after


def all_channels(architecture: Architecture, params: Mapping[str, Any]) -> list[Count]:
    """Channels of the input and after each layer, as far as layers before or behind tell.

    Raises:
      ValueError: if the layers do not fit together; names the layer.
    """
    read = joined_by(architecture)
    known: list[Count] = [None] * (len(architecture) + 1)
    while True:
        found = list(known)
        for index, layer in enumerate(architecture):
            _tell(index, layer, params, read[index], found)
        if found == known:
            return known
        known = found


def _tell(
    index: int, layer: Layer, params: Mapping[str, Any], read: Sequence[int], known: list[Count]
) -> None:
    """Writes what one layer says of the channels of what it reads, and of its own."""
    each = [known[value] for value in read]
    given = [count for count in each if count is not None]
    before = sum(given) if len(given) == len(each) else None
    try:
        reads, writes = channels(layer, layer.params_of(params), before, known[index + 1])
        if before not in (None, reads):
            raise ValueError(f"it reads {reads} channels, but what it reads gives {before}")
        if known[index + 1] not in (None, writes):
            raise ValueError(f"it gives {writes} channels, but {known[index + 1]} are read of it")
    except ValueError as error:
        raise ValueError(f"{_where(index, layer)}: {error}") from error
    known[index + 1] = writes
    if reads is not None and before is None and len(set(read)) == len(each) == len(given) + 1:
        known[read[each.index(None)]] = reads - sum(given)


def _where(index: int, layer: Layer) -> str:
    return f"layer {index}, {layer.kind!r} with the parameters {layer.name!r}"


@singledispatch
def check_parts(layer: Layer, own: Mapping[str, Any]) -> None:
    """Raises ValueError unless a layer's boolean parameters are of the right types and ranks."""
    raise NotImplementedError(
        f"the parameters of layers of type {type(layer).__name__} are not known: register a "
        "function with bimonn_jax.networks.consistency.check_parts"
    )


@check_parts.register
def _(layer: NeuronLayer, own: Mapping[str, Any]) -> None:
    for neuron_set in layer.sets:
        neurons = own[neuron_set.part]
        if not isinstance(neurons, BinaryNeurons):
            raise ValueError(f"binary neurons were expected in {neuron_set.part!r}")
        check_neurons(neurons, weight_rank=neuron_set.weight_rank)
        if neurons.complement.ndim != neuron_set.neuron_rank:
            raise ValueError(
                f"complement has shape {neurons.complement.shape}; {neuron_set.neuron_rank} axes "
                f"were expected in {neuron_set.part!r}"
            )


@check_parts.register
def _(layer: TernaryLayer, own: Mapping[str, Any]) -> None:
    if not isinstance(own["head"], TernaryWeights):
        raise ValueError("the votes of a ternary head were expected")
    for votes in (own["head"].positive, own["head"].negative):
        _check_array(votes, 2, jnp.bool_)


@check_parts.register
def _(layer: RealLayer, own: Mapping[str, Any]) -> None:
    _check_array(own["kernel"], 2, jnp.floating)
    _check_array(own["bias"], 1, jnp.floating)


@check_parts.register(PopcountLayer)
@check_parts.register(ComplementLayer)
@check_parts.register(LevelSetsLayer)
@check_parts.register(FlattenLayer)
@check_parts.register(ConcatenateLayer)
@check_parts.register(UpsampleLayer)
def _(layer: Layer, own: Mapping[str, Any]) -> None:
    """Nothing to check: these have no parameters."""


def _check_array(array: Any, rank: int, dtype: Any) -> None:
    if isinstance(array, Mapping) or np.ndim(array) != rank:
        raise ValueError(f"an array of {rank} axes was expected")
    if not jnp.issubdtype(array.dtype, dtype):
        raise ValueError(f"its dtype is {array.dtype}; {dtype.__name__} was expected")


def check_consistency(architecture: Architecture, boolean: Any) -> None:
    """Raises ValueError unless the layers can run the tree on input of some shape.

    Checks which parameters there are, their types, ranks and dtypes, that the channels that a layer
    writes are those that its readers expect, as far as they are known without the shape of the
    input, and that every layer but the last is read.

    Args:
      architecture: the layers.
      boolean: the boolean tree, nested dictionaries.
    """
    if not isinstance(boolean, Mapping):
        raise ValueError("the parameters are not a dictionary")
    used: set[tuple[str, ...]] = set()
    for index, layer in enumerate(architecture):
        own = layer.params_of(boolean)
        try:
            if not isinstance(own, Mapping):
                raise ValueError("its parameters are not a dictionary")
            for part in layer.parts:
                if part not in own:
                    raise ValueError(f"there is no {part!r} among its parameters")
                used.add((*layer.path_in(boolean), part))
            check_parts(layer, own)
        except ValueError as error:
            raise ValueError(f"{_where(index, layer)}: {error}") from error
    all_channels(architecture, boolean)
    _check_all_read(architecture)
    if unread := sorted(_unused(boolean, used, ())):
        raise ValueError(f"no layer reads the parameters {unread}")


def _check_all_read(architecture: Architecture) -> None:
    values = {value for read in read_by(architecture) for value in read}
    for index, layer in enumerate(architecture[:-1]):
        if index + 1 not in values:
            raise ValueError(f"{_where(index, layer)}: no layer reads what it gives")


def _unused(node: Any, used: set[tuple[str, ...]], path: tuple[str, ...]) -> list[str]:
    """The paths of what is in a tree, but not among the used parts."""
    if path in used:
        return []
    if not isinstance(node, Mapping) or not node:
        return ["/".join(path)]
    return [name for key, child in node.items() for name in _unused(child, used, (*path, key))]
