"""A simplified network computes the same on all inputs, and has lost what could not matter."""

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
    FlattenLayer,
    HitOrMissConvLayer,
    HitOrMissLayer,
    LevelSetsLayer,
    LUILayer,
    PopcountLayer,
    TernaryLayer,
)
from bimonn_jax.neurons.heads import TernaryWeights
from bimonn_jax.neurons.params import RealNeurons, named_neurons
from tests.support import runtimes
from tests.support.boolean_networks import NAMES, RANK_NAMES, examples, network, rounding
from tests.support.neuron_oracles import all_inputs

KERNEL_1 = {"padding": "VALID", "border": "zero"}


def bits_of(plain):
    # A rank counts as much as the bit that says whether a neuron is an erosion.
    is_binary = {jnp.dtype(bool), jnp.dtype(jnp.int32)}
    return sum(leaf.size for leaf in jax.tree.leaves(plain.params) if leaf.dtype in is_binary)


def assert_equal_outputs(plain, x, run=BooleanNetwork.__call__):
    smaller = simplify(plain)
    np.testing.assert_array_equal(run(smaller, x), run(plain, x))
    assert bits_of(smaller) <= bits_of(plain)
    again = simplify(smaller)
    assert jax.tree.map(jnp.shape, again.params) == jax.tree.map(jnp.shape, smaller.params)
    return smaller


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NAMES + RANK_NAMES)
def test_equal_outputs(name, seed, tmp_path):
    plain, shape = network(name, seed)
    x, expected = examples(name, 200, seed)

    def run(either, x):
        if either is plain:
            return expected
        # C is compiled much faster, but floats are added up in another order there.
        in_c = rounding(plain) == 0
        return runtimes.c(either, shape, tmp_path)(x) if in_c else either(x)

    assert_equal_outputs(plain, x, run)
    if name == "dense":
        np.testing.assert_array_equal(dense_outputs(plain, x), expected)


def neurons(footprint, is_erosion=True, complement=False):
    footprint = np.asarray(footprint, bool)
    count = footprint.shape[-1]
    return BooleanNeurons(
        jnp.asarray(footprint),
        jnp.broadcast_to(jnp.asarray(is_erosion), count),
        jnp.broadcast_to(jnp.asarray(complement), count),
    )


def everything(n):
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool)


def dense_outputs(dense, x):
    """What dense layers make of x, bool (N, n), by their definition: nothing is compiled."""
    for layer in dense.architecture:
        neurons = dense.params[layer.name]["lui"]
        S, is_erosion, is_complemented = map(np.asarray, jax.tree.leaves(neurons))
        if layer.kind == "hit_or_miss":
            x = np.concatenate([x, ~x], axis=1)
        eroded, dilated = (x[:, :, None] | ~S).all(axis=1), (x[:, :, None] & S).any(axis=1)
        x = np.where(is_erosion, eroded, dilated) ^ is_complemented
    return x


@pytest.mark.parametrize("seed", range(60))
def test_small_dense_networks_on_all_inputs(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, 3)

    def layer(rows, count):
        share = rng.choice([0.0, 0.2, 0.5])
        bits = rng.random((rows, count)) < share
        # Copies of other columns, so that there are equal neurons.
        bits = bits[:, rng.integers(0, count, count)]
        return neurons(bits, rng.random(count) < 0.5, rng.random(count) < 0.3)

    layers = HitOrMissLayer("a"), HitOrMissLayer("b"), LUILayer("c")
    tree = {
        "a": {"lui": layer(8, sizes[0])},
        "b": {"lui": layer(2 * sizes[0], sizes[1])},
        "c": {"lui": layer(sizes[1], sizes[2])},
    }
    plain = BooleanNetwork(layers, tree)
    assert_equal_outputs(plain, everything(4), dense_outputs)


