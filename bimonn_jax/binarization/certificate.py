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
(`bimonn_jax.binarization.rounding`). Both speak of the binary network that `bimonn_jax.binarize`
returns outside of `jax.jit`, by whatever method, with ``ranks``: a neuron that binarize does not
find activated is never called exact. (Under jit it decides in the dtype of the weights, where ties
may fall otherwise.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any, Literal

import numpy as np

from bimonn_jax.binarization.neuron_proofs import (
    Certifiable,
    LayerCertificate,
    certifiable_sets,
    certify_neurons,
)
from bimonn_jax.binarization.zones import (
    ARITHMETICS,
    Arithmetic,
    DeadZone,
    Zones,
    are_bits,
    binary_zones,
)
from bimonn_jax.networks.architecture import joined_by
from bimonn_jax.networks.consistency import all_channels
from bimonn_jax.networks.kinds import (
    Architecture,
    ComplementLayer,
    ConcatenateLayer,
    FlattenLayer,
    Layer,
    LevelSetsLayer,
    NeuronLayer,
    PopcountLayer,
    RealLayer,
    TernaryLayer,
    UpsampleLayer,
)
from bimonn_jax.neurons.sets import NeuronSet, Reads


@dataclass(frozen=True)
class Certificate:
    """The result of `certify`.

    Attributes:
      strength: "hard" (thresholds after every layer) or "smooth" (the network as trained).
      layers: one `LayerCertificate` per set of neurons, in order of the network (smooth) or of the
        parameter tree (hard).
      head: the layer that a smooth proof cannot pass (a real head, level sets of outputs), or "".
      outputs: of a smooth proof, the indices of the layers that give the outputs of the network.
    """

    strength: Literal["hard", "smooth"]
    layers: tuple[LayerCertificate, ...]
    head: str = ""
    outputs: tuple[int, ...] = ()

    def _holds(self, arithmetic: Arithmetic) -> bool:
        if self.head or not self.layers:
            return False
        # Smooth: what the output neurons do not read need not be proven, and the dead zones that
        # reached them have already accounted for everything they do read.
        outputs = [self.layers[index] for index in self.outputs]
        needed = self.layers if self.strength == "hard" else outputs
        return bool(needed) and all(bool(layer.is_exact[arithmetic].all()) for layer in needed)

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


@dataclass(frozen=True)
class Values:
    """What is known of the output of a layer, or of the input of the network.

    Attributes:
      zones: their dead zones, with ends of shape () or one per channel or feature.
      is_flat: whether they are flat features, of which the order is not tracked.
      unit: the roundoff of the dtype that they have, 0 of bits.
      is_complemented: whether outputs of neurons have been complemented since.
      are_scores: whether they are whole numbers, of classes.
      sources: indices, among the certificates, of the neurons whose outputs they are.
    """

    zones: Zones = field(default_factory=binary_zones)
    is_flat: bool = False
    unit: float = 0.0
    is_complemented: bool = False
    are_scores: bool = False
    sources: frozenset[int] = frozenset()

    def of(self, inputs: int) -> Zones:
        """The zones of ``inputs`` channels or features, each end of shape (inputs,)."""
        return {arithmetic: _fitted(zone, inputs) for arithmetic, zone in self.zones.items()}


def _fitted(zone: DeadZone, inputs: int) -> DeadZone:
    if zone.v1.ndim == 0 or inputs % zone.v1.size:
        zone = zone.worst()
    # After a flattening the channel varies fastest: its zone repeats over the pixels.
    return zone.map(lambda v: np.tile(v, inputs // v.size))


class _EndOfProofError(Exception):
    """What a smooth proof cannot pass; its text is the name of the layer."""


@dataclass
class _Proof:
    """The sets of neurons, and what has been proven of those that the layers have reached."""

    sets: Mapping[str, Certifiable]
    layers: list[LayerCertificate] = field(default_factory=list)

    def of(self, layer: NeuronLayer, part: str) -> Certifiable:
        """The neurons of a part of a layer."""
        path = layer.path_of(part)
        if path not in self.sets:
            raise ValueError(
                f"the architecture has a layer {path!r}, but the real-valued neurons of params are "
                f"{sorted(self.sets)}"
            )
        return self.sets[path]

    def neurons(self, layer: NeuronLayer, neuron_set: NeuronSet, values: Values) -> Values:
        """Certifies one set of neurons of a layer that reads ``values``."""
        mine = self.of(layer, neuron_set.part)
        if neuron_set.complements:
            values = _complemented(values)
        *_, rows, count = mine.shape
        if neuron_set.reads is Reads.OWN_COLUMN:
            zones = {a: z.map(lambda v: v.reshape(rows, count)) for a, z in values.zones.items()}
        else:
            zones = {a: z.map(lambda v: v[:, None]) for a, z in values.of(rows).items()}
        unit = mine.rounding.unit
        if unit > values.unit > 0:
            # The neurons read their inputs in their own, shorter dtype.
            zones = {**zones, "float": zones["float"].widened(unit)}
        certificate = certify_neurons(mine, zones)
        self.layers.append(certificate)
        found = {a: z.map(np.ravel) for a, z in certificate.zones.items()}
        return Values(found, unit=unit, sources=frozenset({len(self.layers) - 1}))


@singledispatch
def carry(layer: Layer, proof: _Proof, values: Values) -> Values:
    """What is known of the output of a layer, given what is known of what it reads.

    Raises:
      _EndOfProofError: if nothing is.
    """
    raise NotImplementedError(
        f"what layers of type {type(layer).__name__} do to dead zones is not known: register a "
        "function with bimonn_jax.binarization.certificate.carry"
    )


@carry.register
def _(layer: NeuronLayer, proof: _Proof, values: Values) -> Values:
    for neuron_set in layer.sets:
        # A union over windows of outputs leaves their dead zone as it is.
        values = proof.neurons(layer, neuron_set, values)
    return values


@carry.register
def _(layer: ComplementLayer, proof: _Proof, values: Values) -> Values:
    return _complemented(values)


def _complemented(values: Values) -> Values:
    """Of the values, then of their complements."""

    def both(arithmetic: Arithmetic, zone: DeadZone) -> DeadZone:
        # The order of flat features is not tracked here, so they share their worst zone.
        zone = zone.worst() if values.is_flat else zone
        error = values.unit if arithmetic == "float" else 2.0**-53
        inverted = DeadZone(1 - zone.v2, 1 - zone.v1).widened(error)
        joined = DeadZone(np.append(zone.v1, inverted.v1), np.append(zone.v2, inverted.v2))
        return joined.worst() if values.is_flat or zone.v1.ndim == 0 else joined

    zones = {arithmetic: both(arithmetic, zone) for arithmetic, zone in values.zones.items()}
    return replace(values, zones=zones, is_complemented=True)


@carry.register
def _(layer: LevelSetsLayer, proof: _Proof, values: Values) -> Values:
    # On the outputs of neurons, thresholds other than 1/2 need not agree with the boolean network.
    if values.sources:
        raise _EndOfProofError(layer.kind)
    return values


@carry.register
def _(layer: FlattenLayer, proof: _Proof, values: Values) -> Values:
    return replace(values, is_flat=True)


@carry.register(ConcatenateLayer)
@carry.register(UpsampleLayer)
def _(layer: Layer, proof: _Proof, values: Values) -> Values:
    return values


@carry.register
def _(layer: RealLayer, proof: _Proof, values: Values) -> Values:
    raise _EndOfProofError(layer.title)


@carry.register(TernaryLayer)
@carry.register(PopcountLayer)
def _(layer: Layer, proof: _Proof, values: Values) -> Values:
    # Whole numbers: the same scores wherever the features are exactly 0 or 1.
    if not all(are_bits(zone) for zone in values.zones.values()):
        raise _EndOfProofError(layer.title)
    return replace(values, are_scores=True)


def _joined(each: Sequence[Values], counts: Sequence[int | None]) -> Values:
    """Of channels of several layers, one after the other; how many there are of each, if known."""
    if len(each) == 1:
        return each[0]
    is_flat = any(values.is_flat for values in each)

    def join(arithmetic: Arithmetic) -> DeadZone:
        zones = [values.zones[arithmetic] for values in each]
        is_known = not is_flat and None not in counts
        fitted = [
            _fitted(zone, count) if is_known and count else zone.worst()
            for zone, count in zip(zones, counts, strict=True)
        ]
        lower, upper = ([getattr(zone, end) for zone in fitted] for end in ("v1", "v2"))
        ends = DeadZone(np.concatenate(lower), np.concatenate(upper))
        return ends if is_known else ends.worst()

    return Values(
        {arithmetic: join(arithmetic) for arithmetic in ARITHMETICS},
        is_flat=is_flat,
        # Joined in the longest of their dtypes, which rounds nothing; bits are in all of them.
        unit=min((values.unit for values in each if values.unit), default=0.0),
        is_complemented=any(values.is_complemented for values in each),
        are_scores=any(values.are_scores for values in each),
        sources=frozenset().union(*(values.sources for values in each)),
    )


def _prove(proof: _Proof, architecture: Architecture, params: Any) -> Values:
    """What is known of the output of the network."""
    for layer in architecture:
        if isinstance(layer, NeuronLayer):
            for part in layer.parts:
                proof.of(layer, part)
    counts = all_channels(architecture, params)
    known = [Values()]
    for layer, read in zip(architecture, joined_by(architecture), strict=True):
        values = _joined([known[i] for i in read], [counts[i] for i in read])
        if values.are_scores:
            raise _EndOfProofError(layer.title)
        known.append(carry(layer, proof, values))
    output = known[-1]
    # Complements of outputs that may be 1/2 are 1/2 again.
    are_apart = all(np.all((z.v1 < 0.5) & (z.v2 > 0.5)) for z in output.zones.values())
    if output.is_complemented and not are_apart:
        raise _EndOfProofError(ComplementLayer.kind)
    return output


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
      >>> from bimonn_jax import RealNeurons
      >>> weight, one = jnp.array([[3.0], [2.0], [0.5]]), jnp.array([1.0])
      >>> neurons = RealNeurons(weight, bias=one, scale=one)
      >>> print(certify({"bise": neurons}))
      network with hard thresholds after every layer: exact, in real arithmetic and in float32
        float32: sums in any order, subnormals kept or flushed to zero
        bise: 1 dilation; dead zone (0.269, 0.881)
    """
    sets = certifiable_sets(params)
    if architecture is None:
        layers = [certify_neurons(mine, binary_zones()) for mine in sets.values()]
        return Certificate("hard", tuple(layers))
    if not architecture:
        raise ValueError("architecture has no layers: pass model.architecture")
    proof = _Proof(sets)
    try:
        output = _prove(proof, architecture, params)
    except _EndOfProofError as end:
        return Certificate("smooth", tuple(proof.layers), head=str(end))
    return Certificate("smooth", tuple(proof.layers), outputs=tuple(sorted(output.sources)))
