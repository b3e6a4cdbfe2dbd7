"""Proofs that a float network equals its boolean network on *every* binary input.

Two strengths. **Hard** (from the parameters alone): each neuron, followed by a threshold at 1/2,
equals its boolean neuron on binary inputs; so the network with hard thresholds after every layer
is exact. The test is necessary and sufficient. **Smooth** (parameters and architecture): the
network as it was trained, thresholded only at its end, is exact; the dead zone of every neuron is
carried from layer to layer.

Each result comes twice: in real arithmetic for the float weights as given, and in float32, where
rounding is bounded. Both speak of the boolean network that `bimonn_jax.binarize` returns.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.activation import Activation, activation, rounding_margin
from bimonn_jax.architecture import Architecture, Layer
from bimonn_jax.binarization import binarize_neurons, check_finite
from bimonn_jax.params import BiSEParams, flat_weight, named_neurons, real_parameters
from bimonn_jax.thresholds import THRESHOLDS

Arithmetic = Literal["real", "float32"]
_ARITHMETICS: tuple[Arithmetic, ...] = ("real", "float32")
# "Real" is decided in float64; `_resolve_ties` settles what its rounding leaves open.
_DTYPES = {"real": jnp.float64, "float32": jnp.float32}

# How far a computed xi may lie from the real one: float64 to a few ulps; in float32 compilers use
# approximations, of which tests/test_certificate.py measures the error to be below this.
_THRESHOLD_ERROR = {"real": 2.0**-48, "float32": 2.0**-20}


@dataclass(frozen=True)
class DeadZone:
    """Values lie in [0, v1] or [v2, 1]; v1 and v2 float64, () or one per channel or feature."""

    v1: np.ndarray
    v2: np.ndarray

    def map(self, fn: Callable[[np.ndarray], np.ndarray]) -> "DeadZone":
        """Applies a change of shape to both ends."""
        return DeadZone(fn(self.v1), fn(self.v2))

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
      is_exact: bool, for "real" and "float32": the neuron is its operator on all inputs that reach
        it.
      is_erosion: bool; the operator, where exact.
      footprint_size: int; 0 for a constant neuron, 1 for a copy of one input, where exact.
      zones: the dead zone of the outputs, for "real" and "float32". A neuron that is not exact has
        (1, 0): anything.
    """

    path: str
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
        rounding = int((exact & ~self.is_exact["float32"]).sum())
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
    def exact_real(self) -> bool:
        """Whether the float network, in real arithmetic, equals the boolean one on all inputs."""
        return self._holds("real")

    @property
    def exact_float32(self) -> bool:
        """Whether it also does in float32, whatever the order of its sums."""
        return self._holds("float32")

    @property
    def first_break(self) -> str | None:
        """Path of the first set of neurons with one that is not proven; None if exact."""
        if self.exact_real:
            return None
        broken = [layer.path for layer in self.layers if not layer.is_exact["real"].all()]
        return broken[0] if broken else self.head or None

    def __str__(self) -> str:
        """A line for the whole network, then one per set of neurons."""
        if self.exact_float32:
            verdict = "exact, in real arithmetic and in float32"
        elif self.exact_real:
            verdict = "exact in real arithmetic; float32 rounding may break it"
        else:
            verdict = f"not proven: breaks at {self.first_break}"
        subject = {
            "hard": "network with hard thresholds after every layer",
            "smooth": "smooth network, thresholded at its end",
        }[self.strength]
        return "\n".join([f"{subject}: {verdict}", *(f"  {layer}" for layer in self.layers)])


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
    W: jax.Array,
    B: jax.Array,
    p: jax.Array,
    undecided: np.ndarray,
    footprint: np.ndarray,
    is_erosion: np.ndarray,
) -> np.ndarray:
    """Of the undecided neurons, those that are the given operators in exact arithmetic."""
    proven, flat = np.zeros_like(undecided), np.asarray(flat_weight(W, B))
    for index in zip(*np.nonzero(undecided), strict=True):
        column = (slice(None), *index)
        found = _operator_in_rationals(flat[column], float(B[index]), float(p[index]))
        if found is not None:
            same_operator = found[0] == is_erosion[index] or sum(found[1]) == 1
            proven[index] = same_operator and found[1] == footprint[column].tolist()
    return proven


# Compiled, because dozens of small operations on every new shape would each be compiled alone.
_real_parameters = jax.jit(real_parameters)
_rounding_margin = jax.jit(rounding_margin, static_argnames="dtype")


@partial(jax.jit, static_argnames=("threshold", "error"))
def _output_ends(
    result: Activation, B: jax.Array, p: jax.Array, margin: jax.Array, threshold: str, error: float
) -> tuple[jax.Array, jax.Array]:
    xi = THRESHOLDS[threshold].forward
    error = 0.0 if threshold == "step" else error
    low, high = (xi(p * (end - B)) for end in (result.lower + margin, result.upper - margin))
    v1 = jnp.clip(jnp.where(p > 0, low, high) + error, 0, 1)
    v2 = jnp.clip(jnp.where(p > 0, high, low) - error, 0, 1)
    return v1, v2


