"""A real scan: the page of text that scikit-image ships, binarised, with seeded noise added.

Needs scikit-image (``pip install bimonn-jax[viz]``), whose package contains the picture.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Page:
    """A binarised scan cut into three parts side by side; True is ink. All bool (H, W_part)."""

    training: jax.Array
    validation: jax.Array
    test: jax.Array


def load_page(name: str = "page") -> Page:
    """Loads, thresholds and splits a scan: 55 % training, 10 % validation, 35 % test, by columns.

    Ink is what is darker than the local mean of 51 x 51 pixels by 10 gray levels of 255.

    Args:
      name: "page" or "text", the pictures of these names in `skimage.data`.

    Raises:
      ValueError: for another name.
      ImportError: where scikit-image is missing.
    """
    if name not in ("page", "text"):
        raise ValueError(f"name must be 'page' or 'text'; got {name!r}")
    try:
        from skimage import data, filters
    except ImportError as error:
        raise ImportError("load_page needs scikit-image: pip install 'bimonn-jax[viz]'") from error
    scan = getattr(data, name)()
    ink = np.asarray(scan < filters.threshold_local(scan, 51, method="mean", offset=10))
    cuts = [round(share * ink.shape[1]) for share in (0.55, 0.65)]
    return Page(*(jnp.asarray(part) for part in np.split(ink, cuts, axis=1)))


def salt_and_pepper(key: jax.Array, x: jax.Array, *, amount: float = 0.1) -> jax.Array:
    """Replaces a share of the pixels of a bool image by True or False, with equal probability.

    Raises:
      ValueError: if ``amount`` is not in [0, 1].
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"amount is a probability in [0, 1]; got {amount}")
    where_key, value_key = jax.random.split(key)
    replaced = jax.random.bernoulli(where_key, amount, x.shape)
    return jnp.where(replaced, jax.random.bernoulli(value_key, 0.5, x.shape), x)


def noisy_crops(
    key: jax.Array, image: jax.Array, batch: int, *, size: int = 64, amount: float = 0.1
) -> tuple[jax.Array, jax.Array]:
    """Random crops of a clean image, with fresh noise: bool (x, y), each (batch, size, size, 1).

    Raises:
      ValueError: if the image is smaller than a crop.
    """
    height, width = image.shape
    if size > min(height, width):
        raise ValueError(f"the image is {height} x {width}; crops of {size} do not fit")
    row_key, column_key, noise_key = jax.random.split(key, 3)
    rows = jax.random.randint(row_key, (batch,), 0, height - size + 1)
    columns = jax.random.randint(column_key, (batch,), 0, width - size + 1)
    crop = jax.vmap(lambda r, c: jax.lax.dynamic_slice(image, (r, c), (size, size)))
    y = crop(rows, columns)
    return salt_and_pepper(noise_key, y, amount=amount)[..., None], y[..., None]
