"""Losses on outputs in [0, 1], and the DICE score of boolean images."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax

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


def cross_entropy(temperature: float = 1.0) -> Loss:
    """Mean softmax cross entropy of scores / temperature with integer labels."""
    return partial(_cross_entropy, temperature)


def _cross_entropy(temperature: float, scores: jax.Array, labels: jax.Array) -> jax.Array:
    logits = scores / temperature
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
