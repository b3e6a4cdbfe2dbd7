import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import (
    LUI,
    BiMoNN,
    BiSE,
    BooleanNeurons,
    Complement,
    DenseBiMoNN,
    NeuronConfig,
    RankNeurons,
    RealNeurons,
    Sequential,
    as_real_neurons,
    binarize,
    certify,
    map_neurons,
)
from bimonn_jax.networks.architecture import apply_layers
from bimonn_jax.neurons.apply import apply_aligned, apply_conv, apply_dense
from tests.support.neuron_oracles import all_inputs

IMAGES = jnp.asarray(all_inputs(9).reshape(-1, 3, 3, 1))
MODELS = {
    "bimonn": BiMoNN((2, 1), (3, 3)),
    "edge": BiMoNN((2,), (3, 3), border="edge"),
    "complement": BiMoNN((2, 1), (3, 3), complement=True),
    "dense": DenseBiMoNN((4,), 2, binary_head=True, complement=True),
    "bise and lui": Sequential(modules=(BiSE(3, (3, 3)), Complement(), LUI(2))),
}


def init(model, seed=0, x=IMAGES):
    return jax.jit(model.init)(jax.random.key(seed), x)["params"]


def with_scales(params, scale):
    return map_neurons(lambda n: n.replace(scale=jnp.sign(n.scale) * scale), params)


def random_boolean(model, seed):
    """A random boolean tree: sparse footprints, any operators and complements."""
    rng = np.random.default_rng(seed)
    # Shapes only: nothing runs, nothing is compiled.
    params = jax.eval_shape(model.init, jax.random.key(0), IMAGES)["params"]

    def randomized(n):
        def coin(a, p):
            return jnp.asarray(rng.uniform(size=a.shape) < p)

        return BooleanNeurons(coin(n.weight, 0.4), coin(n.bias, 0.5), coin(n.bias, 0.3))

    return map_neurons(randomized, params)


def hard(architecture, params, x):
    """The float network with a threshold at 1/2 after every set of neurons."""
    for layer in architecture:
        part = layer.params_of(params)
        if layer.kind in ("bise", "bisel"):
            options = layer.options
            x = apply_conv(part["bise"], x, padding=options["padding"], border=options["border"])
            x = x > 0.5
            if layer.kind == "bisel":
                x = apply_aligned(part["lui"], x) > 0.5
            else:
                x = x.reshape(*x.shape[:-2], -1)
        elif layer.kind == "lui":
            x = apply_dense(part["lui"], x) > 0.5
        else:
            x = apply_layers((layer,), params, x)
    return x


@pytest.mark.parametrize(
    ("name", "threshold"),
    [
        pytest.param(
            name,
            threshold,
            marks=[pytest.mark.slow] * (threshold != "tanh" and name not in ("bimonn", "dense")),
        )
        for threshold in ("tanh", "sigmoid", "erf", "arctan")
        for name in MODELS
    ],
)
def test_a_certified_network_equals_its_boolean_one_on_all_inputs(name, threshold):
    model, certified = MODELS[name], 0
    run = jax.jit(model.apply)
    for seed, scale in itertools.product(range(3), (2.0, 5.0, 40.0)):
        boolean = random_boolean(model, seed)
        params = map_neurons(lambda n: as_real_neurons(n, threshold=threshold), boolean)
        params = with_scales(params, scale)
        assert certify(params).exact_float32
        result = certify(params, model.architecture)
        if result.exact_float32:
            certified += 1
            smooth = run({"params": params}, IMAGES) > 0.5
            np.testing.assert_array_equal(smooth, run({"params": boolean}, IMAGES))
    assert certified > 0


def test_the_smooth_certificate_refuses_where_the_smooth_network_really_differs():
    model = BiMoNN((1, 1), (3, 3))
    boolean = binarize(init(model, 1), method="constant", ranks=False)
    params = map_neurons(as_real_neurons, boolean)
    bise = boolean["layers_0"]["bise"]
    row = jnp.zeros((3, 3, 1, 1), bool).at[1].set(True)
    params["layers_0"]["bise"] = as_real_neurons(bise.replace(footprint=row))
    params = with_scales(params, 0.3)
    assert certify(params).exact_real
    refused = certify(params, model.architecture)
    assert not refused.exact_real
    assert refused.first_break is not None
    smooth = model.apply({"params": params}, IMAGES) > 0.5
    assert (smooth != model.apply({"params": binarize(params)}, IMAGES)).any()


