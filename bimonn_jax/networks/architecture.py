"""A network as data: a graph of layers that can be saved, run without Flax, and reasoned about.

An architecture is a tuple of layers (`bimonn_jax.networks.kinds`), each after those that it reads;
the output of the last one is that of the network. `apply_layers` runs it on a parameter tree, real
or boolean; the Flax modules call the same functions, so both always agree.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial, singledispatch
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.promotion import promoting, with_rank
from bimonn_jax.morphology.levels import complement_channels, level_sets
from bimonn_jax.networks.kinds import (
    INPUT,
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
    layer_of,
)
from bimonn_jax.neurons.heads import popcount_scores, ternary_scores
from bimonn_jax.neurons.precision import matmul
from bimonn_jax.neurons.sets import Reads, apply_set


@singledispatch
def apply(layer: Layer, own: Mapping[str, Any], x: jax.Array, *others: jax.Array) -> jax.Array:
    """Applies a layer, given its own part of the parameter tree.

    Args:
      layer: what to do.
      own: its parameters by part.
      x: what it reads.
      others: inputs of which only the shape counts, see `Layer.split`.
    """
    raise NotImplementedError(
        f"layers of type {type(layer).__name__} cannot be run: register a function with "
        "bimonn_jax.networks.architecture.apply"
    )


@apply.register
def _(layer: NeuronLayer, own: Mapping[str, Any], x: jax.Array) -> jax.Array:
    return _neuron_maps(layer, own, x)[-1]


def _neuron_maps(layer: NeuronLayer, own: Mapping[str, Any], x: jax.Array) -> list[jax.Array]:
    """What each set of neurons of a layer gives, (..., C, M) maps as (..., C M)."""
    maps = []
    for neuron_set in layer.sets:
        x = apply_set(neuron_set, own[neuron_set.part], x, **layer.window)
        is_own = neuron_set.reads is Reads.OWN_CHANNEL
        maps.append(x.reshape(*x.shape[:-2], math.prod(x.shape[-2:])) if is_own else x)
    return maps


@apply.register
def _(layer: ComplementLayer, own: Mapping[str, Any], x: jax.Array) -> jax.Array:
    return complement_channels(x)


@apply.register
def _(layer: LevelSetsLayer, own: Mapping[str, Any], x: jax.Array) -> jax.Array:
    return level_sets(x, layer.thresholds)


@apply.register
def _(layer: FlattenLayer, own: Mapping[str, Any], x: jax.Array) -> jax.Array:
    if x.ndim < layer.rank:
        raise ValueError(f"x has shape {x.shape}; at least {layer.rank} axes were expected")
    leading = x.ndim - layer.rank
    return x.reshape(*x.shape[:leading], math.prod(x.shape[leading:]))


@apply.register
def _(layer: ConcatenateLayer, own: Mapping[str, Any], x: jax.Array) -> jax.Array:
    return x


@apply.register
def _(layer: UpsampleLayer, own: Mapping[str, Any], x: jax.Array, *like: jax.Array) -> jax.Array:
    if x.ndim < 3:
        raise ValueError(f"x has shape {x.shape}; (..., height, width, channels) was expected")
    repeated = jnp.repeat(jnp.repeat(x, layer.factor, axis=-3), layer.factor, axis=-2)
    if not like:
        return repeated
    height, width = like[0].shape[-3:-1]
    if height > repeated.shape[-3] or width > repeated.shape[-2]:
        raise ValueError(
            f"an image of {x.shape[-3]} x {x.shape[-2]} pixels, each {layer.factor} times, does "
            f"not cover {height} x {width}"
        )
    return repeated[..., :height, :width, :]


@apply.register
def _(layer: RealLayer, own: Mapping[str, Any], x: jax.Array) -> jax.Array:
    features = x.astype(own["kernel"].dtype)
    scores: jax.Array = matmul(features, own["kernel"])
    return scores + with_rank(own["bias"], scores.ndim)


@apply.register
def _(layer: TernaryLayer, own: Mapping[str, Any], x: jax.Array) -> jax.Array:
    return ternary_scores(own["head"], x)


@apply.register
def _(layer: PopcountLayer, own: Mapping[str, Any], x: jax.Array) -> jax.Array:
    return popcount_scores(x, layer.classes)


def read_by(architecture: Architecture) -> list[tuple[int, ...]]:
    """What each layer reads: 0 is the input of the network, i + 1 the output of layer i.

    Raises:
      ValueError: if a layer reads one that is not before it, or whose name is not only its own.
    """
    found: list[tuple[int, ...]] = []
    for index, layer in enumerate(architecture):
        names = [INPUT, *(other.name for other in architecture[:index])]
        # Only the input of the network is called so: of a layer of that name, () is the way.
        names[1:] = ["" if name == INPUT else name for name in names[1:]]
        for name in layer.inputs:
            if names.count(name) != 1:
                what = "are several layers" if name in names else "is no layer"
                raise ValueError(
                    f"layer {index}, {layer.title!r}, reads {name!r}, but before it there {what} "
                    f"of that name; those before it are {[n for n in names if n]}"
                )
        found.append(tuple(map(names.index, layer.inputs)) or (index,))
    return found


def joined_by(architecture: Architecture) -> list[tuple[int, ...]]:
    """Of what each layer reads, see `read_by`, the values whose channels it takes."""
    return [
        tuple(layer.split(read)[0])
        for layer, read in zip(architecture, read_by(architecture), strict=True)
    ]


def concatenated(layer: Layer, images: Sequence[jax.Array]) -> jax.Array:
    """The channels of several images, one after the other: bool if all are, else floats."""
    if len(images) == 1:
        return images[0]
    name = layer.name or layer.kind
    if len({image.shape[:-1] for image in images}) > 1:
        raise ValueError(
            f"layer {name!r} reads {', '.join(layer.inputs)}, which must differ in nothing "
            f"but the channels; got the shapes {[image.shape for image in images]}"
        )
    floats = [image.dtype for image in images if jnp.issubdtype(image.dtype, jnp.floating)]
    kinds = {jnp.dtype(image.dtype) for image in images} - {jnp.dtype(bool), *floats}
    if kinds:
        raise ValueError(
            f"layer {name!r} reads {', '.join(layer.inputs)}, of which one is "
            f"{kinds.pop()}; bool or float was expected: only level sets read numbers"
        )
    with promoting():
        dtype = jnp.result_type(*floats) if floats else jnp.dtype(bool)
    return jnp.concatenate([image.astype(dtype) for image in images], axis=-1)


def apply_layer(layer: Layer, params: Mapping[str, Any], images: Sequence[jax.Array]) -> jax.Array:
    """Applies a layer to the images that it reads, given the network's whole parameter tree.

    Raises:
      ValueError: if the tree lacks its parameters, or the images do not fit.
    """
    own = layer.params_of(params)
    if missing := [part for part in layer.parts if part not in own]:
        raise ValueError(
            f"params[{layer.name!r}] lacks {missing}, which a layer of kind {layer.kind!r} "
            "needs: give the parameters of this architecture"
        )
    content, others = layer.split(images)
    return apply(layer, own, concatenated(layer, content), *others)


@partial(jax.jit, static_argnums=0)
def apply_layers(architecture: Architecture, params: Mapping[str, Any], x: jax.Array) -> jax.Array:
    """Runs a network, compiled as a whole: the output of its last layer on ``x``.

    Args:
      architecture: the layers, each after those that it reads; a tuple, as it is a static argument.
      params: the parameter tree, real-valued or boolean.
      x: the input of the network; bool for a boolean network.

    Raises:
      ValueError: if layers read what is not there, or do not fit the parameters or each other.
    """
    return [x, *_outputs(architecture, params, x)][-1]


@partial(jax.jit, static_argnums=0)
def layer_outputs(
    architecture: Architecture, params: Mapping[str, Any], x: jax.Array
) -> list[jax.Array]:
    """Like `apply_layers`, and returns the output of every layer, in order."""
    return _outputs(architecture, params, x)


def _outputs(
    architecture: Architecture, params: Mapping[str, Any], x: jax.Array
) -> list[jax.Array]:
    values = [x]
    for layer, read in zip(architecture, read_by(architecture), strict=True):
        values.append(apply_layer(layer, params, [values[i] for i in read]))
    return values[1:]


def stage_outputs(
    architecture: Architecture, params: Mapping[str, Any], x: jax.Array | np.ndarray
) -> list[tuple[str, jax.Array]]:
    """Like `layer_outputs`, by name, and with the maps between the neurons of one layer.

    The names are those of the stages in `bimonn_jax.deployment.circuit`: "layers_0/bise",
    "layers_0/lui", or the name or kind of a layer without neurons. Joined images are left out,
    unless they are the output.
    """
    values, outputs = [jnp.asarray(x)], []
    for layer, read in zip(architecture, read_by(architecture), strict=True):
        images = [values[i] for i in read]
        if isinstance(layer, NeuronLayer):
            maps = _neuron_maps(layer, layer.params_of(params), concatenated(layer, images))
            outputs += list(zip(map(layer.path_of, layer.parts), maps, strict=True))
            values.append(maps[-1])
        else:
            values.append(apply_layer(layer, params, images))
            if not isinstance(layer, ConcatenateLayer):
                outputs.append((layer.title, values[-1]))
    if not outputs or values[-1] is not outputs[-1][1]:
        outputs.append(("output", values[-1]))
    return outputs


def _as_lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _as_lists(item) for name, item in value.items()}
    return list(map(_as_lists, value)) if isinstance(value, tuple) else value


def to_json(architecture: Architecture) -> list[dict[str, Any]]:
    """The architecture as JSON values; `from_json` is the inverse."""
    return [
        {"kind": layer.kind, "name": layer.name, "options": _as_lists(layer.options)}
        | ({"inputs": list(layer.inputs)} if layer.inputs else {})
        for layer in architecture
    ]


def from_json(layers: Sequence[Mapping[str, Any]]) -> Architecture:
    """Reads what `to_json` wrote.

    Raises:
      ValueError: if a layer has missing, unknown or ill-typed entries, or reads what is not there.
    """
    if not isinstance(layers, list | tuple):
        raise ValueError(f"an architecture must be a list of layers; got {layers!r}")
    architecture = []
    for index, entry in enumerate(layers):
        required = {"kind", "name", "options"}
        if not isinstance(entry, Mapping) or set(entry) - {"inputs"} != required:
            raise ValueError(
                f"layer {index} of the architecture must hold 'kind', 'name' and 'options'; got "
                f"{entry!r}"
            )
        inputs = entry.get("inputs", ())
        is_typed = isinstance(entry["name"], str) and isinstance(entry["options"], Mapping)
        if not is_typed or not isinstance(inputs, list | tuple) or "inputs" in entry["options"]:
            raise ValueError(f"layer {index} of the architecture is ill-typed: {entry!r}")
        try:
            options = {**entry["options"], "inputs": tuple(inputs)}
            layer = layer_of(str(entry["kind"]), entry["name"], **options)
        except (ValueError, TypeError) as error:
            raise ValueError(f"layer {index} of the architecture: {error}") from error
        architecture.append(layer)
    read_by(tuple(architecture))
    return tuple(architecture)
