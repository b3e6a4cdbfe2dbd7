import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from bimonn_jax.neurons.reparam import (
    BIASES,
    BINARY,
    WEIGHTS,
    bias_range,
    check_names,
    dual_total,
    inverse_softplus,
    two_smallest_bias_range,
)
from tests.support import oracles

CLIPPED = {
    "projected": bias_range,
    "reparametrized": bias_range,
    "projected_two_smallest": two_smallest_bias_range,
    "reparametrized_two_smallest": two_smallest_bias_range,
}
PROJECTED = [name for name in CLIPPED if name.startswith("projected")]
REPARAMETRIZED = [name for name in CLIPPED if name.startswith("reparametrized")]
SMOOTH = ["tanh", "sigmoid", "erf", "arctan"]

positive_weights = st.integers(2, 6).flatmap(
    lambda n: arrays(np.float32, n, elements=st.floats(0.0625, 4, width=32))
)


def draw(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_inverse_softplus_undoes_softplus_over_a_wide_range(transform):
    y = jnp.logspace(-20, 4, 49)
    np.testing.assert_allclose(jax.nn.softplus(transform(inverse_softplus)(y)), y, rtol=1e-5)


def ternary(level):
    """Footprints over x and 1 - x of latents in [0, 1]."""

    def weights(omega, total):
        d = np.subtract(*np.split(omega, 2, axis=-1))
        d = np.round(np.clip(d, -1, 1) * 4096)
        size = level * np.abs(d).mean(-1, keepdims=True)
        return np.concatenate([d > size, -d > size], axis=-1)

    return weights


FORMULAS = {
    "identity": lambda omega, total: omega,
    "positive": lambda omega, total: np.log1p(np.exp(omega)),
    "dual": lambda omega, total: (
        total * np.log1p(np.exp(omega)) / np.log1p(np.exp(omega)).sum(-1, keepdims=True)
    ),
    "boolean": lambda omega, total: omega > 0.5,
    "ternary": ternary(0.7),
    "ternary_sparse": ternary(1.4),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_their_formulas(name, transform):
    omega, total = draw(0, (4, 6)), np.linspace(1, 3, 4, dtype=np.float32)
    one_neuron = WEIGHTS[name].forward
    over_neurons = (
        transform(one_neuron) if transform is jax.vmap else jax.vmap(transform(one_neuron))
    )
    W = over_neurons(omega, total)
    assert W.dtype == jnp.float32
    expected = FORMULAS[name](np.asarray(omega, float), total[:, None])
    np.testing.assert_allclose(W, expected, rtol=1e-5)


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_in_the_range_come_back_from_the_inverse(name):
    forward, inverse = WEIGHTS[name]
    total = jnp.float32(3.5)
    W = forward(draw(1, (8,)), total)
    np.testing.assert_allclose(forward(inverse(W), total), W, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("total", [0.5, 3.0, 100.0])
def test_dual_weights_are_positive_and_keep_their_sum(total):
    W = WEIGHTS["dual"].forward(5 * draw(2, (40,)), jnp.float32(total))
    assert np.all(W > 0)
    np.testing.assert_allclose(jnp.sum(W), total, rtol=1e-5)


def test_boolean_weights_have_the_gradient_of_the_identity():
    omega, direction = draw(3, (6,)), draw(4, (6,))
    gradient = jax.grad(lambda w: WEIGHTS["boolean"].forward(w, 1.0) @ direction)(omega)
    np.testing.assert_array_equal(gradient, direction)


@pytest.mark.parametrize("name", ["ternary", "ternary_sparse"])
def test_ternary_weights_have_the_gradient_of_the_identity_on_differences(name):
    omega, direction = draw(3, (8,)), draw(4, (8,))
    gradient = jax.grad(lambda w: WEIGHTS[name].forward(w, 1.0) @ direction)(omega)
    through = direction[:4] - direction[4:]
    np.testing.assert_allclose(gradient, jnp.concatenate([through, -through]), rtol=1e-6)


@pytest.mark.parametrize("name", ["ternary", "ternary_sparse"])
def test_ternary_footprints_do_not_depend_on_how_they_are_compiled(name, transform):
    # Differences a step beside the threshold: what rounding of the mean would decide.
    n = 1000
    size = np.random.default_rng(0).integers(0, 4097, (50, n))
    level = {"ternary": 0.7, "ternary_sparse": 1.4}[name] * size.mean(axis=1)
    size[:, :3] = np.round(level)[:, None] + [-1, 0, 1]
    d = np.random.default_rng(1).choice([-1, 1], size.shape) * size / 4096
    omega = np.concatenate([0.5 + d / 2, 0.5 - d / 2], axis=1).astype(np.float32)
    one = WEIGHTS[name].forward
    over = transform(one) if transform is jax.vmap else jax.vmap(transform(one), in_axes=(0, None))
    found = over(omega, jnp.ones(50)) if transform is jax.vmap else over(omega, 1.0)
    expected = FORMULAS[name](omega.astype(float), None)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["ternary", "ternary_sparse"])
def test_latents_of_any_finite_size_are_compared_and_pass_their_gradient(name, dtype):
    largest = float(jnp.finfo(dtype).max)
    halves = itertools.product([-largest, -0.25, 0, 0.25, largest], repeat=2)
    omega = jnp.asarray(list(halves), dtype).T.ravel()
    forward = WEIGHTS[name].forward
    total = jnp.ones((), dtype)
    np.testing.assert_array_equal(
        jax.jit(forward)(omega, total), FORMULAS[name](np.asarray(omega, float), None)
    )
    gradient = jax.grad(lambda w: jnp.sum(forward(w, total)[:25]))(omega)
    np.testing.assert_array_equal(gradient, [1] * 25 + [-1] * 25)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_rank_latents_of_any_finite_size_make_neurons_that_are_constant(dtype):
    W = jnp.asarray([1, 0, 1, 0, 1, 0], dtype)
    largest = jnp.finfo(dtype).max
    for beta, is_set in ((largest, False), (-largest, True)):
        B, to_beta = jax.value_and_grad(BIASES["rank"].forward)(jnp.asarray(beta, dtype), W)
        assert jnp.isfinite(B)
        assert (B < 0) if is_set else (jnp.sum(W) < B)
        assert to_beta == jnp.asarray(3**0.5, dtype)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9, 16, 17])
