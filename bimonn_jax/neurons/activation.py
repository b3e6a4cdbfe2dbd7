"""Activation: when a BiSE neuron *is* a rank operator, dilations and erosions among them.

R(S, k) = "at least k of the inputs in S are set", 1 <= k <= |S|: the dilation by S for k = 1, the
erosion for k = |S|, the median in the middle. An input is *almost binary* with dead zone (v1, v2)
when every value lies in [0, v1] or [v2, 1]. On such inputs, and for weights of any sign, the neuron
with weights W and bias B is R(S, k) when all weights of S are positive and lower <= B < upper,

    lower = sum_S v1_i w_i + (the k - 1 largest (1 - v1_i) w_i of S) + sum_{i not in S} max(w_i, 0)
    upper = (the k smallest v2_i w_i of S) + sum_{i not in S} min(w_i, 0)

for these are the largest sum with k - 1 of S set, and the smallest with k. For k = 1 and k = |S|
they are the conditions of the paper (arXiv 2401.03830, section 4); docs/ranks.md derives them. The
output is 1 where p (W x - B) > 0: with p > 0 equality holds on the left as written, with p < 0 on
the right instead.

At most one (S, k) can work. With the inputs set one after the other, in descending order of their
weights, the neuron fires first at the k-th; and S is what fires after the k - 1 before it. So form
it, then check. Constants have the empty S: rank 0 always fires (B < sum of the negative weights),
rank 1 never (B >= sum of the positive ones). On binary inputs the test is necessary and sufficient.
"""

import math
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.promotion import promoting
from bimonn_jax._support.pytrees import pytree
from bimonn_jax._support.sorting import sort_descending
from bimonn_jax.neurons.params import flat_weight


@pytree
class Activation:
    """Which operator each neuron is; arrays of shape (neurons...) unless said otherwise.

    Where a neuron is not activated, only `is_activated` has a meaning.

    Attributes:
      is_activated: bool; whether the neuron is exactly a rank operator, or constant.
      rank: k, int32; of constants 0, always 1, or 1, always 0.
      footprint: bool (n, neurons...); S, empty for constants.
      lower: float; lb, the largest sum at which the output is to be 0 (before its complement).
      upper: float; ub, the smallest sum at which it is to be 1.
    """

    is_activated: jax.Array
    rank: jax.Array
    footprint: jax.Array
    lower: jax.Array
    upper: jax.Array

    @property
    def size(self) -> jax.Array:
        """|S|, int32 (neurons...)."""
        return self.footprint.sum(axis=0, dtype=np.int32)

    @property
    def is_end(self) -> jax.Array:
        """Whether it is a dilation, an erosion or constant, bool (neurons...)."""
        return self.is_activated & ((self.rank <= 1) | (self.rank == self.size))


def _sorted(rows: Any, xp: ModuleType) -> Any:
    """Each row in descending order."""
    if xp is np:
        return -np.sort(-rows, axis=-1)
    flat = jax.vmap(sort_descending)(rows.reshape(-1, rows.shape[-1]))
    return flat.reshape(rows.shape)


def _of_rows(w: Any, b: Any, p: Any, zone: Any, margin: Any, xp: ModuleType) -> Activation:
    """`activation` of weights (neurons..., n), by `numpy` or `jax.numpy`.

    ``zone`` is (v1, v2), each of the shape of the weights, or None on binary inputs. Footprints
    come back as (neurons..., n).
    """
    # The sign bit, for p > 0 fails for a subnormal p where those are flushed to zero.
    is_positive = ~xp.signbit(p)
    places = np.arange(w.shape[-1])

    def fires(sums: Any, axes: int = 0) -> Any:
        bias, side = (v.reshape(*v.shape, *[1] * axes) for v in (b, is_positive))
        return xp.where(side, sums > bias, sums >= bias)

    def sum_where(mask: Any, values: Any) -> Any:
        return xp.sum(xp.where(mask, values, 0), axis=-1)

    values = _sorted(w, xp)
    fired = fires(xp.cumsum(values, axis=-1), 1)
    always = fires(xp.zeros_like(b))
    is_live = fired.any(axis=-1) & ~always
    # Zeros are added to no sum, so that k - 1 = 0 needs no case of its own.
    before = xp.where(is_live, xp.argmax(fired, axis=-1), 0).astype(np.int32)
    rank = xp.where(always, 0, before + 1).astype(np.int32)
    largest = sum_where(places < before[..., None], values)
    kth = xp.take_along_axis(values, before[..., None], axis=-1)
    footprint = (fires(largest[..., None] + w, 1) | (w >= kth)) & is_live[..., None]

    size = xp.sum(footprint, axis=-1)[..., None]
    highest = sum_where(~footprint, xp.maximum(w, 0))
    lowest = sum_where(~footprint, xp.minimum(w, 0))
    if zone is None:
        # S is the first |S| of the sorted weights, all of them positive.
        lower = largest + highest
        smallest = sum_where((size - rank[..., None] <= places) & (places < size), values)
    else:
        v1, v2 = zone
        rooms = _sorted(xp.where(footprint, (1 - v1) * w, -xp.inf), xp)
        lower = sum_where(footprint, v1 * w) + highest
        lower = lower + sum_where(places < before[..., None], rooms)
        highs = -_sorted(xp.where(footprint, -v2 * w, -xp.inf), xp)
        smallest = sum_where(places < rank[..., None], highs)
    # No sum is to be 0 of what always fires, none to be 1 of what never does.
    lower = xp.where(always, -xp.inf, lower)
    upper = xp.where(is_live | always, smallest + lowest, xp.inf)

    above = xp.where(is_positive, lower + margin <= b, lower + margin < b)
    below = xp.where(is_positive, b < upper - margin, b <= upper - margin)
    return Activation(above & below & (p != 0), rank, footprint, lower, upper)


