"""Noisy sticks: thin segments at three angles under salt noise (arXiv 2401.03830, section 6).

The operator that removes the noise is known: the union over the angles of the openings by a
five-pixel stick, which a chain of two BiSEL layers (1 -> 3 -> 1, kernel 5 x 5) can express.
"""

from functools import partial

import jax
import jax.numpy as jnp

from bimonn_jax._support.random_arrays import bernoulli, randint, uniform
from bimonn_jax.morphology.footprints import STICK_DIRECTIONS, stick_footprints
from bimonn_jax.morphology.operators import Image, opening, union


@partial(
    jax.jit,
    static_argnames=("batch", "size", "sticks", "min_length", "max_length", "noise"),
)
def noisy_sticks(
    key: jax.Array,
    batch: int,
    *,
    size: int = 70,
    sticks: int = 30,
    min_length: int = 12,
    max_length: int = 15,
    noise: float = 0.1,
) -> tuple[jax.Array, jax.Array]:
    """Draws a batch of noisy images and their targets; pure, so it runs inside a jitted step.

    Args:
      key: a JAX random key.
      batch: N.
      size: height and width; the density of sticks is the paper's for 70.
      sticks: how many per image, one pixel wide, wholly inside of it.
      min_length: of a stick, in pixels along its larger axis.
      max_length: of a stick, inclusive; at most ``size``.
      noise: probability with which each pixel is switched on.

    Returns:
      (x, y), bool (N, size, size, 1): x = y | noise.

    Raises:
      ValueError: if the batch is empty, or the lengths or the noise are out of range.
    """
    if batch < 1 or sticks < 0:
        raise ValueError(f"batch must be >= 1 and sticks >= 0; got {batch} and {sticks}")
    if not 1 <= min_length <= max_length <= size:
        raise ValueError(
            "1 <= min_length <= max_length <= size must hold; got "
            f"{min_length}, {max_length}, {size}"
        )
    if not 0 <= noise <= 1:
        raise ValueError(f"noise is a probability in [0, 1]; got {noise}")
    angle_key, length_key, start_key, noise_key = jax.random.split(key, 4)
    shape = (batch, sticks)
    direction = jnp.asarray(STICK_DIRECTIONS)[randint(angle_key, shape, 0, 3)]
    length = randint(length_key, shape, min_length, max_length + 1)
    reach = direction * (length[..., None] - 1)
    low, high = jnp.maximum(0, -reach), size - jnp.maximum(0, reach)
    share = uniform(start_key, (*shape, 2))
    start = low + jnp.floor(share * (high - low).astype(share.dtype)).astype(low.dtype)
    steps = jnp.arange(max_length).reshape(1, 1, -1, 1)
    points = start[..., None, :] + direction[..., None, :] * steps
    # Points past the end of a stick are sent outside of the image, where the scatter drops them.
    rows = jnp.where(steps[..., 0] < length[..., None], points[..., 0], size)
    image = jnp.arange(batch).reshape(-1, 1, 1)
    y = jnp.zeros((batch, size, size), bool).at[image, rows, points[..., 1]].set(True, mode="drop")
    x = y | bernoulli(noise_key, noise, y.shape)
    return x[..., None], y[..., None]


@jax.jit
def target_operator(x: Image) -> Image:
    """The known solution: the union of the openings by the three sticks, bool (..., H, W)."""
    return union([opening(x, jnp.asarray(stick)) for stick in stick_footprints()])
