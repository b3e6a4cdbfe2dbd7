"""What `bimonn_jax.simplify` knows of each kind of layer: facts, needs and selections of channels.

A rule is a layer and its part of the boolean tree. `learn` uses what is known of the incoming
channels to clear bits that cannot matter, and says what is known of the outgoing ones; `needs`
says which incoming channels are read; `select` leaves out channels. Flat features are channels.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import jax.numpy as jnp
import numpy as np
from typing_extensions import override

from bimonn_jax.morphology.windows import pad_widths
from bimonn_jax.networks.kinds import (
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
from bimonn_jax.neurons.heads import TernaryWeights, popcount_signs
from bimonn_jax.neurons.params import BinaryNeurons, RankNeurons, without_ranks
from bimonn_jax.neurons.sets import NeuronSet, Reads

UNKNOWN = -1


@dataclass(frozen=True)
class Facts:
    """What is known of channels, inside of the image.

    Attributes:
      value: int (C,): 0, 1, or `UNKNOWN`.
      same_as: int (C,): the first channel that is equal.
      chain: channels come in runs of this length in which each implies the one before it, as level
        sets do.
    """

    value: np.ndarray
    same_as: np.ndarray
    chain: int = 1

    def __len__(self) -> int:
        """The number of channels."""
        return len(self.value)


def nothing_known(channels: int) -> Facts:
    """Facts of channels that can be anything."""
    return Facts(np.full(channels, UNKNOWN), np.arange(channels))


def joined(each: Sequence[Facts]) -> Facts:
    """Facts of the channels of several layers, one after the other."""
    if len(each) == 1:
        return each[0]
    starts = np.cumsum([0, *map(len, each)])
    same_as = [facts.same_as + start for facts, start in zip(each, starts, strict=False)]
    chains = {facts.chain for facts in each}
    chain = chains.pop() if len(chains) == 1 else 1
    return Facts(np.concatenate([facts.value for facts in each]), np.concatenate(same_as), chain)


def _known(value: np.ndarray, keys: list[Any]) -> Facts:
    """Facts of channels with these values, those of one key being equal."""
    first: dict[Any, int] = {}
    same_as = [first.setdefault(key, channel) for channel, key in enumerate(keys)]
    return Facts(value, np.asarray(same_as, int))


class Rule(ABC):
    """A layer in the middle of being simplified.

    Attributes:
      layer: as it is by now.
      params: its part of the boolean tree, as it is by now.
    """

    layer: Layer
    params: Mapping[str, Any]

    @abstractmethod
    def learn(self, facts: Facts) -> tuple["Rule", Facts]:
        """The layer without bits that cannot matter, and what is known of its outputs."""

    @abstractmethod
    def needs(self, outputs: np.ndarray) -> np.ndarray:
        """Which inputs the given outputs, bool, depend on: bool."""

    @abstractmethod
    def select(self, inputs: np.ndarray, outputs: np.ndarray) -> tuple["Rule", np.ndarray]:
        """The layer on those inputs, bool, and the outputs that it has kept, bool."""


def _at_least_one(keep: np.ndarray) -> np.ndarray:
    """``keep``, or its first element if it is empty: arrays of no channels are not networks."""
    if not keep.any():
        keep = np.arange(len(keep)) == 0
    return keep


@dataclass(frozen=True)
class _Bits:
    """Binary neurons of both kinds as NumPy arrays: whether at least ``rank`` inputs are set.

    Constants are empty and not complemented: of rank 0, always 1, or of rank 1, always 0.
    """

    footprint: np.ndarray
    rank: np.ndarray
    complement: np.ndarray

    @classmethod
    def of(cls, neurons: BinaryNeurons) -> "_Bits":
        arrays = neurons.footprint, neurons.ranks, neurons.complement
        footprint, rank, complement = map(np.array, arrays)
        return cls(footprint, rank, complement).settled()

    def neurons(self) -> BinaryNeurons:
        rank = jnp.asarray(self.rank, jnp.int32)
        footprint, complement = jnp.asarray(self.footprint), jnp.asarray(self.complement)
        return without_ranks(RankNeurons(footprint, rank, complement))

    def size(self) -> np.ndarray:
        """Of the footprints, int (neurons...)."""
        axes = tuple(range(self.footprint.ndim - self.rank.ndim))
        sizes: np.ndarray = self.footprint.sum(axis=axes)
        return sizes

    @property
    def is_erosion(self) -> np.ndarray:
        """Which ask for all of their inputs, bool (neurons...)."""
        return np.asarray(self.rank == self.size())

    @property
    def is_end(self) -> np.ndarray:
        """Which ask for one or for all of their inputs, constants too, bool (neurons...)."""
        return np.asarray((self.rank <= 1) | self.is_erosion)

    def with_constants(self, is_constant: np.ndarray, value: np.ndarray) -> "_Bits":
        """Some neurons as constants."""
        return _Bits(
            self.footprint & ~is_constant,
            np.where(is_constant, 1 - value.astype(int), self.rank),
            self.complement & ~is_constant,
        )

    def settled(self) -> "_Bits":
        """Those that ask for too little or too much as constants."""
        is_constant = (self.rank < 1) | (self.rank > self.size())
        return self.with_constants(is_constant, (self.rank < 1) ^ self.complement)

    def values(self) -> np.ndarray:
        """Of the constant neurons, int (neurons...); `UNKNOWN` for the others."""
        return np.where(self.size() == 0, 1 - self.rank, UNKNOWN)

    def key(self, *at: int) -> tuple[bytes, int, bool]:
        """Equal for neurons that are the same function of the same inputs."""
        index: tuple[Any, ...] = (..., *at)
        footprint = self.footprint[index]
        return footprint.tobytes(), int(self.rank[at]), bool(self.complement[at])


def _zero_padded(layer: NeuronLayer, window: tuple[int, ...]) -> bool:
    """Whether the layer sees zeros outside of the image, also beside a channel of ones."""
    if not layer.sets[0].slides:
        return False
    widths = pad_widths(window, layer.window["padding"])
    return layer.window["border"] == "zero" and bool(np.any(widths))


def _usable(facts: Facts, *, zero_padded: bool) -> np.ndarray:
    """The values that hold also outside of the image."""
    return np.where((facts.value == 1) & zero_padded, UNKNOWN, facts.value)


@dataclass(frozen=True)
class AllChannels(Rule):
    """One set of neurons that read all channels, of a pixel or of a window."""

    layer: NeuronLayer
    params: Mapping[str, Any]

    @property
    def _set(self) -> NeuronSet:
        return self.layer.sets[0]

    def _bits(self) -> _Bits:
        return _Bits.of(self.params[self._set.part])

    def _with(self, bits: _Bits) -> "AllChannels":
        return replace(self, params={self._set.part: bits.neurons()})

    def _halves(self, footprint: np.ndarray) -> np.ndarray:
        """As (positions, 1 or 2, channels, neurons), the second half of the complements."""
        halves = 2 if self._set.complements else 1
        rows, count = footprint.shape[-2:]
        return footprint.reshape(-1, halves, rows // halves, count)

    @override
    def learn(self, facts: Facts) -> tuple["AllChannels", Facts]:
        bits = self._bits()
        footprint = self._halves(bits.footprint)
        is_erosion, is_end, size = bits.is_erosion, bits.is_end, bits.size()
        _gather(footprint, is_end, facts.same_as)
        contradictory = _keep_tightest(footprint, is_erosion, is_end, facts.chain)
        # What others imply counts in an erosion alone; a contradiction asks for too much or little.
        left_out = size - footprint.sum(axis=(0, 1, 2))
        rank = bits.rank - is_erosion * left_out + np.where(is_erosion, 1, -1) * contradictory

        zero_padded = _zero_padded(self.layer, bits.footprint.shape[:2])
        value = _usable(facts, zero_padded=zero_padded)
        literal = np.stack([value, np.where(value == UNKNOWN, UNKNOWN, 1 - value)])
        literal = literal[: footprint.shape[1], :, None]
        rank -= (footprint & (literal == 1)).sum(axis=(0, 1, 2))
        footprint &= literal == UNKNOWN
        if self._set.complements:
            # Of a bit and its complement one holds.
            both = footprint.all(axis=1, keepdims=True)
            rank -= both.sum(axis=(0, 1, 2))
            footprint &= ~both
        shape = bits.footprint.shape
        bits = _Bits(footprint.reshape(shape), rank, bits.complement).settled()
        compared = self._without_complements(bits) if self._set.complements else bits
        keys = [compared.key(m) for m in range(shape[-1])]
        return self._with(bits), _known(bits.values(), keys)

    def _without_complements(self, bits: _Bits) -> _Bits:
        """The same functions by De Morgan's law, which a layer that reads complements can write.

        Fewer than k of n literals hold where at least n - k + 1 of their complements do.
        """
        inverted = self._halves(bits.footprint)[:, ::-1].reshape(bits.footprint.shape)
        return _Bits(
            np.where(bits.complement, inverted, bits.footprint),
            np.where(bits.complement, bits.size() - bits.rank + 1, bits.rank),
            np.zeros_like(bits.complement),
        )

    @override
    def needs(self, outputs: np.ndarray) -> np.ndarray:
        return np.asarray(self._halves(self._bits().footprint)[..., outputs].any(axis=(0, 1, 3)))

    @override
    def select(self, inputs: np.ndarray, outputs: np.ndarray) -> tuple["AllChannels", np.ndarray]:
        outputs, bits = _at_least_one(outputs), self._bits()
        chosen = self._halves(bits.footprint)[:, :, inputs][..., outputs]
        window = bits.footprint.shape[:-2]
        footprint = chosen.reshape(*window, -1, chosen.shape[-1])
        bits = _Bits(footprint, bits.rank[outputs], bits.complement[outputs])
        return self._with(bits), outputs


def _gather(footprint: np.ndarray, is_end: np.ndarray, same_as: np.ndarray) -> None:
    """Lets neurons read the first of equal channels: ends that alone, others as many as they did.

    Args:
      footprint: bool (positions, halves, channels, neurons), changed in place.
      is_end: bool (neurons,).
      same_as: int (channels,), the first channel that is equal.
    """
    for first in np.unique(same_as[same_as != np.arange(len(same_as))]):
        equal = np.flatnonzero(same_as == first)
        count = footprint[:, :, equal].sum(axis=2, keepdims=True)
        count = np.where(is_end, np.minimum(count, 1), count)
        footprint[:, :, equal] = np.arange(len(equal))[:, None] < count


def _keep_tightest(
    footprint: np.ndarray, is_erosion: np.ndarray, is_end: np.ndarray, chain: int
) -> np.ndarray:
    """Clears literals that others of their chain imply; which neurons contradict themselves.

    Neurons between the ends keep theirs: there each counts.

    Args:
      footprint: bool (positions, halves, channels, neurons), changed in place.
      is_erosion: bool (neurons,).
      is_end: bool (neurons,).
      chain: length of the runs of channels of which each implies the one before.

    Returns:
      Bool (neurons,): erosions with two literals of which one excludes the other, and dilations
      with two of which one must hold.
    """
    positions, halves, channels, count = footprint.shape
    runs = footprint.reshape(positions, halves, channels // chain, chain, count)
    # From each end of the runs: whether a literal further on, or further back, is in the footprint.
    after = np.zeros_like(runs)
    after[..., :-1, :] = np.logical_or.accumulate(runs[..., :0:-1, :], axis=-2)[..., ::-1, :]
    before = np.zeros_like(runs)
    before[..., 1:, :] = np.logical_or.accumulate(runs[..., :-1, :], axis=-2)
    # Of direct literals the last is the strongest, of complements the first; unions want the
    # weakest.
    is_direct = np.arange(halves)[:, None, None, None] == 0
    runs &= ~(np.where(is_direct == is_erosion, after, before) & is_end)
    if halves == 1:
        return np.zeros(count, bool)
    direct, inverted = runs[:, 0], runs[:, 1]
    at_or_before = np.logical_or.accumulate(inverted, axis=-2)
    at_or_after = np.logical_or.accumulate(inverted[..., ::-1, :], axis=-2)[..., ::-1, :]
    excluding = np.where(is_erosion, at_or_before, at_or_after)
    return np.asarray((direct & excluding).any(axis=(0, 1, 2)) & is_end)


@dataclass(frozen=True)
class _OwnChannel:
    """A layer whose neurons (kh, kw, C, M) each read their own channel."""

    layer: NeuronLayer
    params: Mapping[str, Any]

    @property
    def first(self) -> str:
        """The part of these neurons."""
        return self.layer.sets[0].part

    @property
    def second(self) -> str:
        """The part of the neurons that read theirs, if there are any."""
        return self.layer.sets[1].part

    @property
    def channels(self) -> int:
        """Of the input."""
        return int(self.params[self.first].footprint.shape[2])

    def _learned(self, facts: Facts) -> _Bits:
        """The neurons, those that are constant made so."""
        bits = _Bits.of(self.params[self.first])
        zero_padded = _zero_padded(self.layer, bits.footprint.shape[:2])
        value = _usable(facts, zero_padded=zero_padded)[:, None]
        is_constant = (value != UNKNOWN) & (bits.size() > 0)
        return bits.with_constants(is_constant, (value == 1) ^ bits.complement)


@dataclass(frozen=True)
class OwnChannels(_OwnChannel, Rule):
    """Neurons over their own channel; output c M + m is neuron m of channel c."""

    @override
    def learn(self, facts: Facts) -> tuple["OwnChannels", Facts]:
        bits = self._learned(facts)
        channels, count = bits.rank.shape
        keys = [_own_key(bits, facts, c, m) for c in range(channels) for m in range(count)]
        return replace(self, params={self.first: bits.neurons()}), _known(
            bits.values().ravel(), keys
        )

    @override
    def needs(self, outputs: np.ndarray) -> np.ndarray:
        return np.asarray(outputs.reshape(self.channels, -1).any(axis=1))

    @override
    def select(self, inputs: np.ndarray, outputs: np.ndarray) -> tuple["OwnChannels", np.ndarray]:
        needed = outputs.reshape(self.channels, -1)
        neurons = _at_least_one(np.asarray(needed.any(axis=0)))
        chosen = _choose(_Bits.of(self.params[self.first]), needed, inputs, neurons)
        kept = inputs[:, None] & neurons
        return replace(self, params={self.first: chosen.neurons()}), kept.ravel()


def _own_key(bits: _Bits, facts: Facts, channel: int, neuron: int) -> Any:
    """Equal for neurons over equal channels that are the same function of them."""
    key = bits.key(channel, neuron)
    is_constant = bits.size()[channel, neuron] == 0
    return key if is_constant else (int(facts.same_as[channel]), key)


def _choose(bits: _Bits, used: np.ndarray, inputs: np.ndarray, outputs: np.ndarray) -> _Bits:
    """Those channels and neurons (C, M); what is not ``used`` of them becomes always 0."""
    cleared = bits.with_constants(~used, np.zeros_like(used))
    at = np.ix_(inputs, outputs)
    footprint = cleared.footprint[:, :, inputs][..., outputs]
    return _Bits(footprint, cleared.rank[at], cleared.complement[at])


@dataclass(frozen=True)
class JoinedChannels(_OwnChannel, Rule):
    """Neurons over their own channel, then a neuron m that counts the neurons (c, m)."""

    @override
    def learn(self, facts: Facts) -> tuple["JoinedChannels", Facts]:
        bise = self._learned(facts)
        lui = _Bits.of(self.params[self.second])
        for channel in np.flatnonzero(facts.same_as != np.arange(len(facts))):
            lui = _move(bise, lui, int(channel), int(facts.same_as[channel]))
        value = bise.values()
        rank = lui.rank - (lui.footprint & (value == 1)).sum(axis=0)
        lui = _Bits(lui.footprint & (value == UNKNOWN), rank, lui.complement).settled()
        keys = [self._key(bise, lui, facts, m) for m in range(value.shape[1])]
        params = {self.first: bise.neurons(), self.second: lui.neurons()}
        return replace(self, params=params), _known(lui.values(), keys)

    def _key(self, bise: _Bits, lui: _Bits, facts: Facts, output: int) -> Any:
        read = np.flatnonzero(lui.footprint[:, output])
        operands = Counter(_own_key(bise, facts, int(c), output) for c in read)
        rank = int(lui.rank[output])
        if lui.is_end[output]:
            rank = len(operands) if lui.is_erosion[output] else rank
            operands = Counter(set(operands))
        return frozenset(operands.items()), rank, bool(lui.complement[output])

    @override
    def needs(self, outputs: np.ndarray) -> np.ndarray:
        return np.asarray(np.asarray(self.params[self.second].footprint)[:, outputs].any(axis=1))

    @override
    def select(
        self, inputs: np.ndarray, outputs: np.ndarray
    ) -> tuple["JoinedChannels", np.ndarray]:
        outputs, lui = _at_least_one(outputs), _Bits.of(self.params[self.second])
        bise = _choose(_Bits.of(self.params[self.first]), lui.footprint, inputs, outputs)
        footprint = lui.footprint[np.ix_(inputs, outputs)]
        lui = _Bits(footprint, lui.rank[outputs], lui.complement[outputs])
        params = {self.first: bise.neurons(), self.second: lui.neurons()}
        return replace(self, params=params), outputs


def _move(bise: _Bits, lui: _Bits, source: int, target: int) -> _Bits:
    """Lets neurons of an equal channel read the other where they can; changes ``bise``."""
    footprint, is_erosion, is_end = lui.footprint.copy(), lui.is_erosion, lui.is_end
    rank = lui.rank.copy()
    for m in map(int, np.flatnonzero(footprint[source])):
        if not footprint[target, m]:
            bise.footprint[:, :, target, m] = bise.footprint[:, :, source, m]
            bise.rank[target, m] = bise.rank[source, m]
            bise.complement[target, m] = bise.complement[source, m]
            footprint[target, m] = True
        elif is_end[m] and bise.key(source, m) == bise.key(target, m):
            rank[m] -= is_erosion[m]
        else:
            continue
        footprint[source, m] = False
    return replace(lui, footprint=footprint, rank=rank)


@dataclass(frozen=True)
class Complements(Rule):
    """Channels, then their complements."""

    layer: Layer
    params: Mapping[str, Any]

    @override
    def learn(self, facts: Facts) -> tuple["Complements", Facts]:
        flipped = np.where(facts.value == UNKNOWN, UNKNOWN, 1 - facts.value)
        same_as = np.concatenate([facts.same_as, facts.same_as + len(facts)])
        return self, Facts(np.concatenate([facts.value, flipped]), same_as)

    @override
    def needs(self, outputs: np.ndarray) -> np.ndarray:
        return np.asarray(outputs.reshape(2, -1).any(axis=0))

    @override
    def select(self, inputs: np.ndarray, outputs: np.ndarray) -> tuple["Complements", np.ndarray]:
        return self, np.tile(inputs, 2)


@dataclass(frozen=True)
class AllPixels(Rule):
    """Channels of all pixels as features, channels innermost.

    Attributes:
      pixels: of one image.
    """

    layer: Layer
    params: Mapping[str, Any]
    pixels: int

    @override
    def learn(self, facts: Facts) -> tuple["AllPixels", Facts]:
        first = np.arange(self.pixels)[:, None] * len(facts)
        same_as = (first + facts.same_as).ravel()
        return self, Facts(np.tile(facts.value, self.pixels), same_as, facts.chain)

    @override
    def needs(self, outputs: np.ndarray) -> np.ndarray:
        return np.asarray(outputs.reshape(self.pixels, -1).any(axis=0))

    @override
    def select(self, inputs: np.ndarray, outputs: np.ndarray) -> tuple["AllPixels", np.ndarray]:
        return self, np.tile(inputs, self.pixels)


@dataclass(frozen=True)
class Voting(Rule):
    """Votes of features for and against classes; a popcount head is one, too."""

    layer: Layer
    params: Mapping[str, Any]

    def _with(self, votes: np.ndarray) -> "Voting":
        head = TernaryWeights(jnp.asarray(votes > 0), jnp.asarray(votes < 0))
        return replace(self, params={**self.params, "head": head})

    def _votes(self) -> np.ndarray:
        head = self.params["head"]
        votes: np.ndarray = np.asarray(head.positive).astype(int) - np.asarray(head.negative)
        return votes

    @override
    def learn(self, facts: Facts) -> tuple["Voting", Facts]:
        votes = self._votes()
        votes[facts.value == 0] = 0
        for feature in np.flatnonzero(facts.same_as != np.arange(len(facts))):
            together = votes[feature] + votes[facts.same_as[feature]]
            if np.abs(together).max() <= 1:
                votes[facts.same_as[feature]], votes[feature] = together, 0
        return self._with(votes), nothing_known(votes.shape[1])

    @override
    def needs(self, outputs: np.ndarray) -> np.ndarray:
        return np.asarray(self._votes().any(axis=1))

    @override
    def select(self, inputs: np.ndarray, outputs: np.ndarray) -> tuple["Voting", np.ndarray]:
        return self._with(self._votes()[inputs]), outputs


def popcount_as_ternary(
    layer: PopcountLayer, name: str, features: int
) -> tuple[TernaryLayer, TernaryWeights]:
    """A popcount head as a ternary one, from which features can be left out."""
    votes = np.asarray(popcount_signs(features, layer.classes))
    head = TernaryWeights(jnp.asarray(votes > 0), jnp.asarray(votes < 0))
    return TernaryLayer(name, inputs=layer.inputs), head


@dataclass(frozen=True)
class Levels(Rule):
    """Channel c at threshold k is bit c q + k. Only the thresholds that none needs can go.

    Attributes:
      bits: how many there are.
    """

    layer: LevelSetsLayer
    params: Mapping[str, Any]
    bits: int

    def _thresholds(self) -> np.ndarray:
        return np.asarray(self.layer.thresholds)

    @override
    def learn(self, facts: Facts) -> tuple["Levels", Facts]:
        return self, replace(nothing_known(self.bits), chain=self._thresholds().shape[-1])

    @override
    def needs(self, outputs: np.ndarray) -> np.ndarray:
        return np.ones(self.bits // self._thresholds().shape[-1], bool)

    @override
    def select(self, inputs: np.ndarray, outputs: np.ndarray) -> tuple["Levels", np.ndarray]:
        needed = outputs.reshape(len(inputs), -1)
        keep = _at_least_one(np.asarray(needed.any(axis=0)))
        layer = replace(self.layer, thresholds=self._thresholds()[..., keep].tolist())
        return replace(self, layer=layer), np.tile(keep, len(inputs))


@dataclass(frozen=True)
class Unchanged(Rule):
    """Every channel stays what it is: the joining and the upsampling of images."""

    layer: Layer
    params: Mapping[str, Any]

    @override
    def learn(self, facts: Facts) -> tuple["Unchanged", Facts]:
        return self, facts

    @override
    def needs(self, outputs: np.ndarray) -> np.ndarray:
        return outputs

    @override
    def select(self, inputs: np.ndarray, outputs: np.ndarray) -> tuple["Unchanged", np.ndarray]:
        return self, inputs


@singledispatch
def rule_of(layer: Layer, own: Mapping[str, Any], before: int, after: int | None) -> Rule | None:
    """The rule of a layer; None where nothing can be said of it.

    Args:
      layer: the layer.
      own: its part of the boolean tree.
      before: channels, or flat features, that it reads.
      after: those that it writes, if that is known.
    """
    raise NotImplementedError(
        f"layers of type {type(layer).__name__} cannot be simplified: register a function with "
        "bimonn_jax.binarization.simplification.rules.rule_of; one that returns None leaves them"
    )


@rule_of.register
def _(layer: NeuronLayer, own: Mapping[str, Any], before: int, after: int | None) -> Rule | None:
    match [neuron_set.reads for neuron_set in layer.sets]:
        case [Reads.ALL]:
            return AllChannels(layer, own)
        case [Reads.OWN_CHANNEL]:
            return OwnChannels(layer, own)
        case [Reads.OWN_CHANNEL, Reads.OWN_COLUMN]:
            return JoinedChannels(layer, own)
    return None


@rule_of.register
def _(layer: TernaryLayer, own: Any, before: int, after: int | None) -> Rule:
    return Voting(layer, own)


@rule_of.register
def _(layer: ComplementLayer, own: Any, before: int, after: int | None) -> Rule:
    return Complements(layer, own)


@rule_of.register
def _(layer: LevelSetsLayer, own: Any, before: int, after: int | None) -> Rule | None:
    return None if after is None else Levels(layer, own, after)


@rule_of.register
def _(layer: FlattenLayer, own: Any, before: int, after: int | None) -> Rule | None:
    if layer.rank != 3 or after is None:
        return None
    return AllPixels(layer, own, after // before)


@rule_of.register(ConcatenateLayer)
@rule_of.register(UpsampleLayer)
def _(layer: Layer, own: Any, before: int, after: int | None) -> Rule:
    return Unchanged(layer, own)


@rule_of.register(RealLayer)
@rule_of.register(PopcountLayer)
def _(layer: Layer, own: Any, before: int, after: int | None) -> None:
    """All of its features are needed."""
