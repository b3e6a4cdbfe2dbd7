"""Exported C as people use it: compiled by what they have, called from what they write."""

import subprocess
import sys
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax.deployment.c.engine import ENGINE
from bimonn_jax.deployment.c.library import compile_c
from bimonn_jax.deployment.c.plan import Plan
from bimonn_jax.deployment.c.writer import export_c
from bimonn_jax.deployment.circuit import circuit_of
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import BiSELayer, FlattenLayer, LevelSetsLayer, TernaryLayer
from bimonn_jax.neurons.heads import TernaryWeights
from bimonn_jax.neurons.params import BooleanNeurons
from tests.support.boolean_networks import NAMES, RANK_NAMES, examples, inputs, network, rounding
from tests.support.runtimes import compile_quickly

WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wshadow", "-Werror"]
COMPILERS = {
    "C": ["gcc", "-std=c99", "-Wmissing-prototypes", *WARNINGS],
    "C++": ["g++", "-x", "c++", "-std=c++11", "-Wmissing-declarations", *WARNINGS],
}
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]
MODES = ["batch", "image"]


def filter_of(footprint, border="zero"):
    """A dilation."""
    no = jnp.zeros((1, 1), bool)
    neurons = BooleanNeurons(jnp.asarray(footprint, bool)[:, :, None, None], no, no)
    layer = BiSELayer("a", padding="SAME", border=border)
    return BooleanNetwork((layer,), {"a": {"bise": neurons}})


def run(command, **options):
    """What a program gives, which must end well."""
    done = subprocess.run(command, capture_output=True, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


EXAMPLE = [f"-DENGINE_EXAMPLE_{part}" for part in ("HEADER", "TABLES", "CALLS")]
IMAGES = ["GATES", "RANKS", "PAD", "ZERO", "EDGE", "REFLECT", "WRAP", "ENLARGE"]


@pytest.mark.parametrize("outputs", [("BITS",), ("VOTES", "CLASSIFY"), ("LINEAR", "CLASSIFY")])
@pytest.mark.parametrize("images", [[], IMAGES], ids=["features", "images"])
@pytest.mark.parametrize("words", [[], ["WORDS"]], ids=["bytes", "words"])
@pytest.mark.parametrize("language", COMPILERS)
def test_the_engine_compiles_by_itself(language, words, images, outputs, tmp_path):
    needed = [*words, *images, *outputs]
    if words and {"RANKS", "VOTES"} & {*needed}:
        needed.append("COUNTER")
    parts = [f"-DENGINE_{part}" for part in needed]
    program = tmp_path / "example"
    run([*COMPILERS[language], *EXAMPLE, *parts, "-DNETWORK_MAIN", "-O1", ENGINE, "-o", program])
    size = {"BITS": 18, "VOTES": 8, "LINEAR": 8}[outputs[0]]
    assert len(run([program], input=bytes(range(0, 180, 2)))) == 10 * size


def test_the_engine_is_formatted():
    lines = ENGINE.read_text().splitlines()
    assert all(len(line) <= 100 and line == line.rstrip() and "\t" not in line for line in lines)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("language", COMPILERS)
@pytest.mark.parametrize("name", NAMES + RANK_NAMES)
def test_it_is_c_and_c_plus_plus_without_warnings(name, language, mode, tmp_path):
    plain, shape = network(name)
    # So each two of language, mode and pixel meet.
    pixel = "uint8" if (language == "C") == (mode == "batch") else "float32"
    source = export_c(plain, tmp_path / "network.c", shape, mode=mode, pixel=pixel)
    assert "ENGINE_" not in source.read_text()
    run([*COMPILERS[language], "-DNETWORK_MAIN", "-fsyntax-only", source])
    run([*COMPILERS[language], "-fsyntax-only", source.with_suffix(".h")])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name",
    [
        "wide", "reflect", "wrap", "edge", "pooled", "ternary", "large",
        "joined", "three scales", "branches to votes", "joined features",
    ],
)  # fmt: skip
def test_it_reads_and_writes_nothing_but_its_arrays(name, mode, tmp_path):
    plain, shape = network(name)
    x, expected = examples(name, 70)
    source = export_c(plain, tmp_path / "network.c", shape, mode=mode)
    program = tmp_path / "network"
    run(["gcc", "-std=c99", *SANITIZED, "-DNETWORK_MAIN", "-o", program, source])
    found = np.frombuffer(run([program], input=x.tobytes()), expected.dtype)
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize("name", NAMES + RANK_NAMES)
def test_images_lie_where_nobody_needs_what_was_there(name):
    plain, shape = network(name)
    circuit = circuit_of(plain.architecture, plain.params, shape)
    plan = Plan(circuit)
    there = {0: 0}
    for call in plan.calls:
        assert there[plan.array_of[call.source]] == call.source
        assert plan.array_of[call.source] != plan.array_of[call.target]
        there[plan.array_of[call.target]] = call.target
    assert plan.array_of[there[plan.output]] == plan.output
    # Of a chain one image is read while the next one is written: two arrays would do.
    assert sum(plan.sizes) <= 2 * max(plan.sizes) or not circuit.is_chain


