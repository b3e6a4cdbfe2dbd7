"""The exact projection onto the activable neurons: all footprints, both operators, in O(n log n).

The nearest operator by S, over all S, needs only the n sets of the j largest weights (`duality`
solves one). Their losses are not convex in j, so all count; but few have to be solved: multipliers
interpolated between about 2 sqrt(n) solved sets bound every loss from below to a few parts per
million, and only the stretches whose bound is under the best loss found are looked at.
"""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from bimonn_jax._support.promotion import promoting
from bimonn_jax._support.pytrees import pytree
from bimonn_jax.binarization.projection.double_word import (
    DoubleWord,
    argmin,
    double_word,
    lifted,
    powers_of_two,
    rounded,
)
from bimonn_jax.binarization.projection.duality import (
    Form,
    deficit,
    dual_value,
    excess,
    raised,
    refine,
    residual,
    solve,
)
from bimonn_jax.binarization.projection.sorted_weights import (
    Number,
    SortedWeights,
    between,
    first_of,
    sort_weights,
)
from bimonn_jax.neurons.params import flat_weight

EROSIONS = ("dual", "euclidean")

# Weights that are worked on at once, so that memory does not grow with the number of neurons.
_BLOCK = 2**20


@pytree
class Projected:
    """The nearest activable neurons; arrays of shape (neurons...) unless said otherwise.

    Attributes:
      weight: W', float (n, neurons...).
      bias: B', float.
      footprint: S, bool (n, neurons...), never empty.
      is_erosion: bool; the operator.
      shift: float; B' - B, for "dual" erosions of the thresholds sum W - B that the paper compares
        instead of the biases.
      squared_distance: float; |W' - W|^2 + shift^2, of W' before its rounding. Below the smallest
        normal number of the dtype it is 0, beyond the largest it is infinite.
    """

    weight: jax.Array
    bias: jax.Array
    footprint: jax.Array
    is_erosion: jax.Array
    shift: jax.Array
    squared_distance: jax.Array


def check_erosion(erosion: str) -> None:
    """Raises ValueError for an unknown kind of erosion."""
    if erosion not in EROSIONS:
        raise ValueError(f"erosion must be one of {EROSIONS}; got {erosion!r}")


@pytree
class _Best:
    """The best footprint so far: the first j weights, its multipliers, half its distance."""

    value: Number
    j: jax.Array
    theta: Number
    lam: Number


@pytree
class Seen:
    """What a search knows of the losses of the footprints in each stretch; float (pieces,).

    Attributes:
      least: the least of them, or a lower bound of it; infinite where there are none.
      second: the least of the others; infinite where nothing was looked at.
    """

    least: jax.Array
    second: jax.Array


def stretches(n: int) -> int:
    """How many stretches the footprints of a neuron of n inputs are searched in."""
    return min(n, 2 * math.isqrt(n - 1) + 1)


def stretch_ends(largest: Number, pieces: int) -> Number:
    """Stretch s has the footprints of more than ends[s] and at most ends[s + 1] weights.

    Args:
      largest: how many weights the largest footprint has, int32 () or (neurons, 1).
      pieces: how many stretches there are.

    Returns:
      int (pieces + 1,) or (neurons, pieces + 1).
    """
    # No product is larger than the square of pieces.
    steps = np.arange(pieces + 1, dtype=np.int32)
    return largest // pieces * steps + largest % pieces * steps // pieces


