"""Functions of a key that draw batches: what training learns from."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from bimonn_jax._support.pytrees import pytree, static
from bimonn_jax._support.random_arrays import normal, randint
from bimonn_jax.data.classification import check_labeled

Sample = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


@pytree(eq=False)
class _Batches:
    """What `batches` builds: a function that is a tree, whose arrays are the data."""

    images: jax.Array
    labels: jax.Array
    batch: int = static()
    shift: int = static()
    warp: float = static()

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
        if self.warp:
            x = _warped(jax.random.fold_in(key, 1), x, self.warp)
        return x, self.labels[index]


# Points of the grid on which displacements are drawn, along each axis: few enough that strokes stay
# strokes, and enough for more than a rotation or a slant.
_GRID = 4


def _warped(key: jax.Array, images: jax.Array, size: float) -> jax.Array:
    """Images (N, H, W, C), each bent by a smooth random displacement of ``size`` pixels."""
    count, height, width, _ = images.shape
    coarse = size * normal(key, (count, 2, _GRID, _GRID))
    offsets = jax.image.resize(coarse, (count, 2, height, width), "cubic")
    places = offsets + jnp.indices((height, width), offsets.dtype)[None]

    def one(image: jax.Array, at: jax.Array) -> jax.Array:
        found: jax.Array = map_coordinates(image, list(at), order=1)
        return found

    floats = images.astype(offsets.dtype)
    warped: jax.Array = jax.vmap(jax.vmap(one, (-1, None), -1))(floats, places)
    if jnp.issubdtype(images.dtype, jnp.integer):
        warped = jnp.round(warped)
    return warped.astype(images.dtype)


def batches(
    images: jax.Array, labels: jax.Array, batch: int, *, shift: int = 0, warp: float = 0.0
) -> Sample:
    """Builds the ``sample`` of `bimonn_jax.fit`: random images, each moved and bent on its own.

    Args:
      images: (N, H, W, C), on the device.
      labels: (N,).
      batch: images per batch.
      shift: largest shift in pixels, along both axes; zeros come in.
      warp: root of the mean square, in pixels, of displacements that are drawn on a grid of 4 x 4
        points and change smoothly between them; zeros come in. Images are interpolated linearly,
        and rounded if they are integers.

    Raises:
      ValueError: if there are no images, not as many labels, or a number is out of its range.
    """
    check_labeled(images, labels)
    if batch < 1 or shift < 0 or not 0 <= warp < math.inf:
        raise ValueError(
            "batch must be >= 1, shift >= 0, and warp >= 0 and finite; got "
            f"{batch}, {shift} and {warp}"
        )
    return _Batches(images, labels, batch, shift, warp)
