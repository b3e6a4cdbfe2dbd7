"""The rule of level sets, in every dtype and in every runtime.

Thresholds are rounded to float32; whole numbers compare as such, floats in float32. The oracle
compares Python's integers and floats, which is exact.
"""

import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from bimonn_jax.deployment.c.writer import export_c
from bimonn_jax.deployment.circuit import circuit_of
from bimonn_jax.deployment.verilog import export_verilog
from bimonn_jax.morphology.levels import (
    as_numbers,
    from_level_sets,
    level_sets,
    on_level_sets,
    read_thresholds,
)
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import LevelSetsLayer
from bimonn_jax.networks.modules import LevelSets
from tests.support import runtimes

FLOAT32 = np.finfo(np.float32)
# Ends of dtypes, where float32 has gaps, subnormal numbers, and what float64 writes otherwise.
THRESHOLDS = [
    float(FLOAT32.min), -(2.0**64), -(2.0**31), -129.0, -1.5, float(-FLOAT32.tiny), -1e-40, -1e-45,
    0.0, 1e-45, 3e-45, 1e-40, float(FLOAT32.tiny), 0.5, 0.7, 1.0, 1.1 * 110, 127.5, 255.0, 256.0,
    65_535.0, 65_536.0, 2.0**24, 2.0**24 + 2, 2.0**31, 2.0**32, 2.0**53, 2.0**63, 2.0**64,
    float(FLOAT32.max),
]  # fmt: skip
HALVES = [np.dtype(np.float16), np.dtype(jnp.bfloat16)]
WHOLE = [np.dtype(t) for t in ("bool", "u1", "i1", "u2", "i2", "u4", "i4")]
WIDE = [np.dtype(t) for t in ("u8", "i8")]


def expected(x, thresholds=THRESHOLDS):
    """Bits of x, (n,) -> (n, q), number by number."""
    with np.errstate(over="ignore"):
        levels = [float(t) for t in np.array(thresholds, np.float32)]
        numbers = [int(v) if x.dtype.kind in "biu" else float(v.astype(np.float32)) for v in x]
    return np.array([[number >= level for level in levels] for number in numbers])


def whole_numbers(dtype):
    """The numbers around every threshold, and the ends, in a dtype."""
    if dtype.kind == "b":
        return np.array([False, True])
    ends = np.iinfo(dtype)
    near = {int(t) + step for t in THRESHOLDS for step in (-2, -1, 0, 1, 2)}
    return np.array(
        [ends.min, *sorted(n for n in near if ends.min < n < ends.max), ends.max], dtype
    )


def floats32():
    """The float32 numbers around every threshold, with infinities and NaN."""
    with np.errstate(over="ignore"):
        t = np.array(THRESHOLDS, np.float32)
        near = [np.nextafter(t, np.float32(side)) for side in (-np.inf, np.inf)]
    return np.concatenate([t, *near, np.float32([-0.0, np.nan, -np.nan, np.inf, -np.inf])])


def floats64():
    """Float64 numbers that round to other float32 ones than their neighbors do."""
    x = floats32().astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        up = np.nextafter(floats32(), np.float32(np.inf)).astype(np.float64)
    middle = np.concatenate([(x + up) / 2, [2.0**128 - 2.0**103, 2.0**103 - 2.0**128]])
    near = [np.nextafter(middle, side) for side in (-np.inf, np.inf)]
    return np.concatenate([x, middle, *near, [5e-324, -5e-324, 1e300, -1e300]])


def all_of_16_bits(dtype):
    return np.arange(2**16, dtype=np.uint16).view(dtype)


NUMBERS = {
    **{dtype.name: whole_numbers(dtype) for dtype in WHOLE},
    **{dtype.name: all_of_16_bits(dtype) for dtype in HALVES},
    "float32": floats32(),
}
WIDE_NUMBERS = {**{dtype.name: whole_numbers(dtype) for dtype in WIDE}, "float64": floats64()}


def assert_rule(run, x, thresholds=THRESHOLDS):
    found = np.asarray(run(x[:, None]))
    assert found.dtype == bool
    np.testing.assert_array_equal(found, expected(x, thresholds))


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_every_dtype(name, x64, transform):
    with jax.enable_x64(x64):
        assert_rule(transform(lambda x: level_sets(x, THRESHOLDS)), NUMBERS[name])


