"""Smooth thresholds xi: R -> (0, 1), increasing, odd around xi(0) = 1/2 (arXiv 2401.03830, sec. 3).

All are elementwise, float in and float out, and exist by name in `THRESHOLDS`. "step" is the limit
that neurons trained through the binarization use.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import erf, erfinv


@jax.custom_jvp
def step(t: jax.Array, center: jax.Array | float = 0.0) -> jax.Array:
    """Hard threshold [t > 0] with the surrogate derivative exp(-|t - center|).

    The output is exactly 0 or 1. The surrogate decays with the distance to ``center``, so a neuron
    learns mostly from inputs that nearly flip it. ``center`` has no derivative.
    """
    return (t > 0).astype(t.dtype)


@step.defjvp
def _step_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (t, center), (dt, _) = primals, tangents
    return step(t, center), jnp.exp(-jnp.abs(t - center)) * dt


@jax.custom_jvp
def straight_through(latent: jax.Array) -> jax.Array:
    """[latent > 1/2] as exactly 0 or 1, with the derivative of the identity."""
    return (latent > 0.5).astype(latent.dtype)


@straight_through.defjvp
def _straight_through_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    return straight_through(primals[0]), tangents[0]


class Threshold(NamedTuple):
    """A smooth threshold and its inverse on (0, 1)."""

    forward: Callable[[jax.Array], jax.Array]
    inverse: Callable[[jax.Array], jax.Array]


THRESHOLDS: dict[str, Threshold] = {
    "tanh": Threshold(lambda t: 0.5 * jnp.tanh(t) + 0.5, lambda y: jnp.arctanh(2 * y - 1)),
    "sigmoid": Threshold(jax.nn.sigmoid, lambda y: jnp.log(y) - jnp.log1p(-y)),
    "erf": Threshold(lambda t: 0.5 * erf(t) + 0.5, lambda y: erfinv(2 * y - 1)),
    "arctan": Threshold(
        lambda t: jnp.arctan(t) / jnp.pi + 0.5, lambda y: jnp.tan(jnp.pi * (y - 0.5))
    ),
    "step": Threshold(step, lambda y: y - 0.5),
}
