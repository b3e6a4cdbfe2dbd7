"""The nearest operators of neurons of all shapes, by one compiled program.

`bimonn_jax.project` compiles for several seconds for every shape of neurons. That pays in a
training step, not where parameters are looked at once: here the neurons of a whole network are
padded to one number of inputs, sorted by NumPy, and searched in float64. What float64 cannot tell
is settled by integers (`bimonn_jax.binarization.projection.exact`), for the few neurons where that
is so: the operator is the nearest one without any rounding, whatever the magnitudes.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.promotion import promoting
from bimonn_jax.binarization.projection.activable import (
    Seen,
    nearest_of_padded,
    nearest_of_sorted,
    stretch_ends,
    stretches,
)
from bimonn_jax.binarization.projection.exact import ExactNeuron
from bimonn_jax.binarization.projection.sorted_weights import SortedWeights, summed_on_host

# Neurons of all sizes are padded to the largest while that takes no more weights than these.
_MOST_PADDED = 2**24
# Weights that one call works on: they are to stay in the cache of a core.
_BLOCK = 2**18
_SMALLEST = 32
# Relative error of squared distances.
_PRECISION = 2.0**-26
# In units of the largest number of a neuron: what is smaller is looked at by integers only.
_TINY = 2.0**-1000

# Footprints bool (n, neurons), is_erosion bool (neurons,), squared distances float (neurons,).
Operators = tuple[Any, Any, Any]


def nearest_operators(sets: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Operators]:
    """The nearest operators by the default options of `project`, whatever the rounding.

    No footprint and no operator is nearer to the float64 numbers given, by however little and of
    whatever magnitudes: what the search in float64 leaves open is compared exactly. Of several
    nearest ones, a dilation comes before an erosion and then the smaller footprint. Neurons with
    sums that overflow float64 get any.

    Args:
      sets: weights W, float (n, neurons), n >= 1, and biases B, float (neurons,), of any shapes.

    Returns:
      For each set, footprints bool (n, neurons), is_erosion bool (neurons,) and squared distances,
      float64 (neurons,), to a relative error of 2^-26, and 0 only where the operator is met or the
      number is less than any of float64; infinite beyond the largest.
    """
    classes = [_size_class(len(W)) for W, _ in sets]
    widest = max(classes, default=0)
    if sum(len(B) for _, B in sets) * widest <= _MOST_PADDED:
        classes = [widest] * len(sets)
    found: dict[int, Operators] = {}
    for width in sorted(set(classes)):
        members = [i for i, mine in enumerate(classes) if mine == width]
        found.update(zip(members, _of_one_class([sets[i] for i in members], width), strict=True))
    return [found[i] for i in range(len(sets))]


@promoting()
def nearest_operators_traced(sets: Sequence[tuple[jax.Array, jax.Array]]) -> list[Operators] | None:
    """`nearest_operators` within a program, where neurons of all shapes are to share their part.

    In the numbers of `project`, float32 in double words. For networks that are small enough to be
    padded and looked at as a whole: else None.
    """
    count = sum(B.size for _, B in sets)
    width = max((len(W) for W, _ in sets), default=1)
    if count * width > _BLOCK:
        return None
    padded = [
        jnp.pad(W.T, ((0, 0), (0, width - len(W))), constant_values=-jnp.inf) for W, _ in sets
    ]
    sizes = np.concatenate([np.full(B.size, len(W), np.int32) for W, B in sets])
    W, B = jnp.concatenate(padded), jnp.concatenate([B for _, B in sets])
    return _of_each_set(sets, jax.vmap(nearest_of_padded)(W, B, jnp.asarray(sizes)))


def _size_class(count: int) -> int:
    """The next power of two, so that few programs serve all sizes."""
    return max(_SMALLEST, 1 << (count - 1).bit_length())


def _of_one_class(sets: Sequence[tuple[np.ndarray, np.ndarray]], width: int) -> list[Operators]:
    ends = _ends(sets)
    count = int(ends[-1])
    lanes = min(_size_class(count), max(_BLOCK // width, 8))
    # Neurons of one weight 0 and the bias -1, an erosion beyond doubt, fill the last block.
    padded = -(-count // lanes) * lanes
    W, B, sizes = (
        np.full((padded, width), -np.inf),
        np.full(padded, -1.0),
        np.ones(padded, np.int32),
    )
    W[count:, 0] = 0
    for (weights, biases), start, end in zip(sets, ends, ends[1:], strict=False):
        W[start:end, : len(weights)] = weights.T
        B[start:end], sizes[start:end] = biases, len(weights)
    footprint, is_erosion, distance = (
        np.empty(W.shape, bool),
        np.empty(padded, bool),
        np.empty(padded),
    )

    def work(first: int) -> None:
        at = slice(first, first + lanes)
        footprint[at], is_erosion[at], distance[at] = _of_block(W[at], B[at], sizes[at])

    # The program uses one core; the first block compiles it for all.
    starts = range(0, padded, lanes)
    for first in starts[:1]:
        work(first)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, starts[1:]))
    return _of_each_set(sets, (footprint, is_erosion, distance))


def _of_each_set(sets: Sequence[tuple[Any, Any]], found: Operators) -> list[Operators]:
    """What was found of all neurons in a row, padded footprints (neurons, m) first, set by set."""
    footprint, is_erosion, distance = found
    ends = _ends(sets)
    return [
        (footprint[start:end, : len(weights)].T, is_erosion[start:end], distance[start:end])
        for (weights, _), start, end in zip(sets, ends, ends[1:], strict=False)
    ]


def _ends(sets: Sequence[tuple[Any, Any]]) -> np.ndarray:
    """Where the neurons of each set end in a row of all, int (sets + 1,), the first from 0."""
    return np.cumsum([0, *(len(B) for _, B in sets)])


def _of_block(W: np.ndarray, B: np.ndarray, sizes: np.ndarray) -> Operators:
    values = -np.sort(-W, axis=1)
    # What overflows has no nearest operator that could be told: any will do.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        weights, bias, power = _scaled(values, B, sizes)
        with jax.enable_x64(True):
            j, is_erosion, half, seen = jax.tree.map(np.array, _search(weights, bias))
        distance = np.ldexp(2 * half, 2 * power)
        _settle(values, B, (j, is_erosion, distance), half, seen, weights, bias)
    last = np.take_along_axis(values, j[:, None] - 1, axis=1)
    is_above, is_tied = last < W, last == W
    # Of equal weights the first, as `sorted_weights.first_of` has it.
    room = j - is_above.sum(axis=1)
    footprint = is_above | (is_tied & (np.cumsum(is_tied, axis=1) <= room[:, None]))
    return footprint, is_erosion, distance


@jax.jit
def _search(weights: SortedWeights, B: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, Seen]:
    return jax.vmap(nearest_of_sorted)(weights, B)


def _scaled(
    values: np.ndarray, B: np.ndarray, sizes: np.ndarray
) -> tuple[SortedWeights, np.ndarray, np.ndarray]:
    """Sorted weights and biases in units of powers of two, the largest below 1; and the powers."""
    first, last = values[:, 0], np.take_along_axis(values, sizes[:, None] - 1, axis=1)[:, 0]
    _, power = np.frexp(np.maximum(np.maximum(np.abs(first), np.abs(last)), np.abs(B)))
    values, bias = np.ldexp(values, -power[:, None]), np.ldexp(B, -power)
    # Compiled programs may take subnormal numbers as zeros, or not.
    values[np.abs(values) < _TINY] = 0
    return summed_on_host(values, sizes), bias, power


def _settle(
    values: np.ndarray,
    B: np.ndarray,
    found: Operators,
    half: np.ndarray,
    seen: Seen,
    weights: SortedWeights,
    bias: np.ndarray,
) -> None:
    """Puts the exact answer where the search in float64 cannot tell: in ``found``, in place.

    The search compares dual values, lower bounds of half the squared distances, and with plain
    numbers those it calls best are off by rounding only. Let S = |W|^2 + B^2 and u = eps / 2. With
    multipliers for which the negative terms of a dual value sum to more than 16 S it is below 0,
    so that its stretch was looked at; all other values have terms of at most 16 S. Sums of weights
    are rounded once, to sqrt(n S) u, and enter times multipliers of at most 4 sqrt(S); sums of
    squares are off by n u S in all. A dual value is so off by less than (64 sqrt(n) + n / 2) eps S,
    the rounding of an erosion's threshold included, and two of them are in the right order where
    they differ by more than `margin`. One whose multipliers were not found counts as infinite.
    """
    j, is_erosion, distance = found
    m, sizes = values.shape[1], weights.size
    rows = np.arange(len(j))
    scale = weights.squares[rows, -1] + bias**2
    margin = (128 * np.sqrt(sizes) + sizes) * np.finfo(np.float64).eps * scale
    # Scaled, some weights became 0.
    positive, largest = (
        np.maximum(np.count_nonzero(v > 0, axis=1), 1) for v in (values, weights.values)
    )
    ends = stretch_ends(largest[:, None], stretches(m))
    operator = is_erosion.astype(int)
    mine = (ends[:, 1:] < j[:, None]).sum(axis=1)
    # Of the stretch of the best footprint the others.
    rivals = seen.least.copy()
    rivals[rows, operator, mine] = seen.second[rows, operator, mine]
    is_close = ~(rivals.min(axis=(1, 2)) - half > margin) | (positive != largest)
    is_rough = ~(_PRECISION * half >= margin)
    is_candidate = seen.least - half[:, None, None] <= margin[:, None, None]
    is_candidate[rows, operator, mine] = True

    def candidates(row: int) -> Iterator[tuple[int, bool]]:
        for erosion in (False, True):
            (near,) = np.nonzero(is_candidate[row, int(erosion)])
            spans = [(ends[row, s], ends[row, s + 1]) for s in near]
            for start, end in [*spans, (largest[row], positive[row])]:
                yield from ((size, erosion) for size in range(int(start) + 1, int(end) + 1))

    # Where a number is not finite, nothing is.
    for row in np.flatnonzero((is_close | is_rough) & np.isfinite(scale)).tolist():
        neuron = ExactNeuron(values[row, : sizes[row]], B[row])
        known = [(int(j[row]), bool(is_erosion[row]))]
        nearest = neuron.nearest(candidates(row) if is_close[row] else known)
        j[row], is_erosion[row] = nearest.j, nearest.is_erosion
        distance[row] = neuron.squared_distance(nearest)
