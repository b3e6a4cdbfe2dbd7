"""The nearest rank neuron with a given footprint size and rank: many at once, by Newton's method.

Weights sorted as a_1 >= ... >= a_n, S the first j of them. The inequalities of
`bimonn_jax.binarization.projection.ranks` have multipliers mu (left) and lam (right). Given these,
w is a plus a constant in each of three zones of S, made non-increasing again where two zones meet;
so prefix sums give the dual value, its gradient and its second derivatives after a few searches.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

# Newton's method ends on the piece of the root, after some ten steps; more is a cycle of rounding.
_MOST_STEPS = 100
_SMALLEST_STEP = 2.0**-30
# Of the gradient, in units of the largest number of a neuron and of n.
_TOLERANCE = 1e-13


@dataclass(frozen=True)
class SortedRows:
    """Weights of many neurons, in descending order, with prefix sums.

    Attributes:
      values: a, float64 (neurons, n).
      bias: B, float64 (neurons,).
      sums: C_0, ..., C_n, float64 (neurons, n + 1).
      squares: the same of the squares.
    """

    values: np.ndarray
    bias: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, bias: np.ndarray) -> "SortedRows":
        """Sums up rows that are sorted."""
        sums, squares = np.zeros((2, len(values), values.shape[1] + 1))
        np.cumsum(values, axis=1, out=sums[:, 1:])
        np.cumsum(values * values, axis=1, out=squares[:, 1:])
        return cls(values, bias, sums, squares)

    def end_above(self, row: Any, first: Any, last: Any, level: Any) -> np.ndarray:
        """The first i in [first, last) with a_i <= level, counted from 0, or last."""
        low, high = np.array(first), np.array(last)
        flat, offset = self.values.ravel(), row * self.values.shape[1]
        for _ in range(self.values.shape[1].bit_length()):
            middle = (low + high) // 2
            is_open = low < high
            is_above = is_open & (flat[offset + np.where(is_open, middle, 0)] > level)
            low = np.where(is_above, middle + 1, low)
            high = np.where(is_above | ~is_open, high, middle)
        return low

    def sum(self, row: Any, first: Any, last: Any) -> np.ndarray:
        """The sum of a_i over [first, last), counted from 0."""
        flat, offset = self.sums.ravel(), row * self.sums.shape[1]
        total: np.ndarray = flat[offset + last] - flat[offset + first]
        return total

    def sum_squares(self, row: Any, first: Any, last: Any) -> np.ndarray:
        """The sum of a_i^2 over [first, last), counted from 0."""
        flat, offset = self.squares.ravel(), row * self.squares.shape[1]
        total: np.ndarray = flat[offset + last] - flat[offset + first]
        return total


@dataclass(frozen=True)
class Choices:
    """What is solved at once: neurons, footprint sizes and ranks, int (choices,) each."""

    row: np.ndarray
    j: np.ndarray
    k: np.ndarray

    def __getitem__(self, at: Any) -> "Choices":
        return Choices(self.row[at], self.j[at], self.k[at])

    @property
    def is_late(self) -> np.ndarray:
        """Whether some weights are among the k - 1 largest and among the k smallest."""
        return 2 * self.k - 1 > self.j

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the first and the second zone end; the last has one weight more than the first."""
        first = np.minimum(self.k - 1, self.j - self.k)
        return first, self.j - first - 1


