"""Promotion of dtypes and ranks: asked for, or allowed where the user has told JAX to refuse it."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp


def with_rank(values: jax.Array, rank: int) -> jax.Array:
    """``values`` with axes of length 1 in front, up to a number of axes.

    Arrays of different rank broadcast in the same way by themselves, but not where
    ``jax_numpy_rank_promotion`` is "raise".
    """
    return jnp.expand_dims(values, tuple(range(rank - jnp.ndim(values))))


@contextmanager
def promoting() -> Iterator[None]:
    """Lets JAX promote as it does by default, also as a decorator: for code that relies on it."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