def test_every_rank_has_a_latent_and_comes_back(n):
    forward, inverse = BIASES["rank"]
    for asked, of_complements in [(n, 0), (0, n), (n // 2, n - n // 2)]:
        W = (jnp.arange(2 * n) < asked) | (jnp.arange(2 * n) >= 2 * n - of_complements)
        W = W.astype(jnp.float32)
        for rank in range(-1, n + 3):
            B = forward(inverse(jnp.float32(rank - 0.5), W), W)
            assert rank - 0.5 == B


def test_the_latent_of_a_rank_is_in_roots_of_the_inputs_and_passes_its_gradient():
    W = jnp.ones(18)  # Nine inputs and their complements.
    B, to_beta = jax.value_and_grad(BIASES["rank"].forward)(jnp.float32(0.7), W)
    assert B == 9 + 2 + 0.5  # 3 * 0.7 = 2.1
    assert to_beta == 3
    to_W = jax.grad(BIASES["rank"].forward, argnums=1)(jnp.float32(0.7), W)
    np.testing.assert_array_equal(to_W, [0] * 9 + [1] * 9)


@given(positive_weights)
def test_the_bias_range_is_the_formula_and_never_makes_the_neuron_constant(W):
    lower, upper = bias_range(jnp.asarray(W))
    smallest = W.min()
    np.testing.assert_allclose([lower, upper], [smallest / 2, W.sum() - smallest / 2], rtol=1e-6)
    sums = oracles.enumerate_binary(len(W)) @ W.astype(np.float64)
    for B in np.linspace(lower, upper, 5):
        assert np.any(sums > B)
        assert np.any(sums <= B)


def test_the_bias_range_reaches_the_full_dilation_and_erosion_of_equal_weights():
    inputs = oracles.enumerate_binary(4)
    lower, upper = map(float, bias_range(jnp.ones(4)))
    np.testing.assert_array_equal(inputs.sum(1) > lower, inputs.any(1))
    np.testing.assert_array_equal(inputs.sum(1) > upper, inputs.all(1))


def test_the_bias_range_of_a_single_input_is_the_copy():
    np.testing.assert_array_equal(bias_range(jnp.array([0.5])), [0.25, 0.25])


@given(positive_weights)
def test_the_range_of_the_two_smallest_is_the_formula(W):
    ascending = np.sort(W)
    expected = [ascending[:2].sum() / 2, W.sum() - ascending[0] / 2]
    np.testing.assert_allclose(two_smallest_bias_range(jnp.asarray(W)), expected, rtol=1e-6)


def test_the_range_of_the_two_smallest_of_two_inputs_forbids_their_union():
    lower, upper = two_smallest_bias_range(jnp.array([3.0, 1.0]))
    assert (lower, upper) == (2.0, 3.5)
    assert two_smallest_bias_range(jnp.ones(2)) == (1.0, 1.5)


@pytest.mark.parametrize("name", ["identity", "positive", *CLIPPED])
def test_biases_are_their_formulas(name, transform):
    beta, W = jnp.linspace(-6.0, 12.0, 9), jax.nn.softplus(draw(5, (9, 4)))
    one_neuron = BIASES[name].forward
    over_neurons = (
        transform(one_neuron) if transform is jax.vmap else jax.vmap(transform(one_neuron))
    )
    softplus = np.log1p(np.exp(np.asarray(beta, float)))
    expected = {"identity": beta, "positive": softplus}.get(name)
    if name in CLIPPED:
        lower, upper = jax.vmap(CLIPPED[name])(W)
        assert np.any(softplus < lower)
        assert np.any(softplus > upper)
        expected = np.clip(softplus, lower, upper)
    np.testing.assert_allclose(over_neurons(beta, W), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["identity", "positive", *CLIPPED])
def test_biases_in_the_range_come_back_from_the_inverse(name):
    forward, inverse = BIASES[name]
    W = jax.nn.softplus(draw(6, (5,)))
    for beta in (-5.0, 0.3, 1.0, 20.0):
        B = forward(jnp.float32(beta), W)
        np.testing.assert_allclose(forward(inverse(B, W), W), B, rtol=1e-5)


@pytest.mark.parametrize("size", [0, 1, 2, 5])
@pytest.mark.parametrize("operator", [0.0, 1.0])
def test_boolean_biases_are_those_of_dilation_and_erosion_and_come_back(size, operator):
    forward, inverse = BIASES["boolean"]
    W = (jnp.arange(5) < size).astype(jnp.float32)
    B = forward(jnp.float32(operator), W)
    assert (size - 0.5 if operator else 0.5) == B
    assert forward(inverse(B, W), W) == B


def bias_gradients(name, beta, W):
    return jax.grad(BIASES[name].forward, argnums=(0, 1))(jnp.float32(beta), W)


WEIGHTS_APART = jnp.array([0.5, 2.0, 1.25])


@pytest.mark.parametrize("name", CLIPPED)
def test_inside_of_the_range_only_beta_has_a_gradient(name):
    to_beta, to_weights = bias_gradients(name, 1.0, WEIGHTS_APART)
    np.testing.assert_allclose(to_beta, jax.nn.sigmoid(1.0), rtol=1e-6)
    np.testing.assert_array_equal(to_weights, np.zeros(3))


@pytest.mark.parametrize("beta", [-9.0, 9.0])
@pytest.mark.parametrize("name", PROJECTED)
def test_projected_biases_pass_no_gradient_through_their_bounds(name, beta):
    to_beta, to_weights = bias_gradients(name, beta, WEIGHTS_APART)
    assert to_beta == 0
    np.testing.assert_array_equal(to_weights, np.zeros(3))


@pytest.mark.parametrize("name", REPARAMETRIZED)
def test_reparametrized_biases_pass_the_gradient_of_their_bounds(name):
    lower = [0.5, 0, 0.5] if name.endswith("two_smallest") else [0.5, 0, 0]
    for beta, expected in [(-9.0, lower), (9.0, [0.5, 1, 1])]:
        to_beta, to_weights = bias_gradients(name, beta, WEIGHTS_APART)
        assert to_beta == 0
        np.testing.assert_array_equal(to_weights, expected)


@pytest.mark.parametrize("threshold", SMOOTH)
def test_the_dual_total_is_twice_where_the_threshold_reaches_95_percent(threshold):
    expected = {
        "tanh": 2 * np.arctanh(0.9),
        "sigmoid": 2 * np.log(19),
        "erf": 2 * 1.1630871536766743,
        "arctan": 2 * np.tan(0.45 * np.pi),
    }[threshold]
    np.testing.assert_allclose(dual_total(threshold), expected, rtol=1e-5)


REAL_BIASES = sorted(set(BIASES) - set(BINARY.values()))


@pytest.mark.parametrize("bias", REAL_BIASES)
@pytest.mark.parametrize("weight", ["positive", "dual"])
def test_positive_weights_go_with_every_real_bias_and_smooth_threshold(weight, bias):
    for threshold in SMOOTH:
        check_names(weight, bias, threshold)


@pytest.mark.parametrize("bias", REAL_BIASES)
def test_weights_of_any_sign_go_with_unclipped_biases_only(bias):
    if bias in CLIPPED:
        with pytest.raises(ValueError, match=f"bias_reparam='{bias}' needs positive weights"):
            check_names("identity", bias, "tanh")
    else:
        check_names("identity", bias, "tanh")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("softplus", "identity", "tanh"), r"weight_reparam must be one of .*'dual'.*'softplus'"),
        (("positive", "clip", "tanh"), r"bias_reparam must be one of .*'projected'.*'clip'"),
        (("positive", "identity", "relu"), r"threshold must be one of .*'sigmoid'.*'relu'"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(names, message):
    with pytest.raises(ValueError, match=message):
        check_names(*names)


@pytest.mark.parametrize("weight", [*BINARY, "positive"])
@pytest.mark.parametrize("bias", ["boolean", "rank", "identity"])
@pytest.mark.parametrize("threshold", ["step", "tanh"])
def test_the_names_of_training_through_the_binarization_go_together_only(weight, bias, threshold):
    are_of_it = (weight != "positive", bias != "identity", threshold == "step")
    if not any(are_of_it) or (all(are_of_it) and BINARY[weight] == bias):
        check_names(weight, bias, threshold)
    else:
        with pytest.raises(ValueError, match="'boolean' with 'boolean', 'ternary' with 'rank'"):
            check_names(weight, bias, threshold)
