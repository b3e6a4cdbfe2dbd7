"""Distances to operators of one neuron by integers, without any rounding.

Floats are integers times a power of two. The optimality conditions of `duality` are linear on
pieces between weights; so the piece is found by bisection with signs that are certain, and the
optimum is a fraction of integers. Some 20 microseconds for each operator: for the few neurons
whose nearest operator, or whose distance, floats cannot tell.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import NamedTuple

import numpy as np


class Exact(NamedTuple):
    """The squared distance numerator / denominator to one of the operators.

    Attributes:
      j: the footprint is the j largest weights.
      is_erosion: the operator.
      numerator: in units of the square of the neuron's power of two.
      denominator: > 0.
    """

    j: int
    is_erosion: bool
    numerator: int
    denominator: int


class ExactNeuron:
    """One neuron's weights and bias as integers times one power of two."""

    def __init__(self, values: np.ndarray, bias: float):
        """Takes any finite floats.

        Args:
          values: float64 (n,), the weights in descending order.
          bias: B.
        """
        # 53 bits each, so that both parts are exact.
        significands, powers = np.frexp(np.append(values, bias))
        integers = np.ldexp(significands, 53).astype(np.int64)
        self._power: int = int(np.min(powers, where=integers != 0, initial=2**15)) - 53
        shifts = np.where(integers != 0, powers - 53 - self._power, 0)
        numbers = [i << s for i, s in zip(integers.tolist(), shifts.tolist(), strict=True)]
        self._values: list[int] = numbers[:-1]
        self._bias: int = numbers[-1]
        self._sums = [0, *accumulate(self._values)]
        self._squares = [0, *accumulate(v * v for v in self._values)]
        self._negated = [-v for v in self._values]
        self._positive = bisect_left(self._negated, 0)

    def nearest(self, candidates: Iterable[tuple[int, bool]]) -> Exact:
        """The nearest of some operators, (j, is_erosion) each; of several the first."""
        best: Exact | None = None
        for j, is_erosion in candidates:
            found = self.operator(j, is_erosion)
            if best is None or (
                found.numerator * best.denominator < best.numerator * found.denominator
            ):
                best = found
        if best is None:
            raise ValueError("there are no candidates")
        return best

    def squared_distance(self, found: Exact) -> float:
        """The nearest float64 to a squared distance; infinity beyond the largest."""
        power = 2 * self._power
        numerator, denominator = found.numerator << max(power, 0), found.denominator
        try:
            # The quotient of two integers is rounded once.
            return numerator / (denominator << max(-power, 0))
        except OverflowError:
            return math.inf

    def operator(self, j: int, is_erosion: bool) -> Exact:
        """The operator by the j largest weights; of erosions the threshold sum W - B is moved."""
        values, sums, squares = self._values, self._sums, self._squares
        n = len(values)
        threshold = sums[n] - self._bias if is_erosion else self._bias
        positive = max(self._positive, j)
        outside = sums[positive] - sums[j]

        def needs_more(i: int) -> bool:
            """Whether theta > a_i, for i <= j: lam or the slack is < 0 at theta = a_i."""
            theta = values[i - 1]
            lam = theta - threshold + (j - i) * theta - (sums[j] - sums[i])
            return lam < 0 or theta < self._excess(j, lam)

        raised = _first(needs_more, 1, j + 1) - 1
        count = j - raised
        total = threshold + sums[j] - sums[raised]
        # At lam = 0, theta = total / (1 + count): either that, or the weights outside sum to more.
        kept, lam, denominator, theta = positive, 0, 1 + count, total
        if total < outside * (1 + count):

            def is_zeroed(i: int) -> bool:
                """Whether a_i <= lam, for i > j: the slack is <= 0 at lam = a_i."""
                lam = values[i - 1]
                slack = lam + total - (1 + count) * (sums[i] - sums[j] - (i - j) * lam)
                return slack <= 0

            kept = _first(is_zeroed, j + 1, positive + 1) - 1
            above = sums[kept] - sums[j]
            denominator = 1 + (1 + count) * (kept - j)
            lam = (1 + count) * above - total
            theta = above * denominator - (kept - j) * lam
        shift = theta - denominator * threshold
        numerator = (
            count * theta * theta
            - 2 * theta * denominator * (sums[j] - sums[raised])
            + denominator * denominator * (squares[j] - squares[raised])
            + (kept - j) * lam * lam
            + denominator * denominator * (squares[n] - squares[kept])
            + shift * shift
        )
        return Exact(j, is_erosion, numerator, denominator * denominator)

    def _excess(self, j: int, lam: int) -> int:
        """The sum of (a_i - lam)+ over i > j, for lam >= 0."""
        last = max(bisect_left(self._negated, -lam), j)
        return self._sums[last] - self._sums[j] - (last - j) * lam


def _first(holds: Callable[[int], bool], start: int, end: int) -> int:
    """The first i of range(start, end) from which on a condition holds; else ``end``."""
    while start < end:
        middle = (start + end) // 2
        start, end = (start, middle) if holds(middle) else (middle + 1, end)
    return start
