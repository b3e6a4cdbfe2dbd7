import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from bimonn_jax.binarization.projection.constant import (
    PROJECTIONS,
    constant_set,
    normal,
    squared_distance,
    uniform,
)
from tests.support.neuron_oracles import all_inputs


def distance_to(W, S):
    level = max(W[S].mean(), 0.0)
    return np.sum((W - level * S) ** 2)


def brute_force(W):
    return min(distance_to(W, S) for S in all_inputs(len(W)) if S.any())


@given(st.lists(st.integers(-4, 8), min_size=1, max_size=8))
def test_the_constant_set_projection_is_the_nearest_of_all_footprints_ties_included(weights):
    W = np.array(weights, np.float32)
    S = np.asarray(constant_set(jnp.asarray(W)))
    assert S.any()
    np.testing.assert_allclose(distance_to(W, S), brute_force(W), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(squared_distance(jnp.asarray(W), S), distance_to(W, S), rtol=1e-5)
    assert W[S].min() >= W[~S].max(initial=-np.inf)


@pytest.mark.parametrize(("ones", "expected"), [(4, 3.2), (24, 3.84)])
def test_equal_weights_are_not_counted_once(ones, expected):
    W = jnp.concatenate([jnp.array([3.0]), jnp.ones(ones)])
    np.testing.assert_allclose(squared_distance(W, constant_set(W)), expected, rtol=1e-5)


@pytest.mark.parametrize(("projection", "fraction"), [(uniform, 2 / 3), (normal, 3 / 4)])
def test_the_approximations_threshold_at_a_fraction_of_the_mean(projection, fraction):
    W = np.random.default_rng(0).normal(0.3, 1, 40).astype(np.float32)
    positive = np.maximum(W, 0)
    expected = positive >= fraction * positive.mean()
    np.testing.assert_array_equal(projection(jnp.asarray(W)), expected)


@pytest.mark.parametrize("name", PROJECTIONS)
@pytest.mark.parametrize("W", [[0.0, 0.0], [2.0] * 5, [-3.0, -1.0, -2.0], [0.5], [-0.5]])
def test_no_footprint_is_empty(name, W):
    S = PROJECTIONS[name](jnp.array(W))
    assert S.dtype == bool
    assert S.any()
    assert np.isfinite(squared_distance(jnp.array(W), S))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_any_float_type_is_sorted(dtype):
    with jax.enable_x64(True):
        W = jnp.array([0.5, -3.0, 2.0, -0.0, 0.0, 1.75, -0.25], dtype)
        np.testing.assert_array_equal(constant_set(W), W > 1)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_jit_and_vmap_give_the_same(name):
    W = jnp.asarray(np.random.default_rng(1).normal(0.3, 1, (6, 9)), jnp.float32)
    mapped = jax.jit(jax.vmap(PROJECTIONS[name]))(W)
    for w, S in zip(W, mapped, strict=True):
        np.testing.assert_array_equal(PROJECTIONS[name](w), S)
