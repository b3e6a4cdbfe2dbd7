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

import jax
import jax.numpy as jnp
from flax import struct

from bimonn_jax.params import flat_weight, per_neuron


@struct.dataclass
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


def _one_neuron(
    w: jax.Array, b: jax.Array, p: jax.Array, v1: jax.Array, v2: jax.Array, margin: jax.Array
) -> Activation:
    positive, negative = jnp.maximum(w, 0), -jnp.sum(jnp.maximum(-w, 0))
    total, is_positive = jnp.sum(positive), p > 0

    def masked_min(values: jax.Array, mask: jax.Array) -> jax.Array:
        return jnp.min(jnp.where(mask, values, jnp.inf))

    def fits(lower: jax.Array, upper: jax.Array) -> jax.Array:
        above = jnp.where(is_positive, lower + margin <= b, lower + margin < b)
        below = jnp.where(is_positive, b < upper - margin, b <= upper - margin)
        return above & below & (p != 0)

    dilating = jnp.where(is_positive, v2 * w > b, v2 * w >= b)
    dilation_lower = jnp.sum(jnp.where(dilating, v1 * positive, positive))
    dilation_upper = masked_min(v2 * w, dilating) + negative
    slack = total - b
    eroding = jnp.where(is_positive, (1 - v1) * w >= slack, (1 - v1) * w > slack)
    erosion_lower = total - masked_min((1 - v1) * w, eroding)
    erosion_upper = jnp.sum(jnp.where(eroding, v2 * positive, 0)) + negative

    is_dilation = fits(dilation_lower, dilation_upper)
    is_erosion = fits(erosion_lower, erosion_upper) & ~is_dilation
    return Activation(
        is_activated=is_dilation | is_erosion,
        is_erosion=is_erosion,
        footprint=jnp.where(is_erosion, eroding, dilating),
        lower=jnp.where(is_erosion, erosion_lower, dilation_lower),
        upper=jnp.where(is_erosion, erosion_upper, dilation_upper),
    )


@jax.jit
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
        (see `rounding_margin`).

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
    margin = jnp.zeros_like(bias) + margin
    return per_neuron(_one_neuron, bias.ndim)(W, bias, scale, v1, v2, margin)


def rounding_margin(
    weight: jax.Array, bias: jax.Array, scale: jax.Array, dtype: jnp.dtype
) -> jax.Array:
    """Bound on the rounding of W x - B in ``dtype``, for x in [0, 1]^n and any order of summation.

    With u the unit roundoff: (2 n + 16) u (sum |w| + |B|) covers the n products and sums, the
    subtraction, and W and B themselves coming from a reparametrisation that sums n terms; 4 u / |p|
    is the smallest distance to the threshold at which xi still rounds to another value than 1/2.

    Args:
      weight: W, float (footprint..., neurons...).
      bias: B, float (neurons...).
      scale: p, float (neurons...).
      dtype: the floating-point type whose rounding is meant.

    Returns:
      Float (neurons...), of the dtype of ``weight``; infinite where p = 0.
    """
    W = flat_weight(weight, bias)
    unit = float(jnp.finfo(dtype).eps) / 2
    magnitude = jnp.sum(jnp.abs(W), axis=0) + jnp.abs(bias)
    return (2 * W.shape[0] + 16) * unit * magnitude + 4 * unit / jnp.abs(scale)
