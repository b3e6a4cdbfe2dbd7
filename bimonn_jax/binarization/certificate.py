"""Proofs that a float network equals its boolean network on *every* binary input.

Two strengths. **Hard** (from the parameters alone): each neuron, followed by a threshold at 1/2,
equals its boolean neuron on binary inputs; so the network with hard thresholds after every layer
is exact. The test is necessary and sufficient. **Smooth** (parameters and architecture): the
network as it was trained, thresholded only at its end, is exact; the dead zone of every neuron is
carried from layer to layer.

Each result comes twice. *Real*: in real arithmetic, for the numbers as they were given. *Float*: in
the arithmetic that runs, the dtype of the parameters as JAX takes them (NumPy's float64 becomes
float32 unless x64 is on), where rounding, underflow and overflow are bounded for any order of
summation, and whether subnormal numbers are flushed to zero or not
(`bimonn_jax.binarization.rounding`). Both speak of the boolean network that `bimonn_jax.binarize`
returns, by whatever method: a neuron that binarize does not find activated is never called exact.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.binarization.conversion import all_real_parameters, checked_parameters, decide_all
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
from bimonn_jax.networks.architecture import Architecture, Layer
from bimonn_jax.neurons.activation import activation_on_host
from bimonn_jax.neurons.params import RealNeurons, named_neurons
from bimonn_jax.neurons.thresholds import THRESHOLDS

Arithmetic = Literal["real", "float"]
_ARITHMETICS: tuple[Arithmetic, ...] = ("real", "float")


@dataclass(frozen=True)
class DeadZone:
    """Values lie in [0, v1] or [v2, 1]; v1 and v2 float64, () or one per channel or feature.

    Both are NaN where values may be no numbers.
    """

    v1: np.ndarray
    v2: np.ndarray

    def map(self, fn: Callable[[np.ndarray], np.ndarray]) -> "DeadZone":
        """Applies a change of shape to both ends."""
        return DeadZone(fn(self.v1), fn(self.v2))

    def widened(self, error: float) -> "DeadZone":
        """The zone of values that may be off by so much; exact 0 and 1 stay what they are."""
        return DeadZone(
            np.minimum(self.v1 + error * (self.v1 != 0), 1),
            np.maximum(self.v2 - error * (self.v2 != 1), 0),
        )

    def worst(self) -> "DeadZone":
        """One zone, with ends of shape (1,), that holds for all."""
        return DeadZone(np.max(self.v1).reshape(1), np.min(self.v2).reshape(1))


Zones = dict[Arithmetic, DeadZone]


def _binary_zones() -> Zones:
    return {a: DeadZone(np.zeros(()), np.ones(())) for a in _ARITHMETICS}


@dataclass(frozen=True)
class LayerCertificate:
    """What is proven of one set of neurons; arrays have the shape of their bias.

    Attributes:
      path: where they stand in the parameter tree.
      dtype: in which they run, of which "float" speaks.
      is_exact: bool, for "real" and "float": the neuron is its operator on all inputs that reach
        it.
      is_erosion: bool; the operator, where exact.
      footprint_size: int; 0 for a constant neuron, 1 for a copy of one input, where exact.
      zones: the dead zone of the outputs, for "real" and "float". A neuron that is not exact has
        (1, 0): anything; one whose sums may overflow (NaN, NaN): perhaps no number.
    """

    path: str
    dtype: str
    is_exact: Mapping[Arithmetic, np.ndarray]
    is_erosion: np.ndarray
    footprint_size: np.ndarray
    zones: Zones

    def counts(self) -> dict[str, int]:
        """Neurons by operator: dilation, erosion, copy, constant, and not activated."""
        exact, size = self.is_exact["real"], self.footprint_size
        proper = exact & (size > 1)
        return {
            "dilation": int((proper & ~self.is_erosion).sum()),
            "erosion": int((proper & self.is_erosion).sum()),
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


@dataclass(frozen=True)
class Certificate:
    """The result of `certify`.

    Attributes:
      strength: "hard" (thresholds after every layer) or "smooth" (the network as trained).
      layers: one `LayerCertificate` per set of neurons, in order of the network (smooth) or of the
        parameter tree (hard).
      head: the layer that a smooth proof cannot pass (a real head, level sets of outputs), or "".
    """

    strength: Literal["hard", "smooth"]
    layers: tuple[LayerCertificate, ...]
    head: str = ""

    def _holds(self, arithmetic: Arithmetic) -> bool:
        if self.head or not self.layers:
            return False
        # Smooth: what the output neurons do not read need not be proven, and the dead zones that
        # reached them have already accounted for everything they do read.
        needed = self.layers if self.strength == "hard" else self.layers[-1:]
        return all(bool(layer.is_exact[arithmetic].all()) for layer in needed)

    @property
    def dtype(self) -> str:
        """The dtype in which the network runs, or all of them, of which `exact_float` speaks."""
        return " and ".join(sorted({layer.dtype for layer in self.layers}))

    @property
    def exact_real(self) -> bool:
        """Whether the float network, in real arithmetic, equals the boolean one on all inputs.

        It speaks of the parameters as they were given, before JAX makes arrays of them.
        """
        return self._holds("real")

    @property
    def exact_float(self) -> bool:
        """Whether it also does as it runs: in `dtype`, whatever the order of its sums.

        It holds where subnormal numbers are flushed to zero, as XLA does on a CPU, and where not.
        """
        return self._holds("float")

    @property
    def exact_float32(self) -> bool:
        """`exact_float`, of a network that runs in float32 throughout."""
        return self.dtype == "float32" and self.exact_float

    @property
    def first_break(self) -> str | None:
        """Path of the first set of neurons with one that is not proven; None if exact."""
        if self.exact_real:
            return None
        broken = [layer.path for layer in self.layers if not layer.is_exact["real"].all()]
        return broken[0] if broken else self.head or None

    def __str__(self) -> str:
        """What holds for the whole network, then a line per set of neurons."""
        if self.exact_real and self.exact_float:
            verdict = f"exact, in real arithmetic and in {self.dtype}"
        elif self.exact_real:
            verdict = f"exact in real arithmetic; {self.dtype} rounding may break it"
        elif self.exact_float:
            verdict = f"exact in {self.dtype}, but not the parameters as they were given"
        else:
            verdict = f"not proven: breaks at {self.first_break}"
        subject = {
            "hard": "network with hard thresholds after every layer",
            "smooth": "smooth network, thresholded at its end",
        }[self.strength]
        lines = [str(layer) for layer in self.layers]
        if self.exact_float:
            lines.insert(0, f"{self.dtype}: sums in any order, subnormals kept or flushed to zero")
        return "\n".join([f"{subject}: {verdict}", *(f"  {line}" for line in lines)])


def _operator_in_rationals(w: np.ndarray, b: float, p: float) -> tuple[bool, list[bool]] | None:
    """(is_erosion, footprint) of one neuron (n,) on binary inputs, in exact arithmetic, or None."""
    weights, bias = [Fraction(float(x)) for x in w], Fraction(float(b))

    def fires(total: Fraction) -> bool:
        return total > bias if p > 0 else total >= bias

    highest = sum((x for x in weights if x > 0), Fraction(0))
    lowest = sum((x for x in weights if x < 0), Fraction(0))
    dilating = [fires(x) for x in weights]
    inside = [x for x, selected in zip(weights, dilating, strict=True) if selected]
    if not fires(highest - sum(inside, Fraction(0))) and (
        not inside or fires(min(inside) + lowest)
    ):
        return False, dilating
    eroding = [not fires(highest - x) for x in weights]
    inside = [x for x, selected in zip(weights, eroding, strict=True) if selected]
    if fires(sum(inside, Fraction(0)) + lowest) and all(x > 0 for x in inside):
        return True, eroding
    return None


def _is_operator_in_rationals(
    neurons: HostNeurons, undecided: np.ndarray, footprint: np.ndarray, is_erosion: np.ndarray
) -> np.ndarray:
    """Of the undecided neurons, those that are the given operators in exact arithmetic."""
    proven = np.zeros_like(undecided)
    for index in zip(*np.nonzero(undecided), strict=True):
        column = (slice(None), *index)
        B, p = float(neurons.B[index]), float(neurons.p[index])
        found = _operator_in_rationals(neurons.W[column], B, p)
        if found is not None:
            same_operator = found[0] == is_erosion[index] or sum(found[1]) == 1
            proven[index] = same_operator and found[1] == footprint[column].tolist()
    return proven


@partial(jax.jit, static_argnames="threshold")
def _output_ends(
    lower: jax.Array, upper: jax.Array, B: jax.Array, p: jax.Array, threshold: str
) -> tuple[jax.Array, jax.Array]:
    """The values of xi at the two ends of the gap in which the sums of a neuron do not lie."""
    xi = THRESHOLDS[threshold].forward
    low, high = xi(p * (lower - B)), xi(p * (upper - B))
    return jnp.where(p > 0, low, high), jnp.where(p > 0, high, low)


def _are_bits(zone: DeadZone) -> bool:
    return bool(np.all(zone.v1 == 0) and np.all(zone.v2 == 1))


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
class _Set:
    """One set of neurons that is to be certified.

    Attributes:
      path: where they stand.
      given: as they came: "real" speaks of these.
      running: as they run: "float" speaks of these, and `binarize` decides from them.
      footprint: bool (n, neurons...); of the operators that `binarize` finds.
      is_erosion: bool (neurons...); which of these are erosions.
      is_activated: bool (neurons...); where it finds one at all.
      rounding: the arithmetic in which they run.
      threshold: name of xi.
      shape: of the weights.
    """

    path: str
    given: HostNeurons
    running: HostNeurons
    footprint: np.ndarray
    is_erosion: np.ndarray
    is_activated: np.ndarray
    rounding: Rounding
    threshold: str
    shape: tuple[int, ...]


def _sets_of(params: Any) -> dict[str, _Set]:
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
        sets[path] = _Set(
            path=path,
            given=given,
            running=mine,
            footprint=np.asarray(found.footprint),
            is_erosion=np.asarray(found.is_erosion),
            is_activated=np.asarray(found.is_activated),
            rounding=rounding,
            threshold=neurons.threshold,
            shape=neurons.weight.shape,
        )
    return sets


def _certify_neurons(mine: _Set, zones: Zones) -> LayerCertificate:
    """Certifies one set of neurons for inputs in ``zones``, whose ends broadcast to the weights."""
    is_exact: dict[Arithmetic, np.ndarray] = {}
    out: Zones = {}
    for arithmetic in _ARITHMETICS:
        is_real = arithmetic == "real"
        is_exact[arithmetic], out[arithmetic] = _certify_in(
            mine,
            mine.given if is_real else mine.running,
            FLOAT64 if is_real else mine.rounding,
            zones[arithmetic],
            is_real=is_real,
        )
    size = mine.footprint.sum(axis=0)
    return LayerCertificate(mine.path, mine.rounding.dtype, is_exact, mine.is_erosion, size, out)


def _certify_in(
    mine: _Set, neurons: HostNeurons, rounding: Rounding, zone: DeadZone, *, is_real: bool
) -> tuple[np.ndarray, DeadZone]:
    """Which neurons are exact in one arithmetic, bool (neurons...), and their dead zones."""
    W, B, p, size = neurons.W.reshape(mine.shape), neurons.B, neurons.p, mine.footprint.sum(axis=0)
    on_bits = _are_bits(zone)
    margin = _margin(neurons, rounding, is_real=is_real, on_bits=on_bits)
    found = activation_on_host(W, B, p, v1=zone.v1, v2=zone.v2, margin=margin)
    same = (found.footprint == mine.footprint).all(axis=0)
    same &= (found.is_erosion == mine.is_erosion) | (size == 1)
    exact = found.is_activated & same
    if is_real and on_bits:
        possible = activation_on_host(W, B, p, margin=-margin).is_activated
        undecided = possible & ~np.asarray(found.is_activated) & (neurons.error == 0)
        exact |= _is_operator_in_rationals(neurons, undecided, mine.footprint, mine.is_erosion)
    exact &= mine.is_activated
    with np.errstate(over="ignore", invalid="ignore"):
        ends = found.lower + margin, found.upper - margin
    with jax.enable_x64(True):
        low, high = map(np.asarray, _output_ends(*ends, B, p, threshold=mine.threshold))
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
    return exact, DeadZone(v1, v2)


@dataclass
class _Walk:
    """Carries the dead zones through the layers of an architecture."""

    sets: Mapping[str, _Set]
    zones: Zones = field(default_factory=_binary_zones)
    layers: list[LayerCertificate] = field(default_factory=list)
    head: str = ""
    is_flat: bool = False
    # The roundoff of the dtype that the outputs of the last neurons have.
    unit: float = 0.0
    # Whether the outputs of the last neurons have been complemented since.
    is_complemented: bool = False

    def end(self) -> None:
        """Ends the proof before complements of outputs that may be 1/2, which are 1/2 again."""
        are_apart = all(np.all((z.v1 < 0.5) & (z.v2 > 0.5)) for z in self.zones.values())
        if self.is_complemented and not are_apart and not self.head:
            self.head = "complement"

    def set_of(self, layer: Layer, part: str) -> _Set:
        path = f"{layer.name}/{part}" if layer.name else part
        if path not in self.sets:
            raise ValueError(
                f"the architecture has a layer {path!r}, but the real-valued neurons of params are "
                f"{sorted(self.sets)}"
            )
        return self.sets[path]

    def neurons(self, layer: Layer, part: str, zones: Zones) -> None:
        mine = self.set_of(layer, part)
        unit = mine.rounding.unit
        if unit > self.unit > 0:
            # The neurons read their inputs in their own, shorter dtype.
            zones = {**zones, "float": zones["float"].widened(unit)}
        certificate = _certify_neurons(mine, zones)
        self.layers.append(certificate)
        self.zones, self.is_flat, self.unit = certificate.zones, False, unit
        self.is_complemented = False

    def zones_for(self, inputs: int) -> Zones:
        """The zones of ``inputs`` channels or features, each end of shape (inputs,)."""

        def fitted(zone: DeadZone) -> DeadZone:
            if zone.v1.ndim == 0 or inputs % zone.v1.size:
                zone = zone.worst()
            # After a flattening the channel varies fastest: its zone repeats over the pixels.
            return zone.map(lambda v: np.tile(v, inputs // v.size))

        return {arithmetic: fitted(zone) for arithmetic, zone in self.zones.items()}

    def inputs_of(self, layer: Layer, part: str) -> int:
        return self.set_of(layer, part).shape[-2]

    def bisel(self, layer: Layer) -> None:
        zones = self.zones_for(self.inputs_of(layer, "bise"))
        self.neurons(layer, "bise", {a: z.map(lambda v: v[:, None]) for a, z in zones.items()})
        self.neurons(layer, "lui", self.zones)

    def bise(self, layer: Layer) -> None:
        zones = self.zones_for(self.inputs_of(layer, "bise"))
        self.neurons(layer, "bise", {a: z.map(lambda v: v[:, None]) for a, z in zones.items()})
        self.zones = {a: z.map(np.ravel) for a, z in self.zones.items()}

    def lui(self, layer: Layer) -> None:
        zones = self.zones_for(self.inputs_of(layer, "lui"))
        self.neurons(layer, "lui", {a: z.map(lambda v: v[:, None]) for a, z in zones.items()})

    def complement(self, layer: Layer) -> None:
        self.is_complemented = True

        def both(arithmetic: Arithmetic, zone: DeadZone) -> DeadZone:
            # The order of flat features is not tracked here, so they share their worst zone.
            zone = zone.worst() if self.is_flat else zone
            error = self.unit if arithmetic == "float" else 2.0**-53
            inverted = DeadZone(1 - zone.v2, 1 - zone.v1).widened(error)
            joined = DeadZone(np.append(zone.v1, inverted.v1), np.append(zone.v2, inverted.v2))
            return joined.worst() if self.is_flat or zone.v1.ndim == 0 else joined

        self.zones = {arithmetic: both(arithmetic, zone) for arithmetic, zone in self.zones.items()}

    def level_sets(self, layer: Layer) -> None:
        # On the outputs of neurons, thresholds other than 1/2 need not agree with the boolean
        # network: the proof ends there.
        if self.layers:
            self.head = layer.kind

    def flatten(self, layer: Layer) -> None:
        self.is_flat = True

    def hit_or_miss(self, layer: Layer) -> None:
        self.complement(layer)
        self.lui(layer)

    def dense(self, layer: Layer) -> None:
        self.head = layer.name or layer.kind

    def votes(self, layer: Layer) -> None:
        # Whole numbers: the same scores wherever the features are exactly 0 or 1.
        if not all(_are_bits(zone) for zone in self.zones.values()):
            self.head = layer.name or layer.kind


_WALKS: dict[str, Callable[[_Walk, Layer], None]] = {
    "bise": _Walk.bise,
    "lui": _Walk.lui,
    "dense_lui": _Walk.lui,
    "bisel": _Walk.bisel,
    "complement": _Walk.complement,
    "level_sets": _Walk.level_sets,
    "flatten": _Walk.flatten,
    "hit_or_miss": _Walk.hit_or_miss,
    # The union over windows of outputs leaves their dead zone as it is.
    "hit_or_miss_conv": _Walk.hit_or_miss,
    "dense": _Walk.dense,
    "ternary": _Walk.votes,
    "popcount": _Walk.votes,
}


def certify(params: Any, architecture: Architecture | None = None) -> Certificate:
    """Proves that a float network equals the boolean network of `binarize`, or says where not.

    Args:
      params: the real-valued parameter tree, concrete.
      architecture: ``model.architecture`` for the smooth network; None for the network with hard
        thresholds after every layer, which the parameters alone determine.

    Returns:
      A `Certificate`. For every binary input, ``exact_real`` and ``exact_float`` each promise that
      thresholding the float network's output at 1/2 (1 where strictly above) gives the boolean
      network's output; scores of a ternary or popcount head are equal. ``exact_real`` speaks of
      real arithmetic and of the parameters as given, ``exact_float`` of what runs: the parameters
      as JAX arrays, computed in their ``dtype``, in any order, with subnormal numbers kept or
      flushed to zero.

    Raises:
      ValueError: if parameters are not finite, a scale is 0, the architecture is empty, or names
        parameters that the tree does not hold.
      TypeError: if the tree holds no `RealNeurons`, is boolean already, or its neurons are of
        another dtype than float16, bfloat16, float32 or float64.

    Examples:
      >>> import jax.numpy as jnp
      >>> weight, one = jnp.array([[3.0], [2.0], [0.5]]), jnp.array([1.0])
      >>> neurons = RealNeurons(weight, bias=one, scale=one)
      >>> print(certify({"bise": neurons}))
      network with hard thresholds after every layer: exact, in real arithmetic and in float32
        float32: sums in any order, subnormals kept or flushed to zero
        bise: 1 dilation; dead zone (0.269, 0.881)
    """
    sets = _sets_of(params)
    if architecture is None:
        layers = [_certify_neurons(mine, _binary_zones()) for mine in sets.values()]
        return Certificate("hard", tuple(layers))
    if not architecture:
        raise ValueError("architecture has no layers: pass model.architecture")
    walk = _Walk(sets)
    for layer in architecture:
        _WALKS[layer.kind](walk, layer)
        if walk.head:
            break
    walk.end()
    return Certificate("smooth", tuple(walk.layers), walk.head)
