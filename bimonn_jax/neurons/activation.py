"""Activation: when a BiSE neuron *is* a dilation or an erosion (arXiv 2401.03830, section 4).

An input is *almost binary* with dead zone (v1, v2) when every value lies in [0, v1] or [v2, 1]. On
such inputs, and for weights of any sign, the neuron with weights W and bias B is

    the dilation by S when  lower <= B < upper,
        lower = sum_{i not in S} w_i+ + sum_{i in S} v1_i w_i+,   upper = min_{i in S} v2_i w_i - N
    the erosion by S when   lower <= B < upper,
        lower = P - min_{i in S} (1 - v1_i) w_i,                  upper = sum_{i in S} v2_i w_i+ - N

with w+ = max(w, 0), P = sum w+ and N = sum max(-w, 0). The output is 1 where p (W x - B) > 0: with
p > 0 equality holds on the left as written, with p < 0 on the right instead. At most one S per
operator can work, {v2 w > B} and {(1 - v1) w >= P - B}: form it, then check. The empty S is
included: its dilation is the constant 0 (P <= B), its erosion the constant 1 (B < -N). On binary
inputs, (v1, v2) = (0, 1), the test is necessary and sufficient.
"""

import math
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.promotion import promoting
from bimonn_jax._support.pytrees import pytree
from bimonn_jax.neurons.params import flat_weight


@pytree
class Activation:
    """Which operator each neuron is; arrays of shape (neurons...) unless said otherwise.

    Attributes:
      is_activated: bool; whether the neuron is exactly a dilation or an erosion.
      is_erosion: bool; the operator. Meaningless where not activated; False where both fit.
      footprint: bool (n, neurons...); S. Meaningless where not activated.
      lower: float; lb, the largest sum at which the output is to be 0 (before its complement).
      upper: float; ub, the smallest sum at which it is to be 1.
    """

    is_activated: jax.Array
    is_erosion: jax.Array
    footprint: jax.Array
    lower: jax.Array
    upper: jax.Array


def _of_columns(
    w: Any, b: Any, p: Any, v1: Any, v2: Any, margin: Any, xp: ModuleType
) -> Activation:
    """`activation` of weights (n, neurons...), by `numpy` or `jax.numpy`."""
    positive, negative = xp.maximum(w, 0), -xp.sum(xp.maximum(-w, 0), axis=0)
    # The sign bit, for p > 0 fails for a subnormal p where those are flushed to zero.
    total, is_positive = xp.sum(positive, axis=0), ~xp.signbit(p)

    def masked_min(values: Any, mask: Any) -> Any:
        return xp.min(xp.where(mask, values, xp.inf), axis=0)

    def fits(lower: Any, upper: Any) -> Any:
        above = xp.where(is_positive, lower + margin <= b, lower + margin < b)
        below = xp.where(is_positive, b < upper - margin, b <= upper - margin)
        return above & below & (p != 0)

    high = v2 * w
    dilating = xp.where(is_positive, high > b, high >= b)
    dilation_lower = xp.sum(xp.where(dilating, v1 * positive, positive), axis=0)
    dilation_upper = masked_min(high, dilating) + negative
    slack, room = total - b, (1 - v1) * w
    eroding = xp.where(is_positive, room >= slack, room > slack)
    erosion_lower = total - masked_min(room, eroding)
    erosion_upper = xp.sum(xp.where(eroding, v2 * positive, 0), axis=0) + negative

    is_dilation = fits(dilation_lower, dilation_upper)
    is_erosion = fits(erosion_lower, erosion_upper) & ~is_dilation
    return Activation(
        is_activated=is_dilation | is_erosion,
        is_erosion=is_erosion,
        footprint=xp.where(is_erosion, eroding, dilating),
        lower=xp.where(is_erosion, erosion_lower, dilation_lower),
        upper=xp.where(is_erosion, erosion_upper, dilation_upper),
    )


@jax.jit
@promoting()
def activation(
    weight: jax.Array,
    bias: jax.Array,
    scale: jax.Array,
    *,
    v1: jax.Array | float = 0.0,
    v2: jax.Array | float = 1.0,
    margin: jax.Array | float = 0.0,
) -> Activation:
    """Decides for all neurons at once which operator they are, in O(n) per neuron.

    Args:
      weight: W, float (footprint..., neurons...), any sign.
      bias: B, float (neurons...).
      scale: p, float (neurons...); only its sign matters. A neuron with p = 0 is not activated.
      v1: upper end of the low values, per input; broadcasts to the shape of ``weight``.
      v2: lower end of the high values, per input; broadcasts to the shape of ``weight``.
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
      >>> bool(result.is_activated[0]), bool(result.is_erosion[0]), result.footprint[:, 0].tolist()
      (True, False, [True, True, False])
    """
    W = flat_weight(weight, bias)
    # Sums with zeros keep the sharding that a broadcast would lose.
    v1, v2 = ((jnp.zeros_like(weight) + v).reshape(W.shape) for v in (v1, v2))
    return _of_columns(W, bias, scale, v1, v2, jnp.zeros_like(bias) + margin, jnp)


def activation_on_host(
    weight: np.ndarray,
    bias: np.ndarray,
    scale: np.ndarray,
    *,
    v1: np.ndarray | float = 0.0,
    v2: np.ndarray | float = 1.0,
    margin: np.ndarray | float = 0.0,
) -> Activation:
    """`activation` by NumPy: in the dtype of the arrays, float64 too, and without compiling.

    Arguments and result are those of `activation`, as NumPy arrays.
    """
    W = weight.reshape(math.prod(weight.shape[: weight.ndim - bias.ndim]), *bias.shape)
    v1, v2 = (np.broadcast_to(v, weight.shape).reshape(W.shape) for v in (v1, v2))
    # What overflows is compared as infinite, and what is not a number fits nothing.
    with np.errstate(over="ignore", invalid="ignore"):
        return _of_columns(W, bias, scale, v1, v2, margin, np)
