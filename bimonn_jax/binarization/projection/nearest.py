"""The nearest operators of neurons of all shapes, by one compiled program.

`bimonn_jax.project` compiles for several seconds for every shape of neurons.
That pays in a training step, not where parameters are looked at once: here the neurons of a whole
network are padded to one number of inputs, sorted by NumPy, and searched in float64.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.promotion import promoting
from bimonn_jax.binarization.projection.activable import nearest_of_sorted
from bimonn_jax.binarization.projection.double_word import double_word
from bimonn_jax.binarization.projection.sorted_weights import (
    SortedWeights,
    first_of,
    sort_on_host,
    sort_weights,
)

# Neurons of all sizes are padded to the largest while that takes no more weights than these.
_MOST_PADDED = 2**24
# Weights that one call works on: they are to stay in the cache of a core.
_BLOCK = 2**18
_SMALLEST = 32

# Footprints bool (n, neurons), is_erosion bool (neurons,), squared distances float (neurons,).
Operators = tuple[Any, Any, Any]


def nearest_operators(sets: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Operators]:
    """The footprints, operators and distances that `project` finds, by its default options.

    Args:
      sets: weights W, float (n, neurons), n >= 1, and biases B, float (neurons,), of any shapes.

    Returns:
      For each set, footprints bool (n, neurons), is_erosion bool (neurons,) and squared distances,
      float64 (neurons,).
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
    return _of_each_set(sets, jax.vmap(_nearest_of_padded)(W, B, jnp.asarray(sizes)))


def _nearest_of_padded(
    W: jax.Array, B: jax.Array, size: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The footprint, operator and squared distance of one neuron."""
    weights = sort_weights(W, size)
    j, is_erosion, distance = nearest_of_sorted(weights, double_word(B))
    return first_of(W, weights.values, j), is_erosion, distance


def _size_class(count: int) -> int:
    """The next power of two, so that few programs serve all sizes."""
    return max(_SMALLEST, 1 << (count - 1).bit_length())


def _of_one_class(sets: Sequence[tuple[np.ndarray, np.ndarray]], width: int) -> list[Operators]:
    ends = _ends(sets)
    count = int(ends[-1])
    lanes = min(_size_class(count), max(_BLOCK // width, 8))
    # Neurons of one weight 0 fill the last block.
    padded = -(-count // lanes) * lanes
    W, B, sizes = np.full((padded, width), -np.inf), np.zeros(padded), np.ones(padded, np.int32)
    W[count:, 0] = 0
    for (weights, biases), start, end in zip(sets, ends, ends[1:], strict=False):
        W[start:end, : len(weights)] = weights.T
        B[start:end], sizes[start:end] = biases, len(weights)
    footprint, is_erosion, distance = np.empty(W.shape, bool), np.empty(padded, bool), 0 * B

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
    weights = sort_on_host(W, sizes)
    with jax.enable_x64(True):
        j, is_erosion, distance = map(np.asarray, _search(weights, B))
    last = np.take_along_axis(weights.values, j[:, None] - 1, axis=1)
    is_above, is_tied = last < W, last == W
    # Of equal weights the first, as `sorted_weights.first_of` has it.
    room = j - is_above.sum(axis=1)
    footprint = is_above | (is_tied & (np.cumsum(is_tied, axis=1) <= room[:, None]))
    return footprint, is_erosion, distance


@jax.jit
def _search(weights: SortedWeights, B: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return jax.vmap(nearest_of_sorted)(weights, B)
