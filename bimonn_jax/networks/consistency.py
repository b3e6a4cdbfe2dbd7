"""Whether a boolean tree is one that its architecture can run: for files from elsewhere."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from bimonn_jax.networks.architecture import PARTS, Architecture, Layer
from bimonn_jax.neurons.heads import TernaryWeights
from bimonn_jax.neurons.params import BooleanNeurons, check_neurons


def _check_part(layer: Layer, part: str, node: Any) -> None:
    """Raises ValueError unless a part of a layer's parameters is of the right kind and rank."""
    if part in ("bise", "lui"):
        if not isinstance(node, BooleanNeurons):
            raise ValueError("boolean neurons were expected")
        is_sliding = part == "bise" or layer.kind == "hit_or_miss_conv"
        check_neurons(node, weight_rank=4 if is_sliding else 2)
        return
    arrays: list[Any] = [node]
    if part == "head":
        if not isinstance(node, TernaryWeights):
            raise ValueError("the votes of a ternary head were expected")
        arrays = [node.positive, node.negative]
    rank = 1 if part == "bias" else 2
    for array in arrays:
        if isinstance(array, Mapping) or np.ndim(array) != rank:
            raise ValueError(f"an array of {rank} axes was expected")
        expected = jnp.bool_ if part == "head" else jnp.floating
        if not jnp.issubdtype(array.dtype, expected):
            raise ValueError(f"its dtype is {array.dtype}; {expected.__name__} was expected")


def channels_of(layer: Layer, own: Mapping[str, Any]) -> tuple[int, int]:
    """Channels, or flat features, that a layer reads and writes, by its own boolean parameters.

    Raises:
      ValueError: if the parameters do not fit together.
    """
    if layer.kind in ("bise", "bisel"):
        reads, outputs = map(int, own["bise"].footprint.shape[2:])
        if layer.kind == "bise":
            return reads, reads * outputs
        if own["lui"].footprint.shape != (reads, outputs):
            raise ValueError(
                f"its unions have footprints {own['lui'].footprint.shape}; {(reads, outputs)} "
                "were expected"
            )
        return reads, outputs
    if layer.kind == "ternary":
        positive, negative = own["head"].positive.shape, own["head"].negative.shape
        if positive != negative:
            raise ValueError(f"its votes for and against differ in shape: {positive}, {negative}")
        reads, outputs = map(int, positive)
        return reads, outputs
    if layer.kind == "dense":
        kernel, bias = own["kernel"].shape, own["bias"].shape
        if kernel[1:] != bias:
            raise ValueError(f"its kernel is {kernel}, its bias {bias}")
        reads, outputs = map(int, kernel)
        return reads, outputs
    reads, outputs = own["lui"].footprint.shape[-2:]
    if layer.kind.startswith("hit_or_miss"):
        if reads % 2:
            raise ValueError(f"its {reads} inputs are not as many bits as complements")
        reads //= 2
    return reads, outputs


def _channels_after(layer: Layer, own: Mapping[str, Any], before: int | None) -> int | None:
    """Channels after a layer, None where unknown; raises ValueError if ``before`` does not fit."""
    if layer.kind in PARTS:
        reads, outputs = channels_of(layer, own)
        if before not in (None, reads):
            raise ValueError(f"it reads {reads} channels, but the layer before it gives {before}")
        return outputs
    if before is None or layer.kind == "flatten":
        return None
    if layer.kind == "level_sets":
        return before * int(np.shape(layer.options["thresholds"])[-1])
    if layer.kind == "complement":
        return 2 * before
    return int(layer.options["classes"])


def check_consistency(architecture: Architecture, boolean: Any) -> None:
    """Raises ValueError unless the layers can run the tree on input of some shape.

    Checks which sets of neurons there are, their kinds, ranks and dtypes, and that the channels
    that a layer writes are those that the next one reads, as far as they are known without the
    shape of the input.

    Args:
      architecture: the layers.
      boolean: the boolean tree, nested dictionaries.
    """
    if not isinstance(boolean, Mapping):
        raise ValueError("the parameters are not a dictionary")
    channels: int | None = None
    read: dict[str, set[str]] = {}
    for index, layer in enumerate(architecture):
        own = layer.params_of(boolean)
        where = f"layer {index}, {layer.kind!r} with the parameters {layer.name!r}"
        try:
            if not isinstance(own, Mapping):
                raise ValueError("its parameters are not a dictionary")
            for part in PARTS.get(layer.kind, ()):
                if part not in own:
                    raise ValueError(f"there is no {part!r} among its parameters")
                _check_part(layer, part, own[part])
                read.setdefault(layer.name, set()).add(part)
            channels = _channels_after(layer, own, channels)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    at_root = read.pop("", set())
    unread = set(boolean) - set(read) - at_root
    unread |= {f"{name}/{p}" for name, parts in read.items() for p in set(boolean[name]) - parts}
    if unread:
        raise ValueError(f"no layer reads the parameters {sorted(unread)}")
