"""The exact projection onto the rank neurons: all footprints and all ranks, on the host.

By exchange the nearest S is the j largest weights, so n (n + 1) / 2 pairs (j, k) are left, each a
convex program (`rank_program`). Few have to be solved: multipliers interpolated between those of a
grid of pairs bound every distance from below, and only pairs whose bound is under the best distance
found go on.
"""

import math
from typing import Any

import numpy as np

from bimonn_jax._support.pytrees import pytree
from bimonn_jax.binarization.projection.rank_program import (
    Choices,
    Dual,
    SortedRows,
    dual,
    improve,
    levels,
)

# Pairs that are worked on at once: some 60 numbers each, which are to stay in the cache.
_BLOCK = 2**14
# With fewer inputs a grid takes longer than what it saves.
_FEW = 16
_MOST_STEPS = 100
# Of the gradient, in units of the largest number of a neuron and of n.
_SETTLED = 1e-9


@pytree
class RankProjected:
    """The nearest rank neurons; NumPy arrays of shape (neurons...) unless said otherwise.

    Attributes:
      weight: W', float64 (n, neurons...).
      bias: B', float64.
      footprint: S, bool (n, neurons...), never empty.
      rank: k, int32; 1 to |S|.
      squared_distance: float64; |W' - W|^2 + (B' - B)^2.
    """

    weight: Any
    bias: Any
    footprint: Any
    rank: Any
    squared_distance: Any


class _Search:
    """The best pair of each neuron so far, in units in which squares are safe."""

    def __init__(self, rows: SortedRows):
        count = len(rows.values)
        self._rows = rows
        self.value = np.full(count, np.inf)
        self.j, self.k = np.ones((2, count), int)
        self.x = np.zeros((2, count))

    def look(self, at: Choices, x: np.ndarray, *, is_pruned: bool) -> np.ndarray:
        """Solves pairs, from given multipliers (2, pairs); returns those of their optima.

        Where ``is_pruned``, pairs that cannot be better than the best are left where they are.
        """
        blocks = range(0, len(at.row), _BLOCK)
        found = [self._look(at[i : i + _BLOCK], x[:, i : i + _BLOCK], is_pruned) for i in blocks]
        return np.concatenate(found, axis=1)

    def _look(self, at: Choices, x: np.ndarray, is_pruned: bool) -> np.ndarray:
        found = dual(self._rows, at, *x)
        active = np.arange(len(at.row))
        for _ in range(_MOST_STEPS):
            if is_pruned:
                active = active[found.value[active] < self.value[at.row[active]]]
            if not active.size:
                break
            before = active
            x, found, active = improve(self._rows, at, x, found, active)
            done = np.setdiff1d(before, active, assume_unique=True)
            self._take(at, x, found, done)
        self._take(at, x, found, active)
        return x

    def _take(self, at: Choices, x: np.ndarray, found: Dual, done: np.ndarray) -> None:
        """Takes over what is better, of pairs that are solved."""
        done = done[found.value[done] < self.value[at.row[done]]]
        done = done[np.lexsort((at.k[done], at.j[done], found.value[done], at.row[done]))]
        row, first = np.unique(at.row[done], return_index=True)
        best = done[first]
        slope = np.where(x[:, best] > 0, np.abs(found.gradient[:, best]), found.gradient[:, best])
        size = np.abs(self._rows.values[row]).max(axis=1, initial=0) + np.abs(self._rows.bias[row])
        allowed = _SETTLED * self._rows.values.shape[1] * size
        if (slope.max(axis=0, initial=0) > allowed).any():
            raise RuntimeError(
                "the projection onto a footprint and rank did not converge: this is a defect, "
                "please report the weights and the bias"
            )
        self.value[row], self.x[:, row] = found.value[best], x[:, best]
        self.j[row], self.k[row] = at.j[best], at.k[best]


def _all_pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """All j and k, 1 <= k <= j <= n, each int (pairs,)."""
    j, k = np.tril_indices(n)
    return j + 1, k + 1


