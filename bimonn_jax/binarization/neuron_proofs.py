"""Proofs that one set of neurons computes its operators, for inputs in given dead zones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.binarization.conversion import checked_parameters
from bimonn_jax.binarization.decision import all_real_parameters, decide_all
from bimonn_jax.binarization.rounding import (
    FLOAT64,
    HostNeurons,
    Rounding,
    exact_step,
    host_neurons,
    may_be_nan,
    rounding_of,
    sum_error,
    threshold_distance,
)
from bimonn_jax.binarization.zones import ARITHMETICS, Arithmetic, DeadZone, Zones, are_bits
from bimonn_jax.neurons.activation import activation_on_host
from bimonn_jax.neurons.params import RealNeurons, named_neurons
from bimonn_jax.neurons.thresholds import THRESHOLDS


@dataclass(frozen=True)
class LayerCertificate:
    """What is proven of one set of neurons; arrays have the shape of their bias.

    Attributes:
      path: where they stand in the parameter tree.
      dtype: in which they run, of which "float" speaks.
      is_exact: bool, for "real" and "float": the neuron is its operator on all inputs that reach
        it.
      rank: int; the operator, where exact: how many inputs of its footprint must be set.
      footprint_size: int; 0 for a constant neuron, 1 for a copy of one input, where exact.
      zones: the dead zone of the outputs, for "real" and "float". A neuron that is not exact has
        (1, 0): anything; one whose sums may overflow (NaN, NaN): perhaps no number.
    """

    path: str
    dtype: str
    is_exact: Mapping[Arithmetic, np.ndarray]
    rank: np.ndarray
    footprint_size: np.ndarray
    zones: Zones

    def counts(self) -> dict[str, int]:
        """Neurons by operator: dilation, erosion, rank, copy, constant, and not activated."""
        exact, rank, size = self.is_exact["real"], self.rank, self.footprint_size
        proper = exact & (size > 1)
        return {
            "dilation": int((proper & (rank == 1)).sum()),
            "erosion": int((proper & (rank == size)).sum()),
            "rank": int((proper & (rank > 1) & (rank < size)).sum()),
            "copy": int((exact & (size == 1)).sum()),
            "constant": int((exact & (size == 0)).sum()),
            "not activated": int((~exact).sum()),
        }

    def worst_zone(self) -> tuple[float, float] | None:
        """(v1, v2), in real arithmetic, that hold for all exact neurons; None if there are none."""
        exact, zone = self.is_exact["real"], self.zones["real"]
        if not exact.any():
            return None
        return float(zone.v1[exact].max()), float(zone.v2[exact].min())

    def __str__(self) -> str:
        """One line: counts by operator and the worst dead zone of the exact neurons."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts().items() if count)
        worst = self.worst_zone()
        if worst is None:
            return f"{self.path}: {counts}"
        low, high = worst
        exact = self.is_exact["real"]
        rounding = int((exact & ~self.is_exact["float"]).sum())
        note = f"; {rounding} exact in real arithmetic only" if rounding else ""
        return f"{self.path}: {counts}; dead zone ({low:.3g}, {high:.3g}){note}"


def _operator_in_rationals(w: np.ndarray, b: float, p: float) -> tuple[int, list[bool]] | None:
    """(rank, footprint) of one neuron (n,) on binary inputs, in exact arithmetic, or None.

    As in `bimonn_jax.neurons.activation`.
    """
    weights, bias = [Fraction(float(x)) for x in w], Fraction(float(b))

    def fires(total: Fraction) -> bool:
        return total > bias if p > 0 else total >= bias

    def total(chosen: Iterable[Fraction]) -> Fraction:
        return sum(chosen, Fraction(0))

    if fires(Fraction(0)):
        return (0, [False] * len(w)) if fires(total(x for x in weights if x < 0)) else None
    before, rank = Fraction(0), 1
    for x in sorted(weights, reverse=True):
        if fires(before + x):
            break
        before, rank = before + x, rank + 1
    else:
        # Not even all positive weights together do.
        return 1, [False] * len(w)
    footprint = [fires(before + x) for x in weights]
    inside = sorted(x for x, selected in zip(weights, footprint, strict=True) if selected)
    outside = [x for x, selected in zip(weights, footprint, strict=True) if not selected]
    highest, lowest = (total(part(x, Fraction(0)) for x in outside) for part in (max, min))
    if fires(before + highest) or not fires(total(inside[:rank]) + lowest):
        return None
    return rank, footprint


def _is_operator_in_rationals(
    neurons: HostNeurons, undecided: np.ndarray, footprint: np.ndarray, rank: np.ndarray
) -> np.ndarray:
    """Of the undecided neurons, those that are the given operators in exact arithmetic."""
    proven = np.zeros_like(undecided)
    for index in zip(*np.nonzero(undecided), strict=True):
        column = (slice(None), *index)
        B, p = float(neurons.B[index]), float(neurons.p[index])
        found = _operator_in_rationals(neurons.W[column], B, p)
        proven[index] = found == (rank[index], footprint[column].tolist())
    return proven


@partial(jax.jit, static_argnames="threshold")
def _output_ends(
    lower: jax.Array, upper: jax.Array, B: jax.Array, p: jax.Array, threshold: str
) -> tuple[jax.Array, jax.Array]:
    """The values of xi at the two ends of the gap in which the sums of a neuron do not lie."""
    xi = THRESHOLDS[threshold].forward
    low, high = xi(p * (lower - B)), xi(p * (upper - B))
    return jnp.where(p > 0, low, high), jnp.where(p > 0, high, low)


