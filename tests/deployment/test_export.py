"""Every exporter's file, run by the tool that it is for, against the network."""

import runpy
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from bimonn_jax.deployment.c.library import compile_c
from bimonn_jax.deployment.c.writer import export_c
from bimonn_jax.deployment.onnx import export_onnx
from bimonn_jax.deployment.packed import PackedNetwork
from bimonn_jax.deployment.python import export_python
from bimonn_jax.deployment.stablehlo import export_stablehlo, run_stablehlo
from bimonn_jax.deployment.verilog import export_verilog
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import KINDS, BiSELayer, layer_of
from bimonn_jax.neurons.params import BooleanNeurons
from tests.support.boolean_networks import MODULES, NAMES, RANK_NAMES, examples, inputs, network
from tests.support.runtimes import compile_quickly
from tests.support.verilog_simulation import simulate

BOOLEAN = [name for name in NAMES + RANK_NAMES if not name.startswith("real head")]


def assert_same(found, expected, name):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if name.startswith("real head"):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("mode", ["batch", "image"])
@pytest.mark.parametrize("name", NAMES + RANK_NAMES)
@pytest.mark.parametrize(
    "compiled", [compile_quickly, pytest.param(compile_c, marks=pytest.mark.slow)],
    ids=["quickly", "optimized"],
)  # fmt: skip
def test_c(compiled, name, mode, tmp_path):
    plain, shape = network(name)
    library = compiled(plain, tmp_path, shape, mode=mode)
    for count in (1, 63, 600):
        x, expected = examples(name, count)
        assert_same(library(x), expected, name)
        if library.circuit.head is not None:
            np.testing.assert_array_equal(library.classify(x), expected.argmax(axis=1))


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


@pytest.mark.parametrize("is_erosion", [False, True])
def test_c_reads_like_code(is_erosion, tmp_path):
    footprint = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 1]], bool)[:, :, None, None]
    flag = np.full((1, 1), is_erosion)
    neurons = BooleanNeurons(footprint, flag, np.ones((1, 1), bool))
    architecture = network("one operator")[0].architecture
    plain = BooleanNetwork(architecture, {"layers_0": {"bise": neurons}})
    text = export_c(plain, tmp_path / "filter.c", (9, 7, 1), name="filter").read_text()
    name = "erosion" if is_erosion else "dilation"
    assert f"gate 0: complement of the {name}" in text
    for row in (". # #", "# . .", ". . #"):
        assert f"     *   {row}" in text


def test_c_errors(tmp_path):
    plain, shape = network("ternary")
    with pytest.raises(FileNotFoundError, match="'no_such_compiler' is not installed"):
        compile_c(plain, tmp_path, shape, compiler="no_such_compiler")
    with pytest.raises(RuntimeError, match=r"false .* failed"):
        compile_c(plain, tmp_path, shape, compiler="false")
    with pytest.raises(RuntimeError, match="-fno-such-flag"):
        compile_c(plain, tmp_path / "flags", shape, flags=["-fno-such-flag"])
    with pytest.raises(FileExistsError, match="overwrite=True"):
        compile_c(plain, tmp_path, shape)
    with pytest.raises(ValueError, match="name must be"):
        export_c(plain, tmp_path / "a.c", shape, name="1; system")
    with pytest.raises(ValueError, match="mode must be"):
        export_c(plain, tmp_path / "a.c", shape, mode="both")
    filters, image_shape = network("wide")
    library = compile_quickly(filters, tmp_path, image_shape, name="wide")
    with pytest.raises(ValueError, match="no head"):
        library.classify(inputs("wide", image_shape, 2))
    with pytest.raises(ValueError, match="must be bool or uint8"):
        library(np.zeros((2, *image_shape)))
    with pytest.raises(ValueError, match="was expected"):
        library(np.zeros((2, 3), bool))


@pytest.mark.parametrize("name", NAMES + RANK_NAMES)
def test_onnx(name, tmp_path):
    plain, shape = network(name)
    path = export_onnx(plain, tmp_path / "network.onnx", shape)
    session = onnxruntime.InferenceSession(path)
    x, expected = examples(name, 50)
    given = x.astype(np.float32) if x.dtype == np.uint8 else x
    assert_same(session.run(None, {"x": given})[0], expected, name)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export_onnx(plain, path, shape)


@pytest.mark.parametrize("name", NAMES + RANK_NAMES)
def test_stablehlo(name, tmp_path):
    plain, shape = network(name)
    path = export_stablehlo(plain, tmp_path / "network.stablehlo", shape)
    for count in (1, 20):
        x, expected = examples(name, count)
        assert_same(np.asarray(run_stablehlo(path, jnp.asarray(x))), expected, name)


@pytest.mark.parametrize("name", BOOLEAN)
def test_python(name, tmp_path):
    plain, shape = network(name)
    path = export_python(plain, tmp_path / "network.py", shape)
    assert "bimonn_jax" not in path.read_text().split("import", 1)[1]
    function = runpy.run_path(str(path))["network"]
    x, expected = examples(name, 10)
    found = np.stack([function(image) for image in x])
    assert_same(found, expected, name)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize(
    "name", [n for n in BOOLEAN if not n.startswith(("large", "pooled beyond"))]
)
def test_verilog(name, pipelined, tmp_path):
    plain, shape = network(name)
    path = export_verilog(plain, tmp_path / "network.v", shape, pipelined=pipelined)
    x, expected = examples(name, 6)
    np.testing.assert_array_equal(simulate(path, x, expected, pipelined=pipelined), expected)