_TWO_NETWORKS = """
#include "clean.h"
#include "count.h"
#include <cstdio>

static clean_workspace first;
static count_workspace second;
static_assert(CLEAN_OUTPUT_SIZE == COUNT_INPUT_SIZE, "one reads what the other writes");
static_assert(CLEAN_INPUT_HEIGHT == 9 && CLEAN_INPUT_WIDTH == 7, "as exported");
static_assert(CLEAN_WORKSPACE_BYTES == sizeof first, "as declared");

int main() {
  static uint8_t image[CLEAN_INPUT_SIZE], cleaned[CLEAN_OUTPUT_SIZE];
  static int32_t scores[COUNT_OUTPUT_SIZE];
  if (count_workspace_bytes() != sizeof second) return 1;
  while (fread(image, 1, sizeof image, stdin) == sizeof image) {
    clean_run(image, 1, cleaned, &first);
    count_run(cleaned, 1, scores, &second);
    fwrite(scores, sizeof scores, 1, stdout);
  }
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "g++"])
@pytest.mark.parametrize("modes", [("batch", "image"), ("image", "batch")])
def test_two_networks_run_in_one_program(modes, compiler, tmp_path):
    clean = filter_of([[0, 1, 0], [1, 0, 1], [0, 0, 1]])
    votes = np.random.default_rng(0).integers(-1, 2, (63, 4))
    head = TernaryWeights(jnp.asarray(votes > 0), jnp.asarray(votes < 0))
    layers = FlattenLayer(rank=3), TernaryLayer("head")
    count = BooleanNetwork(layers, {"head": {"head": head}})
    objects = []
    for name, plain, mode in (("clean", clean, modes[0]), ("count", count, modes[1])):
        source = export_c(plain, tmp_path / f"{name}.c", (9, 7, 1), name=name, mode=mode)
        objects.append(tmp_path / f"{name}.o")
        language = ["-x", "c++"] if compiler == "g++" else []
        run([compiler, *language, *SANITIZED, "-c", "-o", objects[-1], source])
    program = tmp_path / "main.cpp"
    program.write_text(_TWO_NETWORKS)
    run(["g++", "-Wall", "-Werror", *SANITIZED, "-o", tmp_path / "main", program, *objects])
    x = np.random.default_rng(1).random((20, 9, 7, 1)) < 0.2
    found = np.frombuffer(run([tmp_path / "main"], input=x.tobytes()), np.int32)
    np.testing.assert_array_equal(found.reshape(20, 4), count(clean(x)))


def frames(folder, side, mode):
    """Bytes on the stack, by function, of a filter and a classifier of images of that size."""
    votes = jnp.asarray(np.ones((side * side, 3), bool))
    head = BooleanNetwork(
        (FlattenLayer(rank=3), TernaryLayer("head")),
        {"head": {"head": TernaryWeights(votes, votes)}},
    )
    found = {}
    for name, plain in (("filter", filter_of(np.ones((3, 3)))), ("head", head)):
        source = export_c(plain, folder / f"{name}.c", (side, side, 1), mode=mode, overwrite=True)
        assembly = source.with_suffix(".o")
        run(["gcc", "-O1", "-fstack-usage", "-DNETWORK_MAIN", "-c", "-o", assembly, source])
        for line in source.with_suffix(".su").read_text().splitlines():
            where, size, kind = line.split("\t")
            assert kind in ("static", "dynamic,bounded")
            found[name, where.rsplit(":", 1)[1]] = int(size)
    return found


@pytest.mark.parametrize("mode", MODES)
def test_the_stack_does_not_grow_with_the_image(mode, tmp_path):
    small, large = (frames(tmp_path, side, mode) for side in (40, 160))
    assert small.keys() == large.keys()
    # A digit more of the counters: two blocks of 64 bytes, in at most two counters.
    assert all(large[function] <= small[function] + 8 * 2 * 2 * 64 for function in large)
    assert max(large.values()) < 16_384


_LARGE_IMAGE = """
import sys
import jax.numpy as jnp
import numpy as np
from tests.deployment.test_c_library import MODES, compile_quickly, filter_of
x = np.zeros((1, 1100, 1000, 1), bool)
x[0, 500, 500] = True
plain = filter_of(np.ones((3, 3)))
for mode in MODES:
    y = compile_quickly(plain, f"{sys.argv[1]}/{mode}", x.shape[1:], mode=mode)(x)
    assert y.sum() == 9 and y[0, 499:502, 499:502].all()
