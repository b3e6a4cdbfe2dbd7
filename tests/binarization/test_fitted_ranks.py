"""Footprints and ranks that agree with a neuron on data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import (
    LUI,
    BiSEL,
    Flatten,
    HitOrMiss,
    HitOrMissConv,
    NeuronConfig,
    RealNeurons,
    Sequential,
    apply_layers,
    binarize,
)
from bimonn_jax._support.random_arrays import bernoulli, normal
from bimonn_jax.binarization import fit_ranks
from bimonn_jax.networks.kinds import LUILayer
from bimonn_jax.neurons.params import named_neurons
from tests.support.neuron_oracles import all_inputs

X = bernoulli(jax.random.key(0), 0.3, (20, 6, 5, 2))
ONE_LAYER = (LUILayer("a"),)


def neurons(W, B, scale):
    return {"a": {"lui": RealNeurons(jnp.asarray(W), jnp.asarray(B), jnp.asarray(scale))}}


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_no_operator_of_the_largest_weights_agrees_more_often(n):
    # On all inputs, against all candidates, counted.
    x, keys = all_inputs(n), jax.random.split(jax.random.key(n), 3)
    W, B = normal(keys[0], (n, 60)).round(1), normal(keys[1], (60,)).round(1)
    scale = jnp.where(bernoulli(keys[2], 0.3, (60,)), -5.0, 5.0)
    params = neurons(W, B, scale)
    fitted = fit_ranks(ONE_LAYER, params, x)
    _, (report,) = binarize(params, method="constant", return_report=True)
    wanted = np.asarray(apply_layers(ONE_LAYER, params, x) > 0.5)
    found = np.asarray(apply_layers(ONE_LAYER, fitted, x))
    agree = (found == wanted).mean(axis=0)
    is_open = np.flatnonzero(~report.is_exact)
    assert len(is_open)
    for m in is_open:
        order = np.argsort(-np.asarray(W[:, m]), kind="stable")
        best = max(
            np.mean(((x[:, order[:j]].sum(axis=1) >= k) ^ bool(scale[m] < 0)) == wanted[:, m])
            for j in range(1, max(1, int((W[:, m] > 0).sum())) + 1)
            for k in range(1, j + 1)
        )
        assert agree[m] == best
        assert 0 < found[:, m].mean() < 1


def test_neurons_of_many_inputs_keep_their_footprint():
    x, keys = all_inputs(6), jax.random.split(jax.random.key(0))
    params = neurons(normal(keys[0], (6, 40)), normal(keys[1], (40,)), jnp.full(40, 3.0))
    nearest, (report,) = binarize(params, method="constant", return_report=True)
    fitted = fit_ranks(ONE_LAYER, params, x, max_inputs=5)
    for mine, other in ((fitted, nearest), (fit_ranks(ONE_LAYER, params, x), nearest)):
        is_same = np.asarray(mine["a"]["lui"].footprint == other["a"]["lui"].footprint)
        assert is_same[:, report.is_exact].all()
        assert is_same.all() == (mine is fitted)
    wanted = np.asarray(apply_layers(ONE_LAYER, params, x) > 0.5)
    before, after = (
        (np.asarray(apply_layers(ONE_LAYER, tree, x)) == wanted).mean(axis=0)
        for tree in (nearest, fitted)
    )
    assert (after >= before).all()
    assert (after > before).any()


MODELS = {
    "own channels, then own columns": Sequential((BiSEL(3, 3), BiSEL(1, 3))),
    "windows and pooling": Sequential((HitOrMissConv(2, 3, pool=2), Flatten(), HitOrMiss(4))),
    "dense": Sequential((Flatten(), LUI(3), LUI(2))),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_a_network_of_operators_computes_is_left_as_it_is(name):
    model, config = MODELS[name], NeuronConfig.boolean("mixed")
    modules = [m.clone(config=config) if hasattr(m, "config") else m for m in model.modules]
    model = Sequential(tuple(modules))
    params = jax.jit(model.init)(jax.random.key(1), X)["params"]
    fitted, exact = fit_ranks(model.architecture, params, X), binarize(params)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), fitted, exact))


@pytest.mark.parametrize("name", MODELS)
def test_each_layer_is_chosen_given_the_binary_ones_before_it(name):
    architecture = MODELS[name].architecture
    params = jax.jit(MODELS[name].init)(jax.random.key(1), X)["params"]
    fitted = fit_ranks(architecture, params, X)
    nearest = binarize(params, method="constant")
    assert not any(isinstance(n, RealNeurons) for n in named_neurons(fitted).values())
    # The last layer, after the binary ones: by the constant set, and as it was chosen.
    last = architecture[-1].name
    wanted = apply_layers(architecture, params, X) > 0.5
    agree = [
        float((apply_layers(architecture, {**fitted, last: tree[last]}, X) == wanted).mean())
        for tree in (nearest, fitted)
    ]
    assert agree[1] >= agree[0]
    # The rest of the network does not change what is chosen.
    shorter = fit_ranks(architecture[:-1], {k: v for k, v in params.items() if k != last}, X)
    kept = {k: v for k, v in fitted.items() if k != last}
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), shorter, kept))


def test_nothing_to_compare_on_is_refused():
    params = neurons(jnp.ones((3, 1)), jnp.ones(1), jnp.ones(1))
    with pytest.raises(ValueError, match=r"x has shape \(0, 3\): at least one input"):
        fit_ranks(ONE_LAYER, params, np.zeros((0, 3), bool))
