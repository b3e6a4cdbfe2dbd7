from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import (
    LUI,
    BiSE,
    Complement,
    Flatten,
    LevelSets,
    RealNeurons,
    Sequential,
    apply_layers,
    binarize,
    certify,
)
from bimonn_jax.networks.kinds import ComplementLayer, HitOrMissLayer, LUILayer
from bimonn_jax.neurons.heads import TernaryLatents, ternary_weights
from bimonn_jax.neurons.params import real_parameters
from tests.support.neuron_oracles import all_inputs


def lui(weight, bias, scale, *names):
    return RealNeurons(*(jnp.asarray(a, jnp.float32) for a in (weight, bias, scale)), *names)


def equals_its_boolean_network(model, params, x):
    smooth = apply_layers(model.architecture, params, x) > 0.5
    boolean = apply_layers(model.architecture, binarize(params), x)
    return bool((smooth == boolean).all())


@pytest.mark.parametrize(("bias", "level"), [(1.5, 0.5), (0.5, 0.9)])
def test_level_sets_after_neurons_do_not_hide_them(bias, level):
    model = Sequential(modules=(LUI(1), LevelSets((level,)), LUI(1)))
    first, last = lui(np.ones((3, 1)), [bias], [1]), lui([[1]], [0.5], [4])
    params = {"layers_0": {"lui": first}, "layers_2": {"lui": last}}
    assert not equals_its_boolean_network(model, params, jnp.asarray(all_inputs(3)))
    assert not certify(params, model.architecture).exact_real


def test_complements_of_flat_features_carry_the_dead_zones_of_their_own_features():
    model = Sequential(modules=(BiSE(2, (1, 1)), Flatten(), Complement(), LUI(1)))
    bise = lui(np.ones((1, 1, 2, 1)), [[0.2243], [0.6392]], [[-1.4455], [7.7892]])
    footprint = np.zeros((8, 1))
    footprint[[2, 5]] = 1
    params = {
        "layers_0": {"bise": bise},
        "layers_3": {"lui": lui(footprint, [1.8773], [18.689])},
    }
    x = jnp.asarray(all_inputs(4).reshape(-1, 1, 2, 2))
    assert not equals_its_boolean_network(model, params, x)
    assert not certify(params, model.architecture).exact_real


def test_a_smooth_proof_needs_only_the_neurons_that_the_outputs_read():
    model = Sequential(modules=(LUI(2), LUI(1)))
    first = lui(np.ones((3, 2)), [0.5, 1.5], [9, 9])
    params = {"layers_0": {"lui": first}, "layers_1": {"lui": lui([[1], [0]], [0.5], [9])}}
    smooth = certify(params, model.architecture)
    assert smooth.layers[0].is_exact["real"].tolist() == [True, False]
    assert smooth.exact_real
    assert equals_its_boolean_network(model, params, jnp.asarray(all_inputs(3)))
    # The other neuron alone is no dilation and no erosion.
    assert not certify(params).exact_real


def test_a_complement_leaves_the_certificate_of_the_layer_before_as_it_is():
    first, last = lui(np.ones((3, 2)), [0.5, 0.5], [4, 4]), lui(np.ones((4, 1)), [3.5], [4])
    params = {"layers_0": {"lui": first}, "layers_2": {"lui": last}}
    model = Sequential(modules=(LUI(2), Complement(), LUI(1)))
    alone = certify({"layers_0": params["layers_0"]}, model.architecture[:1]).layers[0]
    (before, _) = certify(params, model.architecture).layers
    for arithmetic, zone in alone.zones.items():
        np.testing.assert_array_equal(before.zones[arithmetic].v1, zone.v1)
        np.testing.assert_array_equal(before.zones[arithmetic].v2, zone.v2)
    assert str(before) == str(alone)


