"""Boolean morphology on images: the ground truth that every network is compared with.

Images are bool arrays (..., H, W); a footprint (also called structuring element) is a bool array
(kh, kw). Both operators **cross-correlate**: output pixel ``i`` reads ``x[i + k - center]`` for
every ``k`` set in the footprint (see `bimonn_jax.morphology.windows` for the center of even sizes),
so erosion and dilation are dual under the complement with the *same* footprint. Libraries that
mirror the footprint for a dilation (SciPy) are reached through
`bimonn_jax.morphology.other_libraries`.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.morphology.windows import Border, Padding, pad_image, pad_widths, shifted_views

Image = jax.Array


def _check(name: str, value: jax.Array | np.ndarray, axes: str) -> None:
    if value.dtype != jnp.bool_:
        raise ValueError(
            f"{name} must be bool, got {value.dtype}: threshold it first, for example {name} > 0.5"
        )
    if value.ndim < 2 or (value.ndim > 2 and "..." not in axes):
        raise ValueError(f"{name} has shape {value.shape}; {axes} was expected")
    if 0 in value.shape[value.ndim - 2 :]:
        raise ValueError(f"{name} has shape {value.shape}: it has no pixels")


def _checked(
    x: jax.Array | np.ndarray, footprint: jax.Array | np.ndarray
) -> tuple[jax.Array, jax.Array]:
    """Image and footprint as JAX arrays; raises ValueError where they are none."""
    x, footprint = jnp.asarray(x), jnp.asarray(footprint)
    _check("x", x, "(..., height, width)")
    _check("footprint", footprint, "(height, width)")
    return x, footprint


@jax.jit
def _dilate(padded: jax.Array, footprint: jax.Array) -> jax.Array:
    """The dilation of an image that is padded already."""
    kh, kw = footprint.shape
    hits = [view & footprint[at] for at, view in shifted_views(padded, (kh, kw))]
    return reduce(jnp.logical_or, hits)


def _erode(padded: jax.Array, footprint: jax.Array) -> jax.Array:
    """The erosion: the dual of the dilation."""
    eroded: Image = ~_dilate(~padded, footprint)
    return eroded


@partial(jax.jit, static_argnames=("operator", "padding", "border"))
def _applied(
    operator: Callable[[Image, jax.Array], Image],
    x: jax.Array,
    footprint: jax.Array,
    padding: tuple[tuple[int, int], ...],
    border: Border,
) -> Image:
    return operator(pad_image(x, footprint.shape, padding=padding, border=border), footprint)


def dilation(
    x: Image, footprint: jax.Array, *, padding: Padding = "SAME", border: Border = "zero"
) -> Image:
    """Dilation: OR of the pixels that the footprint selects around each pixel.

    ``out[i] = any_k footprint[k] & x[i + k - center]`` (arXiv 2401.03830, section 2). Compiled once
    for every shape of image and footprint; kh kw operations a pixel.

    Args:
      x: bool (..., H, W).
      footprint: bool (kh, kw). An empty one gives an all-False image.
      padding: "SAME", "VALID", ints or pairs, as in Flax.
      border: "zero", "edge", "reflect" or "wrap": what lies outside of the image.

    Returns:
      bool (..., H', W'), with H' = H and W' = W for "SAME".

    Raises:
      ValueError: if an argument is not bool, has a wrong rank, or the kernel does not fit.

    Examples:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([[False, True, False, False]])
      >>> dilation(x, jnp.array([[True, False, True]]))
      Array([[ True, False,  True, False]], dtype=bool)
    """
    x, footprint = _checked(x, footprint)
    dilated: Image = _applied(_dilate, x, footprint, pad_widths(footprint.shape, padding), border)
    return dilated


def erosion(
    x: Image, footprint: jax.Array, *, padding: Padding = "SAME", border: Border = "zero"
) -> Image:
    """Erosion: AND of the pixels that the footprint selects around each pixel.

    ``out[i] = all_k ~footprint[k] | x[i + k - center]``: the complement of the dilation of the
    complement by the same footprint. With ``border="zero"`` pixels outside are False, so an erosion
    clears what touches the border. Compiled once for every shape of image and footprint.

    Args:
      x: bool (..., H, W).
      footprint: bool (kh, kw). An empty one gives an all-True image.
      padding: "SAME", "VALID", ints or pairs, as in Flax.
      border: "zero", "edge", "reflect" or "wrap": what lies outside of the image.

    Returns:
      bool (..., H', W'), with H' = H and W' = W for "SAME".

    Raises:
      ValueError: if an argument is not bool, has a wrong rank, or the kernel does not fit.

    Examples:
      >>> import jax.numpy as jnp
      >>> erosion(jnp.array([[True, True, True, False]]), jnp.array([[True, True, False]]))
      Array([[False,  True,  True, False]], dtype=bool)
    """
    x, footprint = _checked(x, footprint)
    eroded: Image = _applied(_erode, x, footprint, pad_widths(footprint.shape, padding), border)
    return eroded


def embed_in_odd(footprint: jax.Array) -> jax.Array:
    """Pads an even-sized footprint to the next odd size, so that its center does not move.

    Our center of an even size k is (k - 1) // 2; one empty row before puts it in the middle of
    k + 1. Odd sizes are returned as they are. Works for bool (kh, kw).

    Examples:
      >>> import numpy as np
      >>> embed_in_odd(np.array([[True, True]])).astype(int)
      Array([[0, 1, 1]], dtype=int32)
    """
    return jnp.pad(jnp.asarray(footprint), [(1 - k % 2, 0) for k in footprint.shape])


def reflect(footprint: jax.Array) -> jax.Array:
    """The footprint mirrored through its center, bool (kh, kw) with odd sizes.

    Examples:
      >>> import numpy as np
      >>> reflect(np.array([[True, True]])).astype(int)
      Array([[1, 1, 0]], dtype=int32)
    """
    return embed_in_odd(footprint)[::-1, ::-1]


def _one_after_the_other(
    first: Callable[..., Image],
    second: Callable[..., Image],
    x: Image,
    footprint: jax.Array,
    border: Border,
) -> Image:
    """An operator, then another by the reflected footprint."""
    x, footprint = _checked(x, footprint)
    footprint = embed_in_odd(footprint)
    if border not in ("edge", "reflect"):
        return second(first(x, footprint, border=border), reflect(footprint), border=border)
    # The image is extended once, for both: the first operator's result would be extended otherwise
    # than the image, and an opening could add pixels there.
    both = tuple((side - 1, side - 1) for side in footprint.shape)
    found = first(x, footprint, padding=both, border=border)
    return second(found, reflect(footprint), padding="VALID")


def opening(x: Image, footprint: jax.Array, *, border: Border = "zero") -> Image:
    """Opening: an erosion, then the dilation by the *reflected* footprint (its adjoint).

    Anti-extensive, ``opening(x) <= x``, and increasing with every border; idempotent with
    ``border="zero"`` and "wrap", and with the others away from the border.

    Args:
      x: bool (..., H, W).
      footprint: bool (kh, kw); even sizes are embedded in odd ones.
      border: what lies outside of the image. "edge" and "reflect" extend it by kh - 1 and kw - 1
        pixels, once for both operators.

    Returns:
      bool (..., H, W).

    Raises:
      ValueError: see `dilation`.
    """
    return _one_after_the_other(erosion, dilation, x, footprint, border)


def closing(x: Image, footprint: jax.Array, *, border: Border = "zero") -> Image:
    """Closing: a dilation, then the erosion by the *reflected* footprint (its adjoint).

    Increasing with every border, and extensive, ``closing(x) >= x``, with every one but "zero",
    where the erosion sees False outside of the image and clears pixels at the border; idempotent
    with "wrap", and with the others away from the border.

    Args:
      x: bool (..., H, W).
      footprint: bool (kh, kw); even sizes are embedded in odd ones.
      border: what lies outside of the image, as in `opening`.

    Returns:
      bool (..., H, W).

    Raises:
      ValueError: see `dilation`.
    """
    return _one_after_the_other(dilation, erosion, x, footprint, border)


def white_tophat(x: Image, footprint: jax.Array, *, border: Border = "zero") -> Image:
    """White top-hat: what an `opening` removes, ``x & ~opening(x)``; arguments as there."""
    return jnp.asarray(x) & ~opening(x, footprint, border=border)


def black_tophat(x: Image, footprint: jax.Array, *, border: Border = "zero") -> Image:
    """Black top-hat: what a `closing` adds, ``closing(x) & ~x``; arguments as there."""
    return closing(x, footprint, border=border) & ~jnp.asarray(x)


def _some(images: Sequence[Image]) -> Sequence[Image]:
    if not images:
        raise ValueError("images must hold at least one image")
    return images


def union(images: Sequence[Image]) -> Image:
    """Union of bool images of one shape: a dilation over the channel axis.

    Raises:
      ValueError: if there are none.
    """
    return reduce(jnp.logical_or, _some(images))


def intersection(images: Sequence[Image]) -> Image:
    """Intersection of bool images of one shape: an erosion over the channel axis.

    Raises:
      ValueError: if there are none.
    """
    return reduce(jnp.logical_and, _some(images))
