"""One neuron's weights in descending order, with the sums that every footprint is judged by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.pytrees import pytree
from bimonn_jax._support.sorting import sort_descending
from bimonn_jax.binarization.projection.double_word import cumulative_sum, double_word, rounded

# A `DoubleWord` or a plain array: formulas are written once for both. Plain ones may be NumPy's.
Number = Any


@pytree
class SortedWeights:
    """Weights a_1 >= ... >= a_n of one neuron.

    Attributes:
      values: a, float (m,) with m >= n; further ones are -infinity and in no sum, so that neurons
        of any number of inputs up to m share a program.
      sums: C, with C_j = a_1 + ... + a_j for j = 0, ..., n; (m + 1,), double words or plain.
      squares: Q, the same of the squares.
      size: n, int32 ().
    """

    values: Any
    sums: Number
    squares: Number
    size: Any

    def plain(self) -> SortedWeights:
        """The same with sums rounded to plain numbers: for bounds that allow for the rounding."""
        return replace(self, sums=rounded(self.sums), squares=rounded(self.squares))

    def count_above(self, x: jax.Array) -> jax.Array:
        """#{i : a_i > x}, an int32 ()."""
        return jnp.searchsorted(-self.values, -x, side="left").astype(jnp.int32)

    def count_from(self, x: jax.Array) -> jax.Array:
        """#{i : a_i >= x}, an int32 ()."""
        return jnp.searchsorted(-self.values, -x, side="right").astype(jnp.int32)


def between(prefix: Number, start: jax.Array, end: jax.Array) -> Number:
    """The sum of the terms start + 1, ..., end, from prefix sums."""
    first, last = (jax.tree.map(lambda v, i=i: v[i], prefix) for i in (start, end))
    return last - first


def sort_weights(W: jax.Array, size: jax.Array | None = None) -> SortedWeights:
    """Sorts the weights W (m,) of one neuron and sums them up, in O(m log m).

    Args:
      W: float (m,), -infinity beyond the inputs of the neuron.
      size: how many inputs it has, int32 (); by default all.
    """
    values = sort_descending(W)
    if size is None:
        size, finite = jnp.int32(W.shape[0]), values
    else:
        finite = jnp.where(jnp.isfinite(values), values, 0)
    words = double_word(finite)
    # Both sums in one: half of the program to compile.
    both = jax.tree.map(lambda *powers: jnp.stack(powers), words, words * words)
    sums = jax.vmap(cumulative_sum)(both)
    first, second = (jax.tree.map(lambda v, i=i: v[i], sums) for i in (0, 1))
    return SortedWeights(values, first, second, size)


def summed_on_host(values: np.ndarray, sizes: np.ndarray) -> SortedWeights:
    """Sums up the weights of many neurons with NumPy, which compiles nothing.

    Args:
      values: float64 (neurons, m), each row in descending order, -infinity beyond its inputs.
      sizes: how many inputs each has, int (neurons,).

    Returns:
      `SortedWeights` with plain sums, all fields with a leading axis of neurons. Each sum of
      weights is as good as if it had been rounded once, each sum of squares after every term.
    """
    finite = np.where(np.isfinite(values), values, 0)
    sums, squares = np.zeros((2, len(values), values.shape[1] + 1))
    np.cumsum(finite, axis=1, out=sums[:, 1:])
    np.cumsum(finite * finite, axis=1, out=squares[:, 1:])
    # What each addition lost, exactly (Knuth's two-sum), is added up beside.
    before, after = sums[:, :-1], sums[:, 1:]
    virtual = after - before
    lost = after - virtual
    np.subtract(before, lost, out=lost)
    lost += np.subtract(finite, virtual, out=virtual)
    after += np.cumsum(lost, axis=1, out=lost)
    return SortedWeights(values, sums, squares, sizes.astype(np.int32))


def first_of(W: jax.Array, values: jax.Array, j: jax.Array) -> jax.Array:
    """The j largest weights of W (n,) as a footprint, bool (n,); of equal ones the first.

    Args:
      W: float (n,).
      values: W in descending order.
      j: int (), 1 <= j <= n.
    """
    last = values[j - 1]
    is_above, is_tied = last < W, last == W
    room = j - jnp.sum(is_above, dtype=j.dtype)
    return is_above | (is_tied & (jnp.cumsum(is_tied, dtype=j.dtype) <= room))
