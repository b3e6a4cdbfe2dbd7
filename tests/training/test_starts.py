import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import binarize
from bimonn_jax.data.classification import load_digits
from bimonn_jax.networks.architecture import apply_layers, layer_outputs
from bimonn_jax.training.classifiers import Convolution, boolean_classifier, to_bits
from bimonn_jax.training.metrics import error_percent, live_neurons
from bimonn_jax.training.starts import restart_dead, start_from_images


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def train_arrays(data):
    return jnp.asarray(data.train_images), jnp.asarray(data.train_labels)


@pytest.mark.parametrize("head", ["real", "ternary", "popcount"])
def test_transforms_start_as_parts_of_images_and_vote_for_their_class(digits, head):
    images, labels = train_arrays(digits)
    model = boolean_classifier(((100.0,),), 200, 10, head=head)
    params = start_from_images(jax.random.key(0), model, images, labels)
    boolean = binarize(params)
    bits = apply_layers(to_bits(((100.0,),)), {}, images)
    hits = apply_layers(model.architecture[:3], boolean, images)
    S = np.asarray(boolean["layers_2"]["lui"].footprint)
    assert 4 < S.sum(0).mean() < 12
    assert not (S[:64] & S[64:]).any()
    # Every transform hits the image that it comes from.
    assert hits.any(axis=0).all()
    assert bits.shape == (1438, 64)
    if head != "real":
        assert error_percent(model.architecture, boolean, images, labels) < 60


def test_convolutions_start_as_windows_of_images_and_deeper_layers_as_what_they_find(digits):
    images, labels = train_arrays(digits)
    convolutions = (Convolution(3, 12, 2), Convolution(2, 20))
    model = boolean_classifier(((100.0,),), 50, 10, convolutions=convolutions)
    params = start_from_images(jax.random.key(0), model, images, labels, bits=4.0)
    outputs = layer_outputs(model.architecture, binarize(params), images)
    shapes = [output.shape[1:] for output in outputs]
    assert shapes == [(8, 8, 1), (3, 3, 12), (2, 2, 20), (80,), (50,), (10,)]
    for output in (outputs[1], outputs[2], outputs[4]):
        assert output.reshape(-1, output.shape[-1]).any(axis=0).all()
    for name in ("layers_1", "layers_2", "layers_4"):
        S = np.asarray(binarize(params)[name]["lui"].footprint)
        S = S.reshape(-1, S.shape[-1])
        assert 2 < S.sum(0).mean() < 6
    # Features vote for the classes in which they are frequent: better than 90 % at random.
    assert error_percent(model.architecture, binarize(params), images, labels) < 75


def test_blank_images_give_a_start_too(digits):
    images, labels = train_arrays(digits)
    model = boolean_classifier(((100.0,),), 0, 10, convolutions=(Convolution(3, 4),))
    params = start_from_images(jax.random.key(0), model, jnp.zeros_like(images), labels)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("layer", "head"),
    [
        pytest.param(*case, marks=[pytest.mark.slow] * (case != ("layers_3", "ternary")))
        for case in itertools.product(("layers_1", "layers_3"), ("ternary", "popcount"))
    ],
)
def test_dead_transforms_start_again_and_the_others_stay_as_they_are(digits, layer, head):
    images, labels = train_arrays(digits)
    convolutions = (Convolution(3, 8, 2),)
    model = boolean_classifier(((100.0,),), 20, 10, convolutions=convolutions, head=head)
    params = start_from_images(jax.random.key(0), model, images, labels)
    neurons = params[layer]["lui"]
    killed = jnp.arange(neurons.bias.size) < 4
    # A transform that asks for a pixel and for its complement never hits.
    params[layer] = {"lui": neurons.replace(weight=jnp.where(killed, 0.9, neurons.weight))}
    after_evaluation = jax.jit(
        restart_dead(jax.random.key(1), model.architecture, images, labels, until=10)
    )
    same = after_evaluation(params, 10)
    jax.tree.map(np.testing.assert_array_equal, same, params)
    revised = after_evaluation(params, 9)
    old, new = params[layer]["lui"].weight, revised[layer]["lui"].weight
    before, after = (
        live_neurons(model.architecture, binarize(tree), images)[layer]
        for tree in (params, revised)
    )
    assert not before[:4].any()
    assert after[:4].all()
    changed = (new != old).reshape(-1, killed.size).any(axis=0)
    # Those that hit a handful of images may count as dead, too.
    assert changed[:4].all()
    assert (changed & before).sum() < 0.3 * killed.size
    if head == "ternary" and layer == "layers_3":
        votes = revised["layers_4"]["head"].latent
        assert (votes[changed] == 0).all()
        np.testing.assert_array_equal(votes[~changed], params["layers_4"]["head"].latent[~changed])


def test_a_restarted_convolution_takes_back_its_votes_at_all_positions(digits):
    images, labels = train_arrays(digits)
    model = boolean_classifier(((100.0,),), 0, 10, convolutions=(Convolution(3, 8, 2),))
    params = start_from_images(jax.random.key(0), model, images, labels)
    neurons = params["layers_1"]["lui"]
    params["layers_1"] = {"lui": neurons.replace(weight=neurons.weight.at[..., 2].set(0.9))}
    after_evaluation = jax.jit(
        restart_dead(jax.random.key(1), model.architecture, images, labels, until=1)
    )
    votes = np.asarray(after_evaluation(params, 0)["layers_3"]["head"].latent).reshape(9, 8, 10)
    assert (votes[:, 2] == 0).all()
    assert (votes[:, 3] != 0).any()
