"""Level sets: grayscale images as binary channels, by one rule for all dtypes, and back."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.morphology.operators import Image

# Of level sets, for a network: for every channel, or one row a channel.
LevelThresholds = tuple[float, ...] | tuple[tuple[float, ...], ...]


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
    x: jax.Array | np.ndarray,
    thresholds: Sequence[float] | Sequence[Sequence[float]] | np.ndarray | jax.Array,
) -> jax.Array:
    """Binary channels ``[x >= t]`` of a grayscale or color image (NHWC).

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


def complement_channels(x: jax.Array) -> jax.Array:
    """Appends the complement of every channel: (..., C) -> (..., 2 C), x then 1 - x (or ~x).

    Raises:
      ValueError: if ``x`` is of an unsigned type, in which 1 - x would wrap around.
    """
    if jnp.issubdtype(x.dtype, jnp.unsignedinteger):
        raise ValueError(f"x must be bool or float in [0, 1], got {x.dtype}: threshold it first")
    return jnp.concatenate([x, ~x if x.dtype == jnp.bool_ else 1 - x], axis=-1)