def wrong_claims(neurons):
    """Neurons (n, M) that are certified in real arithmetic and refuted in rationals."""
    W, B, p = (np.asarray(a) for a in real_parameters(neurons))
    exact = certify({"lui": neurons}).layers[0].is_exact["real"]
    boolean = binarize(neurons)
    S, is_erosion = np.asarray(boolean.footprint), np.asarray(boolean.is_erosion)
    inputs, wrong = all_inputs(W.shape[0]), []
    for k in np.flatnonzero(exact):
        w, b = [Fraction(float(v)) for v in W[:, k]], Fraction(float(B[k]))
        sums = [sum((v for v, bit in zip(w, x, strict=True) if bit), Fraction()) for x in inputs]
        real = [s > b if p[k] > 0 else s >= b for s in sums]
        hits = ((inputs ^ is_erosion[k]) & S[:, k]).any(axis=1) ^ is_erosion[k]
        if (hits != np.array(real)).any():
            wrong.append((W[:, k].tolist(), float(B[k]), float(p[k])))
    return wrong


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_hard_claims_survive_enumeration_in_rationals_whatever_the_range_of_the_weights(n):
    rng = np.random.default_rng(7)
    values = [1, 1 + 2.0**-23, 0.5, 2.0**-30, 2.0**-60, 2.0**-100, 0, -1, -(2.0**-60), 0.1, -0.1]
    W = rng.choice(values, (n, 1500)).astype(np.float32)
    B = (W * (rng.uniform(size=W.shape) < 0.6)).sum(axis=0, dtype=np.float64).astype(np.float32)
    p = rng.choice([-1.0, 1.0], B.shape)
    assert wrong_claims(lui(W, B, p)) == []


def test_a_projected_bias_that_rounds_to_the_sum_is_no_proof_of_a_constant():
    neurons = lui([[1.0], [-45.0]], [10.0], [1.0], "positive", "projected", "tanh")
    assert wrong_claims(neurons) == []


@pytest.mark.parametrize(("dtype", "large"), [(np.float32, 3e38), (np.float16, 4e4)])
def test_a_neuron_that_may_be_no_number_spoils_readers_that_do_not_need_it(dtype, large):
    # Its weights of x and 1 - x differ by more than the dtype holds, and 0 times infinity is NaN.
    def neurons(*fields):
        return RealNeurons(*(jnp.asarray(np.asarray(field, dtype)) for field in fields))

    layers = (HitOrMissLayer("a"), LUILayer("b"))
    first = neurons([[large, 0], [-large, 1]], [0, 0.5], [1, 4])
    params = {"a": {"lui": first}, "b": {"lui": neurons([[0], [1]], [0.5], [4])}}
    x = jnp.asarray([[False], [True]])
    assert bool(jnp.isnan(apply_layers(layers, params, x)).any())
    assert not certify(params, layers).exact_float
    assert certify(params, layers).exact_real


@pytest.mark.parametrize(("weights", "bias", "scale"), [([[1]], 1, 1), ([[2], [1]], 2, -1)])
def test_a_complement_of_outputs_that_may_be_a_half_ends_the_proof(weights, bias, scale):
    layers = (LUILayer("a"), ComplementLayer())
    params = {"a": {"lui": lui(weights, [bias], [scale])}}
    x = jnp.asarray(all_inputs(len(weights)))
    smooth = apply_layers(layers, params, x) > 0.5
    assert (smooth != apply_layers(layers, binarize(params), x)).any()
    proof = certify(params, layers)
    assert not proof.exact_real
    assert not proof.exact_float


def test_latents_of_numpy_are_votes_as_jax_has_them():
    latents = np.array([[0.333333334, 0.3], [-0.333333334, 0.1]])
    boolean = binarize({"h": {"head": TernaryLatents(latents)}})["h"]["head"]
    running = ternary_weights(TernaryLatents(jnp.asarray(latents)))
    np.testing.assert_array_equal(boolean.positive, running.positive)
    np.testing.assert_array_equal(boolean.negative, running.negative)
