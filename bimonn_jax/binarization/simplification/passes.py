"""Simplifying a boolean network without changing what it computes.

`bimonn_jax.prune` removes what a metric on data does not miss. What is removed here cannot matter
on any input: it needs no data, and the outputs stay equal, bit by bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from bimonn_jax.binarization.simplification.rules import (
    Rule,
    joined,
    nothing_known,
    popcount_as_ternary,
    rule_of,
)
from bimonn_jax.networks.architecture import joined_by
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.consistency import all_channels
from bimonn_jax.networks.kinds import Architecture, Layer, PopcountLayer


@dataclass(frozen=True)
class _Plan:
    """The layers of a network, what each reads, and the channels of all values.

    Attributes:
      architecture: the layers.
      params: their boolean parameters.
      read: the values whose channels each layer takes: 0 is the input, i + 1 the output of layer i.
      channels: of each value, None where they are not known.
    """

    architecture: Architecture
    params: Mapping[str, Any]
    read: list[tuple[int, ...]]
    channels: list[int | None]

    @classmethod
    def of(cls, network: BooleanNetwork) -> "_Plan":
        architecture, params = network.architecture, network.params
        channels = all_channels(architecture, params)
        return cls(architecture, params, joined_by(architecture), channels)

    def inputs(self, layer: int) -> int | None:
        """The channels that a layer reads together."""
        counts = [self.channels[value] for value in self.read[layer]]
        return None if None in counts else sum(count for count in counts if count is not None)

    def rules(self) -> list[Rule | None]:
        """The rule of each layer, None where nothing can be said of it."""
        return [
            rule_of(layer, layer.params_of(self.params), inputs, self.channels[index + 1])
            if (inputs := self.inputs(index)) is not None
            else None
            for index, layer in enumerate(self.architecture)
        ]


def _learned(plan: _Plan) -> list[Rule | None]:
    """The rules with what they have learned of each other, from the input on."""
    rules: list[Rule | None] = []
    facts = [None if plan.channels[0] is None else nothing_known(plan.channels[0])]
    for rule, read, count in zip(plan.rules(), plan.read, plan.channels[1:], strict=True):
        known = [facts[value] for value in read]
        if rule is None or None in known:
            rules.append(None)
            facts.append(None if count is None else nothing_known(count))
            continue
        rule, after = rule.learn(joined([each for each in known if each is not None]))
        rules.append(rule)
        facts.append(after)
    return rules


def _needed(plan: _Plan, rules: Sequence[Rule | None]) -> list[np.ndarray | None]:
    """The channels of each value that its readers need, bool; all of the input and the output."""
    needed: list[np.ndarray | None] = [
        None if count is None else np.zeros(count, bool) for count in plan.channels
    ]
    for end in (needed[0], needed[-1]):
        if end is not None:
            end[:] = True
    for index in reversed(range(len(rules))):
        rule, after = rules[index], needed[index + 1]
        inputs = plan.inputs(index)
        mask: np.ndarray | None = None if inputs is None else np.ones(inputs, bool)
        if rule is not None and after is not None:
            mask = rule.needs(after)
        start = 0
        for value in plan.read[index]:
            mine = needed[value]
            if mine is not None:
                mine |= True if mask is None else mask[start : start + len(mine)]
                start += len(mine)
    return needed


def _run(network: BooleanNetwork) -> BooleanNetwork:
    """Simplifies every layer that has a rule, by what it reads and by what is read of it."""
    plan = _Plan.of(network)
    rules = _learned(plan)
    needed = _needed(plan, rules)
    kept: list[np.ndarray | None] = [needed[0]]
    layers: list[Layer] = []
    tree: dict[str, Any] = {}
    for index, (layer, rule) in enumerate(zip(plan.architecture, rules, strict=True)):
        own, after = layer.params_of(plan.params), needed[index + 1]
        inputs = [kept[value] for value in plan.read[index]]
        path = layer.path_in(plan.params)
        if rule is not None and after is not None:
            masks = [mask for mask in inputs if mask is not None]
            chosen, selected = rule.select(np.concatenate(masks), after)
            layer, own, after = chosen.layer, chosen.params, selected
        else:
            # What has no rule gives all that it gave.
            after = None if after is None else np.ones_like(after)
        kept.append(after)
        layers.append(layer)
        _write(tree, path, layer, own)
    return replace(network, architecture=tuple(layers), params=tree)


def _write(
    tree: dict[str, Any], path: tuple[str, ...], layer: Layer, own: Mapping[str, Any]
) -> None:
    """Puts the parameters of a layer at a path."""
    for key in path if layer.parts else ():
        tree = tree.setdefault(key, {})
    tree.update({part: own[part] for part in layer.parts})


def _with_own_parameters(network: BooleanNetwork) -> BooleanNetwork:
    """The network with parameters for each layer alone, where several share them.

    What one of them does not need, another may.
    """
    layers: list[Layer] = []
    tree: dict[str, Any] = {}
    names = {layer.name for layer in network.architecture} | set(network.params)
    used: set[tuple[str, ...]] = set()
    for layer in network.architecture:
        own, path = layer.params_of(network.params), layer.path_in(network.params)
        if used & {(*path, part) for part in layer.parts}:
            name = layer.name
            while name in names:
                name += "_"
            names.add(name)
            layer, path = replace(layer, name=name), (name,)
        used |= {(*path, part) for part in layer.parts}
        layers.append(layer)
        _write(tree, path, layer, own)
    return replace(network, architecture=tuple(layers), params=tree)


def _with_ternary_head(network: BooleanNetwork) -> BooleanNetwork:
    """The network with a ternary head in place of a popcount one, where its features are known."""
    last = network.architecture[-1] if network.architecture else None
    if not isinstance(last, PopcountLayer):
        return network
    features = _Plan.of(network).inputs(len(network.architecture) - 1)
    if features is None:
        return network
    names = {layer.name for layer in network.architecture} | set(network.params)
    name = "head"
    while name in names:
        name += "_"
    layer, head = popcount_as_ternary(last, name, features)
    params = {**network.params, name: {"head": head}}
    return replace(network, architecture=(*network.architecture[:-1], layer), params=params)


def simplify(network: BooleanNetwork) -> BooleanNetwork:
    """Removes from a boolean network what cannot matter, on any input.

    - Neurons that are constant, since an input of theirs is, or since they ask for a bit and its
      complement, or for two level sets that exclude each other; and what reads them.
    - Neurons of a layer that are equal, but for the first; also votes of equal neurons, where
      their sum is still one vote.
    - Inputs that are constant; of a neuron that counts them, 1s lower the rank. A bit and its
      complement count as one 1.
    - Inputs of a union or intersection that others of its inputs imply: the lower of two level
      sets, the second of two equal ones. Where a rank lies between these, such inputs count.
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
      >>> from bimonn_jax import BooleanNeurons
      >>> from bimonn_jax.networks import LUILayer
      >>> twice = BooleanNeurons(jnp.array([[True] * 2, [False] * 2]), *jnp.zeros((2, 2), bool))
      >>> union = BooleanNeurons(jnp.array([[True], [True]]), *jnp.zeros((2, 1), bool))
      >>> layers = LUILayer("a"), LUILayer("b")
      >>> network = BooleanNetwork(layers, {"a": {"lui": twice}, "b": {"lui": union}})
      >>> simplify(network).params["a"]["lui"].footprint.shape
      (2, 1)
    """
    for layer in network.architecture:
        layer.boolean_params_of(network.params)
    before = _with_own_parameters(network)
    while not _is_same(smaller := _once(before), before):
        # What goes can make more go: votes that cancel, for one.
        before = smaller
    # Parameters that layers share are fewer than those of each layer alone may be.
    return smaller if _size(smaller) <= _size(network) else network


def _size(network: BooleanNetwork) -> int:
    """Elements of the arrays."""
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(network.params))


def _is_same(one: BooleanNetwork, other: BooleanNetwork) -> bool:
    """Whether two networks have equal arrays under equal names."""
    first, second = (jax.tree_util.tree_leaves_with_path(each.params) for each in (one, other))
    return [path for path, _ in first] == [path for path, _ in second] and all(
        np.array_equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True)
    )


def _once(network: BooleanNetwork) -> BooleanNetwork:
    """One pass; a popcount head stays one unless features go, and with them more than it adds."""
    voting = _with_ternary_head(network)
    smaller = _run(voting)
    if voting is network:
        return smaller
    as_it_is = _run(network)
    return smaller if _size(smaller) < _size(as_it_is) else as_it_is
