"""Starting points taken from data, for neurons trained through the binarisation.

From a random start such networks collapse to a constant (BUILD_NOTES.md); from patches of the input
around pixels of the target they do not: each neuron begins as a pattern that really occurs.
"""

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.random_arrays import uniform


def patches_on_target(
    key: jax.Array,
    x: jax.Array,
    y: jax.Array,
    kernel_size: tuple[int, int],
    count: int,
    *,
    min_on: int = 1,
    max_on: int | None = None,
) -> jax.Array:
    """Draws patches of ``x`` centred on pixels of ``y``, without replacement.

    Args:
      key: a JAX random key.
      x: bool (N, H, W) or (N, H, W, C), concrete.
      y: bool (N, H, W), concrete.
      kernel_size: (kh, kw) of the patches, odd.
      count: how many.
      min_on: the fewest True pixels of a patch, over all channels.
      max_on: the most; None for no limit.

    Returns:
      bool (kh, kw, count), or (kh, kw, C, count).

    Raises:
      ValueError: if there are no images, they are smaller than a patch, or the data has fewer such
        patches.
    """
    kh, kw = kernel_size
    if not len(x) or min(x.shape[1] - kh, x.shape[2] - kw) < 0:
        raise ValueError(
            f"x has shape {x.shape}: at least one image of at least {kh} x {kw} pixels was expected"
        )
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(x), kernel_size, axis=(1, 2))
    height, width = windows.shape[1:3]
    top, left = (kh - 1) // 2, (kw - 1) // 2
    centres = np.asarray(y)[:, top : top + height, left : left + width]
    sizes = windows.sum(axis=tuple(range(3, windows.ndim)))
    upper = windows[0, 0, 0].size if max_on is None else max_on
    places = np.argwhere(centres & (sizes >= min_on) & (sizes <= upper))
    if len(places) < count:
        raise ValueError(
            f"the data has {len(places)} patches of {min_on} to {upper} pixels centred on a pixel "
            f"of the target; {count} were asked for: widen min_on and max_on, or give more images"
        )
    chosen = places[np.asarray(jax.random.choice(key, len(places), (count,), replace=False))]
    patches = jnp.asarray(np.stack([windows[tuple(place)] for place in chosen], axis=-1))
    return jnp.moveaxis(patches, 0, 2) if patches.ndim == 4 else patches


def latents(key: jax.Array, footprint: jax.Array) -> jax.Array:
    """Latents of a footprint that training can change: 0.6 where True, U(0, 0.2) elsewhere.

    Args:
      key: a JAX random key.
      footprint: bool, any shape.

    Returns:
      Float32 of the same shape.
    """
    return jnp.where(footprint, 0.6, uniform(key, footprint.shape, maxval=0.2))
