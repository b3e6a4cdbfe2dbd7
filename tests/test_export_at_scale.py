"""Every runtime and exporter on 100,000 random inputs, and on the test images of MNIST."""

import functools
import os
import runpy
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from bimonn_jax import BooleanBiSE, Flatten, HitOrMissConv, LevelSets, TernaryHead
from bimonn_jax.data.classification import load_tfds
from bimonn_jax.export.c_library import compile_c
from bimonn_jax.export.onnx import export_onnx
from bimonn_jax.export.python import export_python
from bimonn_jax.export.stablehlo import export_stablehlo, run_stablehlo
from bimonn_jax.export.verilog import export_verilog
from bimonn_jax.heads import TernaryWeights
from bimonn_jax.models import Sequential
from bimonn_jax.packed import PackedNetwork
from bimonn_jax.saving import BooleanNetwork
from bimonn_jax.simplify import simplify
from tests.boolean_networks import inputs, network
from tests.verilog_simulation import simulate_compiled


def onnx(plain, shape, x, folder):
    session = onnxruntime.InferenceSession(export_onnx(plain, folder / "n.onnx", shape))
    given = x.astype(np.float32) if x.dtype == np.uint8 else x
    return session.run(None, {"x": given})[0]


def stablehlo(plain, shape, x, folder):
    path = export_stablehlo(plain, folder / "n.stablehlo", shape)
    return np.asarray(run_stablehlo(path, jnp.asarray(x)))


def python(plain, shape, x, folder):
    path = export_python(plain, folder / "network.py", shape)
    function = runpy.run_path(str(path))["network"]
    return np.stack([function(image) for image in x])


def verilog(plain, shape, x, folder):
    if shutil.which("verilator") is None:
        pytest.skip("verilator is not installed")
    return simulate_compiled(
        export_verilog(plain, folder / "network.v", shape), x, np.asarray(plain(x))
    )


RUNTIMES = {
    "packed": lambda plain, shape, x, folder: np.asarray(PackedNetwork(plain, shape)(x)),
    "C": lambda plain, shape, x, folder: compile_c(plain, folder, shape)(x),
    "ONNX": onnx,
    "StableHLO": stablehlo,
    "simplified": lambda plain, shape, x, folder: np.asarray(simplify(plain)(x)),
    "Python": python,
    "Verilog": verilog,
}

# One image at a time, or a simulation.
SLOW = ("Python", "Verilog")
BY_SPEED = [pytest.param(r, marks=[pytest.mark.slow] * (r in SLOW)) for r in RUNTIMES]


@pytest.mark.parametrize("runtime", BY_SPEED)
@pytest.mark.parametrize("name", ["convolutional", "wide"])
def test_a_hundred_thousand_inputs(name, runtime, tmp_path):
    plain, shape = network(name, seed=2)
    x = inputs(name, shape, 100_000, seed=1)
    np.testing.assert_array_equal(RUNTIMES[runtime](plain, shape, x, tmp_path), plain(x))


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
        "layers_1": {"lui": BooleanBiSE(jnp.asarray(footprint), jnp.asarray(ones), ~ones)},
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
    np.testing.assert_array_equal(RUNTIMES[runtime](plain, (28, 28, 1), x, tmp_path), expected)
