"""The operators of neurons that are not activated, by one of the projections."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.binarization.decision import Decision
from bimonn_jax.binarization.projection.activable import project
from bimonn_jax.binarization.projection.constant import (
    PROJECTIONS,
    rank_of_constant,
    squared_distance,
)
from bimonn_jax.binarization.projection.nearest import nearest_operators, nearest_operators_traced
from bimonn_jax.binarization.projection.ranks import project_ranks

# Every way to choose the operator of a neuron that is not activated.
METHODS = (*PROJECTIONS, "activable", "rank", "qp")

# Footprints (n, neurons...), ranks int32 and squared distances (neurons...).
# By NumPy for concrete parameters, by JAX for traced ones.
Nearest = tuple[Any, Any, Any]


def nearest_of_all(
    decisions: Sequence[Decision],
    method: str,
    *,
    ranks: bool,
    input_means: Sequence[jax.Array | None],
) -> list[Nearest]:
    """The nearest operators of sets of neurons, by one of the projections.

    Args:
      decisions: what is known of the neurons.
      method: one of `METHODS`.
      ranks: whether neurons of any rank are operators; "constant", "uniform" and "normal" then give
        ranks, rather than the two ends.
      input_means: of each set, float (n, neurons...), the mean of each input, or None; see
        `bimonn_jax.binarization.projection.constant.rank_of_constant`.
    """
    is_on_host = all(isinstance(decision.B, np.ndarray) for decision in decisions)
    is_traced = any(isinstance(decision.B, jax.core.Tracer) for decision in decisions)
    if method == "qp" and is_traced:
        raise ValueError(
            "method 'qp' calls a solver and needs concrete parameters, not a trace of jax.jit: use "
            "method='activable', which gives the same operators"
        )
    if method == "rank":
        if not ranks:
            raise ValueError(
                "method 'rank' gives neurons of any rank, which ranks=False excludes: use "
                "ranks=True, or method='activable'"
            )
        if is_traced:
            raise ValueError(
                "method 'rank' runs on the host and needs concrete parameters, not a trace of "
                "jax.jit: use method='constant' or 'activable'"
            )
    if method in ("qp", "rank") or (method == "activable" and is_on_host):
        return _nearest_of_open(decisions, method, ranks=ranks)
    if method == "activable" and is_traced:
        together = _nearest_together(decisions)
        if together is not None:
            return together
    return [
        _nearest(
            *(jnp.asarray(v) for v in (d.W, d.B, d.is_negative)), means, method=method, ranks=ranks
        )
        for d, means in zip(decisions, input_means, strict=True)
    ]


def _as_ranks(footprint: Any, is_erosion: Any, distance: Any) -> Nearest:
    """Of dilations and erosions, by NumPy or JAX."""
    xp = np if isinstance(footprint, np.ndarray) else jnp
    size = footprint.sum(axis=0, dtype=np.int32)
    return footprint, xp.where(is_erosion, size, 1).astype(np.int32), distance


def _nearest_together(decisions: Sequence[Decision]) -> list[Nearest] | None:
    """By one part of a program for all shapes, if the network is small."""
    flat = [(d.W.reshape(len(d.W), -1), d.B.reshape(-1)) for d in decisions]
    found = nearest_operators_traced(flat)
    if found is None:
        return None
    return [
        _as_ranks(
            footprint.reshape(d.W.shape),
            is_erosion.reshape(d.B.shape),
            distance.reshape(d.B.shape),
        )
        for d, (footprint, is_erosion, distance) in zip(decisions, found, strict=True)
    ]


def _nearest_of_open(decisions: Sequence[Decision], method: str, *, ranks: bool) -> list[Nearest]:
    """By what looks only at neurons that are not operators already, outside of any trace."""
    is_open = [~np.asarray(d.is_exact(ranks=ranks)).reshape(-1) for d in decisions]
    sets = [
        (np.asarray(d.W).reshape(len(d.W), mine.size)[:, mine], np.asarray(d.B).reshape(-1)[mine])
        for d, mine in zip(decisions, is_open, strict=True)
    ]
    if method == "rank":
        nearest = [_rank_neurons(*s) for s in sets]
    else:
        found = (
            nearest_operators(sets) if method == "activable" else [_by_programs(*s) for s in sets]
        )
        nearest = [_as_ranks(*operators) for operators in found]
    return [
        _at_their_places(decision, mine, operators)
        for decision, mine, operators in zip(decisions, is_open, nearest, strict=True)
    ]


@partial(jax.jit, static_argnames=("method", "ranks"))
def _nearest(
    W: jax.Array,
    B: jax.Array,
    is_negative: jax.Array,
    input_mean: jax.Array | None,
    *,
    method: str,
    ranks: bool,
) -> Nearest:
    if method == "activable":
        nearest = project(W, B)
        return _as_ranks(nearest.footprint, nearest.is_erosion, nearest.squared_distance)
    footprint = PROJECTIONS[method](W)
    distance = squared_distance(W, footprint)
    if not ranks:
        return _as_ranks(footprint, jnp.sum(W, axis=0) < 2 * B, distance)
    rank = rank_of_constant(W, B, footprint, is_negative=is_negative, input_mean=input_mean)
    return footprint, rank, distance


def _by_programs(W: np.ndarray, B: np.ndarray) -> tuple[Any, Any, Any]:
    """`nearest_operators` of one set, by quadratic programs."""
    # The one import of CVXPY, which evaluation does without.
    from bimonn_jax.binarization.projection.qp import project_qp

    if not B.size:
        return np.zeros(W.shape, bool), np.zeros(0, bool), np.zeros(0)
    nearest = project_qp(W, B)
    return nearest.footprint, nearest.is_erosion, nearest.squared_distance


def _rank_neurons(W: np.ndarray, B: np.ndarray) -> Nearest:
    found = project_ranks(W, B)
    return found.footprint, found.rank, found.squared_distance


def _at_their_places(decision: Decision, is_open: np.ndarray, found: Nearest) -> Nearest:
    """What was found of the open neurons, (..., k) each, among all neurons; 0 for the others."""
    placed = []
    for values in found:
        full = np.zeros((*values.shape[:-1], is_open.size), values.dtype)
        full[..., is_open] = values
        placed.append(full.reshape(*values.shape[:-1], *decision.B.shape))
    footprint, rank, distance = placed
    return footprint, rank, distance
