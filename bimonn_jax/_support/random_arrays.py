"""Random arrays of several axes: the numbers of `jax.random`, compiled several times as fast.

`jax.random` computes the index of every entry from its axes, for which XLA takes half a second of
compiling on a CPU; drawn in one axis and reshaped, the same numbers take a tenth (BUILD_NOTES.md).
They are float32 also under ``jax_enable_x64``.
"""

import math

import jax
import jax.numpy as jnp

from bimonn_jax._support.promotion import with_rank

Shape = tuple[int, ...]


def uniform(
    key: jax.Array,
    shape: Shape,
    *,
    minval: jax.Array | float = 0.0,
    maxval: jax.Array | float = 1.0,
) -> jax.Array:
    """`jax.random.uniform` between scalar bounds, float32 of ``shape``."""
    count = math.prod(shape)
    flat = jax.random.uniform(key, (count,), jnp.float32, minval=minval, maxval=maxval)
    return flat.reshape(shape)


def normal(key: jax.Array, shape: Shape) -> jax.Array:
    """`jax.random.normal`, float32 of ``shape``."""
    return jax.random.normal(key, (math.prod(shape),), jnp.float32).reshape(shape)


def bernoulli(key: jax.Array, p: jax.Array | float, shape: Shape) -> jax.Array:
    """`jax.random.bernoulli`, bool of ``shape``; ``p`` may be an array that broadcasts to it."""
    return uniform(key, shape) < with_rank(jnp.asarray(p), len(shape))


def randint(key: jax.Array, shape: Shape, minval: int, maxval: int) -> jax.Array:
    """`jax.random.randint`, int of ``shape`` in [minval, maxval)."""
    return jax.random.randint(key, (math.prod(shape),), minval, maxval).reshape(shape)
