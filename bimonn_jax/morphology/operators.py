"""Boolean morphology on images: the ground truth that every network is compared with.

Images are bool arrays (..., H, W); a footprint (also called structuring element) is a bool array
(kh, kw). Both operators **cross-correlate**: output pixel ``i`` reads ``x[i + k - centre]`` for
every ``k`` set in the footprint (see `bimonn_jax.morphology.windows` for the centre of even sizes),
so erosion and dilation are dual under the complement with the *same* footprint. Libraries that
mirror the footprint for a dilation (SciPy) are reached through
`bimonn_jax.morphology.other_libraries`.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.morphology.windows import Border, Padding, pad_image, pad_widths, shifted_views

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
    dilated: Image = _applied(_dilate, x, footprint, pad_widths(footprint.shape, padding), border)
    return dilated


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
    eroded: Image = _applied(_erode, x, footprint, pad_widths(footprint.shape, padding), border)
    return eroded


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


def as_numbers(x: jax.Array | np.ndarray) -> jax.Array:
    """An array for JAX, as by ``jnp.asarray``, that never wraps whole numbers around.

    Without ``jax_enable_x64`` NumPy's 64-bit numbers become 32-bit ones: floats are rounded, whole
    numbers must fit.

    Args:
      x: numbers or bools of any shape.

    Returns:
      The array; what is a JAX array already is returned as it is.

    Raises:
      ValueError: if a whole number does not fit the dtype that JAX has for it.
    """
    if isinstance(x, jax.Array):
        return x
    given = np.asarray(x)
    # What is too large for float32 is infinite there: nothing to warn of. (``jnp.asarray`` compiles
    # a program for every shape, and keeps it.)
    with np.errstate(over="ignore"):
        array: jax.Array = jax.device_put(given)
    if jnp.issubdtype(array.dtype, jnp.integer) and array.dtype != given.dtype and given.size:
        least, most = int(given.min()), int(given.max())
        ends = jnp.iinfo(array.dtype)
        if least < ends.min or most > ends.max:
            raise ValueError(
                f"x holds {given.dtype} numbers from {least} to {most}, more than {array.dtype}, "
                "all that JAX has, can hold: set jax_enable_x64, or make them floats"
            )
    return array


def read_thresholds(
    thresholds: Sequence[float] | Sequence[Sequence[float]] | np.ndarray | jax.Array,
    channels: int | None = None,
) -> np.ndarray:
    """Thresholds of level sets as every runtime compares with them: rounded to float32, once.

    Args:
      thresholds: q numbers, used for every channel, or (C, q), one row a channel.
      channels: C, where it is known.

    Returns:
      float32 (q,) or (C, q).

    Raises:
      ValueError: if they are not real numbers of that shape, not finite in float32, or do not
        increase strictly in float32.

    Examples:
      >>> read_thresholds([0.5, 1.1 * 110])
      array([  0.5, 121. ], dtype=float32)
    """
    expected = f"(q,) or ({'C' if channels is None else channels}, q)"
    try:
        given = np.atleast_1d(np.asarray(thresholds))
    except ValueError as error:
        raise ValueError(f"thresholds must be of shape {expected}; got {thresholds}") from error
    if not any(jnp.issubdtype(given.dtype, kind) for kind in (jnp.integer, jnp.floating)):
        raise ValueError(f"thresholds must be real numbers; got {given.dtype}")
    is_per_channel = given.ndim == 2 and channels in (None, given.shape[0])
    if given.size == 0 or not (given.ndim == 1 or is_per_channel):
        raise ValueError(f"thresholds have shape {given.shape}; {expected} was expected")
    with np.errstate(over="ignore"):
        values = given.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"thresholds must be finite in float32; got {given.tolist()}")
    if not (values[..., 1:] > values[..., :-1]).all():
        raise ValueError(
            f"thresholds must be strictly increasing along q, in float32; got {given.tolist()}"
        )
    return values


def _whole_at_least(x: jax.Array, thresholds: np.ndarray) -> jax.Array:
    """``x >= thresholds`` for whole numbers ``x``: they compare with the ceilings, as integers."""
    ends = jnp.iinfo(x.dtype)
    # Python's integers: a ceiling may lie outside of any dtype.
    ceilings = [math.ceil(t) for t in thresholds.flat]
    nearest = [min(max(ceiling, int(ends.min)), int(ends.max)) for ceiling in ceilings]
    can_be_reached = np.array([ceiling <= ends.max for ceiling in ceilings])
    levels = np.array(nearest, x.dtype).reshape(thresholds.shape)
    return (x >= levels) & can_be_reached.reshape(thresholds.shape)


def _in_order(x: jax.Array) -> jax.Array:
    """Float32 -> int32 in the same order, -0.0 and 0.0 alike; NaN has no place in it.

    XLA compares subnormal floats as zeros on a CPU; integers it compares as they are.
    """
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    return jnp.where(bits < 0, jnp.iinfo(jnp.int32).min - bits, bits)


def _least_float64(thresholds: np.ndarray) -> np.ndarray:
    """The least float64 numbers that are at least float32 thresholds once rounded to float32.

    Numbers above the middle between a threshold and the float32 number below it round to the
    threshold, the middle itself to the one of both whose last bit is 0. The middles are normal
    float64 numbers, so that comparing with them needs no subnormal ones.
    """
    with np.errstate(over="ignore"):
        below = np.nextafter(thresholds, np.float32(-np.inf)).astype(np.float64)
    # Below the least float32 number, the next one there would be, if exponents went on.
    below = np.maximum(below, -(2.0**128))
    middle = (below + thresholds.astype(np.float64)) / 2
    is_even = thresholds.view(np.uint32) % 2 == 0
    least: np.ndarray = np.where(is_even, middle, np.nextafter(middle, np.inf))
    return least


def _at_least(x: jax.Array, thresholds: np.ndarray) -> jax.Array:
    """``x >= thresholds`` by the rule of `level_sets`; thresholds from `read_thresholds`."""
    if x.dtype == jnp.bool_:
        x = x.astype(jnp.uint8)
    if jnp.issubdtype(x.dtype, jnp.integer):
        return _whole_at_least(x, thresholds)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x must be bool or real numbers, got {x.dtype}")
    if x.dtype == jnp.float64:
        return x >= _least_float64(thresholds)
    x = x.astype(jnp.float32)
    return (_in_order(x) >= _in_order(jnp.asarray(thresholds))) & ~jnp.isnan(x)


def level_sets(
    x: jax.Array | np.ndarray, thresholds: Sequence[float] | np.ndarray | jax.Array
) -> jax.Array:
    """Binary channels ``[x >= t]`` of a grayscale or colour image (NHWC).

    One rule holds in this function, in saved networks and in all that is exported from them:

    - Thresholds are float32 numbers: each is rounded to float32 once, when it is read.
    - Whole numbers and bools, of any width, are compared with the ceiling of ``t``, as integers:
      exactly. Where the dtype cannot reach ``t``, the level set is empty.
    - Floats of any width are rounded to float32, to the nearest, and compared there, subnormal
      numbers included. NaN is below every threshold.

    Args:
      x: bools or real numbers (..., C).
      thresholds: q increasing values, used for every channel, or (C, q), one row a channel.

    Returns:
      bool (..., C * q): channel c at threshold k is at c * q + k.

    Raises:
      ValueError: if ``x`` has no channels or is complex, if it is a NumPy array of whole numbers
        that JAX cannot hold (see `as_numbers`), or for thresholds that `read_thresholds` refuses.

    Examples:
      >>> import jax.numpy as jnp
      >>> level_sets(jnp.array([[10], [200]]), [50, 150]).astype(int)
      Array([[0, 0], [1, 1]], dtype=int32)
    """
    x = as_numbers(x)
    if x.ndim == 0:
        raise ValueError("x has shape (); (..., C) was expected")
    values = read_thresholds(thresholds, x.shape[-1])
    values = values.reshape(*(1,) * (x.ndim + 1 - values.ndim), *values.shape)
    bits = _at_least(x[..., :, None], values)
    return bits.reshape(*x.shape[:-1], x.shape[-1] * values.shape[-1])


def from_level_sets(
    bits: jax.Array, thresholds: Sequence[float] | np.ndarray | jax.Array, *, base: float = 0.0
) -> jax.Array:
    """Sums level sets back to grayscale with the gaps of the thresholds.

    ``base + sum_k bits[..., k] * (t_k - t_(k-1))`` with ``t_0 = base``: the inverse of `level_sets`
    on images whose values are ``base`` or a threshold, exactly, in float32.

    Args:
      bits: bool (..., q), the level sets of one channel.
      thresholds: q increasing values, rounded to float32 as in `level_sets`.
      base: the value where no level set is on, rounded likewise.

    Returns:
      float32 (...).

    Raises:
      ValueError: if there is not one level set per threshold, or for thresholds that
        `read_thresholds` refuses.

    Examples:
      >>> import jax.numpy as jnp
      >>> from_level_sets(jnp.array([[True, False], [True, True]]), [50.0, 150.0])
      Array([ 50., 150.], dtype=float32)
    """
    values = read_thresholds(thresholds)
    if bits.shape[-1:] != values.shape:
        raise ValueError(f"bits have {bits.shape[-1]} level sets for {values.size} thresholds")
    # The same sum, by levels in place of gaps: of nested level sets just one level remains, and
    # nothing is rounded.
    levels = np.concatenate([np.array([base], np.float32), values])
    levels = levels.reshape(*(1,) * (bits.ndim - 1), -1)
    ends = [(0, 0)] * (bits.ndim - 1)
    above = jnp.pad(bits, [*ends, (1, 0)], constant_values=True)
    beyond = jnp.pad(bits, [*ends, (0, 1)])
    return jnp.sum(levels * (above.astype(jnp.float32) - beyond.astype(jnp.float32)), axis=-1)


def on_level_sets(
    operator: Callable[[Image], Image],
    x: jax.Array | np.ndarray,
    thresholds: Sequence[float] | np.ndarray | jax.Array,
) -> jax.Array:
    """Applies an increasing binary operator to a grayscale image, level set by level set.

    Args:
      operator: bool (..., H, W) -> bool (..., H, W), increasing (no complement, no top-hat).
      x: real (..., H, W), with values among ``base`` = 0 and the thresholds; others are rounded
        down to the next threshold. They are compared as in `level_sets`.
      thresholds: q increasing values.

    Returns:
      float32 (..., H, W).
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
