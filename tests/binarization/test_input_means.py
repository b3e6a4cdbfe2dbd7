"""Means of inputs, and biases that move by them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import (
    LUI,
    BiSEL,
    Complement,
    Flatten,
    HitOrMissConv,
    RealNeurons,
    Sequential,
    apply_layers,
    binarize,
)
from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.binarization import input_means
from bimonn_jax.neurons.params import named_neurons

X = bernoulli(jax.random.key(0), 0.3, (20, 6, 5, 2))


def test_means_are_those_of_what_each_set_reads():
    model = Sequential((BiSEL(3, 3), HitOrMissConv(2, 3), Complement(), Flatten(), LUI(2)))
    params = jax.jit(model.init)(jax.random.key(1), X)["params"]
    means = input_means(model.architecture, params, X)
    assert set(means) == set(named_neurons(params))
    np.testing.assert_allclose(means["layers_0/bise"][:, 0], X.mean(axis=(0, 1, 2)), rtol=1e-5)
    maps = apply_layers(model.architecture[:1], params, X)
    mean = np.asarray(maps.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(means["layers_1/lui"][:, 0], np.append(mean, 1 - mean), rtol=1e-5)
    flat = apply_layers(model.architecture[:4], params, X)
    np.testing.assert_allclose(means["layers_4/lui"][:, 0], flat.mean(axis=0), rtol=1e-5)
    # The union inside of a BiSEL reads, for each output, the maps of all inputs.
    assert means["layers_0/lui"].shape == (2, 3)
    for path, neurons in named_neurons(params).items():
        assert np.broadcast_shapes(means[path].shape, neurons.weight.shape) == neurons.weight.shape


def test_the_bias_moves_by_what_the_lost_weights_gave_on_average():
    # Five weights of 1, and twenty of 0.2 that are lost, of inputs that are mostly set.
    W = jnp.concatenate([jnp.ones((5, 1)), jnp.full((20, 1), 0.2)])
    neurons = RealNeurons(W, jnp.array([6.5]), jnp.ones(1))
    mean = jnp.concatenate([jnp.full((5, 1), 0.5), jnp.full((20, 1), 0.9)])
    plain, (report,) = binarize({"a": neurons}, method="uniform", return_report=True)
    # 6.5 of the sum are more than five inputs can give: the erosion is the nearest.
    assert (int(plain["a"].ranks[0]), int(plain["a"].sizes[0])) == (5, 5)
    assert "moved" not in str(report)
    moved, (report,) = binarize(
        {"a": neurons}, method="uniform", input_mean={"a": mean}, return_report=True
    )
    # Of these, 20 * 0.2 * 0.9 = 3.6 come from the others: 2.9 are left.
    assert int(moved["a"].ranks[0]) == 3
    assert "biases moved by means of data" in str(report)
    x = bernoulli(jax.random.key(2), mean[:, 0], (20_000, 25))
    fires = np.asarray(x.astype(jnp.float32) @ W > 6.5)[:, 0]
    counts = np.asarray(x)[:, :5].sum(axis=1)
    agreements = [float(np.mean((counts >= rank) == fires)) for rank in range(1, 6)]
    assert np.argmax(agreements) + 1 == int(moved["a"].ranks[0])


def test_activated_neurons_do_not_move():
    neurons = RealNeurons(jnp.ones((3, 1)), jnp.array([1.5]), jnp.ones(1))
    moved = binarize({"a": neurons}, method="constant", input_mean={"a": jnp.full((3, 1), 0.9)})
    assert int(moved["a"].ranks[0]) == 2


def test_means_that_no_method_uses_and_missing_ones_are_refused():
    neurons = {"a": RealNeurons(jnp.array([[2.0], [1.0], [1.0]]), jnp.array([1.5]), jnp.ones(1))}
    for options in ({"method": "activable"}, {"method": "constant", "ranks": False}):
        with pytest.raises(ValueError, match=r"input_mean moves the ranks that the methods"):
            binarize(neurons, input_mean={"a": jnp.zeros((3, 1))}, **options)
    with pytest.raises(ValueError, match=r"input_mean has no means for \['a'\]"):
        binarize(neurons, method="constant", input_mean={})