EXPORTERS = {
    "c": export_c,
    "onnx": export_onnx,
    "py": export_python,
    "stablehlo": export_stablehlo,
    "v": export_verilog,
}


def sliding(kind, border, padding="SAME"):
    """A layer of 7 x 4 windows."""
    if kind == "bise":
        neurons = BooleanNeurons(
            np.ones((7, 4, 1, 1), bool), np.eye(1, dtype=bool), ~np.eye(1, dtype=bool)
        )
        layer = BiSELayer("a", padding=padding, border=border)
        return BooleanNetwork((layer,), {"a": {"bise": neurons}})
    neurons = BooleanNeurons(np.ones((7, 4, 2, 1), bool), np.ones(1, bool), np.zeros(1, bool))
    layer = layer_of(kind, "a", padding=padding, border=border, pool=1)
    return BooleanNetwork((layer,), {"a": {"lui": neurons}})


@pytest.mark.parametrize("kind", ["bise", "hit_or_miss_conv"])
@pytest.mark.parametrize("border", ["reflect", "wrap"])
def test_images_smaller_than_a_border_needs_are_refused_as_by_the_network(kind, border, tmp_path):
    plain = sliding(kind, border)
    refused = 0
    for height in range(1, 6):
        for width in range(1, 5):
            shape = (height, width, 1)
            # 3 rows and 2 columns are mirrored, without the edge, or come from the other side.
            edge = border == "reflect"
            fits = height - edge >= 3 and width - edge >= 2
            refused += not fits
            x = jax.ShapeDtypeStruct((1, *shape), bool)
            runs = [lambda x=x: jax.eval_shape(plain, x)]
            runs += [lambda shape=shape: PackedNetwork(plain, shape)]
            runs += [
                lambda shape=shape, export=export, ending=ending: export(
                    plain, tmp_path / f"n.{ending}", shape, overwrite=True
                )
                for ending, export in EXPORTERS.items()
                if ending != "stablehlo" or (height, width) in ((2, 1), (3, 2), (4, 3))
            ]
            for run in runs:
                if fits:
                    run()
                else:
                    with pytest.raises(ValueError, match=f"border '{border}' cannot pad an axis"):
                        run()
    assert refused == {"reflect": 16, "wrap": 11}[border]


@pytest.mark.parametrize("export", EXPORTERS.values())
def test_images_smaller_than_the_windows_are_refused(export, tmp_path):
    with pytest.raises(ValueError, match="the image has 6"):
        export(sliding("bise", "zero", "VALID"), tmp_path / "file", (6, 9, 1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("export", "names"),
    [
        (export_c, ["int", "class", "while", "typename", "_Bool", "co_await", "xor"]),
        (export_python, ["class", "lambda", "None", "np", "math", "footprint", "binary_erosion"]),
        (export_verilog, ["module", "wire", "logic", "endmodule", "x", "y", "clock", "stage_0"]),
    ],
)
def test_names_that_mean_something_in_the_language_are_refused(export, names, tmp_path):
    plain, shape = network("one operator")
    for name in names:
        with pytest.raises(ValueError, match=rf"name must .*{name}"):
            export(plain, tmp_path / "file", shape, name=name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x", "maps", "scores", "union", "match", "print", "Wire", "main"])
def test_other_names_work_in_python(name, tmp_path):
    plain, shape = network("pooled beyond")
    path = export_python(plain, tmp_path / "network.py", shape, name=name)
    x, expected = examples("pooled beyond", 3)
    np.testing.assert_array_equal(runpy.run_path(str(path))[name](x[0]), expected[0])


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.parametrize("name", ["int_", "stage", "main", "network_x", "Wire", "input1"])
def test_other_names_work_in_verilog(name, tmp_path):
    plain, shape = network("ternary")
    path = export_verilog(plain, tmp_path / "network.v", shape, name=name)
    subprocess.run(["iverilog", "-g2012", "-Wall", "-t", "null", path], check=True)


@pytest.mark.parametrize(("export", "comment"), [(export_python, "#"), (export_verilog, "//")])
def test_names_of_a_hostile_file_stay_in_their_comments(export, comment, tmp_path):
    name = "a\nimport os\r\u2028*/ `include \\"
    plain = sliding("bise", "zero")
    layer = BiSELayer(name, **plain.architecture[0].options)
    hostile = BooleanNetwork((layer,), {name: plain.params["a"]})
    text = export(hostile, tmp_path / "file", (7, 7, 1)).read_text()
    (line,) = (line for line in text.splitlines() if "import os" in line)
    assert line.strip() == f"{comment} a?import os???/ ?include ?/bise"


@pytest.mark.parametrize("export", [export_python, export_verilog])
def test_real_heads_are_refused(export, tmp_path):
    plain, shape = network("real head")
    with pytest.raises(ValueError, match="ternary or popcount head"):
        export(plain, tmp_path / "file", shape)


def test_every_kind_of_layer_is_covered():
    kinds = {layer.kind for name in MODULES for layer in network(name)[0].architecture}
    assert kinds == {kind for kind, one in KINDS.items() if one.__module__.startswith("bimonn_jax")}
