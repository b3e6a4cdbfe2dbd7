import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import BooleanNeurons, RealNeurons, as_real_neurons
from bimonn_jax.neurons.apply import apply_aligned, apply_conv, apply_dense
from bimonn_jax.neurons.initializers import NeuronConfig, init_neurons
from bimonn_jax.neurons.params import named_neurons, real_parameters
from tests.support.neuron_oracles import all_inputs

rng = np.random.default_rng(0)


def boolean_neurons(weight_shape, neuron_shape):
    coins = (rng.uniform(size=s) < 0.5 for s in (weight_shape, neuron_shape, neuron_shape))
    return BooleanNeurons(*(jnp.asarray(c) for c in coins))


def real_neurons(weight_shape, rank):
    return init_neurons(jax.random.key(0), weight_shape, rank, NeuronConfig("identity", "identity"))


def boolean_value(x, S, is_erosion, complement):
    value = (x | ~S).all() if is_erosion else (x & S).any()
    return value ^ complement


def xi(neurons, sums, index):
    B, p = (np.asarray(a)[index] for a in (neurons.bias, neurons.scale))
    return 0.5 * np.tanh(p * (sums - B)) + 0.5


@pytest.mark.parametrize("kernel", [(3, 3), (1, 3), (3, 5)])
def test_conv_is_its_definition(kernel):
    kh, kw = kernel
    x = rng.uniform(size=(2, 5, 6, 2)) < 0.5
    padded = np.pad(x, [(0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)])
    b, r = boolean_neurons((*kernel, 2, 3), (2, 3)), real_neurons((*kernel, 2, 3), 2)
    boolean, real = apply_conv(b, x), apply_conv(r, x)
    assert boolean.shape == real.shape == (2, 5, 6, 2, 3)
    assert boolean.dtype == jnp.bool_
    fields = [np.asarray(f) for f in (b.footprint, b.is_erosion, b.complement)]
    for n, i, j, c, m in np.ndindex(boolean.shape):
        window = padded[n, i : i + kh, j : j + kw, c]
        expected = boolean_value(window, fields[0][..., c, m], fields[1][c, m], fields[2][c, m])
        assert boolean[n, i, j, c, m] == expected
        sums = (window * np.asarray(r.weight)[..., c, m]).sum()
        np.testing.assert_allclose(real[n, i, j, c, m], xi(r, sums, (c, m)), atol=1e-5)


@pytest.mark.parametrize("apply", [apply_dense, apply_aligned])
def test_dense_and_aligned_are_their_definitions(apply):
    b, r = boolean_neurons((5, 4), (4,)), real_neurons((5, 4), 1)
    rows = all_inputs(5)
    x = rows if apply is apply_dense else np.stack([np.roll(rows, k, axis=0) for k in range(4)], -1)
    boolean, real = apply(b, x), apply(r, x)
    fields = [np.asarray(f) for f in (b.footprint, b.is_erosion, b.complement)]
    for k, m in np.ndindex(32, 4):
        column = x[k] if apply is apply_dense else x[k, :, m]
        expected = boolean_value(column, fields[0][:, m], fields[1][m], fields[2][m])
        assert boolean[k, m] == expected
        sums = (column * np.asarray(r.weight)[:, m]).sum()
        np.testing.assert_allclose(real[k, m], xi(r, sums, m), atol=1e-5)


@pytest.mark.parametrize("kind", ["boolean", "real"])
def test_jit_and_vmap_over_images_and_parameters(kind):
    x = jnp.asarray(rng.uniform(size=(3, 4, 4, 2)) < 0.5)
    neurons = (
        boolean_neurons((3, 3, 2, 2), (2, 2))
        if kind == "boolean"
        else real_neurons((3, 3, 2, 2), 2)
    )
    plain = apply_conv(neurons, x)
    np.testing.assert_allclose(jax.jit(apply_conv)(neurons, x), plain, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(apply_conv, (None, 0))(neurons, x), plain, atol=1e-6)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), neurons)
    mapped = jax.vmap(apply_conv, (0, None))(stacked, x)
    np.testing.assert_allclose(mapped, jnp.stack([plain, plain]), atol=1e-6)


@pytest.mark.parametrize("threshold", ["tanh", "sigmoid", "erf", "arctan"])
@pytest.mark.parametrize("scale", [1.0, 32.0])
def test_embedded_neurons_compute_their_operators(threshold, scale):
    boolean = boolean_neurons((6, 20), (20,))
    params = as_real_neurons(boolean, threshold=threshold, scale=scale)
    x = all_inputs(6)
    np.testing.assert_array_equal(apply_dense(params, x) > 0.5, apply_dense(boolean, x))


@pytest.mark.parametrize("weight", ["identity", "positive", "dual"])
@pytest.mark.parametrize("bias", ["identity", "positive", "projected", "reparametrized"])
def test_gradients_are_finite(weight, bias):
    if weight == "identity" and bias in ("projected", "reparametrized"):
        pytest.skip("these biases need positive weights")
    neurons = init_neurons(jax.random.key(0), (5, 3), 1, NeuronConfig(weight, bias))
    gradient = jax.grad(lambda n: apply_dense(n, all_inputs(5)).sum())(neurons)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert any((leaf != 0).any() for leaf in jax.tree.leaves(gradient))


def test_wrong_inputs_are_named():
    neurons, boolean = real_neurons((3, 3, 2, 1), 2), boolean_neurons((3, 3, 2, 1), (2, 1))
    with pytest.raises(ValueError, match=r"x has shape \(1, 4, 4, 3\).*channels = 2"):
        apply_conv(neurons, jnp.zeros((1, 4, 4, 3)))
    with pytest.raises(ValueError, match=r"x has shape \(4, 2\); \(..., height, width, channels\)"):
        apply_conv(neurons, jnp.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"x must be bool for a boolean network, got float32"):
        apply_conv(boolean, jnp.zeros((1, 4, 4, 2)))
    with pytest.raises(ValueError, match=r"x has shape \(7,\).*inputs = 5"):
        apply_dense(real_neurons((5, 3), 1), jnp.zeros(7))
    with pytest.raises(ValueError, match=r"bias has shape \(2, 3\), weight \(2, 5, 3\).*jax\.vmap"):
        real_parameters(RealNeurons(jnp.ones((2, 5, 3)), jnp.ones((2, 3)), jnp.ones((2, 3))))
    with pytest.raises(ValueError, match="scale must be > 0, got -1"):
        as_real_neurons(boolean, scale=-1.0)


def test_two_sets_of_neurons_at_one_path_are_refused():
    neurons = real_neurons((4, 3), 1)
    assert list(named_neurons({"a": {"b": neurons}, "c": neurons})) == ["a/b", "c"]
    with pytest.raises(ValueError, match="two sets of neurons are at 'a/b'"):
        named_neurons({"a": {"b": neurons}, "a/b": neurons})