@pytest.mark.parametrize("border", ["zero", "edge"])
@pytest.mark.parametrize("seed", range(20))
def test_small_filters_on_all_images(border, seed):
    """All 3 x 3 images: where a constant channel meets a border, the output is not constant."""
    rng = np.random.default_rng(seed)
    options = {"padding": "SAME", "border": border}

    def bise(channels, count):
        bits = rng.random((3, 3, channels, count)) < rng.choice([0.0, 0.1, 0.4], (channels, count))
        bits = bits[:, :, :, rng.integers(0, count, count)]
        shape = channels, count
        return BooleanNeurons(bits, rng.random(shape) < 0.5, rng.random(shape) < 0.4)

    def lui(rows, count):
        bits = rng.random((rows, count)) < 0.6
        return neurons(bits, rng.random(count) < 0.5, rng.random(count) < 0.3)

    layers = (
        BiSELLayer("a", **options),
        ComplementLayer(),
        BiSELayer("b", **options),
        BiSELLayer("c", **options),
        HitOrMissConvLayer("d", **options, pool=2),
        LUILayer("e"),
    )
    tree = {
        "a": {"bise": bise(1, 3), "lui": lui(1, 3)},
        "b": {"bise": bise(6, 2)},
        "c": {"bise": bise(12, 3), "lui": lui(12, 3)},
        "d": {"lui": neurons(rng.random((3, 3, 6, 4)) < 0.05, rng.random(4) < 0.5)},
        "e": {"lui": lui(4, 2)},
    }
    x = everything(9).reshape(-1, 3, 3, 1)
    assert_equal_outputs(BooleanNetwork(layers, tree), x)


def test_equal_neurons_are_merged_and_unused_ones_go():
    first = neurons(np.array([[1, 1, 0, 1], [0, 0, 1, 1]]))  # The last is never read.
    second = neurons(np.array([[0], [1], [1], [0]]), is_erosion=False)
    layers = LUILayer("a"), LUILayer("b")
    plain = BooleanNetwork(layers, {"a": {"lui": first}, "b": {"lui": second}})
    smaller = assert_equal_outputs(plain, everything(2))
    np.testing.assert_array_equal(smaller.params["a"]["lui"].footprint, [[1, 0], [0, 1]])


def test_contradictions_make_constants_and_those_go():
    # x0 and not x0; x1; not x0 or x0.
    first = neurons(
        np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1], [0, 0, 0]]), np.array([True, True, False])
    )
    second = neurons(np.array([[1, 0], [1, 1], [0, 1]]), np.array([False, True]))
    layers = HitOrMissLayer("a"), LUILayer("b")
    smaller = assert_equal_outputs(
        BooleanNetwork(layers, {"a": {"lui": first}, "b": {"lui": second}}), everything(2)
    )
    assert smaller.params["a"]["lui"].footprint.sum() == 1
    np.testing.assert_array_equal(smaller.params["b"]["lui"].footprint, [[1, 1]])


def test_of_nested_level_sets_only_the_one_that_decides_is_kept():
    # Above all of 10, 20, 30; above any; at least 20 and below 20; below 10 or at least 10.
    bits = np.zeros((6, 4), bool)
    bits[:3, :2] = True
    bits[[1, 4], 2] = True
    bits[[0, 3], 3] = True
    tree = {"a": {"lui": neurons(bits, np.array([True, False, True, False]))}}
    layers = LevelSetsLayer(thresholds=[10, 20, 30]), HitOrMissLayer("a")
    x = np.arange(40)[:, None]
    smaller = assert_equal_outputs(BooleanNetwork(layers, tree), x)
    assert smaller.architecture[0].thresholds == (10, 30)
    kept = np.zeros((4, 4), bool)
    kept[1, 0] = kept[0, 1] = True
    np.testing.assert_array_equal(smaller.params["a"]["lui"].footprint, kept)
    np.testing.assert_array_equal(smaller(x)[:, 2:], np.array([[False, True]] * 40))


