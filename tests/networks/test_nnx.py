"""Networks of Flax NNX, through its bridge: what the page on one's own models promises."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from bimonn_jax import (
    LUI,
    BiSEL,
    Parallel,
    Sequential,
    apply_layers,
    architecture_of,
    binarize,
    certify,
    load_network,
    save_network,
)
from bimonn_jax._support.random_arrays import bernoulli

LINEN = Sequential((Parallel((BiSEL(2, 3), BiSEL(1, 5))), LUI(1)))
X = bernoulli(jax.random.key(0), 0.5, (4, 6, 6, 1))


@pytest.fixture(scope="module")
def trained():
    """A bridged model, and the loss in each of a few steps.

    `nnx.Optimizer` takes the state of an optimizer apart into variables and cannot put neurons
    together again: Optax is called on the parameters as a plain tree.
    """
    model = nnx.bridge.ToNNX(LINEN, rngs=nnx.Rngs(0)).lazy_init(X)
    graph, variables, others = nnx.split(model, nnx.Param, ...)
    optimizer = optax.adam(0.05)
    params = nnx.to_pure_dict(variables)
    state = optimizer.init(params)

    def merged(params):
        nnx.replace_by_pure_dict(variables, params)
        return nnx.merge(graph, variables, others, copy=True)

    @jax.jit
    def step(params, state):
        def loss(params):
            return jnp.mean((merged(params)(X) - X.astype(jnp.float32)) ** 2)

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, value

    losses = []
    for _ in range(20):
        params, state, value = step(params, state)
        losses.append(float(value))
    return merged(params), losses


def test_a_bridged_model_is_trained(trained):
    _, losses = trained
    assert losses[-1] < losses[0]


def test_its_parameters_are_binarized_certified_and_saved(trained, tmp_path):
    model, _ = trained
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    architecture = architecture_of(LINEN)
    np.testing.assert_allclose(apply_layers(architecture, params, X), model(X), atol=1e-6)
    assert certify(params, architecture).layers
    boolean = binarize(params)
    save_network(tmp_path / "network.npz", architecture, boolean)
    found = load_network(tmp_path / "network.npz")(X)
    np.testing.assert_array_equal(found, LINEN.apply({"params": boolean}, X))
