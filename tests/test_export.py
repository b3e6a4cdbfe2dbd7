"""Every exporter's file, run by the tool that it is for, against the network."""

import runpy
import shutil
import subprocess

import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from bimonn_jax.architecture import LAYERS
from bimonn_jax.export.c import export_c
from bimonn_jax.export.c_library import compile_c
from bimonn_jax.export.onnx import export_onnx
from bimonn_jax.export.python import export_python
from bimonn_jax.export.stablehlo import export_stablehlo, run_stablehlo
from bimonn_jax.export.verilog import export_verilog
from bimonn_jax.packed import PackedNetwork
from tests.boolean_networks import MODULES, NAMES, inputs, network

BOOLEAN = [name for name in NAMES if name != "real head"]


def assert_same(found, expected, name):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if name == "real head":
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("mode", ["batch", "image"])
@pytest.mark.parametrize("name", NAMES)
def test_c(name, mode, tmp_path):
    plain, shape = network(name)
    library = compile_c(plain, tmp_path, shape, mode=mode)
    for count in (1, 63, 600):
        x = inputs(name, shape, count)
        expected = np.asarray(plain(x))
        assert_same(library(x), expected, name)
        if library.circuit.head is not None:
            np.testing.assert_array_equal(library.classify(x), expected.argmax(axis=1))


def test_c_takes_numbers_below_one(tmp_path):
    plain, shape = network("pooled beyond")
    path = export_c(plain, tmp_path / "network.c", shape, pixel="float32")
    assert "typedef float pixel" in path.read_text()


def test_c_program_filters_standard_input(tmp_path):
    plain, shape = network("ternary")
    source = export_c(plain, tmp_path / "votes.c", shape, name="votes", mode="image")
    program = tmp_path / "votes"
    command = ["gcc", "-std=c99", "-Wall", "-Werror", "-pedantic", "-DVOTES_MAIN"]
    subprocess.run([*command, "-o", program, source], check=True)
    x = inputs("ternary", shape, 5)
    done = subprocess.run([program], input=x.tobytes(), capture_output=True, check=True)
    scores = np.frombuffer(done.stdout, np.int32).reshape(5, -1)
    np.testing.assert_array_equal(scores, plain(x))
    assert subprocess.run([program], input=b"abc", capture_output=True).returncode == 1


def test_c_reads_like_code(tmp_path):
    plain, shape = network("one operator", seed=3)
    text = export_c(plain, tmp_path / "filter.c", shape, name="filter").read_text()
    neurons = plain.params["layers_0"]["bise"]
    name = "erosion" if neurons.is_erosion[0, 0] else "dilation"
    assert f"gate 0: {'complement of the ' * int(neurons.complement[0, 0])}{name}" in text
    for row in neurons.footprint[:, :, 0, 0]:
        assert "     *   " + " ".join("#" if on else "." for on in row) in text


def test_c_errors(tmp_path):
    plain, shape = network("ternary")
    with pytest.raises(FileNotFoundError, match="'no_such_compiler' is not installed"):
        compile_c(plain, tmp_path, shape, compiler="no_such_compiler")
    with pytest.raises(RuntimeError, match=r"false .* failed"):
        compile_c(plain, tmp_path, shape, compiler="false")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        compile_c(plain, tmp_path, shape)
    with pytest.raises(ValueError, match="name must be"):
        export_c(plain, tmp_path / "a.c", shape, name="1; system")
    with pytest.raises(ValueError, match="mode must be"):
        export_c(plain, tmp_path / "a.c", shape, mode="both")
    filters, image_shape = network("wide")
    library = compile_c(filters, tmp_path, image_shape, name="wide")
    with pytest.raises(ValueError, match="no head"):
        library.classify(inputs("wide", image_shape, 2))
    with pytest.raises(ValueError, match="must be bool or uint8"):
        library(np.zeros((2, *image_shape)))
    with pytest.raises(ValueError, match="was expected"):
        library(np.zeros((2, 3), bool))


@pytest.mark.parametrize("name", NAMES)
def test_onnx(name, tmp_path):
    plain, shape = network(name)
    path = export_onnx(plain, tmp_path / "network.onnx", shape)
    session = onnxruntime.InferenceSession(path)
    x = inputs(name, shape, 50)
    given = x.astype(np.float32) if x.dtype == np.uint8 else x
    assert_same(session.run(None, {"x": given})[0], np.asarray(plain(x)), name)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export_onnx(plain, path, shape)


