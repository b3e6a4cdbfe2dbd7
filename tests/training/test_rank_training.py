"""Rank neurons that train through the binarization: what is trained is what is returned."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import binarize, certify, fit
from bimonn_jax.data.classification import choose_thresholds, load_digits
from bimonn_jax.data.samples import batches
from bimonn_jax.networks.architecture import apply_layers
from bimonn_jax.networks.models import Sequential
from bimonn_jax.networks.modules import LUI, HitOrMiss, HitOrMissConv
from bimonn_jax.neurons import (
    NeuronConfig,
    RankNeurons,
    RealNeurons,
    apply_dense,
    apply_windows,
    init_neurons,
    with_ranks,
)
from bimonn_jax.training import rank_classifier, rank_loss, rank_optimizer, rank_shares
from bimonn_jax.training.losses import mse
from bimonn_jax.training.metrics import error_percent
from tests.support.neuron_oracles import all_inputs


def every_rank(n, sparse):
    """Random footprints over n inputs, each with every rank and those beyond the ends."""
    ranks = range(-2 * n - 1, 2 * n + 2)
    footprints = init_neurons(jax.random.key(n), (2 * n, 40), 1, NeuronConfig.rank(sparse=sparse))
    # In the middle of the latents of a sum.
    bias = np.repeat((np.array(ranks, np.float32) + 0.5) / np.float32(n**0.5), 40)
    return footprints.replace(
        weight=jnp.asarray(np.tile(footprints.weight, len(ranks))),
        bias=jnp.asarray(bias),
        scale=jnp.asarray(np.where(np.arange(len(bias)) % 3 == 0, -1.0, 1.0), jnp.float32),
    )


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_what_trains_is_what_is_binarized_on_all_inputs(n, sparse):
    neurons, x = every_rank(n, sparse), all_inputs(n)
    apply = jax.jit(partial(apply_dense, complements=True))
    trained = apply(neurons, x)
    binary = binarize({"layer": neurons})["layer"]
    assert set(np.unique(trained)) == {0.0, 1.0}
    np.testing.assert_array_equal(apply(binary, x), trained)
    # By counting, too. A constant has lost its footprint.
    counts = np.concatenate([x, ~x], axis=1).astype(int) @ np.asarray(binary.footprint, int)
    ranks = np.asarray(with_ranks(binary).rank)
    np.testing.assert_array_equal((counts >= ranks) ^ np.asarray(binary.complement), trained)
    assert certify({"layer": neurons}).exact_float32


def test_footprints_of_windows_ask_for_a_pixel_or_its_complement():
    config = NeuronConfig.rank()
    neurons = init_neurons(jax.random.key(0), (3, 2, 4, 30), 1, config)
    images = jax.random.bernoulli(jax.random.key(1), 0.5, (5, 8, 7, 2))
    binary = binarize({"layer": neurons})["layer"]
    assert isinstance(binary, RankNeurons)
    assert not np.any(binary.footprint[:, :, :2] & binary.footprint[:, :, 2:])
    trained = apply_windows(neurons, images, complements=True)
    np.testing.assert_array_equal(apply_windows(binary, images, complements=True), trained)


def test_gradients_reach_footprints_and_ranks_and_are_finite():
    neurons, x = every_rank(5, sparse=False), jnp.asarray(all_inputs(5), jnp.float32)

    def total(neurons):
        return jnp.sum(apply_dense(neurons, x, complements=True))

    gradient = jax.jit(jax.grad(total))(neurons)
    for values in (gradient.weight, gradient.bias):
        assert np.isfinite(values).all()
        assert np.all(np.any(np.abs(np.atleast_2d(values)) > 0, axis=0))
    # One latent per input: what the one half gains, the other loses.
    np.testing.assert_array_equal(gradient.weight[:5], -gradient.weight[5:])


def test_neurons_that_read_no_complements_are_refused():
    model = Sequential((LUI(3, config=NeuronConfig.rank()),))
    with pytest.raises(ValueError, match="those of LUI do not: take HitOrMiss"):
        model.init(jax.random.key(0), jnp.zeros((1, 4)))
    neurons = RealNeurons(jnp.zeros((3, 1)), jnp.zeros(1), jnp.ones(1), "ternary", "rank", "step")
    with pytest.raises(ValueError, match="as many rows of both; got 3"):
        apply_dense(neurons, jnp.zeros((1, 3)))


def test_shares_are_those_of_the_binary_neurons():
    model = Sequential(
        (HitOrMissConv(6, 3, config=NeuronConfig.rank()), LUI(2, config=NeuronConfig()))
    )
    params = model.init(jax.random.key(0), jnp.zeros((1, 5, 5, 2)))["params"]
    neurons = params["layers_0"]["lui"]
    latents = neurons.bias.at[:2].set(jnp.array([-9.0, 9.0]))
    params = {**params, "layers_0": {"lui": neurons.replace(bias=latents)}}
    shares = rank_shares(params)
    assert set(shares) == {"footprint_share/layers_0/lui", "end_share/layers_0/lui"}
    binary = binarize({"layer": neurons})["layer"]
    np.testing.assert_allclose(
        shares["footprint_share/layers_0/lui"], binary.footprint.sum() / (6 * 18), rtol=1e-6
    )
    np.testing.assert_allclose(shares["end_share/layers_0/lui"], 2 / 6, rtol=1e-6)


def test_a_majority_of_some_inputs_is_learned_exactly():
    n, key = 12, jax.random.key(0)
    asked = np.array([1, 1, 1, 1, 1, -1, -1, -1, -1, 0, 0, 0])

    def target(x):
        votes = jnp.sum(jnp.where(x, asked, 0), axis=1, dtype=jnp.int32)
        return (votes >= 1)[:, None]  # Five of the nine.

    def sample(key):
        x = jax.random.bernoulli(key, 0.5, (200, n))
        return x, target(x)

    model = Sequential((HitOrMiss(1, config=NeuronConfig.rank()),))
    x = jnp.asarray(all_inputs(n))

    def evaluate(params):
        wrong = (apply_layers(model.architecture, params, x) > 0.5) != target(x)
        return {"accuracy": 1 - jnp.mean(wrong.astype(jnp.float32))}

    result = fit(
        lambda params, x: apply_layers(model.architecture, params, x),
        model.init(key, x[:1])["params"],
        sample,
        evaluate,
        loss=mse,
        key=key,
        steps=400,
        score="accuracy",
        optimizer=rank_optimizer(400),
    )
    assert result.score == 1.0
    neurons = binarize(result.params)["layers_0"]["lui"]
    np.testing.assert_array_equal(neurons.footprint[:n, 0], asked > 0)
    np.testing.assert_array_equal(neurons.footprint[n:, 0], asked < 0)
    assert neurons.rank == 5


@pytest.mark.parametrize("sparse", [False, True])
def test_a_rank_classifier_learns_digits_and_stays_what_it_was(sparse):
    data = load_digits()
    images, labels = jnp.asarray(data.train_images), jnp.asarray(data.train_labels)
    thresholds = choose_thresholds(data.train_images, 1)
    model = rank_classifier(thresholds, (100, 50), 10, input_mean=0.4, sparse=sparse)
    architecture, steps = model.architecture, 200

    def evaluate(params):
        return {"accuracy": 100 - error_percent(architecture, params, images, labels)}

    result = fit(
        lambda params, x: apply_layers(architecture, params, x),
        model.init(jax.random.key(0), images[:1])["params"],
        batches(images, labels, 100),
        evaluate,
        loss=rank_loss(50),
        key=jax.random.key(1),
        steps=steps,
        score="accuracy",
        optimizer=rank_optimizer(steps),
    )
    assert result.score > 90
    boolean = binarize(result.params)
    scores = apply_layers(architecture, boolean, images)
    np.testing.assert_array_equal(scores, apply_layers(architecture, result.params, images))
    assert certify(result.params, architecture).exact_float32
    shares = rank_shares(result.params)
    assert all(share < (0.35 if sparse else 0.7) for name, share in shares.items())
