"""Diskorect: random disks and rectangles to learn operators on (arXiv 2401.03830, section 6)."""

from functools import partial

import jax
import jax.numpy as jnp

from bimonn_jax._support.random_arrays import bernoulli, uniform


def _shapes(
    key: jax.Array, count: int, size: int, min_radius: float, max_radius: float
) -> jax.Array:
    """Filled shapes, bool (count, size, size): rotated rectangles and ellipses, half and half."""
    center_key, radius_key, angle_key, kind_key = jax.random.split(key, 4)
    center = uniform(center_key, (count, 2, 1, 1), maxval=size)
    radius = uniform(radius_key, (count, 2, 1, 1), minval=min_radius, maxval=max_radius)
    angle = uniform(angle_key, (count, 1, 1), maxval=jnp.pi)
    rows, columns = jnp.mgrid[:size, :size][:, None].astype(center.dtype)
    row, column = rows - center[:, 0], columns - center[:, 1]
    u = (row * jnp.cos(angle) + column * jnp.sin(angle)) / radius[:, 0]
    v = (column * jnp.cos(angle) - row * jnp.sin(angle)) / radius[:, 1]
    is_ellipse = bernoulli(kind_key, 0.5, (count, 1, 1))
    return jnp.where(is_ellipse, u**2 + v**2 <= 1, jnp.maximum(jnp.abs(u), jnp.abs(v)) <= 1)


@partial(jax.jit, static_argnames=("batch", "size", "shapes", "holes", "noise"))
def diskorect(
    key: jax.Array,
    batch: int,
    *,
    size: int = 50,
    shapes: int = 10,
    holes: int = 10,
    noise: float = 0.05,
) -> jax.Array:
    """Draws images of filled rectangles and ellipses with smaller holes; pure and jit-compiled.

    Args:
      key: a JAX random key.
      batch: N.
      size: height and width.
      shapes: filled shapes per image, half axes of 5 % to 25 % of the size.
      holes: shapes cut out of them, half axes of 2 % to 10 %.
      noise: probability with which each pixel is flipped.

    Returns:
      bool (N, size, size); each image is complemented with probability 1/2.

    Raises:
      ValueError: if the batch or the images are empty, the noise is not a probability, or a count
        is negative.
    """
    if batch < 1 or size < 1:
        raise ValueError(f"batch and size must be >= 1; got {batch} and {size}")
    if not 0 <= noise <= 1:
        raise ValueError(f"noise is a probability in [0, 1]; got {noise}")
    if shapes < 0 or holes < 0:
        raise ValueError(f"shapes and holes must be >= 0; got {shapes} and {holes}")

    def one(key: jax.Array) -> jax.Array:
        shape_key, hole_key, noise_key, invert_key = jax.random.split(key, 4)
        filled = jnp.any(_shapes(shape_key, shapes, size, 0.05 * size, 0.25 * size), axis=0)
        cut = jnp.any(_shapes(hole_key, holes, size, 0.02 * size, 0.1 * size), axis=0)
        flipped = bernoulli(noise_key, noise, (size, size))
        return (filled & ~cut) ^ flipped ^ jax.random.bernoulli(invert_key)

    return jax.vmap(one)(jax.random.split(key, batch))
