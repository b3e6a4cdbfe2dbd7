"""The nearest neuron with a given footprint: optimality conditions and dual value.

For weights a in descending order and S the first j of them, the problem is

    minimize  1/2 |w - a|^2 + 1/2 (b - B)^2   subject to   w is activated, as an operator by S.

Its multipliers are lam >= 0 (the sum outside of S must not reach the threshold) and one mu_i >= 0
per i in S (each input of S alone must). They reduce to one number, the level theta to which low
weights of S are raised: mu_i = (theta - a_i)+. `solve` finds theta as the root of an increasing
piecewise linear function, `dual_value` is the Lagrange dual function: the optimum at the
multipliers that `solve` returns, and a lower bound of it at any others. BUILD_NOTES.md ("The exact
projection") derives both line by line.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from bimonn_jax.binarization.projection.double_word import (
    lifted,
    positive_part,
    rounded,
    rounded_like,
)
from bimonn_jax.binarization.projection.sorted_weights import Number, SortedWeights, between

_MAX_ITERATIONS = 64
# Of the iteration: how often, theta, the bracket around it, whether it is done.
_State = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]


@dataclass(frozen=True)
class Form:
    """Which activable set is meant.

    Attributes:
      signed: whether weights outside of S may stay negative (they lower the sum); otherwise all
        weights are to be >= 0, as in the paper.
      is_total: False when b is the threshold that a dilation is compared with; True when it is the
        bias of an erosion, whose threshold sum w - b moves with the weights.
    """

    signed: bool = False
    is_total: bool = False


def excess(weights: SortedWeights, j: jax.Array, tau: Number) -> tuple[Number, jax.Array]:
    """R(tau) = sum_{i > j} (a_i - tau)+, for tau >= 0, and how many terms it has."""
    last = jnp.maximum(weights.count_above(rounded(tau)), j)
    count = (last - j).astype(weights.values.dtype)
    return rounded_like(between(weights.sums, j, last), tau) - count * tau, count


def deficit(weights: SortedWeights, j: jax.Array, tau: Number) -> tuple[Number, jax.Array]:
    """N(tau) = sum_{i > j} (-a_i - tau)+, for tau >= 0, and how many terms it has."""
    first = jnp.maximum(weights.count_from(-rounded(tau)), j)
    count = (weights.size - first).astype(weights.values.dtype)
    total = rounded_like(between(weights.sums, first, weights.size), tau)
    return -total - count * tau, count


def raised(weights: SortedWeights, j: jax.Array, theta: Number) -> tuple[Number, jax.Array]:
    """mu(theta) = sum_{i <= j} (theta - a_i)+, and how many terms it has."""
    first = jnp.minimum(weights.count_above(rounded(theta)), j)
    count = (j - first).astype(weights.values.dtype)
    return count * theta - rounded_like(between(weights.sums, first, j), theta), count


def _threshold_conditions(
    weights: SortedWeights, j: jax.Array, B: Number, form: Form, theta: Number
) -> tuple[Number, ...]:
    """lam(theta), the slack b - R(lam) of its constraint, and their slopes; b is the threshold."""
    mu, mu_slope = raised(weights, j, theta)
    b, b_slope = theta, jnp.ones_like(mu_slope)
    if form.signed:
        below, count = deficit(weights, j, mu)
        b, b_slope = b - below, b_slope + count * mu_slope
    lam, lam_slope = b - B + mu, b_slope + mu_slope
    above, count = excess(weights, j, positive_part(lam))
    return lam, lam_slope, b - above, b_slope + count * lam_slope


def _total_conditions(
    weights: SortedWeights, j: jax.Array, B: Number, form: Form, theta: Number
) -> tuple[Number, ...]:
    """lam(theta), the slack of its constraint, and their slopes; b is the bias of an erosion."""
    mu, mu_slope = raised(weights, j, theta)
    above, count = excess(weights, j, mu)
    above_slope = -count * mu_slope
    size = j.astype(weights.values.dtype)
    inside = rounded_like(between(weights.sums, jnp.int32(0), j), theta)
    c = (inside + mu + above - B - theta) / size
    c_slope = (mu_slope + above_slope - 1) / size
    lam, lam_slope = mu - c, mu_slope - c_slope
    slack, slack_slope = theta - c - above, 1 - c_slope - above_slope
    if form.signed:
        below, count = deficit(weights, j, positive_part(lam))
        slack, slack_slope = slack - below, slack_slope + count * lam_slope
    return lam, lam_slope, slack, slack_slope


def _conditions(
    weights: SortedWeights, j: jax.Array, B: Number, form: Form, theta: Number
) -> tuple[Number, ...]:
    conditions = _total_conditions if form.is_total else _threshold_conditions
    return conditions(weights, j, B, form, theta)


def _newton_step(
    lam: jax.Array,
    lam_slope: jax.Array,
    slack: jax.Array,
    slack_slope: jax.Array,
    size: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The step to the larger of the two roots; whether lam alone leads it; what counts as 0."""
    tiny = 4 * jnp.finfo(lam.dtype).eps * size
    step = -lam / lam_slope
    # Below the root of lam, slack is no guide.
    is_below = step > tiny
    return jnp.where(is_below, step, jnp.maximum(step, -slack / slack_slope)), is_below, tiny


