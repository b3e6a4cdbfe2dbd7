import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import (
    HitOrMiss,
    NeuronConfig,
    PopcountHead,
    Sequential,
    TernaryHead,
    binarize,
    certify,
)
from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.networks.saving import load_network, save_network
from bimonn_jax.neurons.heads import (
    TernaryLatents,
    TernaryWeights,
    popcount_scores,
    popcount_signs,
    ternary_scores,
)


def bits(shape, seed=0):
    return bernoulli(jax.random.key(seed), 0.4, shape)


def classifier(head, config=None):
    config = config or NeuronConfig.boolean("mixed")
    model = Sequential((HitOrMiss(30, config), head))
    return model, model.init(jax.random.key(1), bits((2, 7)))["params"]


@pytest.mark.parametrize("head", [TernaryHead(4), PopcountHead(4)])
def test_scores_are_whole_numbers_that_training_and_booleans_share_also_after_saving(
    head, tmp_path
):
    model, params = classifier(head)
    x = bits((64, 7), 3)
    trained = model.apply({"params": params}, x)
    boolean, _ = binarize(params, return_report=True)
    scores = model.apply({"params": boolean}, x)
    assert scores.dtype == jnp.int32
    np.testing.assert_array_equal(trained, scores)
    save_network(tmp_path / "net.npz", model.architecture, boolean)
    np.testing.assert_array_equal(load_network(tmp_path / "net.npz")(x), scores)
    assert certify(params, model.architecture).exact_float32


def test_a_head_that_reads_values_between_0_and_1_is_not_certified():
    model, params = classifier(TernaryHead(4), NeuronConfig("positive", "projected"))
    assert not certify(params, model.architecture).exact_real


def test_ternary_scores_count_votes_and_pass_the_gradient_straight_through():
    latent = jnp.array([[0.5, -0.5], [0.2, 0.9], [-0.9, 0.1]])
    model = Sequential((TernaryHead(2),))
    x = jnp.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    params = {"layers_0": {"head": TernaryLatents(latent)}}
    np.testing.assert_array_equal(model.apply({"params": params}, x), [[1, 0], [0, 0]])
    gradient = jax.grad(lambda p: model.apply({"params": p}, x)[0, 1])(params)
    np.testing.assert_array_equal(gradient["layers_0"]["head"].latent, [[0, 1], [0, 1], [0, 0]])
    weights = binarize(params)["layers_0"]["head"]
    assert isinstance(weights, TernaryWeights)
    np.testing.assert_array_equal(weights.positive, [[True, False], [False, True], [False, False]])
    np.testing.assert_array_equal(weights.negative, [[False, True], [False, False], [True, False]])


def test_latents_are_not_saved_as_a_boolean_network(tmp_path):
    model, params = classifier(TernaryHead(4))
    params = {**binarize(params), "layers_1": params["layers_1"]}
    with pytest.raises(TypeError, match="layers_1/head is real-valued"):
        save_network(tmp_path / "net.npz", model.architecture, params)


def test_a_popcount_group_has_as_many_votes_for_as_against():
    signs = np.asarray(popcount_signs(24, 4))
    np.testing.assert_array_equal(np.abs(signs).sum(0), 6)
    np.testing.assert_array_equal(signs.sum(0), 0)
    np.testing.assert_array_equal(np.abs(signs).sum(1), 1)
    assert popcount_scores(jnp.ones((2, 24)), 4).dtype == jnp.float32
    np.testing.assert_array_equal(popcount_scores(jnp.ones((2, 24), bool), 4), 0)


def test_a_head_of_other_features_is_named():
    with pytest.raises(ValueError, match=r"x has shape \(2, 5\); \(..., 3\) was expected"):
        ternary_scores(TernaryLatents(jnp.zeros((3, 2))), jnp.ones((2, 5)))