@pytest.mark.parametrize("name", WIDE_NUMBERS)
def test_numbers_of_64_bits(name, transform):
    with jax.enable_x64(True):
        assert_rule(transform(lambda x: level_sets(x, THRESHOLDS)), WIDE_NUMBERS[name])


def test_float64_gives_the_same_bits_where_jax_has_none():
    assert_rule(lambda x: level_sets(x, THRESHOLDS), floats64())


@given(st.lists(st.floats(width=64), min_size=1, max_size=20), st.floats(width=32))
def test_any_float64_compares_as_the_float32_that_it_rounds_to(values, threshold):
    if np.isfinite(threshold):
        with jax.enable_x64(True):
            assert_rule(lambda x: level_sets(x, [threshold]), np.array(values), [threshold])


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_whole_numbers_that_jax_cannot_hold_are_refused_not_wrapped(dtype):
    network = BooleanNetwork((LevelSetsLayer(thresholds=[1.0]),), {})
    for run in (
        as_numbers, network, runtimes.packed(network, (1,), None),
        lambda x: level_sets(x, [1.0]), lambda x: LevelSets((1.0,)).apply({}, x),
        lambda x: on_level_sets(lambda bits: bits, x, [1.0]),
    ):  # fmt: skip
        # Wrapped to 32 bits it would be 0.
        with pytest.raises(ValueError, match=r"x holds .*int64 numbers from 0 to 4294967296"):
            run(np.array([[2**32], [0]], dtype))
        assert run(np.array([[3], [0]], dtype)).shape == (2, 1)


EVERY_RUNTIME = {
    "itself": runtimes.itself,
    "packed": runtimes.packed,
    "StableHLO": runtimes.stablehlo,
    "Python": runtimes.python,
}


def network_of(thresholds):
    return BooleanNetwork((LevelSetsLayer(thresholds=thresholds),), {})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("runtime", EVERY_RUNTIME)
def test_runtimes_that_take_every_dtype(runtime, name, tmp_path):
    if runtime == "Python" and name in ("float16", "bfloat16"):
        x = NUMBERS[name][::97]
    else:
        x = NUMBERS[name]
    assert_rule(EVERY_RUNTIME[runtime](network_of(THRESHOLDS), (1,), tmp_path), x)


@pytest.mark.parametrize("name", WIDE_NUMBERS)
def test_exported_python_takes_numbers_of_64_bits(name, tmp_path):
    assert_rule(runtimes.python(network_of(THRESHOLDS), (1,), tmp_path), WIDE_NUMBERS[name])


def test_onnx_takes_float32(tmp_path):
    assert_rule(runtimes.onnx(network_of(THRESHOLDS), (1,), tmp_path), floats32())


@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize("mode", ["batch", "image"])
def test_c_takes_float32(mode, language, tmp_path):
    source = export_c(network_of(THRESHOLDS), tmp_path / "n.c", (1,), mode=mode, pixel="float32")
    program = tmp_path / "n"
    command = ["gcc" if language == "c" else "g++", "-x", language, "-O3", "-DNETWORK_MAIN"]
    subprocess.run([*command, "-o", program, source], check=True)

    def run(x):
        done = subprocess.run([program], input=x.tobytes(), capture_output=True, check=True)
        return np.frombuffer(done.stdout, bool).reshape(len(x), len(THRESHOLDS))

    assert_rule(run, floats32())


# Level sets that a byte can tell apart, as people write them.
OF_BYTES = [0.0, 0.3, 0.7, 1.1 * 110, 121.00001, 127.5, 200.0, 253.99999, 254.00001, 255.0]
WITH_BYTES = {
    "C": runtimes.c,
    "C, one sample": runtimes.c_image,
    "Verilog": runtimes.verilog,
    "Verilog, pipelined": runtimes.verilog_pipelined,
    "ONNX": runtimes.onnx,
    **EVERY_RUNTIME,
}


@pytest.mark.parametrize("runtime", WITH_BYTES)
def test_all_bytes(runtime, tmp_path):
    x = np.arange(256, dtype=np.uint8)
    assert_rule(WITH_BYTES[runtime](network_of(OF_BYTES), (1,), tmp_path), x, OF_BYTES)


