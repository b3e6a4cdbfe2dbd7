import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax.initializers import NeuronConfig, init_neurons
from bimonn_jax.params import BiSEParams, real_parameters
from bimonn_jax.projection.constant import PROJECTIONS
from bimonn_jax.regularization import regularizer

NAMES = ("exact", "uniform", "normal")


def neurons(weights, weight_reparam="identity"):
    weights = jnp.asarray(weights, jnp.float32)
    ones = jnp.ones(weights.shape[1:])
    return BiSEParams(weights, ones, ones, weight_reparam)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("relative", [False, True])
def test_value_is_the_sum_over_neurons_of_the_distance_to_the_best_level_on_the_footprint(
    name, relative
):
    W = np.random.default_rng(0).normal(0.3, 1.0, (9, 5)).astype(np.float32)
    footprint_of = PROJECTIONS[{"exact": "constant"}.get(name, name)]
    expected = 0.0
    for w in W.T:
        S = np.asarray(footprint_of(jnp.asarray(w)))
        level = max(w[S].mean(), 0)
        expected += np.sum((w - level * S) ** 2) / (np.sum(w**2) if relative else 1)
    value = regularizer(name, relative=relative)({"a": neurons(W[:, :3]), "b": neurons(W[:, 3:])})
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("reparam", ["identity", "positive", "dual"])
def test_gradient_agrees_with_finite_differences_away_from_ties(name, relative, reparam):
    with jax.enable_x64(True):
        omega = jnp.asarray(np.random.default_rng(1).normal(0.5, 1.0, (7, 4)))
        loss = regularizer(name, relative=relative)

        def value(weights):
            ones = jnp.ones(weights.shape[1:])
            return loss({"a": BiSEParams(weights, ones, ones, reparam)})

        gradient = jax.jit(jax.grad(value))(omega)
        step = 1e-6
        for index in np.ndindex(7, 4):
            up, down = (value(omega.at[index].add(s)) for s in (step, -step))
            np.testing.assert_allclose(
                gradient[index], (up - down) / (2 * step), rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("weights", [np.zeros((5, 1)), np.ones((5, 1)), -np.ones((5, 1)), [[2.0]]])
def test_value_and_gradient_are_finite_at_zeros_and_ties(name, relative, weights):
    value, gradient = jax.value_and_grad(regularizer(name, relative=relative))(neurons(weights))
    assert np.isfinite(value)
    assert np.isfinite(gradient.weight).all()


@pytest.mark.parametrize("name", NAMES)
def test_constant_weights_on_a_set_cost_nothing(name):
    value = regularizer(name)(neurons([[0.7, 0.0], [0.7, 0.2], [0.0, 0.2], [0.0, 0.2]]))
    np.testing.assert_allclose(value, 0, atol=1e-12)


def test_neurons_trained_through_the_binarisation_and_other_leaves_cost_nothing():
    config = NeuronConfig.boolean("erosion")
    tree = {"a": init_neurons(jax.random.key(0), (9, 4), 1, config), "kernel": jnp.ones(3)}
    assert regularizer("exact")(tree) == 0


def test_descending_the_regulariser_reaches_the_constant_set():
    params = init_neurons(jax.random.key(0), (9, 6), 1, NeuronConfig("positive", "positive"))
    loss = jax.jit(regularizer("exact"))
    step = jax.jit(lambda p: jax.tree.map(lambda a, g: a - 2.0 * g, p, jax.grad(loss)(p)))
    before = loss(params)
    for _ in range(300):
        params = step(params)
    assert loss(params) < 0.02 * before
    assert (real_parameters(params)[0] > 0).all()


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"regularizer must be one of .*uniform.*got 'acti2'"):
        regularizer("acti2")