def _certify_neurons(path: str, params: BiSEParams, zones: Zones) -> LayerCertificate:
    """Certifies one set of neurons for inputs in ``zones``, whose ends broadcast to the weights."""
    # The proof is about the network that `binarize` returns, which decides in float32.
    # Only activated neurons matter here, so the cheapest projection of the others will do.
    boolean = binarize_neurons(params, method="constant")
    footprint = np.asarray(flat_weight(boolean.footprint, boolean.is_erosion))
    is_erosion, size = np.asarray(boolean.is_erosion), footprint.sum(axis=0)
    W, B, p = (jnp.asarray(np.asarray(a), jnp.float64) for a in _real_parameters(params))
    is_exact: dict[Arithmetic, np.ndarray] = {}
    out: Zones = {}
    for arithmetic in _ARITHMETICS:
        zone = zones[arithmetic]
        margin = _rounding_margin(W, B, p, dtype=_DTYPES[arithmetic])
        v1, v2 = jnp.asarray(zone.v1), jnp.asarray(zone.v2)
        result = activation(W, B, p, v1=v1, v2=v2, margin=margin)
        same = (np.asarray(result.footprint) == footprint).all(axis=0)
        same &= (np.asarray(result.is_erosion) == is_erosion) | (size == 1)
        exact = np.asarray(result.is_activated) & same
        if arithmetic == "real" and np.all(zone.v1 == 0) and np.all(zone.v2 == 1):
            possible = np.asarray(activation(W, B, p, margin=-margin).is_activated)
            undecided = possible & ~np.asarray(result.is_activated)
            exact |= _is_operator_in_rationals(W, B, p, undecided, footprint, is_erosion)
        is_exact[arithmetic] = exact
        low, high = _output_ends(
            result, B, p, margin, threshold=params.threshold, error=_THRESHOLD_ERROR[arithmetic]
        )
        # A tie has no room for a dead zone: its low outputs reach 1/2, and nothing else is known.
        proven = exact & np.asarray(result.is_activated)
        tie = exact & ~proven
        out[arithmetic] = DeadZone(
            np.where(proven, low, np.where(tie, 0.5, 1.0)),
            np.where(proven, high, np.where(tie, 0.5, 0.0)),
        )
    return LayerCertificate(path, is_exact, is_erosion, size, out)


@dataclass
class _Walk:
    """Carries the dead zones through the layers of an architecture."""

    params: Mapping[str, Any]
    zones: Zones = field(default_factory=_binary_zones)
    layers: list[LayerCertificate] = field(default_factory=list)
    head: str = ""
    is_flat: bool = False

    def neurons(self, layer: Layer, part: str, zones: Zones) -> None:
        path = f"{layer.name}/{part}" if layer.name else part
        params = layer.params_of(self.params)[part]
        if not isinstance(params, BiSEParams):
            raise TypeError(f"{path} is {type(params).__name__}: certify takes real parameters")
        certificate = _certify_neurons(path, params, zones)
        self.layers.append(certificate)
        self.zones, self.is_flat = certificate.zones, False

    def zones_for(self, inputs: int) -> Zones:
        """The zones of ``inputs`` channels or features, each end of shape (inputs,)."""

        def fitted(zone: DeadZone) -> DeadZone:
            if zone.v1.ndim == 0 or inputs % zone.v1.size:
                zone = zone.worst()
            # After a flattening the channel varies fastest: its zone repeats over the pixels.
            return zone.map(lambda v: np.tile(v, inputs // v.size))

        return {arithmetic: fitted(zone) for arithmetic, zone in self.zones.items()}

    def inputs_of(self, layer: Layer, part: str) -> int:
        return int(layer.params_of(self.params)[part].weight.shape[-2])

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
        def both(arithmetic: Arithmetic, zone: DeadZone) -> DeadZone:
            # The order of flat features is not tracked here, so they share their worst zone.
            zone = zone.worst() if self.is_flat else zone
            error = 2.0**-24 if arithmetic == "float32" else 2.0**-53
            low = np.minimum(1 - zone.v2 + error * (zone.v2 != 1), 1)
            high = np.maximum(1 - zone.v1 - error * (zone.v1 != 0), 0)
            joined = DeadZone(np.append(zone.v1, low), np.append(zone.v2, high))
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
        are_binary = [np.all(z.v1 == 0) and np.all(z.v2 == 1) for z in self.zones.values()]
        if not all(are_binary):
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
      A `Certificate`. For every binary input, ``exact_real`` and ``exact_float32`` each promise
      that thresholding the float network's output at 1/2 (1 where strictly above) gives the boolean
      network's output.

    Raises:
      ValueError: if parameters are not finite, a scale is 0, or the architecture is empty.
      TypeError: if the tree holds no `BiSEParams` or is boolean already.

    Examples:
      >>> import jax.numpy as jnp
      >>> neurons = BiSEParams(jnp.array([[3.0], [2.0], [0.5]]), jnp.array([1.0]), jnp.array([1.0]))
      >>> print(certify({"bise": neurons}))
      network with hard thresholds after every layer: exact, in real arithmetic and in float32
        bise: 1 dilation; dead zone (0.269, 0.881)
    """
    check_finite(params)
    real = {k: n for k, n in named_neurons(params).items() if isinstance(n, BiSEParams)}
    if not real:
        raise TypeError("certify takes a tree with BiSEParams, as model.init returns it; got none")
    with jax.enable_x64(True):
        if architecture is None:
            layers = tuple(_certify_neurons(k, n, _binary_zones()) for k, n in real.items())
            return Certificate("hard", layers)
        if not architecture:
            raise ValueError("architecture has no layers: pass model.architecture")
        walk = _Walk(params)
        for layer in architecture:
            _WALKS[layer.kind](walk, layer)
            if walk.head:
                break
        return Certificate("smooth", tuple(walk.layers), walk.head)
