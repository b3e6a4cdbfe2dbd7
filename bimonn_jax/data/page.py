"""Real scans: the pages of text that scikit-image ships, binarized, and copies of them degraded.

Needs scikit-image (``pip install bimonn-jax[viz]``), whose package contains the picture.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.data.image_files import Reading
from bimonn_jax.data.image_pairs import Pair, split_pairs
from bimonn_jax.morphology.operators import dilation


@dataclass(frozen=True)
class Page:
    """A binarized scan cut into three parts side by side; True is ink. All bool (H, W_part)."""

    training: jax.Array
    validation: jax.Array
    test: jax.Array


def load_page(name: str = "page") -> Page:
    """Loads, thresholds and splits a scan: 55 % training, 10 % validation, 35 % test, by columns.

    Ink is what `Reading("local")` calls dark.

    Args:
      name: "page" or "text", the pictures of these names in `skimage.data`.

    Raises:
      ValueError: for another name.
      ImportError: where scikit-image is missing.
    """
    if name not in ("page", "text"):
        raise ValueError(f"name must be 'page' or 'text'; got {name!r}")
    try:
        from skimage import data
    except ImportError as error:
        raise ImportError("load_page needs scikit-image: pip install 'bimonn-jax[viz]'") from error
    ink = Reading("local").to_bits(getattr(data, name)())
    split = split_pairs([Pair(name, ink, ink, ink)])
    parts = (*split.training, *split.validation, *split.test)
    return Page(*(jnp.asarray(part.y) for part in parts))


def salt_and_pepper(key: jax.Array, x: jax.Array, *, amount: float = 0.1) -> jax.Array:
    """Replaces a share of the pixels of a bool image by True or False, with equal probability.

    Raises:
      ValueError: if ``amount`` is not in [0, 1].
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"amount is a probability in [0, 1]; got {amount}")
    where_key, value_key = jax.random.split(key)
    replaced = bernoulli(where_key, amount, x.shape)
    return jnp.where(replaced, bernoulli(value_key, 0.5, x.shape), x)


def degrade(key: jax.Array, x: jax.Array) -> jax.Array:
    """A bad copy of a page: broken strokes, scratches and dust, then salt and pepper.

    - Holes of 2 x 2 pixels, 1 for every 100 pixels, where the toner did not hold: strokes break.
    - Lines one pixel wide, horizontal and vertical, 41 pixels long: 5 % of the pixels.
    - 5 % of the pixels are replaced by salt or pepper.

    Args:
      key: a JAX random key.
      x: bool (H, W); True is ink.

    Returns:
      bool (H, W).
    """
    hole_key, row_key, column_key, noise_key = jax.random.split(key, 4)

    def stamped(key: jax.Array, rows: int, columns: int, share: float) -> jax.Array:
        # Positions are drawn so that about ``share`` of all pixels are covered.
        centers = bernoulli(key, share / (rows * columns), x.shape)
        return dilation(centers, jnp.ones((rows, columns), bool))

    holes = stamped(hole_key, 2, 2, 0.04)
    lines = stamped(row_key, 1, 41, 0.025) | stamped(column_key, 41, 1, 0.025)
    return salt_and_pepper(noise_key, (x & ~holes) | lines, amount=0.05)


def degraded_crops(
    key: jax.Array, image: jax.Array, batch: int, *, size: int = 64
) -> tuple[jax.Array, jax.Array]:
    """Random crops of a clean image, freshly degraded: bool (x, y), each (batch, size, size, 1).

    Raises:
      ValueError: if the image is smaller than a crop.
    """
    height, width = image.shape
    if size > min(height, width):
        raise ValueError(f"the image is {height} x {width}; crops of {size} do not fit")
    row_key, column_key, noise_key = jax.random.split(key, 3)
    rows = jax.random.randint(row_key, (batch,), 0, height - size + 1)
    columns = jax.random.randint(column_key, (batch,), 0, width - size + 1)

    def crop(row: jax.Array, column: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (row, column), (size, size))

    y = jax.vmap(crop)(rows, columns)
    x = jax.vmap(degrade)(jax.random.split(noise_key, batch), y)
    return x[..., None], y[..., None]
