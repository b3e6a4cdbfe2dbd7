"""Small networks of rank neurons, all of them, simplified: equal on all inputs, and settled."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import BooleanNeurons, RankNeurons
from bimonn_jax.binarization.simplification.passes import simplify
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import (
    BiSELayer,
    BiSELLayer,
    ComplementLayer,
    HitOrMissConvLayer,
    HitOrMissLayer,
    LevelSetsLayer,
    LUILayer,
)
from tests.support.neuron_oracles import all_inputs


def ranks(footprint, rank, complement=False):
    footprint = np.asarray(footprint, bool)
    shape = footprint.shape[-1:]
    return RankNeurons(
        jnp.asarray(footprint),
        jnp.broadcast_to(jnp.asarray(rank, jnp.int32), shape),
        jnp.broadcast_to(jnp.asarray(complement), shape),
    )


def outputs(network, x):
    """What dense layers make of x, by counting: nothing is compiled."""
    for layer in network.architecture:
        match layer:
            case LevelSetsLayer():
                x = (x[:, :, None] >= np.asarray(layer.thresholds)).reshape(len(x), -1)
                continue
            case ComplementLayer():
                x = np.concatenate([x, ~x], axis=1)
                continue
            case HitOrMissLayer():
                x = np.concatenate([x, ~x], axis=1)
        neurons = network.params[layer.name]["lui"]
        counts = x.astype(int) @ np.asarray(neurons.footprint).astype(int)
        x = (counts >= np.asarray(neurons.ranks)) ^ np.asarray(neurons.complement)
    return x


def assert_simplified(network, x, run=outputs):
    """Equal outputs, nothing larger, and nothing left to do."""
    smaller = simplify(network)
    np.testing.assert_array_equal(run(smaller, x), run(network, x))
    again = simplify(smaller)
    assert jax.tree.structure(again.params) == jax.tree.structure(smaller.params)
    for one, other in zip(*map(jax.tree.leaves, (again.params, smaller.params)), strict=True):
        np.testing.assert_array_equal(one, other)
    return smaller


def all_neurons(n):
    """Footprint, rank and complement of every neuron of n inputs, constants among them."""
    return [
        (footprint, rank, complement)
        for footprint in all_inputs(n)
        for rank in range(int(footprint.sum()) + 2)
        for complement in (False, True)
    ]


def stacked(chosen):
    footprint, rank, complement = zip(*chosen, strict=True)
    return ranks(np.stack(footprint, axis=-1), rank, complement)


# What stands before the neurons: duplicates, complements, constants of both values.
BEFORE = {
    "two equal": ranks([[1, 1, 0], [0, 0, 1]], 1),
    "three equal": ranks([[1, 1, 1], [1, 1, 1]], [2, 2, 2]),
    "complement": ranks([[1, 1, 0], [0, 0, 1]], 1, [False, True, False]),
    "always 1": ranks([[1, 0, 0], [0, 0, 1]], [1, 0, 1]),
    "always 0": ranks([[1, 1, 0], [0, 1, 1]], [1, 3, 1]),
    "two constants": ranks([[1, 0, 1], [0, 0, 1]], [1, 1, 1], [False, True, False]),
}


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("kind", [LUILayer, HitOrMissLayer])
def test_every_neuron_alone(kind, before):
    """Each neuron of three inputs, those of a hit-or-miss layer on all six literals."""
    x = all_inputs(2)
    rows = 6 if kind is HitOrMissLayer else 3
    neurons = all_neurons(rows)
    # Those of six literals are many: a third of them, by a step that meets all kinds.
    for chosen in neurons[:: 1 if rows == 3 else 7]:
        tree = {"a": {"lui": BEFORE[before]}, "b": {"lui": stacked([chosen])}}
        assert_simplified(BooleanNetwork((LUILayer("a"), kind("b")), tree), x)


@pytest.mark.parametrize("complement", [False, True])
def test_every_two_layers_of_two_inputs(complement):
    """All pairs of neurons of two inputs, read by all neurons of two inputs."""
    x, all_two = all_inputs(2), all_neurons(2)
    reader = stacked(all_two)
    for pair in itertools.combinations_with_replacement(all_two, 2):
        if pair[0][2] != complement:
            continue
        tree = {"a": {"lui": stacked(pair)}, "b": {"lui": reader}}
        assert_simplified(BooleanNetwork((LUILayer("a"), LUILayer("b")), tree), x)


def test_every_hit_or_miss_neuron_of_two_inputs_beside_all_others():
    """Equal functions are found among all neurons; the others stay."""
    neurons = stacked(all_neurons(4))
    reader = ranks(np.ones((neurons.rank.size, 3)), [1, 300, 500])
    tree = {"a": {"lui": neurons}, "b": {"lui": reader}}
    network = BooleanNetwork((HitOrMissLayer("a"), LUILayer("b")), tree)
    assert_simplified(network, all_inputs(2))
    # Read by ends alone, one of each function is enough.
    tree = {"a": {"lui": neurons}, "b": {"lui": ranks(np.ones((neurons.rank.size, 1)), 1)}}
    smaller = assert_simplified(BooleanNetwork(network.architecture, tree), all_inputs(2))
    assert smaller.params["b"]["lui"].footprint.sum() == 0  # One of them is always 1.


@pytest.mark.parametrize("kind", [LUILayer, HitOrMissLayer])
def test_every_neuron_on_level_sets(kind):
    x = np.arange(50, dtype=np.float32)[:, None]
    rows = 6 if kind is HitOrMissLayer else 3
    for chosen in all_neurons(rows)[:: 1 if rows == 3 else 5]:
        layers = LevelSetsLayer(thresholds=[10, 20, 30]), kind("b")
        assert_simplified(BooleanNetwork(layers, {"b": {"lui": stacked([chosen])}}), x)


@pytest.mark.parametrize("seed", range(60))
def test_deep_networks_with_copies(seed):
    rng = np.random.default_rng(seed)
    sizes = [4, *rng.integers(1, 6, 3)]
    kinds = [HitOrMissLayer, HitOrMissLayer, LUILayer]
    layers, tree = [], {}
    for index, kind in enumerate(kinds):
        rows, count = sizes[index] * (2 if kind is HitOrMissLayer else 1), sizes[index + 1]
        bits = rng.random((rows, count)) < rng.choice([0.2, 0.5, 0.9])
        size = bits.sum(axis=0)
        edges = np.stack(
            [size * 0 + 1, size * 0 + 2, size - 1, size, size // 2, size + 1, size * 0]
        )
        rank = edges[rng.integers(0, len(edges), count), np.arange(count)]
        copy = rng.integers(0, count, count)
        tree[f"l{index}"] = {"lui": ranks(bits[:, copy], rank[copy], rng.random(count) < 0.3)}
        layers.append(kind(f"l{index}"))
    assert_simplified(BooleanNetwork(tuple(layers), tree), all_inputs(4))


@pytest.mark.parametrize("border", ["zero", "edge"])
@pytest.mark.parametrize("seed", range(10))
def test_small_filters_on_all_images(border, seed):
    """All 3 x 3 images; constants and copies are met at borders."""
    rng = np.random.default_rng(seed)
    options = {"padding": "SAME", "border": border}

    def neurons(*shape, over):
        bits = rng.random(shape) < rng.choice([0.0, 0.15, 0.5], shape[-over:])
        copy = rng.integers(0, shape[-1], shape[-1])
        bits = bits[..., copy]
        size = bits.sum(axis=tuple(range(bits.ndim - over)))
        rank = rng.integers(0, 2 + size)[..., copy]
        return RankNeurons(bits, rank.astype(np.int32), rng.random(shape[-over:]) < 0.3)

    layers = (
        BiSELLayer("a", **options),
        ComplementLayer(),
        BiSELayer("b", **options),
        BiSELLayer("c", **options),
        HitOrMissConvLayer("d", **options, pool=2),
        LUILayer("e"),
    )
    tree = {
        "a": {"bise": neurons(3, 3, 1, 3, over=2), "lui": neurons(1, 3, over=1)},
        "b": {"bise": neurons(3, 3, 6, 2, over=2)},
        "c": {"bise": neurons(3, 3, 12, 3, over=2), "lui": neurons(12, 3, over=1)},
        "d": {"lui": neurons(3, 3, 6, 4, over=1)},
        "e": {"lui": neurons(4, 2, over=1)},
    }
    network = BooleanNetwork(layers, tree)
    assert_simplified(network, all_inputs(9).reshape(-1, 3, 3, 1), BooleanNetwork.__call__)


@pytest.mark.parametrize("before", BEFORE)
def test_every_neuron_that_joins_channels(before):
    """All neurons of three channels, each behind a copy, also where two channels are equal."""
    joining = stacked(all_neurons(3))
    count = joining.rank.size
    bise = BooleanNeurons(jnp.ones((1, 1, 3, count), bool), *jnp.zeros((2, 3, count), bool))
    tree = {"a": {"lui": BEFORE[before]}, "b": {"bise": bise, "lui": joining}}
    network = BooleanNetwork((LUILayer("a"), BiSELLayer("b", padding="SAME", border="zero")), tree)
    assert_simplified(network, all_inputs(2).reshape(-1, 1, 1, 2), BooleanNetwork.__call__)


def test_what_is_known_lowers_ranks():
    # x0, always 1, x1, always 0; three of the four and two of x0, x1 and not x1.
    first = ranks([[1, 0, 0, 0], [0, 0, 1, 0]], [1, 0, 1, 1])
    second = ranks(np.array([[1, 1], [1, 0], [1, 1], [1, 0], *[[0, 0]] * 2, [0, 1], [0, 0]]),
                   [3, 2])  # fmt: skip
    tree = {"a": {"lui": first}, "b": {"lui": second}}
    network = BooleanNetwork((LUILayer("a"), HitOrMissLayer("b")), tree)
    smaller = assert_simplified(network, all_inputs(2))
    found = smaller.params["b"]["lui"]
    # The erosion of both and a copy of x0.
    assert isinstance(found, BooleanNeurons)
    np.testing.assert_array_equal(found.footprint[:2], [[True, True], [True, False]])
    np.testing.assert_array_equal(found.is_erosion, [True, False])


def test_equal_inputs_count_twice_between_the_ends():
    first = ranks([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], 1)
    tree = {"a": {"lui": first}, "b": {"lui": ranks(np.ones((4, 1)), 2)}}
    smaller = assert_simplified(BooleanNetwork((LUILayer("a"), LUILayer("b")), tree), all_inputs(3))
    assert smaller.params["b"]["lui"].footprint.shape == (4, 1)
    # Where the first of the two is not read, it takes the place of the second.
    tree["b"]["lui"] = ranks([[0], [1], [1], [1]], 2)
    smaller = assert_simplified(BooleanNetwork((LUILayer("a"), LUILayer("b")), tree), all_inputs(3))
    assert smaller.params["a"]["lui"].footprint.shape == (3, 3)


def test_a_complement_and_the_rank_of_the_inverted_literals_are_one_neuron():
    # Not two of x0, x1, x2; two of their complements.
    bits = np.zeros((6, 2), bool)
    bits[:3, 0] = bits[3:, 1] = True
    tree = {"a": {"lui": ranks(bits, 2, [True, False])}, "b": {"lui": ranks(np.ones((2, 1)), 1)}}
    network = BooleanNetwork((HitOrMissLayer("a"), LUILayer("b")), tree)
    smaller = assert_simplified(network, all_inputs(3))
    assert smaller.params["a"]["lui"].footprint.shape == (6, 1)