def _of_columns(w: Any, b: Any, p: Any, zone: Any, margin: Any, xp: ModuleType) -> Activation:
    """`activation` of weights (n, neurons...); sorting is faster along the last axis."""
    if zone is not None:
        zone = tuple(xp.moveaxis(v, 0, -1) for v in zone)
    found = _of_rows(xp.moveaxis(w, 0, -1), b, p, zone, margin, xp)
    footprint = xp.moveaxis(found.footprint, -1, 0)
    return Activation(found.is_activated, found.rank, footprint, found.lower, found.upper)


@jax.jit
@promoting()
def activation(
    weight: jax.Array,
    bias: jax.Array,
    scale: jax.Array,
    *,
    v1: jax.Array | float | None = None,
    v2: jax.Array | float | None = None,
    margin: jax.Array | float = 0.0,
) -> Activation:
    """Decides for all neurons at once which operator they are, in O(n log n) per neuron.

    Args:
      weight: W, float (footprint..., neurons...), any sign.
      bias: B, float (neurons...).
      scale: p, float (neurons...); only its sign matters. A neuron with p = 0 is not activated.
      v1: upper end of the low values, per input; broadcasts to the shape of ``weight``. By default
        0: with ``v2``, inputs are binary.
      v2: lower end of the high values, per input; broadcasts to the shape of ``weight``. By default
        1.
      margin: float (neurons...) or a scalar; asks for ``lower + margin <= B < upper - margin``
        (see `bimonn_jax.binarization.rounding`).

    Returns:
      An `Activation`; complements (p < 0) are not applied to its operator.

    Raises:
      ValueError: if the shapes do not match.

    Examples:
      >>> import jax.numpy as jnp
      >>> weights = jnp.array([[3.0], [2.0], [0.5]])  # one neuron of three inputs
      >>> result = activation(weights, jnp.array([1.0]), jnp.array([1.0]))
      >>> bool(result.is_activated[0]), int(result.rank[0]), result.footprint[:, 0].tolist()
      (True, 1, [True, True, False])
    """
    W = flat_weight(weight, bias)
    zone = None
    if v1 is not None or v2 is not None:
        ends = (0.0 if v1 is None else v1, 1.0 if v2 is None else v2)
        # Sums with zeros keep the sharding that a broadcast would lose.
        zone = tuple((jnp.zeros_like(weight) + v).reshape(W.shape) for v in ends)
    return _of_columns(W, bias, scale, zone, jnp.zeros_like(bias) + margin, jnp)


def activation_on_host(
    weight: np.ndarray,
    bias: np.ndarray,
    scale: np.ndarray,
    *,
    v1: np.ndarray | float | None = None,
    v2: np.ndarray | float | None = None,
    margin: np.ndarray | float = 0.0,
) -> Activation:
    """`activation` by NumPy: in the dtype of the arrays, float64 too, and without compiling.

    Arguments and result are those of `activation`, as NumPy arrays.
    """
    W = weight.reshape(math.prod(weight.shape[: weight.ndim - bias.ndim]), *bias.shape)
    zone = None
    if v1 is not None or v2 is not None:
        ends = (0.0 if v1 is None else v1, 1.0 if v2 is None else v2)
        zone = tuple(np.broadcast_to(v, weight.shape).reshape(W.shape) for v in ends)
    # What overflows is compared as infinite, and what is not a number fits nothing.
    with np.errstate(over="ignore", invalid="ignore"):
        return _of_columns(W, bias, scale, zone, margin, np)
