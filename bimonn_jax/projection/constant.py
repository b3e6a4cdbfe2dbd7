"""Projection onto the constant set {lambda 1_S} and its two approximations (section 5).

Each is a function of the weights W (n,) of one neuron and returns the footprint S (bool, never
empty); map over neurons with `bimonn_jax.params.per_neuron`. `squared_distance` then tells how far
W is from the nearest lambda 1_S.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Projection = Callable[[jax.Array], jax.Array]


def constant_set(W: jax.Array) -> jax.Array:
    """Footprint S of the nearest lambda 1_S with lambda >= 0, in O(n log n).

    S is the first j weights in descending order with j = argmax_j (sum of the first j) / sqrt(j);
    at equality the smaller j. Equal weights count as many times as they occur.

    Args:
      W: float (n,), any sign.

    Returns:
      bool (n,), with at least one True.

    >>> import jax.numpy as jnp
    >>> constant_set(jnp.array([3.0, 1.0, 1.0, 1.0, 1.0])).tolist()
    [True, True, True, True, True]
    """
    order = jnp.argsort(-W)
    sums = jnp.cumsum(W[order])
    counts = jnp.arange(1, W.shape[0] + 1, dtype=W.dtype)
    best = jnp.argmax(sums / jnp.sqrt(counts))
    rank = jnp.argsort(order)
    return rank <= best


def _above_mean(fraction: float) -> Projection:
    def footprint(W: jax.Array) -> jax.Array:
        positive = jnp.maximum(W, 0)
        above = positive >= fraction * jnp.mean(positive)
        return jnp.where(jnp.any(W > 0), above, jnp.max(W) == W)

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
    """Squared distance of W (n,) to the nearest lambda 1_S, lambda >= 0, for a given S (n,) bool.

    |W|^2 - (sum_S W)^2 / |S|, computed as a sum of squares so that it neither cancels nor becomes
    negative. Its gradient with S held fixed is the envelope theorem's 2 (W - lambda 1_S).
    """
    size = jnp.maximum(jnp.sum(footprint), 1)
    level = jnp.maximum(jnp.sum(jnp.where(footprint, W, 0)) / size, 0)
    residual = W - jax.lax.stop_gradient(level) * footprint
    return jnp.sum(jnp.square(residual))
