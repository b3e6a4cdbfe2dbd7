"""Losses on outputs in [0, 1], and the DICE score of boolean images."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def mse(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error over all elements; ``target`` bool or float of the same shape."""
    return jnp.mean(jnp.square(prediction - target.astype(prediction.dtype)))


def bce(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean binary cross entropy of probabilities, clipped to [1e-6, 1 - 1e-6]."""
    p = jnp.clip(prediction, 1e-6, 1 - 1e-6)
    return -jnp.mean(jnp.where(target.astype(p.dtype) > 0.5, jnp.log(p), jnp.log1p(-p)))


def dice_loss(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """1 - DICE with products in place of intersections, over all elements of the batch."""
    target = target.astype(prediction.dtype)
    overlap = jnp.sum(prediction * target)
    return 1 - (2 * overlap + 1) / (jnp.sum(prediction) + jnp.sum(target) + 1)


LOSSES: dict[str, Loss] = {"mse": mse, "bce": bce, "dice": dice_loss}


def dice(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """DICE score 2 |A and B| / (|A| + |B|) of bool arrays, over all elements; 1 if both are empty.

    Examples:
      >>> import jax.numpy as jnp
      >>> float(dice(jnp.array([True, True]), jnp.array([True, False])))
      0.6666666865348816
    """
    size = jnp.sum(prediction) + jnp.sum(target)
    overlap = 2 * jnp.sum(prediction & target)
    return jnp.where(size > 0, overlap.astype(float) / jnp.maximum(size, 1).astype(float), 1.0)