@pytest.mark.parametrize("runtime", WITH_BYTES)
def test_every_channel_has_its_own_thresholds(runtime, tmp_path):
    rows = [[0.7, 121.00001], [1.1 * 110, 255.0]]
    x = np.random.default_rng(0).choice([0, 1, 120, 121, 122, 254, 255], (6, 3, 2, 2))
    x = x.astype(np.uint8)
    found = WITH_BYTES[runtime](network_of(rows), (3, 2, 2), tmp_path)(x)
    assert found.shape == (6, 3, 2, 4)
    for channel, row in enumerate(rows):
        bits = expected(x[..., channel].ravel(), row).reshape(6, 3, 2, 2)
        np.testing.assert_array_equal(found[..., 2 * channel : 2 * channel + 2], bits)


@pytest.mark.parametrize("threshold", [-0.5 - 1e-9, -1.0, 255.00002, 256.0])
@pytest.mark.parametrize("export", [export_c, export_verilog])
def test_thresholds_that_no_byte_can_tell_apart_are_refused_where_inputs_are_bytes(
    export, threshold, tmp_path
):
    if -1 < threshold < 0:
        export(network_of([threshold]), tmp_path / "file", (1,))  # Its ceiling is 0.
        return
    with pytest.raises(ValueError, match="thresholds must lie in 0 to 255"):
        export(network_of([threshold]), tmp_path / "file", (1,))


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ([], r"have shape \(0,\)"),
        ([[[1.0]]], r"have shape \(1, 1, 1\)"),
        ([[1.0], [2.0], [3.0]], r"have shape \(3, 1\); \(q,\) or \(2, q\) was expected"),
        ([[1.0], [2.0, 3.0]], r"must be of shape \(q,\) or \(2, q\)"),
        ([0.0, float("nan")], "must be finite in float32"),
        ([0.0, float("inf")], "must be finite in float32"),
        ([0.0, 1e39], "must be finite in float32"),
        ([1.0, 1.0], "must be strictly increasing"),
        ([1.0, 1.0 + 1e-9], "must be strictly increasing along q, in float32"),
        ([-0.0, 0.0], "must be strictly increasing"),
        ([0.0, 1e-46], "must be strictly increasing"),
        (["1"], "must be real numbers; got <U1"),
        ([1j], "must be real numbers; got complex128"),
        ([2**70], "must be real numbers; got object"),
    ],
)
def test_thresholds_that_float32_cannot_tell_apart_are_refused(thresholds, message):
    for use in (
        lambda: read_thresholds(thresholds, 2),
        lambda: level_sets(np.zeros((1, 2), np.uint8), thresholds),
    ):
        with pytest.raises(ValueError, match=f"thresholds {message}"):
            use()


def test_thresholds_are_read_once_and_rounded_once():
    network = network_of([0.7, 1.1 * 110])
    (stage,) = circuit_of(network.architecture, network.params, (4, 4, 3)).stages
    assert stage.values.dtype == np.float32
    np.testing.assert_array_equal(stage.values, np.float32([[0.7, 121.0]] * 3))
    # One rounding of a whole number, not one to float64 and another to float32.
    whole = 2**60 + 2**36 + 1
    assert int(read_thresholds([whole])[0]) == 2**60 + 2**37


@pytest.mark.parametrize("x64", [False, True])
def test_summing_gives_every_threshold_back_exactly(x64, transform):
    rng = np.random.default_rng(0)
    thresholds = np.unique(rng.lognormal(0, 8, 60).astype(np.float32))
    values = np.append(np.float32(0), thresholds)
    with jax.enable_x64(x64):
        there = transform(lambda x: level_sets(x[..., None], thresholds))(values[None])
        back = transform(lambda bits: from_level_sets(bits, thresholds))(there)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back[0], values)


def test_sums_of_level_sets_that_are_not_nested_have_their_gaps():
    bits = jnp.array([[False, True, False], [True, False, True], [False, False, True]])
    np.testing.assert_array_equal(
        from_level_sets(bits, [10.0, 30.0, 70.0], base=5.0), [5 + 20, 5 + 5 + 40, 5 + 40]
    )


def test_what_are_not_images_of_numbers_is_refused():
    with pytest.raises(ValueError, match=r"x has shape \(\)"):
        level_sets(np.float32(1), [0.5])
    with pytest.raises(ValueError, match="x must be bool or real numbers, got complex64"):
        level_sets(jnp.ones((2, 1), jnp.complex64), [0.5])


def test_verilog_compares_with_ceilings(tmp_path):
    text = export_verilog(network_of([1.1 * 110]), tmp_path / "n.v", (1,)).read_text()
    assert "x[7:0] >= 8'd121;" in text