@dataclass(frozen=True)
class Levels:
    """The weights of S for given multipliers; arrays (choices,).

    Weights are a + shifts: in the first zone at least `high`, in the second at most that and at
    least `low`, in the last at most `low`.

    Attributes:
      shifts: of the three zones.
      high: the level of the pool where the first zone meets the second; infinite if there is none.
      low: the level of the pool where the second meets the last.
      cuts: where the pools start and end, counted from 0: four, the last two of which are the
        first two's if the pools have merged.
    """

    shifts: tuple[np.ndarray, np.ndarray, np.ndarray]
    high: np.ndarray
    low: np.ndarray
    cuts: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _root(
    rows: SortedRows,
    row: np.ndarray,
    zone: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    shift: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The level of a pool of [zone 0, zone 1), whatever lies in between, and [zone 2, zone 3).

    The weights of the first that are below the level rise, those of the last above it fall, and
    those in between all come to it; their sum stays.

    Returns:
      The level, where the pool starts and where it ends.
    """
    a, b, c, d = zone
    fixed = rows.sum(row, b, c) + (c - b) * shift[1]
    flat, offset = rows.values.ravel(), row * rows.values.shape[1]
    nearby = [(a, b, shift[0]), (b, c, shift[1]), (c, d, shift[2])]
    lower, upper = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for first, last, by in nearby:
        is_any = first < last
        smallest = flat[offset + np.where(is_any, last - 1, 0)] + by
        largest = flat[offset + np.where(is_any, first, 0)] + by
        lower = np.where(is_any, np.minimum(lower, smallest), lower)
        upper = np.where(is_any, np.maximum(upper, largest), upper)
    level = (lower + upper) / 2
    start, end = np.array(b), np.array(c)
    left = np.arange(len(row))
    for _ in range(_MOST_STEPS):
        i, x = row[left], level[left]
        start[left] = rows.end_above(i, a[left], b[left], x - shift[0][left])
        end[left] = rows.end_above(i, c[left], d[left], x - shift[2][left])
        s, e = start[left], end[left]
        count = e - s
        total = fixed[left] + rows.sum(i, s, b[left]) + rows.sum(i, c[left], e)
        total += (b[left] - s) * shift[0][left] + (e - c[left]) * shift[2][left]
        excess = count * x - total
        lower[left] = np.where(excess <= 0, x, lower[left])
        upper[left] = np.where(excess >= 0, x, upper[left])
        guess = np.where(count > 0, total / np.maximum(count, 1), x)
        is_met = np.abs(guess - x) <= 4e-16 * (np.abs(x) + np.abs(guess))
        # An end of the bracket has been tried: going back to it would be a cycle.
        is_inside = (lower[left] < guess) & (guess < upper[left])
        level[left] = np.where(is_met | is_inside, guess, (lower[left] + upper[left]) / 2)
        left = left[~is_met & (lower[left] < upper[left])]
        if not left.size:
            break
    return level, start, end


def levels(rows: SortedRows, at: Choices, mu: np.ndarray, lam: np.ndarray) -> Levels:
    """The weights of S that are best for multipliers mu and lam, float64 (choices,)."""
    p, m = at.ends
    shifts = -mu, np.where(at.is_late, lam - mu, 0), lam
    flat, offset = rows.values.ravel(), at.row * rows.values.shape[1]

    def last_before(end: np.ndarray, by: np.ndarray) -> np.ndarray:
        return np.where(end > 0, flat[offset + np.maximum(end - 1, 0)] + by, np.inf)

    def pool(chosen: np.ndarray, zone: tuple[Any, ...], by: tuple[Any, ...]) -> Any:
        return _root(
            rows, at.row[chosen], tuple(z[chosen] for z in zone), tuple(s[chosen] for s in by)
        )

    zero = np.zeros_like(p)
    has_middle = p < m
    high, low = last_before(p, shifts[0]), flat[offset + m] + shifts[2]
    cuts = [p.copy(), p.copy(), m.copy(), m.copy()]
    is_high = has_middle & (p > 0) & (high < flat[offset + np.minimum(p, m)] + shifts[1])
    if is_high.any():
        zone, by = (zero, p, p, m), (shifts[0], shifts[0], shifts[1])
        high[is_high], cuts[0][is_high], cuts[1][is_high] = pool(is_high, zone, by)
    is_low = has_middle & (low > last_before(m, shifts[1]))
    if is_low.any():
        zone, by = (p, m, m, at.j), (shifts[1], shifts[1], shifts[2])
        low[is_low], cuts[2][is_low], cuts[3][is_low] = pool(is_low, zone, by)
    merged = high < low
    if merged.any():
        level, start, end = pool(merged, (zero, p, m, at.j), shifts)
        high[merged] = low[merged] = level
        for cut, value in zip(cuts, (start, m[merged], m[merged], end), strict=True):
            cut[merged] = value
    return Levels(shifts, high, low, (cuts[0], cuts[1], cuts[2], cuts[3]))


@dataclass(frozen=True)
class Dual:
    """Half the squared distance that is certain, its gradient and second derivatives."""

    value: np.ndarray
    gradient: np.ndarray
    curvature: np.ndarray


def dual(rows: SortedRows, at: Choices, mu: np.ndarray, lam: np.ndarray) -> Dual:
    """A lower bound of half the squared distance of each choice, by any multipliers >= 0.

    Returns:
      A `Dual`; value float64 (choices,), gradient (2, choices), curvature (2, 2, choices).
    """
    found = levels(rows, at, mu, lam)
    p, m = at.ends
    n = rows.values.shape[1]
    l1, r1, l2, r2 = found.cuts
    first, middle, last = found.shifts
    high, low = (np.where(np.isfinite(v), v, 0) for v in (found.high, found.low))

    def moved(start: np.ndarray, end: np.ndarray, by: np.ndarray) -> tuple[Any, Any]:
        count, plain = end - start, rows.sum(at.row, start, end)
        squares = rows.sum_squares(at.row, start, end)
        return plain + count * by, squares + by * (2 * plain + count * by)

    free = [moved(np.zeros_like(p), l1, first), moved(r1, l2, middle), moved(r2, at.j, last)]
    sums = [
        free[0][0] + (p - l1) * high,
        free[1][0] + (r1 - p) * high + (m - l2) * low,
        free[2][0] + (r2 - m) * low,
    ]
    squares = sum(part for _, part in free)
    squares = squares + (r1 - l1) * high**2 + (r2 - l2) * low**2
    late = at.is_late
    top = sums[0] + np.where(late, sums[1], 0)
    bottom = sums[2] + np.where(late, sums[1], 0)
    end = rows.end_above(at.row, at.j, np.full_like(at.j, n), mu)
    kept, rest = end - at.j, rows.sum(at.row, at.j, end)
    b, bias = rows.bias[at.row] + mu - lam, rows.bias[at.row]
    value = -((mu - lam) ** 2) / 2 - (mu - lam) * bias
    value += mu * rest - kept * mu**2 / 2 + rows.sum_squares(at.row, end, np.full_like(end, n)) / 2
    value += (rows.sum_squares(at.row, np.zeros_like(p), at.j) - squares) / 2
    gradient = np.stack([top + rest - kept * mu - b, b - bottom])

    merged = (r1 == m) & (l2 == m) & (found.high == found.low)
    curvature = np.empty((2, 2, len(p)))
    slopes = ((-1.0, -1.0, 0.0), (0.0, 1.0, 1.0))
    for which, (one, two, three) in enumerate(slopes):
        two_here = np.where(late, two, 0.0)
        by_high = ((p - l1) * one + (r1 - p) * two_here) / np.maximum(r1 - l1, 1)
        by_low = ((m - l2) * two_here + (r2 - m) * three) / np.maximum(r2 - l2, 1)
        pooled = (p - l1) * one + (m - p) * two_here + (r2 - m) * three
        joint = pooled / np.maximum(r2 - l1, 1)
        by_high, by_low = np.where(merged, joint, by_high), np.where(merged, joint, by_low)
        rise = (
            l1 * one + (p - l1) * by_high,
            (r1 - p) * by_high + (l2 - r1) * two_here + (m - l2) * by_low,
            (r2 - m) * by_low + (at.j - r2) * three,
        )
        sign = 1 if which == 0 else -1
        curvature[0, which] = rise[0] + np.where(late, rise[1], 0) - sign
        curvature[1, which] = sign - rise[2] - np.where(late, rise[1], 0)
    curvature[0, 0] -= kept
    return Dual(value, gradient, curvature)


def _direction(x: np.ndarray, found: Dual) -> tuple[np.ndarray, np.ndarray]:
    """Newton's direction, along the border where it would lead out; and what is left of the slope.

    Both (2, choices).
    """
    g, h = found.gradient, -found.curvature
    is_held = (x <= 0) & (g <= 0)
    det = h[0, 0] * h[1, 1] - h[0, 1] * h[1, 0]
    safe = np.where(det > 0, det, 1)
    both = np.stack([h[1, 1] * g[0] - h[0, 1] * g[1], h[0, 0] * g[1] - h[1, 0] * g[0]]) / safe
    alone = g / np.maximum(np.stack([h[0, 0], h[1, 1]]), 1e-300)
    is_held |= ~is_held.any(axis=0) & (x <= 0) & (both < 0)
    d = np.where(is_held.any(axis=0) | (det <= 0), np.where(is_held, 0, alone), both)
    return d, np.where((x <= 0) & (g <= 0), 0, g)


def improve(
    rows: SortedRows, at: Choices, x: np.ndarray, found: Dual, active: np.ndarray
) -> tuple[np.ndarray, Dual, np.ndarray]:
    """One step of Newton's method, halved until the dual value does not fall.

    Args:
      rows: the neurons.
      at: what is solved.
      x: mu and lam, float64 (2, choices).
      found: their `dual`.
      active: which choices have a step to take, int (some,).

    Returns:
      The new multipliers, their `dual`, and which choices are not at their optimum yet.
    """
    d, slope = _direction(x[:, active], Dual(*(v[..., active] for v in vars(found).values())))
    size = np.abs(rows.values).max(axis=1) + np.abs(rows.bias)
    allowed = _TOLERANCE * rows.values.shape[1] * size[at.row[active]]
    is_open = np.abs(slope).max(axis=0) > allowed
    active, d = active[is_open], d[:, is_open]
    room = np.where(d < 0, x[:, active] / np.where(d < 0, -d, 1), np.inf).min(axis=0, initial=1)
    step, left = np.minimum(room, 1), np.arange(len(active))
    is_moved = np.zeros(len(active), bool)
    x, found = x.copy(), Dual(*(v.copy() for v in vars(found).values()))
    while left.size:
        mine = active[left]
        new = np.maximum(x[:, mine] + step[left] * d[:, left], 0)
        new[(x[:, mine] + step[left] * d[:, left]) < 1e-15 * x[:, mine]] = 0
        tried = dual(rows, at[mine], *new)
        # A rise that rounding hides is told by the gradient, which is better known.
        along = (tried.gradient * d[:, left]).sum(axis=0)
        is_better = (tried.value > found.value[mine]) | (along >= 0)
        good = mine[is_better]
        x[:, good] = new[:, is_better]
        for name, field in vars(found).items():
            field[..., good] = getattr(tried, name)[..., is_better]
        is_moved[left[is_better]] = True
        step[left] /= 2
        left = left[~is_better & (step[left] > _SMALLEST_STEP)]
    return x, found, active[is_moved]
