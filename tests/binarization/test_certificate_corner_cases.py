from fractions import Fraction

import jax
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
from bimonn_jax.networks.architecture import apply_layer
from bimonn_jax.networks.kinds import ComplementLayer, HitOrMissConvLayer, HitOrMissLayer, LUILayer
from bimonn_jax.neurons.apply import apply_dense
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
    first, last = lui([[2], [1], [1]], [bias], [1]), lui([[1]], [0.5], [4])
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
    first = lui([[1, 2], [1, 1], [1, 1]], [0.5, 1.5], [9, 9])
    params = {"layers_0": {"lui": first}, "layers_1": {"lui": lui([[1], [0]], [0.5], [9])}}
    smooth = certify(params, model.architecture)
    assert smooth.layers[0].is_exact["real"].tolist() == [True, False]
    assert smooth.exact_real
    assert equals_its_boolean_network(model, params, jnp.asarray(all_inputs(3)))
    # The other neuron fires by its first input, or by both others: that is no rank.
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
    S, rank = np.asarray(boolean.footprint), np.asarray(boolean.ranks)
    inputs, wrong = all_inputs(W.shape[0]), []
    for k in np.flatnonzero(exact):
        w, b = [Fraction(float(v)) for v in W[:, k]], Fraction(float(B[k]))
        sums = [sum((v for v, bit in zip(w, x, strict=True) if bit), Fraction()) for x in inputs]
        real = [s > b if p[k] > 0 else s >= b for s in sums]
        hits = (inputs & S[:, k]).sum(axis=1) >= rank[k]
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


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("threshold", ["tanh", "sigmoid", "arctan"])
@pytest.mark.parametrize("share", [0.1, 0.235, 0.2455])
def test_dual_weights_that_may_overflow_or_be_flushed_on_the_way_prove_nothing(
    dtype, threshold, share
):
    # K s / S: the product overflows as written, and 1 / S is subnormal where XLA divides first.
    x = jnp.asarray(all_inputs(2))
    with jax.enable_x64(dtype == "float64"):
        omega = jnp.full((2, 1), share * float(jnp.finfo(dtype).max), dtype)
        neurons = RealNeurons(
            omega,
            jnp.asarray([0.7], dtype),
            jnp.asarray([30], dtype),
            "dual",
            "identity",
            threshold,
        )
        proof = certify({"lui": neurons})
        boolean = apply_dense(binarize(neurons), x)
        eager, jitted = apply_dense(neurons, x), jax.jit(apply_dense)(neurons, x)
        # W is K / 2 each, more than B: the union.
        is_union = boolean[:, 0].tolist() == [False, True, True, True]
        assert not proof.exact_real or is_union
        assert not proof.exact_float or all(
            ((smooth > 0.5) == boolean).all() for smooth in (eager, jitted)
        )


def test_latents_that_jax_cannot_hold_are_refused():
    latents = TernaryLatents(np.array([[1e300, 0.1], [-1.0, 0.5]]))
    params = {
        "a": {"lui": lui([[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5], [1, 1])},
        "h": {"head": latents},
    }
    for fn in (binarize, certify):
        with pytest.raises(ValueError, match=r"latent of a ternary head has 1 values.*float32"):
            fn(params)


# JAX warns of such arrays as they run.
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")
def test_arrays_of_64_bits_are_certified_as_they_run_where_jax_has_32():
    with jax.enable_x64(True):
        fields = jnp.ones((2, 1)), jnp.asarray([1 - 1e-12]), jnp.asarray([1e14])
    params = {"a": {"lui": RealNeurons(*fields)}}
    layers = (LUILayer("a"),)
    x = jnp.asarray(all_inputs(2))
    proof = certify(params, layers)
    assert proof.dtype == "float32"
    smooth = apply_layers(layers, params, x) > 0.5
    equal = bool((smooth == apply_layers(layers, binarize(params), x)).all())
    assert not proof.exact_float or equal


@pytest.mark.parametrize("slides", [False, True])
def test_weights_of_numpy_are_subtracted_as_jax_has_them(slides):
    W = np.array([[1 + 0.99 * 2.0**-24], [-0.5 - 0.99 * 2.0**-25]])
    x = jnp.asarray([[False], [True]])
    layer = HitOrMissConvLayer("a") if slides else HitOrMissLayer("a")
    if slides:
        W, x = W.reshape(1, 1, 2, 1), x.reshape(2, 1, 1, 1)
    params = {"a": {"lui": RealNeurons(W, np.array([1.0]), np.array([1e9]))}}
    boolean = apply_layers((layer,), binarize(params), x)
    eager = apply_layer(layer, params, [x]) > 0.5
    assert not certify(params, (layer,)).exact_float or (eager == boolean).all()
