"""What a single neuron computes, by enumerating all of its binary inputs."""

import itertools

import numpy as np


def all_inputs(n):
    """All 2^n binary inputs, bool (2^n, n)."""
    return np.array(list(itertools.product([False, True], repeat=n)), bool).reshape(2**n, n)


def operator_tables(n):
    """{truth table as bytes: (rank, footprint as bytes)} of all rank operators on n bits.

    Constants are those by no inputs: rank 0, always 1, and rank 1, always 0.
    """
    inputs, tables = all_inputs(n), {}
    for S in all_inputs(n):
        ranks = range(1, S.sum() + 1) if S.any() else (0, 1)
        for rank in ranks:
            table = ((inputs & S).sum(axis=1) >= rank).tobytes()
            # Each is another function.
            assert table not in tables
            tables[table] = rank, S.tobytes()
    return tables


def fires(W, B, p):
    """Thresholded outputs on all inputs, before the complement of a negative p: (2^n, N) bool.

    W is (n, N). Exact where the sums are (dyadic weights), else in float64.
    """
    sums = all_inputs(W.shape[0]).astype(np.float64) @ np.asarray(W, np.float64)
    B = np.asarray(B, np.float64)
    # p > 0: output 1 where sum > B. p < 0: output 1 where sum < B, so its complement is sum >= B.
    return np.where(np.asarray(p) > 0, sums > B, sums >= B)
