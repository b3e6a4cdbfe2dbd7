"""Simplifying a boolean network without changing what it computes.

`bimonn_jax.prune` removes what a metric on data does not miss. What is removed here cannot matter
on any input: it needs no data, and the outputs stay equal, bit by bit.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from bimonn_jax.binarization.simplification.rules import (
    BiSE,
    BiSEL,
    Complement,
    Flatten,
    LevelSets,
    Neurons,
    Rule,
    Ternary,
    nothing_known,
    popcount_as_ternary,
)
from bimonn_jax.networks.architecture import PARTS, Architecture, Layer
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.consistency import channels_of

_FROM_PARAMS: dict[str, Callable[[Layer, Mapping[str, Any]], Neurons | BiSE | BiSEL | Ternary]] = {
    "bise": BiSE,
    "bisel": BiSEL,
    "lui": Neurons,
    "dense_lui": Neurons,
    "hit_or_miss": Neurons,
    "hit_or_miss_conv": Neurons,
    "ternary": Ternary,
}


def _channels_before(architecture: Architecture, params: Mapping[str, Any]) -> list[int | None]:
    """The channels, or flat features, before each layer, where the layers after it tell."""
    channels: list[int | None] = []
    following: int | None = None
    for layer in reversed(architecture):
        own = layer.params_of(params)
        if layer.kind in PARTS:
            following, _ = channels_of(layer, own)
        elif layer.kind == "complement" and following is not None:
            following //= 2
        elif layer.kind == "level_sets" and following is not None:
            following //= np.shape(layer.options["thresholds"])[-1]
        else:
            following = None
        channels.insert(0, following)
    return channels


def _rule(
    layer: Layer, params: Mapping[str, Any], before: int | None, after: int | None
) -> Rule | None:
    """The rule of a layer between so many channels; None where nothing can be said of it."""
    own = layer.params_of(params)
    if layer.kind in _FROM_PARAMS:
        return _FROM_PARAMS[layer.kind](layer, own)
    if layer.kind == "complement" and before is not None:
        return Complement(layer, own)
    if layer.kind == "level_sets" and after is not None:
        return LevelSets(layer, own, after)
    is_whole = layer.kind == "flatten" and layer.options["rank"] == 3
    if is_whole and before is not None and after is not None:
        return Flatten(layer, own, after // before)
    return None


def _selected(learned: Sequence[Rule], inputs: int, outputs: int) -> Iterator[Rule]:
    """The rules of neighbouring layers without what none needs, all inputs and outputs kept."""
    needed = [np.ones(outputs, bool)]
    for rule in reversed(learned):
        needed.insert(0, rule.needs(needed[0]))
    kept = np.ones(inputs, bool)
    for rule, needed_of_rule in zip(learned, needed[1:], strict=True):
        chosen, kept = rule.select(kept, needed_of_rule)
        yield chosen


def _run(network: BooleanNetwork) -> BooleanNetwork:
    """Simplifies every run of layers that have rules."""
    architecture, params = network.architecture, network.params
    before = [*_channels_before(architecture, params), None]
    layers: list[Layer] = []
    tree: dict[str, Any] = {}

    def write(layer: Layer, own: Mapping[str, Any]) -> None:
        layers.append(layer)
        parts = {part: own[part] for part in PARTS.get(layer.kind, ())}
        if layer.name and parts:
            tree[layer.name] = parts
        else:
            tree.update(parts)

    learned: list[Rule] = []
    inputs, facts = 0, None

    def finish() -> None:
        if facts is not None:
            for rule in _selected(learned, inputs, len(facts)):
                write(rule.layer, rule.params)

    for index, layer in enumerate(architecture):
        # What was learned knows the channels, also where the layers behind do not tell.
        known = before[index] if facts is None else len(facts)
        rule = _rule(layer, params, known, before[index + 1])
        if rule is None or known is None:
            finish()
            write(layer, layer.params_of(params))
            learned, facts = [], None
            continue
        if facts is None:
            inputs, facts = known, nothing_known(known)
        rule, facts = rule.learn(facts)
        learned.append(rule)
    finish()
    return replace(network, architecture=tuple(layers), params=tree)


def _with_ternary_head(network: BooleanNetwork) -> BooleanNetwork:
    """The network with a ternary head in place of a popcount one, where its features are known."""
    *body, last = network.architecture or (Layer("complement"),)
    if last.kind != "popcount" or not body or body[-1].kind not in ("dense_lui", "hit_or_miss"):
        return network
    _, features = channels_of(body[-1], body[-1].params_of(network.params))
    name = "head"
    while name in network.params:
        name += "_"
    layer, head = popcount_as_ternary(last, name, features)
    params = {**network.params, name: {"head": head}}
    return replace(network, architecture=(*body, layer), params=params)


def simplify(network: BooleanNetwork) -> BooleanNetwork:
    """Removes from a boolean network what cannot matter, on any input.

    - Neurons that are constant, since an input of theirs is, or since they ask for a bit and its
      complement, or for two level sets that exclude each other; and what reads them.
    - Neurons of a layer that are equal, but for the first; also votes of equal neurons, where
      their sum is still one vote.
    - Inputs of a neuron that others of its inputs imply: the lower of two level sets.
    - Neurons, and level sets, that nothing reads.

    Every layer keeps at least one neuron. The sizes of input and output stay. A popcount head
    becomes a ternary one where features are left out. A real head keeps all of its features:
    without some of them it would round differently.

    Args:
      network: any boolean network.

    Returns:
      A network with equal outputs on every input, of a size that is at most the old one; metadata
      are kept.

    Raises:
      TypeError: if a layer's parameters are real-valued.

    Examples:
      >>> import jax.numpy as jnp
      >>> from bimonn_jax import BooleanNeurons, Layer
      >>> twice = BooleanNeurons(jnp.array([[True] * 2, [False] * 2]), *jnp.zeros((2, 2), bool))
      >>> union = BooleanNeurons(jnp.array([[True], [True]]), *jnp.zeros((2, 1), bool))
      >>> layers = Layer("dense_lui", "a"), Layer("dense_lui", "b")
      >>> network = BooleanNetwork(layers, {"a": {"lui": twice}, "b": {"lui": union}})
      >>> simplify(network).params["a"]["lui"].footprint.shape
      (2, 1)
    """
    for layer in network.architecture:
        layer.boolean_params_of(network.params)
    while True:
        smaller = _once(network)
        # What goes can make more go: votes that cancel, for one.
        if _sizes(smaller) == _sizes(network):
            return smaller
        network = smaller


def _sizes(network: BooleanNetwork) -> tuple[int, int]:
    """Elements and set bits of the arrays."""
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(network.params)]
    return sum(a.size for a in arrays), int(sum(np.count_nonzero(a) for a in arrays))


def _once(network: BooleanNetwork) -> BooleanNetwork:
    """One pass; a popcount head stays one if no features go."""
    voting = _with_ternary_head(network)
    smaller = _run(voting)
    if voting is network:
        return smaller
    head = voting.architecture[-1].name
    sizes = [len(each.params[head]["head"].positive) for each in (voting, smaller)]
    return smaller if sizes[1] < sizes[0] else _run(network)