def _search(
    weights: SortedWeights, B: Number, form: Form, best: _Best
) -> tuple[_Best, jax.Array, Seen]:
    """Looks for a footprint better than ``best``; returns the best, whether it is new, and more."""
    n = weights.values.shape[0]
    dtype = weights.values.dtype
    bias = rounded(B)
    # A weight <= 0 in S is worth having only where it adds to the sum that b is compared with.
    largest = (
        weights.size if form.is_total else jnp.maximum(weights.count_above(jnp.zeros((), dtype)), 1)
    )
    pieces = stretches(n)
    ends = stretch_ends(largest, pieces)
    theta, lam = jax.vmap(lambda j: solve(weights, j, bias, form, weights.values[j - 1]))(
        jnp.maximum(ends, 1)
    )
    width = -(-n // pieces)

    def stretch(s: jax.Array) -> tuple[jax.Array, ...]:
        """The footprints of piece s, and multipliers interpolated for them."""
        j = jnp.minimum(ends[s] + jnp.arange(1, width + 1, dtype=jnp.int32), ends[s + 1])
        way = (j - ends[s]).astype(dtype) / jnp.maximum(ends[s + 1] - ends[s], 1).astype(dtype)
        return (j, *(v[s] + way * (v[s + 1] - v[s]) for v in (theta, lam)))

    plain = weights.plain()
    above_theta, above_lam = (jax.vmap(weights.count_above)(v) for v in (theta, lam))
    # No term of the dual value exceeds a few times the loss of all zeros.
    margin: jax.Array = 32 * jnp.finfo(dtype).eps * (plain.squares[-1] + bias * bias)

    def bound(s: jax.Array) -> jax.Array:
        def one(j: jax.Array, theta: jax.Array, lam: jax.Array) -> jax.Array:
            value: jax.Array = dual_value(
                plain, j, bias, form, theta, lam,
                above_theta=jnp.maximum(above_theta[s], above_theta[s + 1]),
                above_lam=jnp.maximum(above_lam[s], above_lam[s + 1]),
            )  # fmt: skip
            return value

        values: jax.Array = jax.vmap(one)(*stretch(s))
        return jnp.where(ends[s] < ends[s + 1], jnp.min(values) - margin, jnp.inf)

    bounds = jax.vmap(bound)(jnp.arange(pieces))

    def is_open(state: tuple[jax.Array, _Best, jax.Array, Seen]) -> jax.Array:
        bounds, best, *_ = state
        return jnp.min(bounds) < rounded(best.value)

    def look(
        state: tuple[jax.Array, _Best, jax.Array, Seen],
    ) -> tuple[jax.Array, _Best, jax.Array, Seen]:
        bounds, best, is_new, seen = state
        s = jnp.argmin(bounds)
        j, guess, _ = stretch(s)

        def one(j: jax.Array, start: jax.Array) -> _Best:
            theta, lam = refine(weights, j, B, form, solve(weights, j, bias, form, start)[0])
            return _Best(dual_value(weights, j, B, form, theta, lam), j, theta, lam)

        all_found = jax.vmap(one)(j, guess)
        least = argmin(all_found.value)
        found = jax.tree.map(lambda v: v[least], all_found)
        others = jnp.where(j == found.j, jnp.inf, rounded(all_found.value))
        seen = Seen(
            seen.least.at[s].set(rounded(found.value)), seen.second.at[s].set(jnp.min(others))
        )
        is_better = found.value < best.value
        best = jax.tree.map(lambda new, old: jnp.where(is_better, new, old), found, best)
        return bounds.at[s].set(jnp.inf), best, is_new | is_better, seen

    seen = Seen(bounds, jnp.full_like(bounds, jnp.inf))
    _, best, is_new, seen = jax.lax.while_loop(
        is_open, look, (bounds, best, jnp.bool_(False), seen)
    )
    return best, is_new, seen


def _neuron(
    weights: SortedWeights, W: jax.Array, B: DoubleWord, form: Form, best: _Best
) -> tuple[jax.Array, DoubleWord, jax.Array, jax.Array, jax.Array]:
    """(w, b, S, b - B, squared distance) of the optimum of ``best``; b is what the form calls so.

    Weights of -infinity are beyond the inputs of the neuron.
    """
    j, theta, lam = best.j, best.theta, best.lam
    mu = raised(weights, j, theta)[0]
    up, down = (mu, lam) if form.is_total else (lam, mu)
    shift = up - down
    negative = jnp.minimum(W + rounded(down), 0) if form.signed else 0
    outside = jnp.where(W > 0, jnp.maximum(W - rounded(up), 0), negative)
    # The bias of an erosion pulls the weights of S along.
    pull = shift if form.is_total else double_word(jnp.zeros_like(mu.high))
    level = rounded(theta - pull)
    inside = jnp.where(rounded(theta) < W, jnp.maximum(W - rounded(pull), level), level)
    footprint = first_of(W, weights.values, j)
    b = B + shift if form.is_total else theta
    if form.signed and not form.is_total:
        b = b - deficit(weights, j, mu)[0]
    # From the multipliers: w is rounded to the last place of W, which may be more than it moved.
    pulled = jnp.minimum(rounded(pull), rounded(W - (theta - pull)))
    moved_inside = jnp.where(rounded(theta) < W, pulled, rounded((theta - pull) - W))
    lowered = jnp.minimum(-W, rounded(down)) if form.signed else W
    moved_outside = jnp.where(W > 0, jnp.minimum(W, rounded(up)), lowered)
    moved = jnp.where(footprint, moved_inside, moved_outside)
    squares = jnp.sum(jnp.square(jnp.where(jnp.isneginf(W), 0, moved)))
    distance = squares + jnp.square(rounded(shift))
    return jnp.where(footprint, inside, outside), b, footprint, rounded(shift), distance


def _total(weights: SortedWeights, form: Form, best: _Best) -> DoubleWord:
    """The sum of w of the optimum that ``best`` names, b being a threshold."""
    mu = raised(weights, best.j, best.theta)[0]
    outside, _ = excess(weights, best.j, best.lam)
    total: DoubleWord = between(weights.sums, jnp.int32(0), best.j) + mu + outside
    if form.signed:
        total -= deficit(weights, best.j, mu)[0]
    return total


def _project_one(
    W: jax.Array, B: jax.Array, *, signed: bool, erosion: str
) -> tuple[jax.Array, ...]:
    """The fields of a `Projected` for one neuron of weights (n,)."""
    W, B, unit = scaled(W, B)
    weights, bias = sort_weights(W), double_word(B)
    one = _dual if erosion == "dual" else _euclidean
    w, b, S, is_erosion, c, distance = one(weights, W, bias, Form(signed), _nothing(bias))
    return w * unit, rounded(b) * unit, S, is_erosion, c * unit, distance * unit * unit


def scaled(W: jax.Array, B: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """W (m,) and B () in units of a power of two, so that the largest is near 1; and the unit.

    The projection does not depend on the unit, but squares of small or large numbers are lost.
    """
    size = jnp.where(jnp.isfinite(W), jnp.abs(W), 0)
    unit, inverse = powers_of_two(jnp.maximum(jnp.max(size), jnp.abs(B)))
    return W * inverse, B * inverse, unit


def _nothing(like: Number) -> _Best:
    zero = jax.tree.map(jnp.zeros_like, like)
    infinite = lifted(jnp.full_like(rounded(like), jnp.inf), like)
    return _Best(infinite, jnp.int32(1), zero, zero)


def nearest_of_sorted(
    weights: SortedWeights, B: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, Seen]:
    """The nearest operator of one neuron, dual erosions included, in plain numbers.

    Args:
      weights: of one neuron, with plain sums.
      B: its bias.

    Returns:
      j, int32 (): the footprint is the j largest weights; whether it is an erosion, bool (); half
      the squared distance, float (), infinite if its multipliers were not found; what was seen of
      dilations and of erosions.
    """
    form = Form()
    best, is_erosion, chosen, seen = _both_operators(weights, B, form, _nothing(B))
    # An error of theta by d takes at most n^3 d^2 / 13 from the dual value.
    size = weights.size.astype(B.dtype) ** -1.25
    allowed = 2.0**-22 * size * jnp.sqrt(weights.squares[-1] + B * B)
    is_found = jnp.abs(residual(weights, best.j, chosen, form, best.theta)) <= allowed
    return best.j, is_erosion, jnp.where(is_found, best.value, jnp.inf), seen


def nearest_of_padded(
    W: jax.Array, B: jax.Array, size: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The footprint, operator and squared distance of one neuron, in double words.

    Args:
      W: float (m,), -infinity beyond the inputs of the neuron.
      B: float ().
      size: how many inputs it has, int32 ().
    """
    W, B, unit = scaled(W, B)
    weights, bias = sort_weights(W, size), double_word(B)
    form = Form()
    best, is_erosion, chosen, _ = _both_operators(weights, bias, form, _nothing(bias))
    _, _, footprint, _, distance = _neuron(weights, W, chosen, form, best)
    return footprint, is_erosion, distance * unit * unit


def _both_operators(
    weights: SortedWeights, B: Number, form: Form, best: _Best
) -> tuple[_Best, jax.Array, Number, Seen]:
    """The best, whether it is an erosion, its threshold, and what was seen.

    Of dilations, then of dual erosions.
    """
    threshold = between(weights.sums, jnp.int32(0), weights.size) - B
    compared = jax.tree.map(lambda *v: jnp.stack(v), B, threshold)

    def search(best: _Best, B: Number) -> tuple[_Best, tuple[jax.Array, Seen]]:
        best, is_new, seen = _search(weights, B, form, best)
        return best, (is_new, seen)

    best, (is_new, seen) = jax.lax.scan(search, best, compared)
    chosen = jax.tree.map(partial(jnp.where, is_new[1]), threshold, B)
    return best, is_new[1], chosen, seen


def _dual(
    weights: SortedWeights, W: jax.Array, B: DoubleWord, form: Form, best: _Best
) -> tuple[jax.Array, DoubleWord, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Both operators by the same program, of the bias and of the threshold of an erosion."""
    best, is_erosion, chosen, _ = _both_operators(weights, B, form, best)
    w, b, S, c, distance = _neuron(weights, W, chosen, form, best)
    dual = _total(weights, form, best) - b
    return w, jax.tree.map(partial(jnp.where, is_erosion), dual, b), S, is_erosion, c, distance


def _euclidean(
    weights: SortedWeights, W: jax.Array, B: DoubleWord, form: Form, best: _Best
) -> tuple[jax.Array, DoubleWord, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Each operator by its own program."""
    total_form = replace(form, is_total=True)
    best, *_ = _search(weights, B, form, best)
    best, is_erosion, _ = _search(weights, B, total_form, best)
    eroding, dilating = (_neuron(weights, W, B, f, best) for f in (total_form, form))
    w, b, S, c, distance = jax.tree.map(partial(jnp.where, is_erosion), eroding, dilating)
    return w, b, S, is_erosion, c, distance


@partial(jax.jit, static_argnames=("signed", "erosion"))
def project(
    weight: jax.Array, bias: jax.Array, *, signed: bool = False, erosion: str = "dual"
) -> Projected:
    """The nearest activable neuron of each, by squared distance (arXiv 2401.03830, section 5).

    minimize |W' - W|^2 + (B' - B)^2 over both operators, all footprints S and all W', B' with

        dilation: sum_{i not in S} w'_i <= B' <= min_{i in S} w'_i
        erosion:  the same with sum W' - B' in place of B'

    and W' >= 0. The result lies on the border of the activable set, where it touches.

    Each neuron is worked on in units of a power of two, in double words. Where numbers are normal,
    their scale makes no difference; which operator is nearest is decided to about 1e-14 of
    |W|^2 + B^2 for float32 and 1e-31 for float64 (measured for up to 600 inputs, not proved):
    of operators whose squared distances differ by less, any may be returned. Squared distances of
    more than 1e-10 of |W|^2 + B^2 are good to the last digits. `bimonn_jax.binarize`, outside of a
    program, is exact.

    Works under `jax.jit` and `jax.vmap`, and on neurons sharded over devices (`jax.sharding`): each
    device keeps its own; the input axes of the weights must not be sharded.

    Args:
      weight: W, float (footprint..., neurons...), any sign.
      bias: B, float (neurons...).
      signed: whether W' may be negative; the conditions are then those of
        `bimonn_jax.neurons.activation`.
      erosion: "dual", as the paper: (B' - B)^2 is taken between the thresholds sum W' - B' and
        sum W - B; "euclidean": between the biases themselves.

    Returns:
      A `Projected`, of the dtype of the weights (float32 for shorter ones).

    Raises:
      ValueError: if the shapes do not match, there are no inputs, or ``erosion`` is unknown.

    Examples:
      >>> import jax.numpy as jnp
      >>> nearest = project(jnp.array([[2.0], [1.0], [1.0]]), jnp.array([1.5]))
      >>> nearest.footprint[:, 0].tolist(), bool(nearest.is_erosion[0])
      ([True, False, False], False)
      >>> nearest.weight[:, 0].round(2), nearest.bias.round(2)
      (Array([2.  , 0.83, 0.83], dtype=float32), Array([1.67], dtype=float32))
    """
    check_erosion(erosion)
    if flat_weight(weight, bias).shape[0] == 0:
        raise ValueError(f"weight has shape {weight.shape}: a neuron needs at least one input")
    blocks = partial(_project_in_blocks, signed=signed, erosion=erosion)
    sharding = jax.typeof(bias).sharding
    if any(sharding.spec):
        # Axes of explicit type: the compiler asks for one program per device.
        inputs, neurons = (None,) * (weight.ndim - bias.ndim), (*sharding.spec,)
        of_weights = PartitionSpec(*inputs, *neurons)
        of_neurons: Any = PartitionSpec(*neurons)
        flat: Any = PartitionSpec(None, *neurons)
        blocks = jax.shard_map(
            blocks,
            mesh=sharding.mesh,
            in_specs=(of_weights, of_neurons),
            out_specs=Projected(flat, of_neurons, flat, of_neurons, of_neurons, of_neurons),
            check_vma=False,
        )
    return blocks(weight, bias)


@promoting()
def _project_in_blocks(
    weight: jax.Array, bias: jax.Array, *, signed: bool, erosion: str
) -> Projected:
    W = flat_weight(weight, bias)
    dtype = jnp.promote_types(jnp.promote_types(W.dtype, bias.dtype), jnp.float32)
    n, neurons = W.shape[0], math.prod(bias.shape)
    # Neurons go to (lanes, steps) with neighbors in one lane: a sharding of the neurons is then
    # one of the lanes, and every step keeps all devices busy.
    lanes = min(max(_BLOCK // n, 8), neurons)
    steps = -(-neurons // lanes) if lanes else 0
    missing = lanes * steps - neurons

    def to_blocks(values: jax.Array) -> jax.Array:
        values = jnp.pad(values, ((0, missing),) + ((0, 0),) * (values.ndim - 1))
        return jnp.moveaxis(values.reshape(lanes, steps, *values.shape[1:]), 1, 0)

    def from_blocks(values: jax.Array) -> jax.Array:
        values = jnp.moveaxis(values, 0, 1).reshape(lanes * steps, *values.shape[2:])
        values = values[:neurons].reshape(*bias.shape, *values.shape[1:])
        return jnp.moveaxis(values, -1, 0) if values.ndim > bias.ndim else values

    one = jax.vmap(partial(_project_one, signed=signed, erosion=erosion))
    columns = W.astype(dtype).reshape(n, neurons).T
    blocks = to_blocks(columns), to_blocks(bias.astype(dtype).reshape(neurons))
    return Projected(*map(from_blocks, jax.lax.map(lambda block: one(*block), blocks)))
