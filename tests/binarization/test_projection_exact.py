from dataclasses import replace
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax.binarization.projection import nearest as module
from bimonn_jax.binarization.projection.exact import ExactNeuron
from bimonn_jax.binarization.projection.nearest import nearest_operators
from tests.support.projection_oracles import (
    all_operators,
    assert_nearest_by_integers,
    hard_neurons,
    mixed_neurons,
    nearest_by_rationals,
    rational_squared_distance,
)


def all_kinds(rng, n, count):
    """Plain and hard neurons, mixed ones, and ones beside a border; float64."""
    W, B = hard_neurons(rng, n, count)
    near = rng.uniform(0.1, 1, (n, count))
    border = near.max(axis=0) * (1 + 10 ** rng.uniform(-16, -6, count) * rng.normal(size=count))
    kinds = [(W, B), mixed_neurons(rng, n, count), (near, border)]
    return tuple(np.concatenate(v, axis=-1) for v in zip(*kinds, strict=True))


@pytest.mark.parametrize("n", [1, 2, 4, 5])
def test_integers_give_the_distances_of_rationals(n):
    W, B = all_kinds(np.random.default_rng(n), n, 20)
    for w, b in zip(-np.sort(-W, axis=0).T, B, strict=True):
        neuron = ExactNeuron(w, b)
        for j in range(1, n + 1):
            for is_erosion in (False, True):
                expected = rational_squared_distance(w, b, np.arange(n) < j, is_erosion)
                found = neuron.squared_distance(neuron.operator(j, is_erosion))
                assert found == float(expected)


def test_distances_that_no_float_holds_are_infinite_or_zero():
    for size, expected in ((1e200, np.inf), (1e-200, 0)):
        neuron = ExactNeuron(np.array([size, size]), -size)
        best = neuron.nearest(all_operators(np.ones(2)))
        assert best.numerator > 0
        assert neuron.squared_distance(best) == expected


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_no_operator_is_nearer_than_the_one_found_whatever_the_magnitudes(n):
    W, B = all_kinds(np.random.default_rng(10 + n), n, 60)
    ((footprint, is_erosion, distance),) = nearest_operators([(W, B)])
    for i, (w, b) in enumerate(zip(W.T, B, strict=True)):
        least = nearest_by_rationals(w, b)
        assert rational_squared_distance(w, b, footprint[:, i], is_erosion[i]) == least
        assert abs(Fraction(distance[i]) - least) <= least * Fraction(1, 2**26)


def test_weights_a_million_times_smaller_are_compared_too():
    W = np.array([[1e6, 2.603642351459712e-4, 2.6433973107086963e-4]]).T
    ((footprint, is_erosion, distance),) = nearest_operators(
        [(W, np.array([2.8832798125222325e-4]))]
    )
    assert footprint[:, 0].tolist() == [True, False, True]
    assert not is_erosion[0]
    np.testing.assert_allclose(distance, 2.8771807338160606e-10, rtol=2.0**-26)


def test_of_many_inputs_no_operator_is_nearer_either():
    rng = np.random.default_rng(0)
    sets = [all_kinds(rng, 60, 20), all_kinds(rng, 33, 20)]
    # Weights of which neighbors differ by a unit in the last place.
    W = 1 + np.spacing(1) * rng.integers(0, 40, (50, 30))
    sets.append((W, W.sum(axis=0) * rng.uniform(0, 1, 30)))
    for (W, B), found in zip(sets, nearest_operators(sets), strict=True):
        assert_nearest_by_integers(W, B, found)


def test_weights_that_vanish_beside_the_largest_are_not_left_out():
    tiny = np.array([3.0, 2.0, 2.0, 1.0]) * 1e-290
    W = np.stack([np.append(tiny, value) for value in (-1e200, 1e200)], axis=1)
    B = np.array([1.5e-290, 2.5e-290])
    ((footprint, is_erosion, distance),) = nearest_operators([(W, B)])
    for i, (w, b) in enumerate(zip(W.T, B, strict=True)):
        least = nearest_by_rationals(w, b)
        assert rational_squared_distance(w, b, footprint[:, i], is_erosion[i]) == least
    np.testing.assert_array_equal(distance, [np.inf, 0])


def test_of_equally_near_operators_it_is_the_dilation_and_then_the_smaller_footprint():
    W = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [-1.0, -2.0, -2.0, -3.0]]).T
    B = W.sum(axis=0) / 2
    ((footprint, is_erosion, _),) = nearest_operators([(W, B)])
    assert not is_erosion.any()
    assert_nearest_by_integers(W, B, nearest_operators([(W, B)])[0])
    np.testing.assert_array_equal(footprint[:, 1], [True, False, False, False])


@pytest.mark.parametrize("doubt", ["multipliers", "stretches", "footprints"])
def test_integers_settle_what_the_search_leaves_open(monkeypatch, doubt):
    search = module._search

    def doubtful(weights, B):
        j, is_erosion, half, seen = search(weights, B)
        mine = half[:, None, None]
        if doubt == "multipliers":
            # They were not found.
            half = jnp.full_like(half, jnp.inf)
        elif doubt == "stretches":
            # All seem equally near, and a wrong operator the best.
            seen = jax.tree.map(lambda v: jnp.where(v < jnp.inf, mine, v), seen)
            j, is_erosion = jnp.ones_like(j), ~is_erosion
        else:
            # Within the best stretch all do.
            seen = replace(seen, second=jnp.zeros_like(seen.second) + mine)
        return j, is_erosion, half, seen

    W, B = all_kinds(np.random.default_rng(2), 20, 20)
    monkeypatch.setattr(module, "_search", doubtful)
    assert_nearest_by_integers(W, B, nearest_operators([(W, B)])[0])


def test_few_random_neurons_are_left_to_integers(monkeypatch):
    settled = []

    class Counted(ExactNeuron):
        def __init__(self, values, bias):
            settled.append(bias)
            super().__init__(values, bias)

    monkeypatch.setattr(module, "ExactNeuron", Counted)
    rng = np.random.default_rng(0)
    W = rng.normal(0.1, 1, (60, 300))
    nearest_operators([(W, W.sum(axis=0) * rng.uniform(0, 1, 300))])
    assert len(settled) <= 15


def test_numbers_that_overflow_get_any_operator_and_spoil_no_other():
    W = np.array([[1.0, 2.0, 0.5], [np.inf, 1.0, 1.0], [1.0, np.nan, 1.0]]).T
    B = np.array([0.8, 0.8, 0.8])
    ((footprint, is_erosion, _),) = nearest_operators([(W, B)])
    ((alone, is_alone_erosion, _),) = nearest_operators([(W[:, :1], B[:1])])
    np.testing.assert_array_equal(footprint[:, :1], alone)
    np.testing.assert_array_equal(is_erosion[:1], is_alone_erosion)
