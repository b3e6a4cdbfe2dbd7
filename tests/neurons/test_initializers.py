import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.neurons.apply import apply_dense
from bimonn_jax.neurons.initializers import NeuronConfig, init_neurons
from bimonn_jax.neurons.params import real_parameters
from bimonn_jax.neurons.reparam import BIASES, BINARY, dual_total
from bimonn_jax.neurons.thresholds import THRESHOLDS

SMOOTH = ["tanh", "sigmoid", "erf", "arctan"]
REAL_NAMES = [
    (weight, bias)
    for weight in ("identity", "positive", "dual")
    for bias in sorted(set(BIASES) - set(BINARY.values()))
    if weight != "identity" or bias in ("identity", "positive")
]
names = pytest.mark.parametrize(("weight", "bias"), REAL_NAMES)
NEURONS = 300


def draw(n, config, seed=0, neurons=NEURONS):
    return init_neurons(jax.random.key(seed), (n, neurons), 1, config)


def outputs(n, config, input_mean=0.5):
    x = bernoulli(jax.random.key(1), input_mean, (1000, n))
    if input_mean == 0.5:
        x = jnp.concatenate([x, ~x])  # as often on as off, exactly
    return np.asarray(apply_dense(draw(n, config), x), np.float64)


def variance_of(threshold):
    """Of xi(t) for t normal with mean 0 and variance 1/4, which p0 is made to give."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    values = np.asarray(THRESHOLDS[threshold].forward(jnp.asarray(nodes / 2)), np.float64) - 0.5
    return np.sum(weights * values**2) / np.sum(weights)


@pytest.mark.parametrize("threshold", SMOOTH)
@pytest.mark.parametrize("n", [9, 25, 256, 1024])
def test_balanced_outputs_have_mean_half_and_a_variance_independent_of_n(n, threshold):
    y = outputs(n, NeuronConfig(threshold=threshold))
    assert abs(y.mean() - 0.5) < 0.01
    np.testing.assert_allclose(y.var(), variance_of(threshold), rtol=0.05)


@names
def test_balanced_outputs_do_not_depend_on_the_reparametrization(weight, bias):
    y = outputs(256, NeuronConfig(weight, bias))
    assert abs(y.mean() - 0.5) < 0.01
    np.testing.assert_allclose(y.var(), variance_of("tanh"), rtol=0.05)


@pytest.mark.parametrize("input_mean", [0.1, 0.3, 0.9])
def test_balanced_outputs_have_mean_half_for_other_input_means(input_mean):
    y = outputs(256, NeuronConfig(input_mean=input_mean), input_mean)
    assert abs(y.mean() - 0.5) < 0.02


@pytest.mark.parametrize("threshold", SMOOTH)
@pytest.mark.parametrize(("weight", "bias"), [("identity", "positive"), ("positive", "projected")])
def test_balanced_parameters_are_those_of_the_paper(weight, bias, threshold):
    n, top = 100, float(THRESHOLDS[threshold].inverse(jnp.float32(0.95)))
    p0 = (math.sqrt(3) + 2) * math.sqrt(n) / (8 * top)
    mean = (math.sqrt(3) + 2) / (4 * p0 * math.sqrt(n))
    deviation = math.sqrt(1 / (p0**2 * n) - mean**2)
    W, B, p = real_parameters(draw(n, NeuronConfig(weight, bias, threshold, input_mean=0.4)))
    np.testing.assert_allclose(p, np.full(NEURONS, p0), rtol=1e-5)
    np.testing.assert_allclose(np.mean(W), mean, rtol=0.01)
    np.testing.assert_allclose(np.std(W), deviation, rtol=0.05)
    assert np.all(np.abs(W - mean) < 1.001 * math.sqrt(3) * deviation)
    jitter = B / (0.4 * jnp.sum(W, axis=0))
    assert np.all(np.abs(jitter - 1) < 0.0101)
    assert np.std(jitter) > 0.004


@pytest.mark.parametrize("threshold", SMOOTH)
@pytest.mark.parametrize("n", [9, 1024])
def test_the_dual_total_is_n_times_the_initial_mean_weight(n, threshold):
    weights = {
        reparam: real_parameters(draw(n, NeuronConfig(reparam, "positive", threshold)))[0]
        for reparam in ("positive", "dual")
    }
    np.testing.assert_allclose(n * weights["positive"].mean(), dual_total(threshold), rtol=0.02)
    np.testing.assert_allclose(weights["dual"].sum(axis=0), dual_total(threshold), rtol=1e-4)


@pytest.mark.parametrize("weight", ["identity", "positive"])
def test_heuristic_parameters_are_those_of_the_earlier_papers(weight):
    n = 2000
    W, B, p = real_parameters(draw(n, NeuronConfig(weight, "identity", init="heuristic")))
    assert np.all(np.abs(n * W - 2) < 1.001)
    np.testing.assert_allclose(np.mean(W), 2 / n, rtol=0.01)
    np.testing.assert_allclose(B, np.ones(NEURONS), rtol=0.05)
    np.testing.assert_array_equal(p, np.ones(NEURONS))


@names
@pytest.mark.parametrize("init", ["balanced", "heuristic", nn.initializers.lecun_normal()])
@pytest.mark.parametrize("n", [1, 25])
def test_every_start_is_finite_and_neurons_of_positive_weights_are_not_constant(
    weight, bias, init, n
):
    inputs = max(n, 2) if bias.endswith("two_smallest") else n
    params = draw(inputs, NeuronConfig(weight, bias, init=init), neurons=20)
    for leaf in (*jax.tree.leaves(params), *real_parameters(params)):
        assert leaf.dtype == jnp.float32
        assert np.all(np.isfinite(leaf))
    if weight != "identity":
        W, B, _ = real_parameters(params)
        assert np.all(W > 0)
        assert np.all((B >= 0) & (W.sum(axis=0) > B))


def test_a_flax_initializer_draws_the_free_weights():
    config = NeuronConfig(init=nn.initializers.constant(0.25), input_mean=0.3)
    params = draw(10, config)
    W, B, p = real_parameters(params)
    np.testing.assert_array_equal(params.weight, np.full((10, NEURONS), 0.25, np.float32))
    np.testing.assert_allclose(B, 0.3 * W.sum(axis=0), rtol=0.0101)
    np.testing.assert_array_equal(p, np.ones(NEURONS))


@pytest.mark.parametrize(
    ("shape", "rank"), [((3, 2, 2, 4), 2), ((6, 5), 1), ((2, 2, 7), 1), ((4,), 0)]
)
@pytest.mark.parametrize(
    "config", [NeuronConfig(), NeuronConfig.boolean("mixed"), NeuronConfig.rank()]
)
def test_shapes_names_and_jit(shape, rank, config):
    params = init_neurons(jax.random.key(2), shape, rank, config)
    assert params.weight.shape == shape
    assert params.bias.shape == params.scale.shape == shape[len(shape) - rank :]
    for field in ("weight_reparam", "bias_reparam", "threshold"):
        assert getattr(params, field) == getattr(config, field)
    jitted = jax.jit(lambda key: init_neurons(key, shape, rank, config))(jax.random.key(2))
    assert jax.tree.structure(jitted) == jax.tree.structure(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), jitted, params
    )


def test_keys_may_be_mapped_and_give_different_neurons():
    keys = jax.random.split(jax.random.key(3), 3)
    mapped = jax.vmap(lambda key: init_neurons(key, (5, 4), 1, NeuronConfig()))(keys)
    for i, key in enumerate(keys):
        one = init_neurons(key, (5, 4), 1, NeuronConfig())
        np.testing.assert_allclose(mapped.weight[i], one.weight, rtol=1e-5)
    assert len(np.unique(mapped.weight)) == mapped.weight.size


@pytest.mark.parametrize(
    ("operator", "expected"),
    [("dilation", [0, 0, 0, 0]), ("erosion", [1, 1, 1, 1]), ("mixed", [0, 1, 0, 1])],
)
def test_boolean_neurons_start_as_the_operator_that_was_asked_for(operator, expected):
    params = draw(50, NeuronConfig.boolean(operator, temperature=4.0), neurons=4)
    W, B, p = real_parameters(params)
    size = np.asarray(W).sum(axis=0)
    np.testing.assert_array_equal(B, np.where(expected, size - 0.5, 0.5))
    np.testing.assert_array_equal(p, np.full(4, 0.25))
    x = bernoulli(jax.random.key(4), 0.5, (100, 50))
    hits = np.asarray(x, np.float32) @ np.asarray(W)
    fires = np.where(expected, hits == size, hits > 0)
    np.testing.assert_array_equal(apply_dense(params, x), fires)


def test_boolean_neurons_start_with_a_random_half_of_their_inputs():
    W, _, _ = real_parameters(draw(400, NeuronConfig.boolean("dilation")))
    assert set(np.unique(W)) == {0.0, 1.0}
    assert abs(W.mean() - 0.5) < 0.01


def test_the_boolean_configuration_is_the_three_names_together():
    config = NeuronConfig.boolean("erosion", temperature=3.0)
    names = ("boolean", "boolean", "step")
    assert config == NeuronConfig(*names, operator="erosion", temperature=3.0)
    assert config.is_boolean
    assert not NeuronConfig().is_boolean


@pytest.mark.parametrize(("sparse", "share"), [(False, 0.576), (True, 0.264)])
@pytest.mark.parametrize("input_mean", [0.5, 0.1])
def test_rank_neurons_start_near_half_of_their_outputs(sparse, share, input_mean):
    n = 400
    params = draw(2 * n, NeuronConfig.rank(sparse=sparse, input_mean=input_mean))
    W, B, p = map(np.asarray, real_parameters(params))
    assert set(np.unique(W)) == {0.0, 1.0}
    assert not np.any(W[:n] * W[n:])
    # Normal latents are above 0.7 or 1.4 times their mean size so often.
    assert abs((W[:n] + W[n:]).mean() - share) < 0.01
    np.testing.assert_array_equal(B % 1, 0.5)
    np.testing.assert_allclose(p, 1 / (0.25 * 20))
    x = bernoulli(jax.random.key(1), input_mean, (1000, n))
    assert abs(apply_dense(params, x, complements=True).mean() - 0.5) < 0.03


def test_the_rank_configurations_are_the_names_together():
    config = NeuronConfig.rank(input_mean=0.2, temperature=3.0)
    assert config == NeuronConfig("ternary", "rank", "step", input_mean=0.2, temperature=3.0)
    assert NeuronConfig.rank(sparse=True).weight_reparam == "ternary_sparse"
    assert config.is_boolean


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"weight_reparam": "softplus"}, r"weight_reparam must be one of .*'dual'"),
        ({"bias_reparam": "clip"}, r"bias_reparam must be one of .*'projected'"),
        ({"threshold": "relu"}, r"threshold must be one of .*'arctan'"),
        ({"weight_reparam": "identity"}, "bias_reparam='projected' needs positive weights"),
        ({"threshold": "step"}, "takes threshold='step', and of weight_reparam"),
        ({"init": "uniform"}, r"init must be one of .*'balanced'.*'uniform'"),
        ({"operator": "opening"}, r"operator must be one of .*'mixed'.*'opening'"),
        ({"input_mean": 0.0}, r"input_mean must be in \(0, 1\); got 0.0"),
        ({"input_mean": 1.0}, "input_mean must be"),
        ({"input_mean": math.nan}, "input_mean must be"),
        ({"temperature": 0.0}, "temperature must be > 0 and finite; got 0.0"),
        ({"temperature": -1.0}, "temperature must be"),
        ({"temperature": math.nan}, "temperature must be"),
        ({"temperature": math.inf}, "temperature must be"),
    ],
)
def test_wrong_choices_are_named_also_when_replaced(choices, message):
    with pytest.raises(ValueError, match=message):
        NeuronConfig(**choices)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(NeuronConfig(), **choices)


@pytest.mark.parametrize("bias", ["projected", "reparametrized"])
def test_the_two_smallest_need_two_inputs(bias):
    config = NeuronConfig(bias_reparam=f"{bias}_two_smallest")
    with pytest.raises(ValueError, match=f"at least 2 inputs, got 1: use '{bias}'"):
        draw(1, config)
    assert np.all(np.isfinite(draw(2, config).bias))
