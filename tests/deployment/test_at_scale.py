"""Every runtime and exporter on 100,000 random inputs, and on the test images of MNIST."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import BooleanNeurons, Flatten, HitOrMissConv, LevelSets, TernaryHead
from bimonn_jax.data.classification import load_tfds
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.models import Sequential
from bimonn_jax.neurons.heads import TernaryWeights
from tests.support import runtimes
from tests.support.boolean_networks import inputs, network

RUNTIMES = {
    "packed": runtimes.packed,
    "C": runtimes.c_optimized,
    "ONNX": runtimes.onnx,
    "StableHLO": runtimes.stablehlo,
    "simplified": runtimes.simplified,
    "Python": runtimes.python,
    "Verilog": runtimes.verilator,
}

# One image at a time, or a simulation.
SLOW = ("Python", "Verilog")
BY_SPEED = [pytest.param(r, marks=[pytest.mark.slow] * (r in SLOW)) for r in RUNTIMES]


@pytest.mark.parametrize("runtime", BY_SPEED)
@pytest.mark.parametrize("name", ["convolutional", "wide"])
def test_a_hundred_thousand_inputs(name, runtime, tmp_path):
    plain, shape = network(name, seed=2)
    x = inputs(name, shape, 100_000, seed=1)
    np.testing.assert_array_equal(RUNTIMES[runtime](plain, shape, tmp_path)(x), plain(x))


@functools.cache
def mnist():
    """(A network, the test images, its scores)."""
    x = load_tfds("mnist").test_images
    modules = (LevelSets((127.0,)), HitOrMissConv(6, (5, 5), pool=4), Flatten(), TernaryHead(10))
    model, rng = Sequential(modules), np.random.default_rng(0)
    params = model.init(jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32))["params"]
    # Parts of strokes, so that gates fire on some windows and not on others.
    ink = rng.random((5, 5, 1, 6)) < 0.1
    footprint = np.concatenate([ink, ~ink & (rng.random(ink.shape) < 0.2)], axis=2)
    ones = np.ones(6, bool)
    votes = rng.integers(-1, 2, params["layers_3"]["head"].latent.shape)
    boolean = {
        "layers_1": {"lui": BooleanNeurons(jnp.asarray(footprint), jnp.asarray(ones), ~ones)},
        "layers_3": {"head": TernaryWeights(jnp.asarray(votes > 0), jnp.asarray(votes < 0))},
    }
    plain = BooleanNetwork(model.architecture, boolean)
    expected = np.asarray(plain(x))
    assert len(x) == 10_000
    assert len(np.unique(expected, axis=0)) > 1_000
    return plain, x, expected


@pytest.mark.skipif(
    not os.environ.get("TFDS_DATA_DIR"), reason="MNIST is not prepared: set TFDS_DATA_DIR"
)
@pytest.mark.parametrize("runtime", BY_SPEED)
def test_the_test_images_of_mnist(runtime, tmp_path):
    plain, x, expected = mnist()
    np.testing.assert_array_equal(RUNTIMES[runtime](plain, (28, 28, 1), tmp_path)(x), expected)
