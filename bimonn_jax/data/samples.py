"""Functions of a key that draw batches: what training learns from."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bimonn_jax._support.pytrees import pytree, static
from bimonn_jax._support.random_arrays import randint
from bimonn_jax.data.classification import check_labeled

Sample = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


@pytree(eq=False)
class _Batches:
    """What `batches` builds: a function that is a tree, whose arrays are the data."""

    images: jax.Array
    labels: jax.Array
    batch: int = static()
    shift: int = static()

    def __call__(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        image_key, shift_key = jax.random.split(key)
        index = jax.random.randint(image_key, (self.batch,), 0, self.images.shape[0])
        x = self.images[index]
        if self.shift:
            corners = randint(shift_key, (self.batch, 2), 0, 2 * self.shift + 1)
            margins = ((0, 0), (self.shift, self.shift), (self.shift, self.shift), (0, 0))
            x = jax.vmap(
                lambda image, at: jax.lax.dynamic_slice(image, (*at, 0), self.images.shape[1:])
            )(jnp.pad(x, margins), corners)
        return x, self.labels[index]


def batches(images: jax.Array, labels: jax.Array, batch: int, *, shift: int = 0) -> Sample:
    """Builds the ``sample`` of `bimonn_jax.fit`: random images, each shifted on its own.

    Args:
      images: (N, H, W, C), on the device.
      labels: (N,).
      batch: images per batch.
      shift: largest shift in pixels, along both axes; zeros come in.

    Raises:
      ValueError: if there are no images, not as many labels, or a number is out of its range.
    """
    check_labeled(images, labels)
    if batch < 1 or shift < 0:
        raise ValueError(f"batch must be >= 1 and shift >= 0; got {batch} and {shift}")
    return _Batches(images, labels, batch, shift)
