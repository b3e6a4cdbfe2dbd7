"""Boolean morphology on images: the ground truth that every network is compared with.

Images are bool arrays (..., H, W); a footprint (also called structuring element) is a bool array
(kh, kw). Both operators **cross-correlate**: output pixel ``i`` reads ``x[i + k - centre]`` for
every ``k`` set in the footprint (see `bimonn_jax.windows` for the centre of even sizes), so erosion
and dilation are dual under the complement with the *same* footprint. Libraries that mirror the
footprint for a dilation (SciPy) are reached through `bimonn_jax.conventions`.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.windows import Border, Padding, pad_image, pad_widths, shifted_views

Image = jax.Array
# Of level sets, for a network: for every channel, or one row a channel.
LevelThresholds = tuple[float, ...] | tuple[tuple[float, ...], ...]


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
    hits = [view & footprint[at] for at, view in shifted_views(padded, footprint.shape)]
    return reduce(jnp.logical_or, hits)


def _erode(padded: jax.Array, footprint: jax.Array) -> jax.Array:
    """The erosion: the dual of the dilation."""
    return ~_dilate(~padded, footprint)


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

    ``out[i] = any_k footprint[k] & x[i + k - centre]`` (arXiv 2401.03830, section 2). Compiled once
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
    return _applied(_dilate, x, footprint, pad_widths(footprint.shape, padding), border)


def erosion(
    x: Image, footprint: jax.Array, *, padding: Padding = "SAME", border: Border = "zero"
) -> Image:
    """Erosion: AND of the pixels that the footprint selects around each pixel.

    ``out[i] = all_k ~footprint[k] | x[i + k - centre]``: the complement of the dilation of the
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
    return _applied(_erode, x, footprint, pad_widths(footprint.shape, padding), border)


def embed_in_odd(footprint: jax.Array) -> jax.Array:
    """Pads an even-sized footprint to the next odd size, so that its centre does not move.

    Our centre of an even size k is (k - 1) // 2; one empty row before puts it in the middle of
    k + 1. Odd sizes are returned as they are. Works for bool (kh, kw).

    Examples:
      >>> import numpy as np
      >>> embed_in_odd(np.array([[True, True]])).astype(int)
      Array([[0, 1, 1]], dtype=int32)
    """
    return jnp.pad(jnp.asarray(footprint), [(1 - k % 2, 0) for k in footprint.shape])


def reflect(footprint: jax.Array) -> jax.Array:
    """The footprint mirrored through its centre, bool (kh, kw) with odd sizes.

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


def level_sets(x: jax.Array, thresholds: Sequence[float] | jax.Array) -> jax.Array:
    """Binary channels ``[x >= t]`` of a grayscale or colour image (NHWC).

    Args:
      x: real (..., C).
      thresholds: q increasing values, used for every channel, or (C, q), one row a channel.

    Returns:
      bool (..., C * q): channel c at threshold k is at c * q + k.

    Raises:
      ValueError: if the thresholds do not increase or their rows are not one per channel.

    Examples:
      >>> import jax.numpy as jnp
      >>> level_sets(jnp.array([[10], [200]]), [50, 150]).astype(int)
      Array([[0, 0], [1, 1]], dtype=int32)
    """
    values = np.atleast_1d(np.asarray(thresholds))
    channels = x.shape[-1]
    if values.ndim > 2 or (values.ndim == 2 and values.shape[0] != channels):
        raise ValueError(
            f"thresholds have shape {values.shape}; (q,) or ({channels}, q) was expected"
        )
    increases = np.all(np.diff(values, axis=-1) > 0) and not np.isnan(values).any()
    if values.size == 0 or not increases:
        raise ValueError(f"thresholds must be strictly increasing along q, got {values.tolist()}")
    bits = x[..., :, None] >= jnp.asarray(values)
    return bits.reshape(*x.shape[:-1], channels * values.shape[-1])


def from_level_sets(
    bits: jax.Array, thresholds: Sequence[float] | jax.Array, *, base: float = 0.0
) -> jax.Array:
    """Sums level sets back to grayscale with the gaps of the thresholds.

    ``base + sum_k bits[..., k] * (t_k - t_(k-1))`` with ``t_0 = base``: the inverse of `level_sets`
    on images whose values are ``base`` or a threshold.

    Args:
      bits: bool (..., q), the level sets of one channel.
      thresholds: q increasing values.
      base: the value where no level set is on.

    Returns:
      float (...).

    Examples:
      >>> import jax.numpy as jnp
      >>> from_level_sets(jnp.array([[True, False], [True, True]]), [50.0, 150.0])
      Array([ 50., 150.], dtype=float32)
    """
    gaps = jnp.diff(jnp.asarray(thresholds, float), prepend=base)
    if bits.shape[-1] != gaps.shape[0]:
        raise ValueError(f"bits have {bits.shape[-1]} level sets for {gaps.shape[0]} thresholds")
    return base + jnp.sum(jnp.where(bits, gaps, 0.0), axis=-1)


def on_level_sets(
    operator: Callable[[Image], Image], x: jax.Array, thresholds: Sequence[float] | jax.Array
) -> jax.Array:
    """Applies an increasing binary operator to a grayscale image, level set by level set.

    Args:
      operator: bool (..., H, W) -> bool (..., H, W), increasing (no complement, no top-hat).
      x: real (..., H, W), with values among ``base`` = 0 and the thresholds; others are rounded
        down to the next threshold.
      thresholds: q increasing values.

    Returns:
      float (..., H, W).
    """
    bits = jnp.moveaxis(level_sets(x[..., None], thresholds), -1, 0)
    return from_level_sets(jnp.moveaxis(jax.vmap(operator)(bits), 0, -1), thresholds)


def same_up_to_translation(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two bool footprints hold the same non-empty set of pixels, shifted or not.

    Examples:
      >>> same_up_to_translation(np.eye(2, dtype=bool), np.eye(3, dtype=bool)[:, :2])
      True
    """

    def cropped(footprint: np.ndarray) -> np.ndarray:
        rows, columns = np.nonzero(footprint)
        if rows.size == 0:
            return np.zeros((0, 0), bool)
        return footprint[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]

    a, b = cropped(np.asarray(first)), cropped(np.asarray(second))
    return bool(a.size) and a.shape == b.shape and bool((a == b).all())
