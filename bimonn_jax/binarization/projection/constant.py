"""Projection onto the constant set {lambda 1_S} and its two approximations (section 5).

Each is a function of weights W (n, neurons...) and returns footprints S of the same shape, none of
them empty. `squared_distance` then tells how far W is from the nearest lambda 1_S.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bimonn_jax._support.sorting import sort_descending
from bimonn_jax.binarization.projection.sorted_weights import first_of

Projection = Callable[[jax.Array], jax.Array]


def constant_set(W: jax.Array) -> jax.Array:
    """Footprint S of the nearest lambda 1_S with lambda >= 0, in O(n log n).

    S is the first j weights in descending order with j = argmax_j (sum of the first j) / sqrt(j);
    at equality the smaller j. Equal weights count as many times as they occur.

    Args:
      W: float (n, neurons...), any sign.

    Returns:
      bool (n, neurons...), with at least one True per neuron.

    Examples:
      >>> import jax.numpy as jnp
      >>> constant_set(jnp.array([3.0, 1.0, 1.0, 1.0, 1.0])).tolist()
      [True, True, True, True, True]
    """
    counts = jnp.arange(1, W.shape[0] + 1, dtype=W.dtype)

    def one(W: jax.Array) -> jax.Array:
        values = sort_descending(W)
        best = jnp.argmax(jnp.cumsum(values) / jnp.sqrt(counts))
        return first_of(W, values, best + 1)

    # Sorting is several times as fast along the last axis.
    columns = W.reshape(W.shape[0], -1).T
    return jax.vmap(one)(columns).T.reshape(W.shape)


def _above_mean(fraction: float) -> Projection:
    def footprint(W: jax.Array) -> jax.Array:
        level = fraction * jnp.mean(jnp.maximum(W, 0), axis=0)
        return jnp.where(level > 0, level, jnp.max(W, axis=0))[None] <= W

    return footprint


def uniform(W: jax.Array) -> jax.Array:
    """S = {w >= 2/3 mean(w+)}: nearly `constant_set` for uniform weights (arXiv 1605.04711).

    Negative weights count as 0; where none is positive, S is the largest. Arguments and result as
    in `constant_set`.
    """
    return _above_mean(2 / 3)(W)


def normal(W: jax.Array) -> jax.Array:
    """S = {w >= 3/4 mean(w+)}: nearly `constant_set` for normal weights (arXiv 1605.04711).

    Negative weights count as 0; where none is positive, S is the largest. Arguments and result as
    in `constant_set`.
    """
    return _above_mean(3 / 4)(W)


PROJECTIONS: dict[str, Projection] = {
    "constant": constant_set,
    "uniform": uniform,
    "normal": normal,
}


def squared_distance(W: jax.Array, footprint: jax.Array) -> jax.Array:
    """Squared distance to the nearest lambda 1_S, lambda >= 0, for given S.

    |W|^2 - (sum_S W)^2 / |S|, computed as a sum of squares so that it neither cancels nor becomes
    negative. Its gradient with S held fixed is the envelope theorem's 2 (W - lambda 1_S).

    Args:
      W: float (n, neurons...).
      footprint: S, bool (n, neurons...).

    Returns:
      Float (neurons...).
    """
    # A mask that is computed once, not within each of the sums, is several times as fast on a CPU.
    mask = jax.lax.optimization_barrier(footprint.astype(W.dtype))
    size = jnp.maximum(jnp.sum(mask, axis=0), 1)
    level = jax.lax.stop_gradient(jnp.maximum(jnp.sum(mask * W, axis=0) / size, 0))
    return jnp.sum(jnp.square(W - level[None] * mask), axis=0)


def rank_of_constant(
    W: jax.Array,
    B: jax.Array,
    footprint: jax.Array,
    *,
    is_negative: jax.Array,
    input_mean: jax.Array | None = None,
) -> jax.Array:
    """The rank of the neuron with the nearest weights lambda 1_S: those count the inputs of S.

    [lambda count > B] is "at least floor(B / lambda) + 1 of S"; for p < 0, where equality fires,
    "at least ceil(B / lambda)". Where there is no such count, or lambda is 0, the nearest of 1 to
    |S| is taken: what is not constant as it is does not become so.

    Args:
      W: float (n, neurons...).
      B: float (neurons...).
      footprint: S, bool (n, neurons...), not empty.
      is_negative: bool (neurons...); the sign of the scale p.
      input_mean: float (n, neurons...); the mean of each input on data. Where it is given, B is
        lowered by what the weights that the neuron loses, W - lambda 1_S, gave on average.

    Returns:
      int32 (neurons...).
    """
    mask = footprint.astype(W.dtype)
    size = jnp.sum(mask, axis=0)
    level = jnp.maximum(jnp.sum(mask * W, axis=0) / size, 0)
    if input_mean is not None:
        B = B - jnp.sum((W - level[None] * mask) * input_mean, axis=0)
    count = B / jnp.where(level > 0, level, 1)
    rank = jnp.where(is_negative, jnp.ceil(count), jnp.floor(count) + 1)
    # Within int32 before it becomes one.
    return jnp.where(level > 0, jnp.clip(rank, 1, size), 1).astype(jnp.int32)