"""


def test_images_of_a_megapixel(tmp_path):
    # In a process of its own: what lacks the stack for it would end this one.
    run([sys.executable, "-c", _LARGE_IMAGE, tmp_path])


@pytest.mark.parametrize("mode", MODES)
def test_any_number_of_inputs(mode, tmp_path):
    """Whole words and lanes of words, and all that is between."""
    for name in ("one operator", "ternary"):
        plain, shape = network(name)
        x = inputs(name, shape, 1100)
        expected = np.asarray(plain(x))
        library = compile_c(plain, tmp_path, shape, name=name.replace(" ", "_"), mode=mode)
        for count in range(1101):
            np.testing.assert_array_equal(library(x[:count]), expected[:count])
            if library.circuit.head is not None:
                classes = expected[:count].argmax(axis=1)
                np.testing.assert_array_equal(library.classify(x[:count]), classes)


def test_a_second_library_of_the_same_name_is_another_network(tmp_path):
    x = np.zeros((1, 5, 5, 1), bool)
    x[0, 2, 2] = True
    first, second = filter_of(np.ones((3, 3))), filter_of(np.eye(3))
    libraries = [compile_quickly(first, tmp_path, (5, 5, 1))]
    libraries.append(compile_quickly(second, tmp_path, (5, 5, 1), overwrite=True))
    libraries.append(compile_quickly(first, tmp_path / "other", (3, 4, 1), mode="image"))
    for plain, library in zip((first, second, first), libraries, strict=True):
        part = x[:, 1 : 1 + library.circuit.input_shape[0], 0 : library.circuit.input_shape[1]]
        part = part if library is libraries[2] else x
        np.testing.assert_array_equal(library(part), plain(part))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "network.c", "network.h", "network.so", "other",
    ]  # fmt: skip


def test_files_of_an_earlier_export_are_kept(tmp_path):
    plain = filter_of(np.ones((3, 3)))
    for ending in ("c", "h", "so"):
        folder = tmp_path / ending
        folder.mkdir()
        (folder / f"network.{ending}").write_text("mine")
        with pytest.raises(FileExistsError, match=rf"network\.{ending} exists: pass overwrite"):
            compile_quickly(plain, folder, (5, 5, 1))
        assert [path.read_text() for path in folder.iterdir()] == ["mine"]
    with pytest.raises(ValueError, match=r"a\.h is where the header goes"):
        export_c(plain, tmp_path / "a.h", (5, 5, 1))


def test_folders_are_made_and_only_a_missing_compiler_is_said_to_be_missing(tmp_path):
    plain = filter_of(np.ones((3, 3)))
    x = np.ones((2, 5, 5, 1), bool)
    np.testing.assert_array_equal(compile_c(plain, tmp_path / "new" / "one", (5, 5, 1))(x), x)
    with pytest.raises(FileNotFoundError, match="the C compiler 'no_gcc' is not installed"):
        compile_c(plain, tmp_path / "other", (5, 5, 1), compiler="no_gcc")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("mode", MODES)
def test_inputs_of_any_layout_and_bytes(mode, tmp_path):
    plain, shape = network("wide")
    library = compile_quickly(plain, tmp_path, shape, mode=mode)
    x, expected = examples("wide", 20)
    for given in (
        x.astype(np.uint8), np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2],
        np.ascontiguousarray(x[:, ::-1])[:, ::-1], x.tolist(), jnp.asarray(x),
        # Bools that other programs wrote: any byte but 0 is True.
        np.where(x, np.uint8(6), np.uint8(0)).view(bool),
    ):  # fmt: skip
        np.testing.assert_array_equal(library(given), expected)
    assert library(x[:0]).shape == (0, *expected.shape[1:])
    for call in (library, plain):
        with pytest.raises(ValueError, match="x must be binary"):
            call(2 * x.astype(np.uint8))


def test_bools_are_the_numbers_0_and_1_for_level_sets(tmp_path):
    plain = BooleanNetwork((LevelSetsLayer(thresholds=[0.5, 1.5]),), {})
    library = compile_quickly(plain, tmp_path, (2,))
    x = np.array([[0, 200]], np.uint8).view(bool)
    np.testing.assert_array_equal(library(x), [[False, False, True, False]])
    np.testing.assert_array_equal(library(x.view(np.uint8)), [[False, False, True, True]])


def test_what_c_cannot_hold_is_refused(tmp_path):
    plain = filter_of(np.ones((3, 3)))
    with pytest.raises(ValueError, match="input has 2,147,488,281 bits, more than 2,147,483,647"):
        export_c(plain, tmp_path / "n.c", (46_341, 46_341, 1))
    none = jnp.zeros((3, 2**16 + 1), bool)
    head = BooleanNetwork((TernaryLayer("h"),), {"h": {"head": TernaryWeights(none, none)}})
    with pytest.raises(ValueError, match="65,536 classes at most; got 65,537"):
        export_c(head, tmp_path / "n.c", (3,))
    assert not list(tmp_path.iterdir())


def test_the_most_classes_that_fit(tmp_path):
    votes = np.zeros((2, 2**16), bool)
    votes[0, -1] = votes[1, 2**15] = True
    head = TernaryWeights(jnp.asarray(votes), jnp.zeros(votes.shape, bool))
    plain = BooleanNetwork((TernaryLayer("head"),), {"head": {"head": head}})
    x = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], bool)
    for mode in MODES:
        library = compile_quickly(plain, tmp_path / mode, (2,), mode=mode)
        np.testing.assert_array_equal(library.classify(x), [0, 2**16 - 1, 2**15, 2**15])


def test_the_largest_pool(tmp_path):
    plain, shape = network("pooled")
    layer = plain.architecture[0]
    huge = replace(layer, pool=2**16)
    pooled = BooleanNetwork((huge,), plain.params)
    whole = BooleanNetwork((replace(layer, pool=max(shape)),), plain.params)
    x = inputs("pooled", shape, 40)
    np.testing.assert_array_equal(compile_quickly(pooled, tmp_path, shape)(x), whole(x))


def test_names_of_a_hostile_file_stay_in_their_comments(tmp_path):
    plain = filter_of(np.ones((3, 3)))
    name = 'a*/ #error "not a comment" /*\n#error\\'
    layer = BiSELayer(name, **plain.architecture[0].options)
    hostile = BooleanNetwork((layer,), {name: plain.params["a"]})
    x = np.zeros((1, 5, 5, 1), bool)
    np.testing.assert_array_equal(compile_quickly(hostile, tmp_path, (5, 5, 1))(x), x)


def test_rounding_of_a_real_head_is_all_that_differs(tmp_path):
    plain, shape = network("real head")
    x, expected = examples("real head", 600)
    for mode in MODES:
        found = compile_c(plain, tmp_path / mode, shape, mode=mode)(x)
        np.testing.assert_allclose(found, expected, rtol=0, atol=rounding(plain))


OWN_NAMES = [
    "NETWORK_x", "add", "apply", "bias", "bits", "block", "choose", "classify", "compute", "count",
    "counter", "gate", "image_0", "input", "kernel", "literal", "main", "majority", "memset",
    "network_network", "output", "pack", "pixel", "run", "score", "source", "sum", "total", "votes",
    "w", "workspace", "zero",
]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_a_name_that_the_file_itself_uses_does_no_harm(mode, tmp_path):
    plain, shape = network("ternary")
    for name in OWN_NAMES:
        source = export_c(plain, tmp_path / f"{name}.c", shape, name=name, mode=mode)
        run([*COMPILERS["C"], f"-D{name.upper()}_MAIN", "-fsyntax-only", source])