def _margin(
    neurons: HostNeurons, rounding: Rounding, *, is_real: bool, on_bits: bool
) -> np.ndarray:
    """How far from its threshold a sum must stay for the proof, float64 (neurons...)."""
    # In real arithmetic the sign of a sum decides, however small it is.
    least = np.zeros_like(neurons.B) if is_real else threshold_distance(neurons.p, rounding)
    margin = sum_error(neurons, rounding) + least
    if on_bits:
        # Sums that are not rounded are 0 or a step away from it.
        step = exact_step(neurons, rounding)
        margin = np.where((step > 0) & (step >= least), 0.0, margin)
    return np.asarray(margin)


@dataclass(frozen=True)
class Certifiable:
    """One set of neurons that is to be certified.

    Attributes:
      path: where they stand.
      given: as they came: "real" speaks of these.
      running: as they run: "float" speaks of these, and `binarize` decides from them.
      footprint: bool (n, neurons...); of the operators that `binarize` finds.
      rank: int (neurons...); of these operators.
      is_activated: bool (neurons...); where it finds one at all.
      rounding: the arithmetic in which they run.
      threshold: name of xi.
      shape: of the weights.
    """

    path: str
    given: HostNeurons
    running: HostNeurons
    footprint: np.ndarray
    rank: np.ndarray
    is_activated: np.ndarray
    rounding: Rounding
    threshold: str
    shape: tuple[int, ...]


def certifiable_sets(params: Any) -> dict[str, Certifiable]:
    """The sets of neurons of a tree, by path."""
    arrays = named_neurons(checked_parameters(params))
    named = {k: n for k, n in named_neurons(params).items() if isinstance(n, RealNeurons)}
    if not named:
        raise TypeError("certify takes a tree with RealNeurons, as model.init returns it; got none")
    running = {path: neurons for path in named if isinstance(neurons := arrays[path], RealNeurons)}
    longer = {k: n for k, n in named.items() if rounding_of(n) != rounding_of(running[k])}
    with jax.enable_x64(True):
        of_longer = all_real_parameters(longer)
    sets = {}
    for path, decision in decide_all(running).items():
        neurons, rounding = running[path], rounding_of(running[path])
        mine = given = host_neurons(neurons, decision.W, decision.B, rounding)
        if path in longer:
            W, B, _ = of_longer[path]
            given = host_neurons(named[path], W, B, rounding_of(named[path]))
        found = decision.activation
        sets[path] = Certifiable(
            path=path,
            given=given,
            running=mine,
            footprint=np.asarray(found.footprint),
            rank=np.asarray(found.rank),
            is_activated=np.asarray(found.is_activated),
            rounding=rounding,
            threshold=neurons.threshold,
            shape=neurons.weight.shape,
        )
    return sets


def certify_neurons(mine: Certifiable, zones: Zones) -> LayerCertificate:
    """Certifies one set of neurons for inputs in ``zones``, whose ends broadcast to the weights."""
    is_exact: dict[Arithmetic, np.ndarray] = {}
    out: Zones = {}
    for arithmetic in ARITHMETICS:
        is_real = arithmetic == "real"
        is_exact[arithmetic], out[arithmetic] = _certify_in(
            mine,
            mine.given if is_real else mine.running,
            FLOAT64 if is_real else mine.rounding,
            zones[arithmetic],
            is_real=is_real,
        )
    size = mine.footprint.sum(axis=0)
    return LayerCertificate(mine.path, mine.rounding.dtype, is_exact, mine.rank, size, out)


def _certify_in(
    mine: Certifiable, neurons: HostNeurons, rounding: Rounding, zone: DeadZone, *, is_real: bool
) -> tuple[np.ndarray, DeadZone]:
    """Which neurons are exact in one arithmetic, bool (neurons...), and their dead zones."""
    W, B, p = neurons.W.reshape(mine.shape), neurons.B, neurons.p
    on_bits = are_bits(zone)
    ends = {} if on_bits else {"v1": zone.v1, "v2": zone.v2}
    margin = _margin(neurons, rounding, is_real=is_real, on_bits=on_bits)
    found = activation_on_host(W, B, p, **ends, margin=margin)
    same = (found.footprint == mine.footprint).all(axis=0) & (found.rank == mine.rank)
    exact = found.is_activated & same
    if is_real and on_bits:
        possible = activation_on_host(W, B, p, margin=-margin).is_activated
        undecided = possible & ~np.asarray(found.is_activated) & (neurons.error == 0)
        exact |= _is_operator_in_rationals(neurons, undecided, mine.footprint, mine.rank)
    exact &= mine.is_activated
    with np.errstate(over="ignore", invalid="ignore"):
        sums = found.lower + margin, found.upper - margin
    with jax.enable_x64(True):
        low, high = map(np.asarray, _output_ends(*sums, B, p, threshold=mine.threshold))
    error = 0.0 if mine.threshold == "step" else rounding.threshold_error
    # A tie has no room for a dead zone: its low outputs reach 1/2, and nothing else is known.
    proven, tie = exact & found.is_activated, exact & ~np.asarray(found.is_activated)
    v1 = np.where(proven, np.clip(low + error, 0, 1), np.where(tie, 0.5, 1.0))
    v2 = np.where(proven, np.clip(high - error, 0, 1), np.where(tie, 0.5, 0.0))
    if not is_real:
        is_nan = may_be_nan(neurons, rounding)
        # Even a weight of 0 spreads what is no number to all readers.
        is_nan |= bool(np.isnan(zone.v1).any())
        exact, v1, v2 = exact & ~is_nan, np.where(is_nan, np.nan, v1), np.where(is_nan, np.nan, v2)
    return np.asarray(exact), DeadZone(v1, v2)