def _grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Sizes j of a grid, int (some,), and where in 1, ..., j its ranks lie, 0 to 1, (some,)."""
    some = min(n, 2 * math.isqrt(n))
    return np.unique(np.linspace(1, n, some).round().astype(int)), np.linspace(0, 1, some)


def _between(
    x: np.ndarray, sizes: np.ndarray, ways: np.ndarray, j: np.ndarray, k: np.ndarray
) -> np.ndarray:
    """Multipliers between those of a grid, (2, neurons, sizes, ways): (2, neurons, pairs)."""
    at = np.clip(np.searchsorted(sizes, j, side="right") - 1, 0, len(sizes) - 2)
    along = (j - sizes[at]) / (sizes[at + 1] - sizes[at])
    up = (k - 1) / np.maximum(j - 1, 1) * (len(ways) - 1)
    low = np.clip(up.astype(int), 0, len(ways) - 2)
    up = up - low
    near, far = (x[:, :, i, low] * (1 - up) + x[:, :, i, low + 1] * up for i in (at, at + 1))
    mixed: np.ndarray = near * (1 - along) + far * along
    return mixed


def _for_each(rows: int, j: np.ndarray, k: np.ndarray) -> Choices:
    return Choices(np.repeat(np.arange(rows), len(j)), np.tile(j, rows), np.tile(k, rows))


def _search(rows: SortedRows) -> _Search:
    count, n = rows.values.shape
    search = _Search(rows)
    j, k = _all_pairs(n)
    if n <= _FEW:
        at = _for_each(count, j, k)
        search.look(at, np.zeros((2, len(at.row))), is_pruned=True)
        return search
    sizes, ways = _grid(n)
    on_grid = np.repeat(sizes, len(ways)), np.tile(ways, len(sizes))
    ranks = 1 + np.round(on_grid[1] * (on_grid[0] - 1)).astype(int)
    at = _for_each(count, on_grid[0], ranks)
    x = search.look(at, np.zeros((2, len(at.row))), is_pruned=False)
    x = x.reshape(2, count, len(sizes), len(ways))
    start = _between(x, sizes, ways, j, k)
    search.look(_for_each(count, j, k), start.reshape(2, -1), is_pruned=True)
    return search


def _weights_of(rows: SortedRows, search: _Search) -> tuple[np.ndarray, np.ndarray]:
    """The weights W', in the order of the sorted ones, and B' of the best pairs."""
    a = rows.values
    at = Choices(np.arange(len(a)), search.j, search.k)
    found = levels(rows, at, *search.x)
    (p, m), i = at.ends, np.arange(a.shape[1])[None]
    first, middle, last = (a + shift[:, None] for shift in found.shifts)
    high, low = found.high[:, None], found.low[:, None]
    w = np.where(
        i < p[:, None],
        np.maximum(first, high),
        np.where(i < m[:, None], np.clip(middle, low, high), np.minimum(last, low)),
    )
    w = np.where(i < at.j[:, None], w, np.maximum(a - search.x[0][:, None], 0))
    return w, rows.bias + search.x[0] - search.x[1]


def project_ranks(weight: Any, bias: Any) -> RankProjected:
    """The nearest rank neuron of each, by squared distance.

    minimize |W' - W|^2 + (B' - B)^2 over all footprints S, ranks 1 <= k <= |S| and W', B' with

        (the k - 1 largest W' of S) + sum_{i not in S} w'_i <= B' <= (the k smallest W' of S)

    and W' >= 0. For k = 1 these are the dilations of `bimonn_jax.project`, for k = |S| its
    erosions with ``erosion="euclidean"``. The result lies on the border of the set, where it
    touches. Which pair of footprint and rank is nearest is decided in float64, to about 1e-12 of
    |W|^2 + B^2: of those that differ by less, any may be returned.

    Takes O(n^2) per neuron, on the host only: no traces of `jax.jit`.

    Args:
      weight: W, concrete float (footprint..., neurons...), any sign.
      bias: B, concrete float (neurons...).

    Returns:
      A `RankProjected`; weights have the shape of ``weight``.

    Raises:
      ValueError: if the shapes do not match, or there are no inputs.

    Examples:
      >>> import numpy as np
      >>> nearest = project_ranks(np.array([[1.0], [0.9], [1.1], [0.1]]), np.array([1.5]))
      >>> nearest.footprint[:, 0].tolist(), int(nearest.rank[0])
      ([True, True, True, False], 2)
    """
    W, B = np.asarray(weight, np.float64), np.asarray(bias, np.float64)
    inputs = W.ndim - B.ndim
    if inputs < 1 or W.shape[inputs:] != B.shape:
        raise ValueError(f"weight has shape {W.shape}, bias {B.shape}: not (inputs..., neurons...)")
    n = math.prod(W.shape[:inputs])
    if n == 0:
        raise ValueError(f"weight has shape {W.shape}: a neuron needs at least one input")
    columns, biases = W.reshape(n, -1).T, B.reshape(-1)
    # Powers of two, so that squares of small or large numbers are not lost.
    power = np.frexp(np.maximum(np.abs(columns).max(axis=1), np.abs(biases)))[1]
    order = np.argsort(-columns, axis=1, kind="stable")
    values = np.ldexp(np.take_along_axis(columns, order, axis=1), -power[:, None])
    scaled_bias = np.ldexp(biases, -power)
    new, at_once = np.empty_like(columns), max(_BLOCK // (n * (n + 1) // 2), 1)
    new_bias, distance = np.empty((2, len(biases)))
    size, rank = np.empty((2, len(biases)), int)
    for start in range(0, len(biases), at_once):
        mine = slice(start, start + at_once)
        rows = SortedRows.of(values[mine], scaled_bias[mine])
        search = _search(rows)
        w, b = _weights_of(rows, search)
        new[mine], new_bias[mine] = w, b
        distance[mine] = ((w - rows.values) ** 2).sum(axis=1) + (b - rows.bias) ** 2
        size[mine], rank[mine] = search.j, search.k
    in_order = np.empty_like(columns)
    np.put_along_axis(in_order, order, np.ldexp(new, power[:, None]), axis=1)
    footprint = np.empty(columns.shape, bool)
    np.put_along_axis(footprint, order, np.arange(n) < size[:, None], axis=1)
    return RankProjected(
        in_order.T.reshape(W.shape),
        np.ldexp(new_bias, power).reshape(B.shape),
        footprint.T.reshape(W.shape),
        rank.astype(np.int32).reshape(B.shape),
        np.ldexp(distance, 2 * power).reshape(B.shape),
    )