def test_votes_of_equal_neurons_are_added_where_one_vote_is_enough():
    first = neurons(np.array([[1, 1, 1], [0, 0, 0]]))
    votes = np.array([[1, 0], [0, -1], [1, 1]])
    head = TernaryWeights(jnp.asarray(votes > 0), jnp.asarray(votes < 0))
    layers = LUILayer("a"), TernaryLayer("b")
    plain = BooleanNetwork(layers, {"a": {"lui": first}, "b": {"head": head}})
    smaller = assert_equal_outputs(plain, everything(2))
    assert smaller.params["b"]["head"].positive.shape == (2, 2)


def test_a_popcount_head_becomes_ternary_only_where_features_go():
    layers = LUILayer("a"), PopcountLayer(classes=2)
    for footprint, kind in ((np.eye(4), "popcount"), (np.eye(4)[:, [0, 1, 2, 1]], "ternary")):
        plain = BooleanNetwork(layers, {"a": {"lui": neurons(footprint)}})
        smaller = assert_equal_outputs(plain, everything(4))
        assert smaller.architecture[-1].kind == kind


def test_channels_go_also_before_flattening():
    conv = np.zeros((2, 2, 2, 3), bool)
    conv[0, 0, 0] = True  # Three times the same.
    dense = np.zeros((2 * 12, 2), bool)
    dense[[1, 5], 0] = True
    options = {"padding": "VALID", "border": "zero", "pool": 1}
    layers = HitOrMissConvLayer("a", **options), FlattenLayer(rank=3)
    layers += (HitOrMissLayer("b"),)
    tree = {"a": {"lui": neurons(conv)}, "b": {"lui": neurons(dense)}}
    smaller = assert_equal_outputs(BooleanNetwork(layers, tree), everything(9).reshape(-1, 3, 3, 1))
    assert smaller.params["a"]["lui"].footprint.shape == (2, 2, 2, 1)
    assert smaller.params["b"]["lui"].footprint.shape == (8, 2)


def test_a_useless_network_keeps_a_neuron_in_every_layer():
    tree = {"a": {"lui": neurons(np.ones((4, 3)))}, "b": {"lui": neurons(np.ones((3, 2)))}}
    plain = BooleanNetwork((HitOrMissLayer("a"), LUILayer("b")), tree)
    smaller = assert_equal_outputs(plain, everything(2))
    assert {n.is_erosion.shape for n in named_neurons(smaller.params).values()} == {(1,), (2,)}


def test_real_parameters_are_refused():
    real = RealNeurons(jnp.ones((2, 1)), jnp.ones(1), jnp.ones(1))
    with pytest.raises(TypeError, match=r"params\['a'\] is real-valued: binarize"):
        simplify(BooleanNetwork((LUILayer("a"),), {"a": {"lui": real}}))


def size(plain):
    return sum(np.size(leaf) for leaf in jax.tree.leaves(plain.params))


def test_shared_parameters_are_not_copied_for_nothing():
    footprint = np.ones((5, 5), bool)
    footprint[[0, 2, 1, 4], [0, 3, 1, 2]] = False
    rank = jnp.asarray([2, 3, 3, 2, 3], jnp.int32)
    shared = RankNeurons(jnp.asarray(footprint), rank, jnp.zeros(5, bool))
    plain = BooleanNetwork((LUILayer("a"),) * 3, {"a": {"lui": shared}})
    smaller = simplify(plain)
    assert size(smaller) == size(plain)
    x = all_inputs(5)
    np.testing.assert_array_equal(smaller(x), plain(x))


@pytest.mark.parametrize("seed", range(6))
def test_a_popcount_head_becomes_no_larger_ternary_one(seed):
    rng = np.random.default_rng(seed)
    footprint = rng.random((8, 12)) < 0.4
    footprint[:, 1] = False
    fields = footprint, rng.integers(1, 3, 12).astype(np.int32), np.zeros(12, bool)
    own = {"lui": RankNeurons(*map(jnp.asarray, fields))}
    layers = (HitOrMissLayer("a"), PopcountLayer("b", classes=3))
    plain = BooleanNetwork(layers, {"a": own})
    smaller = simplify(plain)
    assert size(smaller) <= size(plain)
    x = all_inputs(4)
    np.testing.assert_array_equal(smaller(x), plain(x))
