"""Rank neurons: "at least k of a footprint", however they are wired, against counting."""

import jax
import numpy as np
import pytest

from bimonn_jax import BooleanNeurons, RankNeurons
from bimonn_jax.neurons import (
    apply_aligned,
    apply_conv,
    apply_dense,
    apply_windows,
    as_real_neurons,
    real_parameters,
    with_ranks,
    without_ranks,
)
from bimonn_jax.neurons.params import check_neurons
from tests.support.neuron_oracles import all_inputs


def all_rank_neurons(n: int, ranks: range) -> RankNeurons:
    """Every footprint of n inputs with every rank, complemented and not."""
    footprints = all_inputs(n)
    rank, footprint, complement = np.meshgrid(
        list(ranks), np.arange(len(footprints)), [False, True], indexing="ij"
    )
    return RankNeurons(
        footprints[footprint.ravel()].T, rank.ravel().astype(np.int32), complement.ravel()
    )


@pytest.mark.parametrize("n", [1, 2, 4])
def test_all_neurons_on_all_inputs(n):
    neurons, x = all_rank_neurons(n, range(-1, n + 3)), all_inputs(n)
    counts = x.astype(int) @ neurons.footprint.astype(int)
    expected = (counts >= neurons.rank) ^ neurons.complement
    np.testing.assert_array_equal(jax.jit(apply_dense)(neurons, x), expected)

    columns = np.broadcast_to(x[:, :, None], (*x.shape, counts.shape[1]))
    np.testing.assert_array_equal(jax.jit(apply_aligned)(neurons, columns), expected)
    # The same inputs as the rows of a window, and as those of one channel.
    sliding = jax.tree.map(lambda v: v.reshape(n, 1, 1, -1) if v.ndim == 2 else v, neurons)
    images = x[:, :, None, None]
    found = jax.jit(apply_windows)(sliding, images)
    np.testing.assert_array_equal(found[:, 0, 0], expected)
    own = jax.tree.map(lambda v: v.reshape(n, 1, 1, -1) if v.ndim == 2 else v[None], neurons)
    found = apply_conv(own, images, padding="VALID")
    np.testing.assert_array_equal(found[:, 0, 0, 0], expected)


def test_ends_are_dilations_and_erosions_and_come_back_as_such():
    n = 3
    neurons = all_rank_neurons(n, range(-1, n + 3))
    size = neurons.footprint.sum(axis=0)
    is_end = (neurons.rank <= 1) | (neurons.rank >= size)
    ends = jax.tree.map(lambda v: v[..., is_end], neurons)
    boolean = without_ranks(ends)
    assert isinstance(boolean, BooleanNeurons)
    x = all_inputs(n)
    for each in (boolean, with_ranks(boolean)):
        np.testing.assert_array_equal(apply_dense(each, x), apply_dense(ends, x))
    # One neuron between the ends keeps the ranks of all.
    assert without_ranks(neurons) is neurons
    assert jax.jit(without_ranks)(ends) is not boolean


def test_weights_of_a_rank_neuron_count():
    neurons = all_rank_neurons(3, range(5))
    W, B, p = map(np.asarray, real_parameters(as_real_neurons(neurons)))
    x = all_inputs(3)
    fires = (x @ W - B) * p > 0
    np.testing.assert_array_equal(fires, apply_dense(neurons, x))


def test_ranks_that_float32_cannot_count_are_out_of_reach():
    neurons = RankNeurons(np.ones((2, 2), bool), np.array([-(2**31), 2**31 - 1], np.int32),
                          np.zeros(2, bool))  # fmt: skip
    np.testing.assert_array_equal(apply_dense(neurons, all_inputs(2)), [[True, False]] * 4)


def test_ranks_are_whole_numbers_of_32_bits():
    neurons = RankNeurons(np.ones((2, 1), bool), np.ones(1, np.float32), np.zeros(1, bool))
    with pytest.raises(ValueError, match="rank of binary neurons must be int32, got float32"):
        check_neurons(neurons)
