"""How far the neurons that run may lie from real arithmetic: what certificates allow for.

One set of neurons computes y = xi(p (W x - B)) in the dtype of its parameters. The bounds here hold
for every order of summation, with or without fused or wider intermediate results, and whether
subnormal numbers are kept or flushed to zero, as XLA does on a CPU.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.neurons.params import RealNeurons
from bimonn_jax.neurons.reparam import BINARY, dual_total

# What a computed xi may be off by, in units of roundoff: tests/binarization/test_rounding.py tries
# all numbers of 16 bits, and float32 in steps. Compilers use approximations of xi there; float64
# has margins.
_THRESHOLD_UNITS = {"float16": 4, "bfloat16": 4, "float32": 16, "float64": 32}
# With |t| at least so many units, xi(t) rounds to the right side of 1/2 (the same test).
_UNITS_AT_HALF = 4
# Relative errors of a computed softplus, and of a few more products, in units of roundoff.
_SOFTPLUS_UNITS = 16


@dataclass(frozen=True)
class Rounding:
    """A floating-point arithmetic, or the worst of several.

    Attributes:
      dtype: its name; "float32 and bfloat16" for several.
      unit: u, the largest relative error of one operation.
      tiny: the smallest positive normal number.
      largest: the largest finite number.
      threshold_error: the largest error of xi.
    """

    dtype: str
    unit: float
    tiny: float
    largest: float
    threshold_error: float


# In which certificates themselves compute; the error of xi is a few units.
FLOAT64 = Rounding(
    "float64", 2.0**-53, float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max), 2.0**-48
)


def rounding_of(params: RealNeurons) -> Rounding:
    """The arithmetic in which a set of neurons is computed."""
    names = sorted({str(v.dtype) for v in (params.weight, params.bias, params.scale)})
    infos = [jnp.finfo(name) for name in names]
    units = [float(info.eps) / 2 for info in infos]
    return Rounding(
        " and ".join(names),
        max(units),
        max(float(info.tiny) for info in infos),
        min(float(info.max) for info in infos),
        max(_THRESHOLD_UNITS[name] * unit for name, unit in zip(names, units, strict=True)),
    )


@dataclass(frozen=True)
class HostNeurons:
    """W, B and p of a set of neurons in float64, which holds numbers of all shorter types exactly.

    Attributes:
      W: float64 (n, neurons...).
      B: float64 (neurons...).
      p: float64 (neurons...).
      error: float64 (neurons...); how far W x - B may lie from the same of the reparametrizations
        in real arithmetic, and from that of another program which computes them anew.
    """

    W: np.ndarray
    B: np.ndarray
    p: np.ndarray
    error: np.ndarray

    @property
    def magnitude(self) -> np.ndarray:
        """The largest sum that may occur, sum |w| + |B|, float64 (neurons...); may be infinite."""
        with np.errstate(over="ignore"):
            return np.asarray(_sum_of_sizes(self.W) + np.abs(self.B))


def _sum_of_sizes(W: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(np.abs(W).sum(axis=0))


def host_neurons(
    params: RealNeurons,
    W: np.ndarray | jax.Array,
    B: np.ndarray | jax.Array,
    rounding: Rounding,
) -> HostNeurons:
    """W and B of `bimonn_jax.neurons.real_parameters` in float64, and what they may be off by."""
    B = np.asarray(B, np.float64)
    inputs = W.shape[: W.ndim - B.ndim]
    W = np.asarray(W, np.float64).reshape(math.prod(inputs), *B.shape)
    error = _reparametrization_error(params, W, B, rounding)
    return HostNeurons(W, B, np.asarray(params.scale, np.float64), error)


def _reparametrization_error(
    params: RealNeurons, W: np.ndarray, B: np.ndarray, rounding: Rounding
) -> np.ndarray:
    n, total = len(W), _sum_of_sizes(W)
    # Each number is computed twice, here and where the network runs.
    softplus, of_sum = 2 * _SOFTPLUS_UNITS, 2 * (n + _SOFTPLUS_UNITS)
    weight_units = {"identity": 0, "positive": softplus, "dual": 2 * of_sum}
    underflow = np.zeros_like(B)
    if params.weight_reparam in BINARY:
        # Whole numbers and halves: exact while they have enough digits, else anything.
        return np.where(total + 1 <= 1 / (2 * rounding.unit), 0.0, np.inf)
    if params.weight_reparam == "positive":
        underflow = np.full_like(B, 2 * n * rounding.tiny)
    if params.weight_reparam == "dual":
        omega = np.asarray(params.weight, np.float64).reshape(W.shape)
        sums = np.logaddexp(0, omega).sum(axis=0)
        # K s / S may be computed as (K s) / S, K (s / S) or s (K (1 / S)): none of these is to
        # overflow, and 1 / S not to be flushed to zero.
        K = float(dual_total(params.threshold))
        in_range = sums > n * rounding.tiny / rounding.unit
        in_range &= sums < rounding.largest / (2 * max(K, 1))
        in_range &= sums < min(K, 1) / (2 * rounding.tiny)
        underflow = np.where(in_range, 2 * n * rounding.tiny * (1 + total / sums), np.inf)
    if params.weight_reparam == "identity" and params.bias_reparam == "identity":
        return underflow
    of_weights = weight_units[params.weight_reparam] * total
    of_bias = softplus * np.abs(B)
    if params.bias_reparam == "identity":
        of_bias = np.zeros_like(B)
    elif params.bias_reparam != "positive":
        # Clipped to a range that is a sum of weights.
        of_bias = np.maximum(of_bias, of_sum * total + of_weights)
    if params.bias_reparam != "identity":
        underflow = underflow + 2 * (n + 1) * rounding.tiny
    error: np.ndarray = rounding.unit * (of_weights + of_bias) + underflow
    return error


def may_be_nan(neurons: HostNeurons, rounding: Rounding) -> np.ndarray:
    """Where a computed sum may overflow, to be no number at all then, bool (neurons...)."""
    with np.errstate(over="ignore", invalid="ignore"):
        is_number = (2 * neurons.magnitude < rounding.largest) & np.isfinite(neurons.error)
    return ~np.asarray(is_number)


def sum_error(neurons: HostNeurons, rounding: Rounding) -> np.ndarray:
    """Bound on the error of a computed W x - B for x in [0, 1]^n, float64 (neurons...).

    With m weights other than 0, (2 m + 4) u (sum |w| + |B|) covers the products, the sums, the
    subtraction, and inputs that a computed xi puts a unit outside of [0, 1]; also the two sums of
    a hit-or-miss neuron, x (W+ - W-) + sum W-, in which a weight may be added twice. What is
    flushed to zero on the way, the result included, is at most (4 n + 16) times the smallest normal
    number. The roundoff of float64, in which the certificate itself computes, is added to u.
    Infinite where sums may overflow or have more terms than the dtype can count.
    """
    units = (2 * np.count_nonzero(neurons.W, axis=0) + 4) * (rounding.unit + 2.0**-53)
    underflow = (4 * len(neurons.W) + 16) * (rounding.tiny + np.finfo(np.float64).tiny)
    with np.errstate(over="ignore", invalid="ignore"):
        # A tenth more for the squares of roundoffs.
        error = 1.1 * units * neurons.magnitude + neurons.error + underflow
    is_bounded = ~may_be_nan(neurons, rounding) & (units < 0.01) & np.isfinite(error)
    return np.where(is_bounded, error, np.inf)


def threshold_distance(p: np.ndarray, rounding: Rounding) -> np.ndarray:
    """The least |W x - B| at which xi(p (W x - B)) is on the right side of 1/2 when computed.

    Infinite where p is subnormal: flushed to zero, it would make every output 1/2.
    """
    size = np.abs(p)
    is_normal = size >= rounding.tiny
    return np.where(
        is_normal, _UNITS_AT_HALF * rounding.unit / np.where(is_normal, size, 1), np.inf
    )


def lowest_bits(x: np.ndarray) -> np.ndarray:
    """The largest power of two that divides each number, float64 like ``x``; infinite for 0."""
    mantissa, exponent = np.frexp(x)
    # What is no number has no bits; its neuron is refused for that.
    with np.errstate(invalid="ignore"):
        whole = (mantissa * 2.0**53).astype(np.int64)
    lowest = (whole & -whole).astype(np.float64)
    return np.where(x == 0, np.inf, np.ldexp(lowest, exponent - 53))


def exact_step(neurons: HostNeurons, rounding: Rounding) -> np.ndarray:
    """The step of which all sums of a neuron are multiples, where they are exact; else 0.

    On bits, sums of weights and the bias are multiples of the largest power of two g that divides
    all of them. With at most 1 / u of it to count, every partial sum is a number of the dtype, and
    nothing is rounded, whatever the order.

    Returns:
      g, float64 (neurons...), or 0.
    """
    step = np.minimum(lowest_bits(neurons.W).min(axis=0), lowest_bits(neurons.B))
    # Half of the digits that there are, so that differences of weights have room too.
    with np.errstate(over="ignore", invalid="ignore"):
        has_digits = 2 * neurons.magnitude <= step / rounding.unit
    is_exact = (neurons.error == 0) & ~may_be_nan(neurons, rounding)
    return np.where(is_exact & (step >= rounding.tiny) & has_digits, step, 0.0)
