"""Double-word arithmetic: numbers as unevaluated sums of two floats, twice the digits of one.

Losses of neighboring footprints differ in their tenth digit for a few thousand inputs; float32 has
seven. Algorithms after Joldes, Muller and Popescu, "Tight and rigorous error bounds for basic
building blocks of double-word arithmetic", ACM TOMS 44 (2017).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bimonn_jax._support.pytrees import pytree

_BITS = {  # the integer type of a float, and the mask that keeps the upper half of its significand
    jnp.dtype("float32"): (jnp.uint32, 0xFFFF_F000),
    jnp.dtype("float64"): (jnp.uint64, 0xFFFF_FFFF_F800_0000),
}


def _two_sum(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    total = a + b
    virtual = total - a
    return total, (a - (total - virtual)) + (b - virtual)


def _fast_two_sum(a: jax.Array, b: jax.Array) -> DoubleWord:
    total = a + b
    return DoubleWord(total, b - (total - a))


def _split(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    integer, mask = _BITS[a.dtype]
    bits = jax.lax.bitcast_convert_type(a, integer)
    upper = jax.lax.bitcast_convert_type(bits & jnp.asarray(mask, integer), a.dtype)
    return upper, a - upper


def powers_of_two(size: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A power of two not far from a number >= 0, and its inverse, both normal numbers.

    The quotient of ``size`` and the power is in [1, 4), or smaller for a subnormal ``size``.
    """
    integer, mantissa = _BITS[size.dtype][0], jnp.finfo(size.dtype).nmant
    twice = 2 * jnp.finfo(size.dtype).maxexp - 2
    exponent = jax.lax.bitcast_convert_type(size, integer) >> jnp.asarray(mantissa, integer)
    exponent = jnp.clip(exponent.astype(jnp.int32), 1, twice - 1)

    def power(exponent: jax.Array) -> jax.Array:
        bits = exponent.astype(integer) << jnp.asarray(mantissa, integer)
        return jax.lax.bitcast_convert_type(bits, size.dtype)

    return power(exponent), power(twice - exponent)


@pytree
class DoubleWord:
    """The numbers high + low, with |low| at most half a unit in the last place of high.

    Takes part in +, - and * with other double words, with plain arrays (JAX leaves the operator to
    a type that it does not know) and with Python numbers.
    """

    high: jax.Array
    low: jax.Array

    def _lift(self, value: DoubleWord | jax.Array | float) -> DoubleWord:
        if isinstance(value, DoubleWord):
            return value
        plain = jnp.asarray(value, self.high.dtype)
        return DoubleWord(plain, jnp.zeros_like(plain))

    def __add__(self, other: DoubleWord | jax.Array | float) -> DoubleWord:
        """Sum, to about twice the digits."""
        other = self._lift(other)
        high, error = _two_sum(self.high, other.high)
        low, rest = _two_sum(self.low, other.low)
        total = _fast_two_sum(high, error + low)
        return _fast_two_sum(total.high, rest + total.low)

    def __neg__(self) -> DoubleWord:
        """The opposite, exactly."""
        return DoubleWord(-self.high, -self.low)

    def __sub__(self, other: DoubleWord | jax.Array | float) -> DoubleWord:
        """Difference, to about twice the digits."""
        return self + (-self._lift(other))

    def __mul__(self, other: DoubleWord | jax.Array | float) -> DoubleWord:
        """Product, to about twice the digits."""
        other = self._lift(other)
        # Products of half words are exact, so it makes no difference whether the compiler fuses
        # them with the sums.
        (a, b), (c, d) = _split(self.high), _split(other.high)
        cross, cross_error = _two_sum(a * d, b * c)
        high, error = _two_sum(a * c, cross)
        low = self.high * other.low + self.low * other.high
        return _fast_two_sum(high, error + (cross_error + b * d + low))

    def __truediv__(self, divisor: jax.Array) -> DoubleWord:
        """Quotient by a plain array, to about twice the digits."""
        quotient = self.high / divisor
        rest = self - double_word(quotient) * divisor
        return _fast_two_sum(quotient, rest.high / divisor)

    def __radd__(self, other: jax.Array | float) -> DoubleWord:
        """Sum with a plain array."""
        return self + other

    def __rsub__(self, other: jax.Array | float) -> DoubleWord:
        """Difference from a plain array."""
        return -self + other

    def __rmul__(self, other: jax.Array | float) -> DoubleWord:
        """Product with a plain array."""
        return self * other

    def __lt__(self, other: DoubleWord) -> jax.Array:
        """Elementwise comparison; infinities are allowed."""
        return (self.high < other.high) | ((self.high == other.high) & (self.low < other.low))


def double_word(value: jax.Array) -> DoubleWord:
    """A plain array as a double word."""
    return DoubleWord(value, jnp.zeros_like(value))


def lifted(value: jax.Array, like: DoubleWord | jax.Array) -> DoubleWord | jax.Array:
    """A plain array as whichever kind of number ``like`` is."""
    return double_word(value) if isinstance(like, DoubleWord) else value


def rounded(value: DoubleWord | jax.Array) -> jax.Array:
    """The nearest plain number."""
    return value.high if isinstance(value, DoubleWord) else value


def rounded_like(
    value: DoubleWord | jax.Array, like: DoubleWord | jax.Array
) -> DoubleWord | jax.Array:
    """The value as it is, or the nearest plain number: whichever kind of number ``like`` is."""
    return value if isinstance(like, DoubleWord) else rounded(value)


def argmin(values: DoubleWord | jax.Array) -> jax.Array:
    """The index of the least of some numbers (n,), an int32 ()."""
    if isinstance(values, DoubleWord):
        return jnp.argmin((values.high - jnp.min(values.high)) + values.low)
    return jnp.argmin(values)


def positive_part(value: Any) -> Any:
    """max(value, 0) of a double word or a plain array."""
    return jax.tree.map(lambda word: jnp.where(rounded(value) > 0, word, 0), value)


def cumulative_sum(values: DoubleWord) -> DoubleWord:
    """Sums of the first 0, 1, ..., n values: (n,) to (n + 1,)."""
    padded = jax.tree.map(lambda v: jnp.pad(v, (1, 0)), values)
    sums: DoubleWord = jax.lax.associative_scan(lambda a, b: a + b, padded)
    return sums
