"""The bounds that certificates stand on, against all numbers of a type, or against rationals."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from bimonn_jax.binarization.rounding import (
    _THRESHOLD_UNITS,
    _UNITS_AT_HALF,
    exact_step,
    host_neurons,
    lowest_bits,
    rounding_of,
    sum_error,
    threshold_distance,
)
from bimonn_jax.neurons.params import RealNeurons, real_parameters
from bimonn_jax.neurons.thresholds import THRESHOLDS

SMOOTH = [name for name in THRESHOLDS if name != "step"]
NUMPY = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}


def neurons(W, B, p, *names, dtype=np.float32):
    return RealNeurons(*(jnp.asarray(np.asarray(a, dtype)) for a in (W, B, p)), *names)


def numbers(params):
    W, B, _ = real_parameters(params)
    return host_neurons(params, W, B, rounding_of(params))


def all_numbers(dtype):
    """All finite numbers of 16 bits; of float32 those near the threshold and a fine net of all."""
    if dtype != "float32":
        values = np.arange(2**16, dtype=np.uint16).view(NUMPY[dtype])
    else:
        bits = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32)
        start, stop = np.float32([2.0**-23, 2.0**-21]).view(np.uint32)
        near = np.arange(start, stop, 7, dtype=np.uint32).view(np.float32)
        values = np.concatenate([bits.view(np.float32), near, -near])
    with np.errstate(invalid="ignore"):
        return values[np.isfinite(values.astype(np.float64))]


@pytest.mark.parametrize("compiled", [True, False], ids=["jit", "eager"])
@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize("name", SMOOTH)
def test_computed_thresholds_lie_within_their_error_and_on_the_right_side_of_a_half(
    name, dtype, compiled
):
    t = all_numbers(dtype)
    forward = THRESHOLDS[name].forward
    found = np.asarray((jax.jit(forward) if compiled else forward)(jnp.asarray(t)))
    y, exact_t = found.astype(np.float64), t.astype(np.float64)
    with jax.enable_x64(True):
        exact = np.asarray(forward(jnp.asarray(exact_t)))
    unit = float(jnp.finfo(dtype).eps) / 2
    assert np.abs(y - exact).max() < _THRESHOLD_UNITS[dtype] * unit
    # `sum_error` allows for inputs that are a unit outside of [0, 1].
    assert ((y >= -unit) & (y <= 1 + unit)).all()
    assert (y[exact_t >= _UNITS_AT_HALF * unit] > 0.5).all()
    assert (y[exact_t <= 0] <= 0.5).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", SMOOTH)
def test_every_float32_near_the_threshold_is_on_the_right_side(name):
    forward = jax.jit(THRESHOLDS[name].forward)
    ends = np.float32([_UNITS_AT_HALF * 2.0**-24, 2.0**-10]).view(np.uint32)
    for start in range(int(ends[0]), int(ends[1]), 2**24):
        bits = np.arange(start, min(start + 2**24, int(ends[1])), dtype=np.uint32)
        t = bits.view(np.float32)
        assert (np.asarray(forward(t)) > 0.5).all()
        assert (np.asarray(forward(-t)) < 0.5).all()


@pytest.mark.parametrize("n", [1, 17, 300, 4096])
@pytest.mark.parametrize("order", ["sequential", "pairwise", "matmul"])
def test_the_error_of_a_sum_is_bounded_against_rationals(n, order):
    rng = np.random.default_rng(n)
    W, x = rng.normal(size=n).astype(np.float32), rng.uniform(size=n).astype(np.float32)
    B = np.float32(rng.normal())
    sums = {
        "sequential": lambda: np.cumsum(x * W, dtype=np.float32)[-1],
        "pairwise": lambda: np.sum(x * W, dtype=np.float32),
        "matmul": lambda: np.float32(jnp.dot(x, W, precision="highest")),
    }
    computed = Fraction(float(np.float32(sums[order]() - B)))
    products = (Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, W, strict=True))
    error = abs(computed - sum(products, -Fraction(float(B))))
    params = neurons(W[:, None], [B], [1.0])
    assert 0 < error <= Fraction(float(sum_error(numbers(params), rounding_of(params))[0]))


@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize("magnitude", [1e-40, 1e-37, 1e-4, 1.0])
def test_what_is_flushed_to_zero_is_within_the_error(dtype, magnitude):
    rng = np.random.default_rng(0)
    W, B = magnitude * rng.normal(size=(5, 400)), magnitude * rng.normal(size=400)
    params = neurons(W, B, np.ones(400), dtype=NUMPY[dtype])
    x = rng.random((64, 5)) < 0.5
    run = jax.jit(lambda n, x: x.astype(n.weight.dtype) @ n.weight - n.bias[None])
    computed = np.asarray(run(params, x)).astype(np.float64)
    mine = numbers(params)
    exact = x.astype(np.float64) @ mine.W - mine.B
    assert (np.abs(computed - exact) <= sum_error(mine, rounding_of(params))).all()


@pytest.mark.parametrize("dtype", [*NUMPY, "float64"])
def test_sums_that_overflow_have_no_bound_and_subnormal_scales_no_distance(dtype):
    info = jnp.finfo(dtype)
    kind = NUMPY.get(dtype, np.float64)
    largest, tiny = np.float64(info.max), np.float64(info.tiny)
    with jax.enable_x64(dtype == "float64"):
        params = neurons([[largest], [largest]], [largest], [tiny], dtype=kind)
        assert np.isinf(sum_error(numbers(params), rounding_of(params))).all()
        assert np.isfinite(threshold_distance(np.array([tiny]), rounding_of(params))).all()
        assert np.isinf(threshold_distance(np.array([tiny / 2]), rounding_of(params))).all()


def test_the_lowest_bit_of_a_number_divides_it_and_no_larger_power_does():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=500), 2.0 ** rng.integers(-1074, 1000, 500), [5e-324]])
    for value, power in zip(x, lowest_bits(x), strict=True):
        quotient = Fraction(float(value)) / Fraction(float(power))
        assert quotient.denominator == 1
        assert quotient.numerator % 2 == 1
    assert np.isinf(lowest_bits(np.zeros(1))).all()


@pytest.mark.parametrize("dtype", NUMPY)
def test_sums_with_an_exact_step_are_not_rounded_in_any_order(dtype):
    rng, kind = np.random.default_rng(3), NUMPY[dtype]
    step = 2.0 ** rng.integers(-8, 8, 500)
    W = rng.integers(-12, 13, (6, 500)) * step
    B = rng.integers(-30, 31, 500) * step
    params = neurons(W, B, np.ones(500), dtype=kind)
    found = exact_step(numbers(params), rounding_of(params))
    keep = found > 0
    assert keep.sum() > 100
    x = rng.random((64, 6, 1)) < 0.5
    for order in (np.arange(6), np.arange(6)[::-1], rng.permutation(6)):
        total = np.zeros((64, 500), kind)
        for i in order:
            total = (total + (x[:, i] * W[i].astype(kind)).astype(kind)).astype(kind)
        total = (total - B.astype(kind)).astype(np.float64)
        exact = (x * W).sum(axis=1) - B
        np.testing.assert_array_equal(total[:, keep], exact[:, keep])
        assert (np.abs(exact[:, keep])[exact[:, keep] != 0]).min() >= found[keep].min()


@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize("bias", ["positive", "projected", "reparametrized"])
@pytest.mark.parametrize("weight", ["positive", "dual"])
def test_computed_reparametrizations_lie_within_their_error(weight, bias, dtype):
    rng, kind = np.random.default_rng(5), NUMPY[dtype]
    scale = np.repeat([0.1, 1.0, 10.0, 60.0], 100)
    omega, beta = rng.normal(size=(7, 400)) * scale, rng.normal(size=400) * scale
    params = neurons(omega, beta, np.ones(400), weight, bias, dtype=kind)
    with jax.enable_x64(True):
        fields = (np.asarray(v).astype(np.float64) for v in (params.weight, params.bias))
        exact = RealNeurons(*map(jnp.asarray, fields), jnp.ones(400), weight, bias)
        W, B, _ = map(np.asarray, real_parameters(exact))
    for run in (real_parameters, jax.jit(real_parameters)):
        found_W, found_B, _ = (np.asarray(a).astype(np.float64) for a in run(params))
        error = host_neurons(params, found_W, found_B, rounding_of(params)).error
        off = np.abs(found_W - W).sum(axis=0) + np.abs(found_B - B)
        bounded = np.isfinite(error)
        assert bounded.mean() > 0.4
        # Two computations may lie on both sides of the real one.
        assert (2 * off[bounded] <= error[bounded]).all()
