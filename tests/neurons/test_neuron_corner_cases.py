import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import BooleanNeurons, DenseBiMoNN, NeuronConfig, RealNeurons, binarize
from bimonn_jax.binarization.projection.constant import (
    constant_set,
    normal,
    squared_distance,
    uniform,
)
from bimonn_jax.neurons.apply import apply_aligned, apply_conv, apply_dense
from tests.support.neuron_oracles import all_inputs


@pytest.mark.parametrize("projection", [constant_set, uniform, normal])
def test_the_gradient_with_the_footprint_held_is_that_of_finite_differences(projection):
    with jax.enable_x64(True):
        W = jnp.asarray(np.random.default_rng(2).normal(0.4, 1, 9))
        S = projection(W)
        gradient = np.asarray(jax.grad(squared_distance)(W, S))
        for i, step in enumerate(np.eye(9) * 1e-5):
            slope = (squared_distance(W + step, S) - squared_distance(W - step, S)) / 2e-5
            np.testing.assert_allclose(gradient[i], slope, atol=1e-6)


BITS = all_inputs(4)


def boolean_neurons(n=4, m=3):
    rng = np.random.default_rng(0)
    shapes = ((n, m), (m,), (m,))
    return BooleanNeurons(*(jnp.asarray(rng.uniform(size=s) < 0.5) for s in shapes))


def real_neurons(n=4, m=3):
    rng = np.random.default_rng(1)
    shapes = ((n, m), (m,), (m,))
    return RealNeurons(*(jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes))


@pytest.mark.parametrize("apply", [apply_dense, apply_aligned])
@pytest.mark.parametrize("neurons", [boolean_neurons(), real_neurons()], ids=["boolean", "real"])
def test_dense_and_aligned_are_the_same_under_jit_and_vmap(apply, neurons):
    x = jnp.asarray(BITS if apply is apply_dense else np.repeat(BITS[..., None], 3, -1))
    plain = apply(neurons, x)
    np.testing.assert_allclose(jax.jit(apply)(neurons, x), plain, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(apply, (None, 0))(neurons, x), plain, atol=1e-6)


@pytest.mark.parametrize("apply", [apply_dense, apply_aligned])
def test_dense_and_aligned_boolean_neurons_take_bools_only(apply):
    x = jnp.ones((2, 4) if apply is apply_dense else (2, 4, 3))
    with pytest.raises(ValueError, match="x must be bool for a boolean network, got float32"):
        apply(boolean_neurons(), x)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"is_erosion": jnp.zeros(1, bool)}, "is_erosion"),
        ({"is_erosion": jnp.zeros(5, bool)}, "is_erosion"),
        ({"complement": jnp.zeros(1, bool)}, "complement"),
        ({"footprint": jnp.full((4, 3), 0.3)}, "footprint"),
    ],
)
def test_boolean_neurons_that_do_not_fit_together_are_named(change, named):
    with pytest.raises(ValueError, match=named):
        apply_dense(boolean_neurons().replace(**change), jnp.asarray(BITS))


@pytest.mark.parametrize("shape", [(1,), (), (5,)])
def test_a_scale_of_another_shape_than_the_bias_is_named(shape):
    neurons = real_neurons().replace(scale=jnp.ones(shape))
    with pytest.raises(ValueError, match="scale"):
        apply_dense(neurons, BITS.astype(np.float32))
    with pytest.raises(ValueError, match="scale"):
        binarize(neurons)


def test_convolution_weights_of_another_rank_are_named():
    with pytest.raises(ValueError, match=r"\(4, 3\)"):
        apply_conv(real_neurons(), jnp.ones((4, 4, 3)))


def test_binarizing_a_boolean_tree_changes_nothing():
    boolean = {"a": boolean_neurons(), "b": jnp.ones(2)}
    again = binarize(boolean)
    assert jax.tree.structure(again) == jax.tree.structure(boolean)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(boolean), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("field", ["weight", "bias", "scale"])
def test_one_value_that_is_not_finite_is_enough(field, value):
    neurons = real_neurons()
    broken = getattr(neurons, field).at[..., 0].set(value)
    with pytest.raises(ValueError, match=rf"deep/lui\.{field} has \d+ values that are not finite"):
        binarize({"deep": {"lui": neurons.replace(**{field: broken})}})


@pytest.mark.parametrize("operator", ["dilation", "erosion", "mixed"])
def test_a_dense_network_trained_through_the_binarization_is_its_boolean_network(operator):
    config = NeuronConfig.boolean(operator)
    model = DenseBiMoNN((8,), 3, binary_head=True, config=config, complement=True)
    x = jnp.asarray(all_inputs(6).reshape(-1, 2, 3, 1))
    params = model.init(jax.random.key(0), x)["params"]
    output = model.apply({"params": params}, x)
    assert set(np.unique(output)) <= {0.0, 1.0}
    np.testing.assert_array_equal(output == 1, model.apply({"params": binarize(params)}, x))
    gradient = jax.grad(lambda p: jnp.square(model.apply({"params": p}, x) - 0.3).mean())(params)
    weights = [gradient[f"layers_{i}"]["lui"].weight for i in (2, 3)]
    assert all(np.isfinite(w).all() and (w != 0).any() for w in weights)
