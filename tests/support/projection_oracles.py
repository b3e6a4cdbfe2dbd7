"""Random neurons for the projection, and the conditions that a projected one must meet."""

import numpy as np


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