def solve(
    weights: SortedWeights, j: jax.Array, B: jax.Array, form: Form, start: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The optimal multipliers (theta, lam) for S = the first j weights.

    Complementarity asks that lam and its slack are >= 0 and one of them 0. Both grow with theta, so
    the optimum is the larger of their two roots. Newton's method on piecewise linear functions,
    kept inside a bracket by bisection, ends when a step stays on its piece.

    Args:
      weights: the sorted weights.
      j: int32 (), 1 <= j <= n.
      B: float (); the bias, or what takes its place.
      form: which activable set.
      start: float (); a guess of theta.
    """
    infinity = jnp.full_like(start, jnp.inf)

    def is_active(state: _State) -> jax.Array:
        count, *_, is_done = state
        return ~is_done & (count < _MAX_ITERATIONS)

    def iterate(state: _State) -> _State:
        count, theta, low, high, _ = state
        lam, lam_slope, slack, slack_slope = _conditions(weights, j, B, form, theta)
        size = jnp.abs(theta) + jnp.abs(lam) + jnp.abs(B)
        step, is_below, tiny = _newton_step(lam, lam_slope, slack, slack_slope, size)
        h = jnp.where(is_below, lam, jnp.minimum(lam, slack))
        low, high = jnp.where(h <= 0, theta, low), jnp.where(h >= 0, theta, high)
        newton = theta + step
        is_done = jnp.abs(step) <= tiny
        # The last steps of a long run alternate with bisection.
        is_inside = (newton > low) & (newton < high) & ((count < 16) | (count % 2 == 0))
        bisects = ~is_done & ~is_inside & jnp.isfinite(high - low)
        target = jnp.where(bisects, (low + high) / 2, newton)
        return count + 1, target, low, high, is_done

    state = (jnp.int32(0), start, -infinity, infinity, jnp.bool_(False))
    theta = jax.lax.while_loop(is_active, iterate, state)[1]
    lam = _conditions(weights, j, B, form, theta)[0]
    return theta, jnp.maximum(lam, 0)


def residual(
    weights: SortedWeights, j: jax.Array, B: jax.Array, form: Form, theta: jax.Array
) -> jax.Array:
    """min(lam, its slack) at theta, in plain numbers: 0 at the optimum, with slopes of at least 1.

    So no theta is farther from the optimal one than this is from 0.
    """
    lam, _, slack, _ = _conditions(weights, j, B, form, theta)
    return jnp.minimum(lam, slack)


def refine(
    weights: SortedWeights, j: jax.Array, B: Number, form: Form, theta: jax.Array
) -> tuple[Number, Number]:
    """One more Newton step from the theta of `solve`, in the numbers that B is: (theta, lam).

    lam and mu are sums of as many terms as S and its complement have: a theta that is right to its
    last digit leaves them wrong in theirs, and neighboring footprints differ by less.
    """
    lam, lam_slope, slack, slack_slope = _conditions(weights, j, B, form, lifted(theta, B))
    size = jnp.abs(theta) + jnp.abs(rounded(lam)) + jnp.abs(rounded(B))
    step, _, _ = _newton_step(rounded(lam), lam_slope, rounded(slack), slack_slope, size)
    return lifted(theta, B) + step, positive_part(lam + lifted(lam_slope, B) * step)


def dual_value(
    weights: SortedWeights,
    j: jax.Array,
    B: Number,
    form: Form,
    theta: Number,
    lam: Number,
    *,
    above_theta: jax.Array | None = None,
    above_lam: jax.Array | None = None,
) -> Number:
    """The Lagrange dual function at mu_i = (theta - a_i)+ and lam >= 0: half a squared distance.

    A lower bound of the loss of every (w, b) of the activable set of S = the first j, equal to the
    optimum at the multipliers of `solve`. It is stationary there, so an error in them counts only
    by its square. All numbers are double words, or all are plain.

    Args:
      weights: the sorted weights.
      j: int32 (), 1 <= j <= n.
      B: the bias, or what takes its place.
      form: which activable set.
      theta: any number.
      lam: >= 0.
      above_theta: int32 (); how many weights are above theta. A larger number keeps the bound.
      above_lam: int32 (); the same for lam. Used only where lam acts on the positive weights.
    """
    C, Q = weights.sums, weights.squares
    zero, n = jnp.int32(0), weights.size

    def length(start: jax.Array, end: jax.Array) -> jax.Array:
        return (end - start).astype(weights.values.dtype)

    t = weights.count_above(rounded(theta)) if above_theta is None else above_theta
    t = jnp.minimum(t, j)
    mu = length(t, j) * theta - between(C, t, j)
    c = mu - lam
    twice = between(Q, t, j) - length(t, j) * (theta * theta) - c * c
    if form.is_total:
        twice += 2 * (c * (between(C, zero, j) + mu - B)) - length(zero, j) * (c * c)
        positive, negative, k = mu, lam, None
    else:
        twice += 2 * (c * B)
        positive, negative, k = lam, mu, above_lam
    # Outside of S: weights beyond a multiplier move by it, those nearer to 0 go to 0.
    k = jnp.maximum(weights.count_above(rounded(positive)) if k is None else k, j)
    twice += 2 * (positive * between(C, j, k)) - length(j, k) * (positive * positive)
    m = n
    if form.signed:
        m = jnp.maximum(weights.count_from(-rounded(negative)), k)
        twice -= 2 * (negative * between(C, m, n)) + length(m, n) * (negative * negative)
    return (twice + between(Q, k, m)) * 0.5