@pytest.mark.parametrize("name", MODELS)
def test_exactness_is_never_claimed_where_enumeration_refutes_it(name):
    model = MODELS[name]
    rng = np.random.default_rng(5)
    x, claims = IMAGES[::3], {"hard": 0, "smooth": 0}
    for seed in range(25):
        noise = rng.uniform(0.0, 0.6)
        params = with_scales(
            map_neurons(as_real_neurons, random_boolean(model, seed)), rng.uniform(1, 30)
        )

        def shaken(a, noise=noise):
            return a + noise * jnp.asarray(rng.normal(size=a.shape), jnp.float32)

        params = map_neurons(
            lambda n: n.replace(weight=shaken(n.weight), bias=shaken(n.bias)), params
        )
        boolean = apply_layers(model.architecture, binarize(params), x)
        if certify(params).exact_real:
            claims["hard"] += 1
            np.testing.assert_array_equal(hard(model.architecture, params, x), boolean)
        if certify(params, model.architecture).exact_real:
            claims["smooth"] += 1
            np.testing.assert_array_equal(
                apply_layers(model.architecture, params, x) > 0.5, boolean
            )
    assert claims["hard"] > 0


def one_neuron(weights, bias, scale=1.0):
    W = jnp.asarray(weights, jnp.float32)[:, None]
    return {"lui": RealNeurons(W, jnp.float32([bias]), jnp.float32([scale]))}


def test_real_arithmetic_and_float32_are_told_apart():
    # A dilation by the first input; the bias lies one rounding above the sum of the others.
    lower = np.float32(0.1) + np.float32(0.2)
    bias = np.nextafter(np.nextafter(lower, np.float32(1)), np.float32(1))
    result = certify(one_neuron([1.0, 0.1, 0.2], bias))
    assert result.exact_real
    assert not result.exact_float32
    assert "float32 rounding may break it" in str(result)


@pytest.mark.parametrize(("scale", "exact"), [(1.0, True), (-1.0, False)])
def test_a_bias_exactly_at_the_lower_end_depends_on_the_sign_of_the_scale(scale, exact):
    # Whole quarters: no sum is rounded, in whatever order.
    result = certify(one_neuron([1.0, 0.25, 0.25], 0.5, scale))
    assert result.exact_real == exact
    assert result.exact_float32 == exact


def test_a_real_head_ends_the_smooth_proof_and_not_the_hard_one():
    model = DenseBiMoNN((4,), 3, binary_head=False, config=NeuronConfig.boolean("erosion"))
    params = init(model)
    assert certify(params).exact_float32
    smooth = certify(params, model.architecture)
    assert not smooth.exact_real
    assert smooth.head == smooth.first_break == "layers_2"


def test_the_certificate_counts_and_reads_well():
    config = NeuronConfig.boolean("erosion")
    params = init(BiMoNN((2,), (3, 3), config))
    footprint = jnp.zeros((3, 3, 1, 2)).at[1, 1].set(1.0).at[0, 0, 0, 1].set(1.0)
    params["layers_0"]["bise"] = params["layers_0"]["bise"].replace(weight=footprint)
    params["layers_0"]["lui"] = params["layers_0"]["lui"].replace(weight=jnp.array([[1.0, 0.0]]))
    bise, lui = certify(params).layers
    assert bise.counts() == {
        "dilation": 0,
        "erosion": 1,
        "rank": 0,
        "copy": 1,
        "constant": 0,
        "not activated": 0,
    }
    assert (lui.counts()["copy"], lui.counts()["constant"]) == (1, 1)
    assert "layers_0/bise: 1 erosion, 1 copy; dead zone (0, 1)" in str(certify(params))
    medians = as_real_neurons(
        RankNeurons(jnp.ones((5, 2), bool), jnp.array([3, 1]), jnp.zeros(2, bool))
    )
    (proof,) = certify({"lui": medians}).layers
    assert proof.counts()["rank"] == 1
    assert str(proof).startswith("lui: 1 dilation, 1 rank; dead zone (")


def test_boolean_and_damaged_trees_are_refused():
    params = init(MODELS["dense"])
    with pytest.raises(TypeError, match="certify takes a tree with RealNeurons"):
        certify(binarize(params))
    params["layers_2"]["lui"] = params["layers_2"]["lui"].replace(bias=jnp.full(4, jnp.nan))
    with pytest.raises(ValueError, match=r"layers_2/lui.bias has 4 values that are not finite"):
        certify(params)