@pytest.mark.parametrize("name", NAMES)
def test_stablehlo(name, tmp_path):
    plain, shape = network(name)
    path = export_stablehlo(plain, tmp_path / "network.stablehlo", shape)
    for count in (1, 20):
        x = inputs(name, shape, count)
        assert_same(np.asarray(run_stablehlo(path, jnp.asarray(x))), np.asarray(plain(x)), name)


@pytest.mark.parametrize("name", ["convolutional", "wide"])
def test_a_hundred_thousand_inputs(name, tmp_path):
    plain, shape = network(name, seed=2)
    x = inputs(name, shape, 100_000, seed=1)
    expected = np.asarray(plain(x))
    session = onnxruntime.InferenceSession(export_onnx(plain, tmp_path / "n.onnx", shape))
    given = x.astype(np.float32) if x.dtype == np.uint8 else x
    stablehlo = export_stablehlo(plain, tmp_path / "n.stablehlo", shape)
    for found in (
        PackedNetwork(plain, shape)(x),
        compile_c(plain, tmp_path, shape)(x),
        session.run(None, {"x": given})[0],
        run_stablehlo(stablehlo, jnp.asarray(x)),
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", BOOLEAN)
def test_python(name, tmp_path):
    plain, shape = network(name)
    path = export_python(plain, tmp_path / "network.py", shape)
    assert "bimonn_jax" not in path.read_text().split("import", 1)[1]
    function = runpy.run_path(str(path))["network"]
    x = inputs(name, shape, 10)
    found = np.stack([function(image) for image in x])
    assert_same(found, np.asarray(plain(x)), name)


def as_vector(x):
    """The bits of one input as a Verilog number, pixel 0 lowest."""
    if x.dtype == np.uint8:
        return f"{8 * x.size}'h" + x.reshape(-1)[::-1].tobytes().hex()
    return f"{x.size}'b" + "".join("01"[bit] for bit in x.reshape(-1)[::-1].astype(int))


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("name", [n for n in BOOLEAN if n not in ("large", "pooled beyond")])
def test_verilog(name, pipelined, tmp_path):
    plain, shape = network(name)
    path = export_verilog(plain, tmp_path / "network.v", shape, pipelined=pipelined)
    x = inputs(name, shape, 6)
    expected = np.asarray(plain(x))
    is_head = expected.dtype == np.int32
    text = path.read_text()
    entry = next(line for line in text.splitlines() if "wire [" in line and line.endswith(" x,"))
    port = "scores" if is_head else "y"
    width = next(line for line in text.splitlines() if line.rstrip(",").endswith(f"] {port}"))
    stages = text.count("always @(posedge clock)")
    steps = "".join(
        f"    x = {as_vector(one)}; " + "#1 clock = 1; #1 clock = 0; " * stages + "#1\n"
        f'    $display("%b", {port});\n'
        for one in x
    )
    bench = (
        f"module bench;\n  reg clock = 0;\n  reg {entry.split('wire ')[1][:-1]};\n"
        f"  wire {width[width.index('[') :].rstrip(',')};\n"
        f"  network under_test ({'.clock(clock), ' * pipelined}.x(x), .{port}({port}));\n"
        f"  initial begin\n{steps}  end\nendmodule\n"
    )
    (tmp_path / "bench.v").write_text(bench)
    program = tmp_path / "bench"
    subprocess.run(["iverilog", "-Wall", "-o", program, path, tmp_path / "bench.v"], check=True)
    done = subprocess.run(["vvp", program], check=True, capture_output=True, text=True)
    for line, wanted in zip(done.stdout.split(), expected, strict=True):
        bits = np.array([int(bit) for bit in line[::-1]])
        if is_head:
            digits = bits.reshape(wanted.size, -1)
            values = digits @ (1 << np.arange(digits.shape[1]))
            found = values - (digits[:, -1] << digits.shape[1])
        else:
            found = bits.astype(bool).reshape(wanted.shape)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("export", [export_python, export_verilog])
def test_real_heads_are_refused(export, tmp_path):
    plain, shape = network("real head")
    with pytest.raises(ValueError, match="ternary or popcount head"):
        export(plain, tmp_path / "file", shape)


def test_every_kind_of_layer_is_covered():
    kinds = {layer.kind for name in MODULES for layer in network(name)[0].architecture}
    assert kinds == set(LAYERS)
