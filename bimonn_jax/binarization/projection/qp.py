"""The exact projection by quadratic programs, CVXPY with OSQP: as the paper has it, and the oracle.

One program per footprint and operator: 2 n for a neuron of n inputs, tens of milliseconds each.
`bimonn_jax.project` gives the same answer some 100,000 times faster.

`nearest_of_rank` is the oracle of `project_ranks`: one footprint, any rank, by Clarabel.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import jax.numpy as jnp
import numpy as np

from bimonn_jax.binarization.projection.activable import Projected, check_erosion
from bimonn_jax.binarization.projection.duality import Form

TOLERANCE = 1e-9


@dataclass(frozen=True)
class Solution:
    """The optimum of one program.

    Attributes:
      weight: w, float64 (n,).
      threshold: b, the bias of a dilation, of an erosion whichever the form compares.
      squared_distance: |w - W|^2 + (b - B)^2.
    """

    weight: np.ndarray
    threshold: float
    squared_distance: float


class FootprintProgram:
    """The nearest activable neuron with a given footprint, built once for neurons of n inputs."""

    def __init__(
        self, n: int, form: Form, *, tolerance: float = TOLERANCE, iterations: int = 200_000
    ):
        """Builds the program with W, B and S as parameters.

        Args:
          n: inputs of a neuron.
          form: which activable set.
          tolerance: OSQP's absolute and relative one.
          iterations: how many OSQP may take.
        """
        self._tolerance, self._iterations = tolerance, iterations
        self._W, self._B = cp.Parameter(n), cp.Parameter()
        self._inside = cp.Parameter(n, nonneg=True)
        self._outside = cp.Parameter(n, nonneg=True)
        self._w, self._b = cp.Variable(n), cp.Variable()
        threshold = cp.sum(self._w) - self._b if form.is_total else self._b
        if form.signed:
            up, down = cp.Variable(n, nonneg=True), cp.Variable(n, nonneg=True)
            constraints = [up >= self._w, down >= -self._w]
            above, below = self._outside @ up, cp.sum(down)
        else:
            constraints = [self._w >= 0]
            above, below = self._outside @ self._w, 0
        constraints += [
            above <= threshold,
            cp.multiply(self._inside, threshold + below - self._w) <= 0,
        ]
        loss = cp.sum_squares(self._w - self._W) + cp.square(self._b - self._B)
        self._problem = cp.Problem(cp.Minimize(loss / 2), constraints)

    def solve(self, W: np.ndarray, B: float, footprint: np.ndarray) -> Solution:
        """Solves for weights W (n,), bias B and a footprint, bool (n,).

        Raises:
          RuntimeError: if OSQP does not reach its tolerance.
        """
        self._W.value, self._B.value = np.asarray(W, np.float64), float(B)
        self._inside.value = footprint.astype(np.float64)
        self._outside.value = 1.0 - self._inside.value
        try:
            with warnings.catch_warnings():
                # An inaccurate solution is refused below.
                warnings.filterwarnings("ignore", message="Solution may be inaccurate")
                self._problem.solve(
                    solver=cp.OSQP,
                    eps_abs=self._tolerance,
                    eps_rel=self._tolerance,
                    max_iter=self._iterations,
                    polishing=True,
                    warm_starting=True,
                )
            status = self._problem.status
        except cp.SolverError as error:
            status = str(error)
        if status != cp.OPTIMAL:
            raise RuntimeError(
                f"OSQP did not solve the projection of a neuron of {W.size} inputs onto a "
                f"footprint of {int(footprint.sum())} (status: {status}): scale the weights to "
                "about 1, or use method='activable', which needs no iterations"
            )
        w, b = np.asarray(self._w.value), np.asarray(self._b.value).item()
        return Solution(w, b, float(np.sum((w - W) ** 2) + (b - B) ** 2))


def super_level_sets(W: np.ndarray) -> np.ndarray:
    """The footprints of the j largest weights, j = 1, ..., n, of equal ones the first: (n, n)."""
    order = np.argsort(-W, kind="stable")
    rank = np.argsort(order, kind="stable")
    return rank[None, :] < np.arange(1, W.size + 1)[:, None]


def project_qp(
    weight: np.ndarray,
    bias: np.ndarray,
    *,
    signed: bool = False,
    erosion: str = "dual",
    tolerance: float = TOLERANCE,
) -> Projected:
    """`bimonn_jax.project`, by 2 n quadratic programs per neuron.

    Args:
      weight: W, concrete float (n, neurons).
      bias: B, concrete float (neurons,).
      signed: as in `project`.
      erosion: as in `project`.
      tolerance: OSQP's absolute and relative one.

    Returns:
      A `Projected` of the dtype of the weights.

    Raises:
      RuntimeError: if OSQP does not converge.
      ValueError: for an unknown ``erosion``.
    """
    check_erosion(erosion)
    dtype = weight.dtype
    W, B = np.asarray(weight, np.float64), np.asarray(bias, np.float64)
    forms = {False: Form(signed), True: Form(signed, is_total=erosion == "euclidean")}
    programs = {
        form: FootprintProgram(W.shape[0], form, tolerance=tolerance) for form in forms.values()
    }
    columns = []
    for w, b in zip(W.T, B, strict=True):
        best: tuple[Any, ...] | None = None
        for is_erosion, form in forms.items():
            is_dual = is_erosion and not form.is_total
            compared = w.sum() - b if is_dual else b
            for S in super_level_sets(w):
                found = programs[form].solve(w, compared, S)
                if best is None or found.squared_distance < best[-1]:
                    threshold = found.threshold
                    moved = found.weight.sum() - threshold if is_dual else threshold
                    shift = threshold - compared
                    best = found.weight, moved, S, is_erosion, shift, found.squared_distance
        columns.append(best)
    fields = (np.stack(field, axis=-1) for field in zip(*columns, strict=True))
    return Projected(*(jnp.asarray(f, jnp.bool_ if f.dtype == bool else dtype) for f in fields))


def nearest_of_rank(W: np.ndarray, B: float, footprint: np.ndarray, rank: int) -> Solution:
    """The nearest neuron that is "at least ``rank`` of ``footprint``", weights W' >= 0.

    Args:
      W: float (n,).
      B: the bias.
      footprint: S, bool (n,), not empty.
      rank: k, 1 to |S|.

    Raises:
      RuntimeError: if Clarabel does not reach its tolerance.
    """
    w, b = cp.Variable(W.size), cp.Variable()
    inside, outside = np.flatnonzero(footprint), np.flatnonzero(~footprint)
    below = cp.sum_largest(w[inside], rank - 1) if rank > 1 else 0
    constraints = [w >= 0, b <= cp.sum_smallest(w[inside], rank)]
    constraints += [below + (cp.sum(w[outside]) if outside.size else 0) <= b]
    loss = cp.sum_squares(w - W) + cp.square(b - B)
    problem = cp.Problem(cp.Minimize(loss), constraints)
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), TOLERANCE)
    try:
        problem.solve(solver=cp.CLARABEL, **tight)
        status = problem.status
    except cp.SolverError as error:
        status = str(error)
    if status != cp.OPTIMAL:
        raise RuntimeError(
            f"Clarabel did not solve the projection of a neuron of {W.size} inputs onto rank "
            f"{rank} of a footprint of {inside.size} (status: {status}): scale the weights to "
            "about 1, or use project_ranks, which needs no solver"
        )
    return Solution(np.asarray(w.value), np.asarray(b.value).item(), float(problem.value))
