"""Every runtime and exporter as a function of inputs."""

import runpy
import shutil
from functools import partial

import numpy as np
import onnxruntime
import pytest

from bimonn_jax.binarization.simplification.passes import simplify
from bimonn_jax.deployment.c.library import compile_c
from bimonn_jax.deployment.onnx import export_onnx
from bimonn_jax.deployment.packed import PackedNetwork
from bimonn_jax.deployment.python import export_python
from bimonn_jax.deployment.stablehlo import export_stablehlo, run_stablehlo
from bimonn_jax.deployment.verilog import export_verilog
from tests.support.verilog_simulation import simulate, simulate_compiled

# Optimizing takes most of the time of small tests.
compile_quickly = partial(compile_c, flags=["-O1"])


def packed(plain, shape, folder):
    run = PackedNetwork(plain, shape)
    return lambda x: np.asarray(run(x))


def c(plain, shape, folder, mode="batch"):
    return compile_quickly(plain, folder / mode, shape, mode=mode)


def c_optimized(plain, shape, folder):
    return compile_c(plain, folder, shape)


def c_image(plain, shape, folder):
    return c(plain, shape, folder, mode="image")


def onnx(plain, shape, folder):
    session = onnxruntime.InferenceSession(export_onnx(plain, folder / "n.onnx", shape))

    def run(x):
        given = x.astype(np.float32) if plain.takes_numbers else x
        return session.run(None, {"x": given})[0]

    return run


def stablehlo(plain, shape, folder):
    def run(x):
        dtype = x.dtype.name
        path = folder / f"{dtype}.stablehlo"
        if not path.exists():
            export_stablehlo(plain, path, shape, dtype=dtype, platforms=("cpu",))
        return np.asarray(run_stablehlo(path, x))

    return run


def python(plain, shape, folder):
    function = runpy.run_path(str(export_python(plain, folder / "network.py", shape)))["network"]
    return lambda x: np.stack([function(one) for one in x])


def simplified(plain, shape, folder):
    run = simplify(plain)
    return lambda x: np.asarray(run(x))


def verilog(plain, shape, folder, pipelined=False):
    """By Icarus Verilog, which is quick to start; of an example the module's outputs are known."""
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is not installed")
    path = export_verilog(plain, folder / "network.v", shape, pipelined=pipelined)
    return lambda x: simulate(path, x, np.asarray(plain(x)), pipelined=pipelined)


def verilog_pipelined(plain, shape, folder):
    return verilog(plain, shape, folder, pipelined=True)


def verilator(plain, shape, folder, pipelined=False):
    """By Verilator, which takes long to compile and is quick on many inputs."""
    if shutil.which("verilator") is None:
        pytest.skip("verilator is not installed")
    path = export_verilog(plain, folder / "network.v", shape, pipelined=pipelined)
    return lambda x: simulate_compiled(path, x, np.asarray(plain(x)), pipelined=pipelined)


def verilator_pipelined(plain, shape, folder):
    return verilator(plain, shape, folder, pipelined=True)


def itself(plain, shape, folder):
    return lambda x: np.asarray(plain(x))


# What is there wherever the tests are.
EVERYWHERE = (
    itself,
    simplified,
    packed,
    c,
    c_image,
    onnx,
    stablehlo,
    python,
    verilog,
    verilog_pipelined,
)


def assert_equal_everywhere(plain, shape, x, expected, folder):
    """Asserts that a network gives what is expected in every runtime and every export."""
    for run in EVERYWHERE:
        own = folder / run.__name__
        own.mkdir(parents=True)
        np.testing.assert_array_equal(run(plain, shape, own)(x), expected)
