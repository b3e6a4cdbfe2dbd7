import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import BooleanNeurons, RankNeurons
from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.binarization.pruning import _without, prune
from bimonn_jax.networks.kinds import HitOrMissLayer, LUILayer
from bimonn_jax.neurons.apply import apply_dense
from bimonn_jax.training.metrics import dice

X = bernoulli(jax.random.key(0), 0.3, (200, 5))
UNION = BooleanNeurons(jnp.ones((5, 1), bool), jnp.zeros(1, bool), jnp.zeros(1, bool))
TREE = {"layers_0": {"lui": UNION}, "kernel": jnp.ones(2)}
ARCHITECTURE = (LUILayer("layers_0"),)


def metric_for(target):
    return lambda tree: dice(apply_dense(tree["layers_0"]["lui"], X), target)


def test_inputs_that_hurt_or_do_nothing_are_cut_and_the_rest_kept():
    target = X[:, [0, 3]].any(axis=1, keepdims=True)
    pruned, report = prune(TREE, metric_for(target), architecture=ARCHITECTURE)
    kept = pruned["layers_0"]["lui"].footprint[:, 0]
    np.testing.assert_array_equal(kept, [True, False, False, True, False])
    assert report.removed == {"layers_0/lui": 3}
    assert report.before < report.after
    np.testing.assert_allclose(report.before, metric_for(target)(TREE))
    np.testing.assert_allclose(report.after, 1, rtol=1e-6)
    assert (pruned["kernel"] == TREE["kernel"]).all()


def test_a_tolerance_allows_cuts_that_cost_a_little():
    target = X.any(axis=1, keepdims=True)
    _, strict = prune(TREE, metric_for(target), architecture=ARCHITECTURE)
    loose_tree, loose = prune(TREE, metric_for(target), architecture=ARCHITECTURE, tolerance=0.2)
    assert strict.removed["layers_0/lui"] == 0
    assert loose.removed["layers_0/lui"] > 0
    assert loose.after >= 1 - 0.2
    assert loose_tree["layers_0"]["lui"].footprint.any()


def test_unknown_paths_are_named():
    with pytest.raises(ValueError, match=r"paths must name binary neurons among .*'layers_9/lui'"):
        prune(TREE, metric_for(X[:, :1]), paths=["layers_9/lui"])


def test_literals_of_hit_or_miss_transforms_are_never_cut_by_default():
    def indifferent(tree):
        return jnp.float32(1)

    transforms = BooleanNeurons(jnp.ones((10, 5), bool), jnp.ones(5, bool), jnp.zeros(5, bool))
    tree = {"layers_0": {"lui": transforms}, "layers_1": {"lui": UNION}}
    layers = (HitOrMissLayer("layers_0"), LUILayer("layers_1"))
    pruned, report = prune(tree, indifferent, architecture=layers)
    assert report.removed == {"layers_1/lui": 5}
    assert pruned["layers_0"]["lui"].footprint.all()
    with pytest.raises(ValueError, match=r"no unions to prune.*give the architecture"):
        prune(tree, indifferent)


def test_without_an_architecture_the_unions_of_bisels_are_found():
    bise = BooleanNeurons(jnp.ones((3, 3, 1, 5), bool), *(jnp.zeros((1, 5), bool),) * 2)
    tree = {"layers_0": {"bise": bise, "lui": UNION}}
    assert prune(tree, lambda tree: jnp.float32(1))[1].removed == {"layers_0/lui": 5}


def test_ranks_are_kept_where_an_input_goes_and_erosions_stay_erosions():
    """Two of three of five inputs; all of three of five."""
    for rank, target in (
        (2, X[:, [0, 2, 3]].sum(axis=1, keepdims=True) >= 2),
        (5, X[:, [0, 2, 3]].all(axis=1, keepdims=True)),
    ):
        neurons = RankNeurons(jnp.ones((5, 1), bool), jnp.full(1, rank), jnp.zeros(1, bool))
        tree = {"layers_0": {"lui": neurons}}
        pruned, report = prune(tree, metric_for(target), architecture=ARCHITECTURE)
        found = pruned["layers_0"]["lui"]
        np.testing.assert_array_equal(found.footprint[:, 0], [True, False, True, True, False])
        assert found.rank == min(rank, 3)
        np.testing.assert_allclose(report.after, 1, rtol=1e-6)


def test_the_rank_falls_with_each_input_of_an_erosion_until_one_is_left():
    neurons = RankNeurons(jnp.ones((3, 4), bool), jnp.array([1, 2, 3, 4]), jnp.zeros(4, bool))
    tree = {"lui": neurons}
    for row, expected in enumerate(([1, 2, 2, 4], [1, 1, 1, 4], [1, 1, 1, 4])):
        for neuron in range(4):
            tree = _without(tree, "lui", (row, neuron))
        np.testing.assert_array_equal(tree["lui"].rank, expected)
