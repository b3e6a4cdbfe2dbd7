"""Random neurons for the projection, and the conditions that a projected one must meet."""

from fractions import Fraction
from itertools import product

import numpy as np

from bimonn_jax.binarization.projection.exact import ExactNeuron


def hard_neurons(rng, n, count):
    """(W, B) of `count` neurons of n inputs, of all kinds that a search trips on.

    Shapes (n, count) and (count,). Plain, tied, partly zero, all equal, negative and
    all-negative weights; biases within the range of the sums, below 0, above the sum, and equal to
    one of the weights.
    """
    plain = rng.normal(0.3, 1, (n, count))
    weights = [
        plain,
        rng.uniform(0, 1, (n, count)),
        np.round(2 * plain) / 2,
        plain * rng.integers(0, 2, (n, count)),
        np.broadcast_to(plain[:1], (n, count)),
        -np.abs(plain),
    ]
    W = np.choose(rng.integers(0, len(weights), count), weights)
    total, spread = W.sum(0), np.abs(W).sum(0)
    biases = [
        total * rng.uniform(0, 1, count),
        -spread * rng.uniform(0, 1, count),
        total + spread * rng.uniform(0, 1, count),
        W[0],
        np.zeros(count),
    ]
    return W, np.choose(rng.integers(0, len(biases), count), biases)


def violation(nearest, *, signed):
    """By how much a `Projected` misses the conditions of its operator, per neuron: (count,)."""
    W, B, S = (np.asarray(v) for v in (nearest.weight, nearest.bias, nearest.footprint))
    positive, negative = np.maximum(W, 0), np.minimum(W, 0)
    threshold = np.where(nearest.is_erosion, W.sum(0) - B, B)
    outside = np.where(S, 0, positive).sum(0)
    least = np.where(S, W, np.inf).min(0)
    below = negative.sum(0) if signed else 0
    misses = [outside - threshold, threshold - (least + below)]
    if not signed:
        misses.append(-W.min(0))
    return np.maximum(np.max(misses, axis=0), 0)


def rational_squared_distance(W, B, footprint, is_erosion):
    """The squared distance of (W, B) to the operator by a footprint, without any rounding.

    Every choice of the weights of S that are raised to b, and of those outside that stay above 0,
    is a system of linear equations; the solution that meets all conditions of Karush, Kuhn and
    Tucker is the optimum, the program being convex. W of a few finite floats, `project`'s form.
    """
    W, B = [Fraction(float(w)) for w in W], Fraction(float(B))
    threshold = sum(W) - B if is_erosion else B
    inside = sorted(w for w, s in zip(W, footprint, strict=True) if s)
    outside = sorted((w for w, s in zip(W, footprint, strict=True) if not s), reverse=True)
    positive = [w for w in outside if w > 0]
    for raised, kept in product(range(len(inside) + 1), [None, *range(len(positive) + 1)]):
        # b - threshold = lam - sum_raised (b - w), and lam = 0 or b = sum_kept (w - lam).
        total = threshold + sum(inside[:raised])
        if kept is None:
            lam, b = Fraction(0), total / (1 + raised)
        else:
            kept_sum = sum(positive[:kept])
            lam = ((1 + raised) * kept_sum - total) / (1 + (1 + raised) * kept)
            b = kept_sum - kept * lam
        pulls = [max(b - w, 0) for w in inside]
        moved = [max(w - lam, 0) for w in outside]
        if lam < 0 or b < sum(moved) or b - threshold != lam - sum(pulls):
            continue
        if lam > 0 and b != sum(moved):
            continue
        shrunk = [w - m for w, m in zip(outside, moved, strict=True)]
        return sum(d * d for d in (*pulls, *shrunk, b - threshold))
    raise AssertionError("no choice is optimal")


def nearest_by_rationals(W, B):
    """The least of `rational_squared_distance` over all footprints and both operators."""
    return min(
        rational_squared_distance(W, B, footprint, is_erosion)
        for footprint in product([False, True], repeat=len(W))
        if any(footprint)
        for is_erosion in (False, True)
    )


def all_operators(w):
    """(j, is_erosion) of all that may be nearest, in the order of preference."""
    return [(j, e) for e in (False, True) for j in range(1, max((w > 0).sum(), 1) + 1)]


def assert_nearest_by_integers(W, B, found):
    """What was found, as `nearest_operators` gives it, is the nearest of all operators."""
    for w, b, S, is_erosion, distance in zip(W.T, B, found[0].T, *found[1:], strict=True):
        neuron = ExactNeuron(-np.sort(-w), b)
        best = neuron.nearest(all_operators(w))
        assert (S.sum(), is_erosion) == (best.j, best.is_erosion)
        assert w[S].min() >= np.max(w[~S], initial=-np.inf)
        np.testing.assert_allclose(distance, neuron.squared_distance(best), rtol=2.0**-26)


def mixed_neurons(rng, n, count):
    """(W, B) of neurons whose numbers lie 60 decades apart, next to each other, or both.

    Float64 arrays (n, count) and (count,); all are numbers of float32 but for the neighbors.
    """
    W, B = np.empty((n, count)), np.empty(count)
    for i in range(count):
        kind, powers = i % 5, 10.0 ** rng.integers(-30, 31, n + 1)
        plain = rng.uniform(0.1, 1, n + 1)
        values = [
            plain * powers,
            plain * 10.0 ** rng.choice([-4, 6], n + 1),
            plain * powers * rng.choice([-1, 1], n + 1),
            np.where(rng.random(n + 1) < 0.5, plain[0] * powers[0], plain * powers),
            plain * powers[0],
        ][kind].astype(np.float32)
        column, bias = values[:n].astype(float), float(values[n])
        if kind in (0, 3):
            # A bias that is a sum of some weights is next to a border.
            bias = float(column[rng.random(n) < 0.5].sum() or bias)
        if rng.random() < 0.5:
            # One unit in the last place beside another number.
            column[-1] = np.nextafter(column[0], rng.choice([-1, 1]) * np.inf)
            bias = np.nextafter(bias, rng.choice([-1, 1]) * np.inf)
        W[:, i], B[i] = column, bias
    return W, B
