from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax.binarization.projection.double_word import (
    DoubleWord,
    cumulative_sum,
    double_word,
    rounded,
)

DTYPES = ("float32", "float64")


def random_words(rng, dtype, size=2000):
    """Double words over many magnitudes, and their exact values."""
    high = rng.normal(size=size).astype(dtype) * 2.0 ** rng.integers(-20, 20, size).astype(dtype)
    low = (np.spacing(np.abs(high)) * rng.uniform(-0.5, 0.5, size)).astype(dtype)
    high, low = high.astype(dtype), low.astype(dtype)
    exact = [Fraction(float(a)) + Fraction(float(b)) for a, b in zip(high, low, strict=True)]
    return DoubleWord(jnp.asarray(high), jnp.asarray(low)), exact


def values(word):
    return [
        Fraction(float(a)) + Fraction(float(b))
        for a, b in zip(np.ravel(word.high), np.ravel(word.low), strict=True)
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "add plain", "mul plain", "plain sub"])
def test_arithmetic_has_twice_the_digits_of_one_word_also_when_compiled(dtype, name):
    operations = {
        "add": (lambda a, b: a + b, 2),
        "sub": (lambda a, b: a - b, 2),
        "mul": (lambda a, b: a * b, 2),
        "add plain": (lambda a, b: b.high + a, 1),
        "mul plain": (lambda a, b: b.high * a, 1),
        "plain sub": (lambda a, b: b.high - a, 1),
    }
    fn, words = operations[name]
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        (a, exact_a), (b, exact_b) = random_words(rng, dtype), random_words(rng, dtype)
        if words == 1:
            exact_b = [Fraction(float(h)) for h in b.high]
        unit = Fraction(float(jnp.finfo(dtype).eps)) / 2
        for result in (fn(a, b), jax.jit(fn)(a, b)):
            assert result.high.dtype == dtype
            for got, x, y in zip(values(result), exact_a, exact_b, strict=True):
                size = abs(x * y) if "mul" in name else abs(x) + abs(y)
                want = {"sub": x - y, "plain sub": y - x}.get(
                    name, x * y if "mul" in name else x + y
                )
                assert abs(got - want) <= 16 * unit * unit * size


@pytest.mark.parametrize("dtype", DTYPES)
def test_cumulative_sums_keep_what_plain_sums_lose(dtype):
    with jax.enable_x64(True):
        terms = np.random.default_rng(1).normal(size=5000).astype(dtype)
        sums = jax.jit(cumulative_sum)(double_word(jnp.asarray(terms)))
        exact, size = [Fraction(0)], Fraction(0)
        for term in terms:
            exact.append(exact[-1] + Fraction(float(term)))
            size += abs(Fraction(float(term)))
        unit = Fraction(float(jnp.finfo(dtype).eps)) / 2
        worst = max(abs(a - b) for a, b in zip(values(sums), exact, strict=True))
        assert worst <= 64 * unit * unit * size
        plain = np.concatenate([[0], np.cumsum(terms)])
        assert max(abs(Fraction(float(a)) - b) for a, b in zip(plain, exact, strict=True)) > worst


def test_comparison_looks_at_the_lower_word_and_takes_infinities():
    one, tiny = jnp.float32(1), jnp.float32(1e-9)
    assert DoubleWord(one, -tiny) < DoubleWord(one, tiny)
    assert not DoubleWord(one, tiny) < DoubleWord(one, tiny)
    assert DoubleWord(one, tiny) < double_word(jnp.float32(jnp.inf))


def test_rounding_gives_the_upper_word_and_leaves_plain_numbers():
    assert rounded(DoubleWord(jnp.float32(1), jnp.float32(1e-9))) == 1
    assert rounded(jnp.float32(2)) == 2
