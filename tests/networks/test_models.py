import json
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bimonn_jax import (
    LUI,
    BiMoNN,
    BiSE,
    BiSEL,
    Complement,
    DenseBiMoNN,
    Flatten,
    LevelSets,
    NeuronConfig,
    RealHead,
    Sequential,
    apply_layers,
    binarize,
)
from bimonn_jax._support.random_arrays import uniform
from bimonn_jax.networks.architecture import from_json, layer_outputs, to_json
from bimonn_jax.networks.kinds import ComplementLayer

X = uniform(jax.random.key(0), (2, 6, 7, 2))
BOOLEAN = NeuronConfig.boolean("mixed")
MODELS = {
    "bimonn": BiMoNN((3, 2), (3, 5), level_sets=(0.3, 0.6), complement=True, border="reflect"),
    "bimonn per channel": BiMoNN((2,), (3, 3), level_sets=((0.5,), (0.7,)), padding="VALID"),
    "boolean": BiMoNN((3, 1), (3, 3), BOOLEAN, level_sets=(0.5,)),
    "dense": DenseBiMoNN((5, 4), 3, binary_head=True, level_sets=(0.5,), complement=True),
    "real head": DenseBiMoNN((5,), 3, level_sets=(0.5,)),
    "sequential": Sequential(
        modules=(LevelSets((0.5,)), BiSE(4, (3, 3)), LUI(3), Complement(), Flatten(), LUI(2))
    ),
    "even kernel": Sequential(
        modules=(LevelSets((0.5,)), BiSEL(2, (2, 4), padding=((1, 0), (1, 2))))
    ),
}
SHAPES = {
    "bimonn": (2, 6, 7, 2),
    "bimonn per channel": (2, 4, 5, 2),
    "boolean": (2, 6, 7, 1),
    "dense": (2, 3),
    "real head": (2, 3),
    "sequential": (2, 2),
    "even kernel": (2, 6, 7, 2),
}
models = pytest.mark.parametrize("name", MODELS)


@partial(jax.jit, static_argnums=0)
def init(model, seed=1):
    return model.init(jax.random.key(seed), X)["params"]


@partial(jax.jit, static_argnums=0)
def run(model, params, x):
    return model.apply({"params": params}, x)


@models
def test_the_architecture_as_data_computes_what_the_module_does(name):
    model = MODELS[name]
    params = init(model)
    architecture = from_json(json.loads(json.dumps(to_json(model.architecture))))
    for tree in (params, binarize(params)):
        expected = run(model, tree, X)
        assert expected.shape == SHAPES[name]
        np.testing.assert_allclose(apply_layers(architecture, tree, X), expected, atol=1e-6)
        np.testing.assert_allclose(layer_outputs(architecture, tree, X)[-1], expected, atol=1e-6)
    is_real = name == "real head"
    assert expected.dtype == (jnp.float32 if is_real else jnp.bool_)


@models
def test_jit_vmap_grad_and_optax_work(name):
    model = MODELS[name]
    params = init(model)

    def loss(p, x):
        return jnp.mean(jnp.square(model.apply({"params": p}, x) - 0.3))

    gradient = jax.jit(jax.grad(loss))(params, X)
    leaves = jax.tree.leaves(gradient)
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert any((leaf != 0).any() for leaf in leaves)
    optimizer = optax.sgd(0.1)
    updates, _ = optimizer.update(gradient, optimizer.init(params))
    assert jax.tree.structure(optax.apply_updates(params, updates)) == jax.tree.structure(params)
    mapped = jax.vmap(lambda x: run(model, params, x))(X)
    np.testing.assert_allclose(mapped, run(model, params, X), atol=1e-6)


def test_training_through_the_binarization_is_the_boolean_network():
    for seed in range(5):
        model = MODELS["boolean"]
        params = init(model, seed)
        x = uniform(jax.random.key(100 + seed), (50, 6, 7, 2))
        output = run(model, params, x)
        assert set(np.unique(output)) <= {0.0, 1.0}
        np.testing.assert_array_equal(output > 0.5, run(model, binarize(params), x))


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (BiMoNN((1,), (4, 3)), X, r"kernel_size must be odd for padding='SAME'.*got \(4, 3\)"),
        (BiMoNN((1,), (3,)), X, r"kernel_size must be an int >= 1 or two; got \(3,\)"),
        (BiMoNN((1,), (3, 3)), X[0, 0], r"BiSEL takes images .* x has shape \(7, 2\)"),
        (BiSE(3, (3, 3)), X, "features must be a multiple of the 2 input channels; got 3"),
        (BiMoNN((1, 1), (3, 3), (BOOLEAN,)), X, "config has 1 entries for 2 layers"),
        (BiMoNN((1,), (9, 9), padding="VALID"), X, r"the image has 6 .*the kernel has 9"),
        (BiMoNN((1,), (15, 3), border="reflect"), X, "border 'reflect' cannot pad"),
        (LevelSets(((0.1,), (0.2,), (0.3,))), X, r"thresholds have shape \(3, 1\)"),
        (LUI(2), jnp.float32(1.0), "LUI takes .* x is a scalar"),
        (Flatten(), X[0, 0], "at least 3 axes were expected"),
    ],
)
def test_wrong_uses_are_named(model, x, message):
    with pytest.raises(ValueError, match=message):
        model.init(jax.random.key(0), x)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "conv", "name": "", "options": {}}, "layer kind must be one of .*got 'conv'"),
        ({"kind": "bisel", "name": "a", "options": {"padding": "SAME"}}, "takes the options"),
        ({"kind": "lui", "name": "a"}, "layer 0 of the architecture must hold"),
        ({"kind": "lui", "name": 3, "options": {}}, "layer 0 of the architecture is ill-typed"),
        ("lui", "layer 0 of the architecture must hold"),
    ],
)
def test_json_that_is_no_architecture_is_refused(entry, message):
    with pytest.raises(ValueError, match=message):
        from_json([entry])


def test_a_layer_stands_by_itself_too():
    head = RealHead(3)
    params = head.init(jax.random.key(0), X)["params"]
    np.testing.assert_allclose(
        apply_layers((head.layer(),), params, X),
        nn.Dense(3).apply({"params": params}, X),
        rtol=1e-5,
    )
    assert ComplementLayer() == Complement().layer()
