import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import BiMoNN, NeuronConfig
from bimonn_jax.neurons.params import named_neurons
from bimonn_jax.training import grow_scales


def scales(tree):
    return np.concatenate([np.ravel(n.scale) for n in named_neurons(tree).values()])


def test_scales_grow_by_the_factor_between_the_two_steps_and_no_others():
    model = BiMoNN((2, 1), 3, NeuronConfig("dual", "projected"))
    start = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 5, 5, 1)))["params"]
    grow = jax.jit(grow_scales(8.0, start=30, until=60, every=10))
    tree, history = start, []
    for step in range(10, 100, 10):
        tree = grow(tree, jnp.int32(step))
        history.append(scales(tree) / scales(start))
    expected = [1, 1, 2, 4, 8, 8, 8, 8, 8]
    np.testing.assert_allclose(
        history, np.broadcast_to(np.array(expected)[:, None], np.shape(history)), rtol=1e-5
    )
    for path, neurons in named_neurons(tree).items():
        np.testing.assert_array_equal(neurons.weight, named_neurons(start)[path].weight)


def test_neurons_that_are_boolean_already_keep_their_scales():
    model = BiMoNN((2,), 3, NeuronConfig.boolean("erosion"))
    start = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 5, 5, 1)))["params"]
    grown = grow_scales(8.0, start=0, until=20, every=10)(start, jnp.int32(10))
    np.testing.assert_array_equal(scales(grown), scales(start))


@pytest.mark.parametrize(("factor", "until"), [(0.5, 100), (2.0, 10)])
def test_growth_that_is_none_is_refused(factor, until):
    with pytest.raises(ValueError, match=r"factor must be >= 1, and an evaluation \(every 10"):
        grow_scales(factor, start=0, until=until, every=10)
