"""Random arrays of several axes: the numbers of `jax.random`, compiled several times as fast.

`jax.random` computes the index of every entry from its axes, for which XLA takes half a second of
compiling on a CPU; drawn in one axis and reshaped, the same numbers take a tenth (BUILD_NOTES.md).
"""

import math

import jax

Shape = tuple[int, ...]


def uniform(
    key: jax.Array,
    shape: Shape,
    *,
    minval: jax.Array | float = 0.0,
    maxval: jax.Array | float = 1.0,
) -> jax.Array:
    """`jax.random.uniform` between scalar bounds, float of ``shape``."""
    flat = jax.random.uniform(key, (math.prod(shape),), minval=minval, maxval=maxval)
    return flat.reshape(shape)


def normal(key: jax.Array, shape: Shape) -> jax.Array:
    """`jax.random.normal`, float of ``shape``."""
    return jax.random.normal(key, (math.prod(shape),)).reshape(shape)


def bernoulli(key: jax.Array, p: jax.Array | float, shape: Shape) -> jax.Array:
    """`jax.random.bernoulli`, bool of ``shape``; ``p`` may be an array that broadcasts to it."""
    return uniform(key, shape) < p


def randint(key: jax.Array, shape: Shape, minval: int, maxval: int) -> jax.Array:
    """`jax.random.randint`, int of ``shape`` in [minval, maxval)."""
    return jax.random.randint(key, (math.prod(shape),), minval, maxval).reshape(shape)
