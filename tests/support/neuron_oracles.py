"""What a single neuron computes, by enumerating all of its binary inputs."""

import itertools

import numpy as np


def all_inputs(n):
    """All 2^n binary inputs, bool (2^n, n)."""
    return np.array(list(itertools.product([False, True], repeat=n)), bool).reshape(2**n, n)


def operator_tables(n):
    """{truth table as bytes: {(is_erosion, footprint as bytes)}} of all operators on n bits."""
    inputs, tables = all_inputs(n), {}
    for S in all_inputs(n):
        for is_erosion in (False, True):
            output = (inputs | ~S).all(axis=1) if is_erosion else (inputs & S).any(axis=1)
            tables.setdefault(output.tobytes(), set()).add((is_erosion, S.tobytes()))
    return tables


def fires(W, B, p):
    """Thresholded outputs on all inputs, before the complement of a negative p: (2^n, N) bool.

    W is (n, N). Exact where the sums are (dyadic weights), else in float64.
    """
    sums = all_inputs(W.shape[0]).astype(np.float64) @ np.asarray(W, np.float64)
    B = np.asarray(B, np.float64)
    # p > 0: output 1 where sum > B. p < 0: output 1 where sum < B, so its complement is sum >= B.
    return np.where(np.asarray(p) > 0, sums > B, sums >= B)
