"""A network as data: a list of layers that can be saved, run without Flax, and reasoned about.

``model.architecture`` is a tuple of `Layer`. `apply_layers` runs it on a parameter tree, real or
boolean; the Flax modules call the same functions, so both always agree.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.promotion import with_rank
from bimonn_jax.morphology.levels import complement_channels, level_sets, read_thresholds
from bimonn_jax.morphology.windows import Border, Padding, pad_widths
from bimonn_jax.neurons.heads import popcount_scores, ternary_scores
from bimonn_jax.neurons.hit_or_miss import apply_hit_or_miss, apply_hit_or_miss_conv
from bimonn_jax.neurons.params import RealNeurons, apply_aligned, apply_conv, apply_dense
from bimonn_jax.neurons.precision import matmul


def _bise(
    params: Mapping[str, Any], x: jax.Array, *, padding: Padding, border: Border
) -> jax.Array:
    maps = apply_conv(params["bise"], x, padding=padding, border=border)
    return maps.reshape(*maps.shape[:-2], math.prod(maps.shape[-2:]))


def _bisel(
    params: Mapping[str, Any], x: jax.Array, *, padding: Padding, border: Border
) -> jax.Array:
    maps = apply_conv(params["bise"], x, padding=padding, border=border)
    return apply_aligned(params["lui"], maps)


def _lui(params: Mapping[str, Any], x: jax.Array) -> jax.Array:
    return apply_dense(params["lui"], x)


def _hit_or_miss(params: Mapping[str, Any], x: jax.Array) -> jax.Array:
    return apply_hit_or_miss(params["lui"], x)


def _hit_or_miss_conv(
    params: Mapping[str, Any], x: jax.Array, *, padding: Padding, border: Border, pool: int
) -> jax.Array:
    return apply_hit_or_miss_conv(params["lui"], x, padding=padding, border=border, pool=pool)


def _ternary(params: Mapping[str, Any], x: jax.Array) -> jax.Array:
    return ternary_scores(params["head"], x)


def _popcount(params: Mapping[str, Any], x: jax.Array, *, classes: int) -> jax.Array:
    return popcount_scores(x, classes)


def _dense(params: Mapping[str, Any], x: jax.Array) -> jax.Array:
    features = x.astype(params["kernel"].dtype)
    scores: jax.Array = matmul(features, params["kernel"])
    return scores + with_rank(params["bias"], scores.ndim)


def _level_sets(
    params: Mapping[str, Any], x: jax.Array, *, thresholds: Sequence[float]
) -> jax.Array:
    return level_sets(x, thresholds)


def _complement(params: Mapping[str, Any], x: jax.Array) -> jax.Array:
    return complement_channels(x)


def _flatten(params: Mapping[str, Any], x: jax.Array, *, rank: int) -> jax.Array:
    if x.ndim < rank:
        raise ValueError(f"x has shape {x.shape}; at least {rank} axes were expected")
    leading = x.shape[: x.ndim - rank]
    return x.reshape(*leading, math.prod(x.shape[x.ndim - rank :]))


# Every kind of layer: (its parameters, input, options by keyword) -> output.
LAYERS: dict[str, Callable[..., jax.Array]] = {
    "bise": _bise,
    "lui": _lui,
    "bisel": _bisel,
    "dense_lui": _lui,
    "hit_or_miss": _hit_or_miss,
    "hit_or_miss_conv": _hit_or_miss_conv,
    "dense": _dense,
    "ternary": _ternary,
    "popcount": _popcount,
    "complement": _complement,
    "level_sets": _level_sets,
    "flatten": _flatten,
}


# What each kind of layer reads from its part of the parameter tree; the others read nothing.
PARTS: dict[str, tuple[str, ...]] = {
    "bise": ("bise",),
    "lui": ("lui",),
    "bisel": ("bise", "lui"),
    "dense_lui": ("lui",),
    "hit_or_miss": ("lui",),
    "hit_or_miss_conv": ("lui",),
    "dense": ("kernel", "bias"),
    "ternary": ("head",),
}


# What options may be, so that a file from elsewhere cannot ask for more memory than there is.
_MOST = {"rank": 32, "classes": 2**16, "pool": 2**16}
_MOST_PADDING = 2**12


def _check_options(options: Mapping[str, Any]) -> None:
    """Raises ValueError where the value of an option is not one that its layer takes."""
    if "padding" in options:
        widths = np.ravel(pad_widths((1, 1), options["padding"]))
        if widths.max() > _MOST_PADDING:
            raise ValueError(f"padding must be at most {_MOST_PADDING}; got {options['padding']!r}")
    if "border" in options and options["border"] not in get_args(Border):
        raise ValueError(f"border must be one of {get_args(Border)}; got {options['border']!r}")
    for name, most in _MOST.items():
        value = options.get(name, 1)
        if type(value) is not int or not 1 <= value <= most:
            raise ValueError(f"{name} must be an int of 1 to {most}; got {value!r}")
    if "thresholds" in options:
        values = options["thresholds"]
        if not isinstance(values, list | tuple) or not _are_numbers(values):
            raise ValueError(
                f"thresholds must be a list of numbers or of such lists; got {values!r}"
            )
        read_thresholds(values)


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(
        _are_numbers(v) if isinstance(v, list | tuple) else type(v) in (int, float) for v in values
    )


def _options_of(kind: str) -> set[str]:
    parameters = inspect.signature(LAYERS[kind]).parameters.values()
    return {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


@dataclass(frozen=True)
class Layer:
    """One layer of an architecture.

    Attributes:
      kind: a key of `LAYERS`.
      name: where its parameters stand in the tree, "" at the root or where it has none.
      options: the keyword arguments of its function, values as JSON has them.

    Raises:
      ValueError: for an unknown kind, or options other than those of the kind.
    """

    kind: str
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the kind and its options."""
        if self.kind not in LAYERS:
            raise ValueError(f"layer kind must be one of {sorted(LAYERS)}; got {self.kind!r}")
        if not isinstance(self.name, str):
            raise ValueError(f"the name of a layer must be text, '' for none; got {self.name!r}")
        expected = _options_of(self.kind)
        if set(self.options) != expected:
            raise ValueError(
                f"a layer of kind {self.kind!r} takes the options {sorted(expected)}; got "
                f"{sorted(map(str, self.options))}"
            )
        _check_options(self.options)

    def __hash__(self) -> int:
        """Of what can be hashed, so that an architecture can be a static argument under jit."""
        return hash((self.kind, self.name, tuple(sorted(self.options))))

    def params_of(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """This layer's part of the network's parameter tree."""
        return params.get(self.name, {}) if self.name else params

    def boolean_params_of(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Like `params_of`; raises TypeError where neurons are real-valued."""
        own = self.params_of(params)
        if any(isinstance(node, RealNeurons) for node in own.values()):
            raise TypeError(f"params[{self.name!r}] is real-valued: binarize the parameters first")
        return own

    def __call__(self, params: Mapping[str, Any], x: jax.Array) -> jax.Array:
        """Applies the layer, given the network's whole parameter tree."""
        own = self.params_of(params)
        missing = [part for part in PARTS.get(self.kind, ()) if part not in own]
        if missing:
            raise ValueError(
                f"params[{self.name!r}] lacks {missing}, which a layer of kind {self.kind!r} "
                "needs: give the parameters of this architecture"
            )
        return LAYERS[self.kind](own, x, **self.options)


Architecture = tuple[Layer, ...]


@partial(jax.jit, static_argnums=0)
def apply_layers(architecture: Architecture, params: Mapping[str, Any], x: jax.Array) -> jax.Array:
    """Runs a network, compiled as a whole: the output of its last layer on ``x``.

    Args:
      architecture: the layers, in order; a tuple, as it is a static argument.
      params: the parameter tree, real-valued or boolean.
      x: the input that the first layer takes; bool for a boolean network.
    """
    for layer in architecture:
        x = layer(params, x)
    return x


@partial(jax.jit, static_argnums=0)
def layer_outputs(
    architecture: Architecture, params: Mapping[str, Any], x: jax.Array
) -> list[jax.Array]:
    """Like `apply_layers`, and returns the output of every layer, in order."""
    outputs = []
    for layer in architecture:
        x = layer(params, x)
        outputs.append(x)
    return outputs


def stage_outputs(
    architecture: Architecture, params: Mapping[str, Any], x: jax.Array | np.ndarray
) -> list[tuple[str, jax.Array]]:
    """Like `layer_outputs`, by name, and with the maps inside of a BiSEL before its unions.

    The names are those of the stages in `bimonn_jax.deployment.circuit`: "layers_0/bise",
    "layers_0/lui", or the name or kind of a layer without neurons.
    """
    outputs = []
    x = jnp.asarray(x)
    for layer in architecture:
        if layer.kind == "bisel":
            maps = Layer("bise", layer.name, layer.options)(params, x)
            outputs.append((f"{layer.name}/bise", maps))
        x = layer(params, x)
        neurons = [part for part in PARTS.get(layer.kind, ()) if part in ("bise", "lui")]
        outputs.append(("/".join([layer.name or layer.kind, *neurons[-1:]]), x))
    return outputs


def to_json(architecture: Architecture) -> list[dict[str, Any]]:
    """The architecture as JSON values; `from_json` is the inverse."""
    return [{"kind": a.kind, "name": a.name, "options": dict(a.options)} for a in architecture]


def from_json(layers: Sequence[Mapping[str, Any]]) -> Architecture:
    """Reads what `to_json` wrote.

    Raises:
      ValueError: if a layer has missing, unknown or ill-typed entries.
    """
    if not isinstance(layers, list | tuple):
        raise ValueError(f"an architecture must be a list of layers; got {layers!r}")
    architecture = []
    for index, entry in enumerate(layers):
        if not isinstance(entry, Mapping) or set(entry) != {"kind", "name", "options"}:
            raise ValueError(
                f"layer {index} of the architecture must hold 'kind', 'name' and 'options'; got "
                f"{entry!r}"
            )
        if not isinstance(entry["name"], str) or not isinstance(entry["options"], Mapping):
            raise ValueError(f"layer {index} of the architecture is ill-typed: {entry!r}")
        try:
            layer = Layer(str(entry["kind"]), entry["name"], dict(entry["options"]))
        except ValueError as error:
            raise ValueError(f"layer {index} of the architecture: {error}") from error
        architecture.append(layer)
    return tuple(architecture)
