"""Boolean networks on packed words: 32 samples, or 32 strips of one image, at a time.

Bit b of every word belongs to sample b (or to strip b), so neighboring pixels are neighboring
words: a window moves by slicing, and no bit is ever shifted within an image. That is the packing
that measured best, see BUILD_NOTES.md.

Packing, computing and unpacking are compiled one by one: within one program XLA would fuse them,
and pack anew for every literal that reads a word.

Packed samples are uint32 (L, H, W, C), one word for every 32 samples; packed strips are
(N, S, W, C) with the S rows of a strip. Inside, both are (C, H, W, L): what lies together in memory
is computed together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import assert_never

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.deployment.circuit import (
    Circuit,
    Flatten,
    Gates,
    Linear,
    Upsample,
    Votes,
    circuit_of,
    rank_gates,
)
from bimonn_jax.morphology.levels import as_numbers, level_sets
from bimonn_jax.morphology.windows import pad_image
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.neurons.precision import matmul

WORD_BITS = 32
_ONES = np.uint32(0xFFFFFFFF)
# Steps of the transposition of bits: how far they move, and which stay.
_HALVES = ((16, 0x0000FFFF), (8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555))
# Up to so many literals are sliced from the image one by one; more are gathered from its windows.
_MOST_SLICES = 512
# Gates of similar size are computed together, up to this many superfluous literals each.
_SIZE_STEP = 8
# Up to so many words of features are counted by one loop, four times as fast as one by one; XLA has
# nothing between the two that is faster than the latter.
_MOST_FUSED = 128
# Words that are worked on at once: they are to stay in the cache of a CPU.
_WORDS_AT_ONCE = {"cpu": 2**19, "other": 2**26}
# Shapes that `packed_by_shape` keeps the programs of, each about 10 MB.
_MOST_SHAPES = 4


@jax.jit
def pack_samples(x: jax.Array) -> jax.Array:
    """Packs 32 samples into each word.

    Args:
      x: bool (N, ...).

    Returns:
      uint32 (ceil(N / 32), ...); bit b of word l is sample 32 l + b, 0 where there is none.
    """
    return _pack_samples(x)


def _pack_samples(x: jax.Array) -> jax.Array:
    x = jnp.pad(x, [(0, -x.shape[0] % WORD_BITS), *[(0, 0)] * (x.ndim - 1)])
    return join_bits(x.reshape(-1, WORD_BITS, *x.shape[1:]), axis=1)


@partial(jax.jit, static_argnames="samples")
def unpack_samples(words: jax.Array, samples: int) -> jax.Array:
    """The inverse of `pack_samples`: uint32 (L, ...) -> bool (samples, ...)."""
    return _unpack_samples(words, samples)


def _unpack_samples(words: jax.Array, samples: int) -> jax.Array:
    return _split(words, axis=1).reshape(-1, *words.shape[1:])[:samples]


@jax.jit
def pack_strips(images: jax.Array) -> jax.Array:
    """Packs 32 horizontal strips of each image into words.

    Args:
      images: bool (N, H, W, C).

    Returns:
      uint32 (N, S, W, C), S = ceil(H / 32); bit b of row r is row b S + r of the image, 0 below it.
    """
    return _pack_strips(images)


def _pack_strips(images: jax.Array) -> jax.Array:
    height = images.shape[1]
    rows = -(-height // WORD_BITS)
    padded = jnp.pad(images, [(0, 0), (0, rows * WORD_BITS - height), (0, 0), (0, 0)])
    return join_bits(padded.reshape(-1, WORD_BITS, rows, *images.shape[2:]), axis=1)


@partial(jax.jit, static_argnames="height")
def unpack_strips(words: jax.Array, height: int) -> jax.Array:
    """The inverse of `pack_strips`: uint32 (N, S, W, C) -> bool (N, height, W, C)."""
    return _unpack_strips(words, height)


def _unpack_strips(words: jax.Array, height: int) -> jax.Array:
    strips = _split(words, axis=1)
    count, rows = words.shape[:2]
    return strips.reshape(count, WORD_BITS * rows, *words.shape[2:])[:, :height]


def join_bits(bits: jax.Array, axis: int) -> jax.Array:
    """Bool (..., 32, ...) -> uint32 (...), bit b from index b of the axis."""
    of_bits = (jax.lax.index_in_dim(bits, b, axis, keepdims=False) for b in range(WORD_BITS))
    return reduce(jnp.bitwise_or, (bit.astype(jnp.uint32) << b for b, bit in enumerate(of_bits)))


def _split(words: jax.Array, axis: int) -> jax.Array:
    """The inverse of `_join`."""
    places = jnp.arange(WORD_BITS, dtype=jnp.uint32)
    places = jnp.expand_dims(places, [i for i in range(words.ndim + 1) if i != axis])
    return (jnp.expand_dims(words, axis) >> places) & 1 != 0


def dilate_strips(words: jax.Array, footprint: np.ndarray, height: int) -> jax.Array:
    """`bimonn_jax.morphology.dilation`, zero border, of images packed by `pack_strips`.

    Args:
      words: uint32 (N, S, W, C).
      footprint: bool (kh, kw), concrete.
      height: of the images, in pixels.

    Returns:
      uint32 (N, S, W, C).
    """
    return rank_strips(words, footprint, 1, height)


def erode_strips(words: jax.Array, footprint: np.ndarray, height: int) -> jax.Array:
    """`bimonn_jax.morphology.erosion` of images packed by `pack_strips`: see `dilate_strips`."""
    return rank_strips(words, footprint, int(np.count_nonzero(footprint)), height)


def rank_strips(words: jax.Array, footprint: np.ndarray, rank: int, height: int) -> jax.Array:
    """The rank-order filter of images packed by `pack_strips`, zero border.

    A pixel is set where at least ``rank`` pixels of the footprint around it are: 1 is the dilation,
    all of them the erosion, and the middle of an odd number the median.

    Args:
      words: uint32 (N, S, W, C).
      footprint: bool (kh, kw), concrete.
      rank: how many pixels must be set. At most 0 gives 1 everywhere, more than there are 0.
      height: of the images, in pixels.

    Returns:
      uint32 (N, S, W, C).
    """
    gates = rank_gates(np.asarray(footprint), rank)
    images, rows, width, channels = words.shape
    # Every channel of every image is one of L.
    planes = words.transpose(1, 2, 0, 3).reshape(1, rows, width, -1)
    found = apply_gates(gates, planes, partial(_pad_strips, height=height))
    return found.reshape(rows, width, images, channels).transpose(2, 0, 1, 3)


# (words, gates) -> words padded as the gates ask.
Pad = Callable[[jax.Array, Gates], jax.Array]


def _pad_samples(words: jax.Array, gates: Gates) -> jax.Array:
    if gates.padding == ((0, 0), (0, 0)):
        return words
    return pad_image(
        words, gates.window, padding=gates.padding, border=gates.border, spatial_axes=(1, 2)
    )


def _pad_strips(words: jax.Array, gates: Gates, *, height: int) -> jax.Array:
    """Rows above a strip are the last ones of the strip before it, one bit lower."""
    (top, bottom), sides = gates.padding
    rows = words.shape[1]
    if rows * WORD_BITS != height and (top or bottom):
        # Below the image everything is 0, whatever the gates before have put there.
        image_row = np.arange(rows)[:, None] + rows * np.arange(WORD_BITS)
        inside = np.sum((image_row < height) << np.arange(WORD_BITS), axis=1).astype(np.uint32)
        words = words & inside[None, :, None, None]
    above = [_strip_row(words, i) for i in range(-top, 0)]
    below = [_strip_row(words, i) for i in range(rows, rows + bottom)]
    words = jnp.concatenate([*above, words, *below], axis=1)
    return jnp.pad(words, [(0, 0), (0, 0), sides, (0, 0)])


def _strip_row(words: jax.Array, row: int) -> jax.Array:
    """The row so far from the top of each strip, which lies in another strip: (C, 1, W, L)."""
    strips, row = divmod(row, words.shape[1])
    there = words[:, row : row + 1]
    if abs(strips) >= WORD_BITS:
        return jnp.zeros_like(there)
    return there >> strips if strips > 0 else there << -strips


def apply_gates(gates: Gates, words: jax.Array, pad: Pad = _pad_samples) -> jax.Array:
    """Computes gates on packed words.

    Args:
      gates: of `bimonn_jax.deployment.circuit`.
      words: uint32 (C, H, W, L).
      pad: how an image is padded; by default, words hold samples.

    Returns:
      uint32 (gates, H', W', L).
    """
    padded = pad(words, gates)
    kh, kw = gates.window
    height, width = padded.shape[1] - kh + 1, padded.shape[2] - kw + 1
    if len(gates.literals) <= _MOST_SLICES:
        maps = _by_slices(gates, padded, height, width)
    else:
        views = [padded[:, r : r + height, k : k + width] for r in range(kh) for k in range(kw)]
        rows = jnp.concatenate(views).reshape(kh * kw * gates.channels, -1)
        maps = _by_gathering(gates, rows).reshape(len(gates), height, width, -1)
    return maps if gates.pool == 1 else union_over_windows(maps, gates.pool)


def _by_slices(gates: Gates, padded: jax.Array, height: int, width: int) -> jax.Array:
    """One fused expression of slices."""
    is_end = gates.is_end

    def views(literals: np.ndarray) -> list[jax.Array]:
        return [padded[c, r : r + height, k : k + width] for r, k, c in literals]

    def one(gate: int) -> jax.Array:
        must_be_set, must_be_clear, needed, complement = gates.requirements(gate)
        if not is_end[gate]:
            bits = [*views(must_be_set), *(~view for view in views(must_be_clear))]
            holds = _at_least(bits, needed)
            return ~holds if complement else holds
        missed = reduce(
            jnp.bitwise_or,
            [~view for view in views(must_be_set)] + views(must_be_clear),
            jnp.zeros((height, width, padded.shape[-1]), jnp.uint32),
        )
        return missed if complement else ~missed

    return jnp.stack([one(gate) for gate in range(len(gates))])


def _at_least(words: Sequence[jax.Array], rank: int) -> jax.Array:
    """Where at least ``rank`` of the words have a bit set, for 1 <= rank <= their number.

    Three bits of a weight become one of it and one of twice that weight. What is added to their
    number, 2^d - rank, makes digit d of the sum say whether it is at least 2^d: the number is less
    than 2^d + rank, as d is so large, so that the sum has no digit above.
    """
    last = max(rank - 1, len(words) - rank).bit_length()
    start = 2**last - rank
    of_weight = [list(words), *([] for _ in range(last))]
    for d, bits in enumerate(of_weight[:-1]):
        above = of_weight[d + 1]
        # One more is carried where one of two bits is set, rather than both.
        one_more = start >> d & 1
        while len(bits) > 2:
            first, second, third, *bits = bits
            some = first ^ second
            bits.append(some ^ third)
            above.append((first & second) | (some & third))
        if len(bits) == 2:
            first, second = bits
            above.append(first | second if one_more else first & second)
        elif bits and one_more:
            above += bits
    # Below 2^(d + 1), so at most one of the bits of weight 2^d is set.
    return reduce(jnp.bitwise_or, of_weight[last])


def _by_gathering(gates: Gates, rows: jax.Array) -> jax.Array:
    """From the rows of all literals, uint32 (n, L) -> (gates, L)."""
    is_end = gates.is_end
    found = [
        by(gates, np.flatnonzero(members), rows)
        for by, members in ((_by_intersecting, is_end), (_by_counting, ~is_end))
        if members.any()
    ]
    inverse = np.argsort(np.argsort(~is_end, kind="stable"))
    return found[0] if len(found) == 1 else jnp.concatenate(found)[inverse]


def _strides(gates: Gates) -> np.ndarray:
    """Of the row, column and channel of a literal among the rows of all."""
    return np.array([gates.window[1] * gates.channels, gates.channels, 1])


def _by_counting(gates: Gates, members: np.ndarray, rows: jax.Array) -> jax.Array:
    """Gates of ranks from the rows of all literals, uint32 (n, L) -> (members, L).

    Where a literal is inverted, the number of clear bits is that of all less that of the set ones.
    """
    count = len(rows)
    masks = np.zeros((2, count, len(members)), bool)
    for i, member in enumerate(members):
        literals, is_inverted = gates.literals_of(member)
        masks[is_inverted.astype(int), literals @ _strides(gates), i] = True
    enough = gates.ranks[members] - masks[1].sum(axis=0)
    holds = _counts(masks[0], masks[1], rows) >= enough[:, None].astype(np.int32)
    words = join_bits(holds.reshape(len(members), WORD_BITS, -1), axis=1)
    return words ^ np.where(gates.complement[members], _ONES, np.uint32(0))[:, None]


def _by_intersecting(gates: Gates, members: np.ndarray, rows: jax.Array) -> jax.Array:
    """Unions and intersections from the rows of all literals, uint32 (n, L) -> (members, L)."""
    count = len(rows)
    strides = _strides(gates)
    literals, flips = [], []
    for member in members:
        must_be_set, must_be_clear, _, is_complement = gates.requirements(member)
        literals.append(np.concatenate([must_be_set @ strides, must_be_clear @ strides + count]))
        flips.append(_ONES if is_complement else np.uint32(0))
    sizes = gates.sizes[members]
    padded_sizes = -(-sizes // _SIZE_STEP) * _SIZE_STEP

    ones = 2 * count
    of_literals = jnp.concatenate([rows, ~rows, jnp.full((1, rows.shape[1]), _ONES)])
    found, order = [], []
    for size in np.unique(padded_sizes):
        alike = np.flatnonzero(padded_sizes == size)
        picks = np.full((max(size, 1), len(alike)), ones)
        for i, gate in enumerate(alike):
            picks[: sizes[gate], i] = literals[gate]
        found.append(reduce(jnp.bitwise_and, (of_literals[pick] for pick in picks)))
        order.append(alike)
    inverse = np.argsort(np.concatenate(order))
    return jnp.concatenate(found)[inverse] ^ np.stack(flips)[:, None]


def union_over_windows(maps: jax.Array, pool: int) -> jax.Array:
    """(M, H, W, L) -> (M, ceil(H / pool), ceil(W / pool), L)."""
    count, height, width, words = maps.shape
    padded = jnp.pad(maps, [(0, 0), (0, -height % pool), (0, -width % pool), (0, 0)])
    blocks = padded.reshape(count, -(-height // pool), pool, -(-width // pool), pool, words)
    parts = [blocks[:, :, i, :, j] for i in range(pool) for j in range(pool)]
    return reduce(jnp.bitwise_or, parts)


def _transpose_bits(words: jax.Array) -> jax.Array:
    """Transposes 32 x 32 bits: bit b of row k, uint32 (F, 32, L), becomes bit k of row b."""
    for half, places in _HALVES:
        low = np.uint32(places)
        pairs = words.reshape(words.shape[0], -1, 2, half, words.shape[2])
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        swapped = [
            (first & low) | ((second & low) << half),
            ((first >> half) & low) | (second & ~low),
        ]
        words = jnp.stack(swapped, axis=2).reshape(words.shape)
    return words


def _counts(positive: np.ndarray, negative: np.ndarray, words: jax.Array) -> jax.Array:
    """Set bits of ``positive`` less those of ``negative``, of every sample.

    Bits are transposed, so that a word holds 32 features of one sample and counting is an
    instruction: ten times as fast as adding the votes of samples bit by bit. Words are padded with
    features that nothing counts, and int32 holds every sum, as it holds the number of features.

    Args:
      positive: bool (n, M).
      negative: bool (n, M).
      words: uint32 (n, L).

    Returns:
      int32 (M, 32 L), bit b of word l at 32 b + l.
    """
    n, length = words.shape
    padded = jnp.pad(words, [(0, -n % WORD_BITS), (0, 0)]).reshape(-1, WORD_BITS, length)
    of_features = _transpose_bits(padded).reshape(len(padded), -1)
    # A bit that counts against is 1 less its complement, so that one population count does both.
    # What counts for both counts for nothing.
    flips, masks = (
        _pack_samples(jnp.asarray(of_bits)) for of_bits in (negative, positive ^ negative)
    )

    def count(counts: jax.Array, of_word: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        features, flip, mask = of_word
        counted = (features[None] ^ flip[:, None]) & mask[:, None]
        return counts + jax.lax.population_count(counted).astype(jnp.int32), None

    start: np.ndarray = -(negative & ~positive).sum(axis=0, dtype=np.int32)
    counts = jnp.broadcast_to(start[:, None], (len(start), of_features.shape[1]))
    of_words = of_features, flips, masks
    if len(of_features) > _MOST_FUSED:
        return jax.lax.scan(count, counts, of_words)[0]
    for of_word in zip(*of_words, strict=True):
        counts = count(counts, of_word)[0]
    return counts


def _scores(votes: Votes, words: jax.Array) -> jax.Array:
    """Scores int32 (L, 32, classes) of the samples in words uint32 (n, L)."""
    scores = _counts(votes.positive, votes.negative, words)
    return scores.T.reshape(WORD_BITS, words.shape[1], -1).swapaxes(0, 1)


def words_at_peak(circuit: Circuit) -> int:
    """Words that the widest stage holds for every word of samples."""
    widest = max(math.prod(shape) for shape in circuit.shapes)
    for stage, after in zip(circuit.stages, circuit.shapes[1:], strict=True):
        if isinstance(stage, Gates) and len(stage.literals) > _MOST_SLICES:
            positions = math.prod(after[:2]) * stage.pool**2
            windows = math.prod(stage.window) * stage.channels
            # A count is a number, of which a word has 32.
            counts = WORD_BITS * int(np.count_nonzero(~stage.is_end))
            widest = max(widest, positions * (2 * windows + len(stage) + counts))
    return widest


def _apply_stages(circuit: Circuit, words: jax.Array, pad: Pad) -> jax.Array:
    """What the stages on bits give, or, of a network with a head, what the head reads.

    Args:
      circuit: the stages.
      words: the bits of the input, uint32 (C, H, W, L); of its level sets, if there are any.
      pad: how images are padded.
    """
    values = {1 if circuit.thresholds else 0: words}

    def read(sources: tuple[int, ...]) -> jax.Array:
        images = [values[value] for value in sources]
        return images[0] if len(images) == 1 else jnp.concatenate(images)

    for index, stage in circuit.on_bits.items():
        values[index + 1] = _apply_stage(stage, read(circuit.sources[index]), pad)
    return values[len(circuit.stages)] if circuit.head is None else read(circuit.sources[-1])


def _apply_stage(stage: Gates | Flatten | Upsample, words: jax.Array, pad: Pad) -> jax.Array:
    match stage:
        case Gates():
            return apply_gates(stage, words, pad)
        case Flatten():
            return jnp.moveaxis(words, 0, 2).reshape(-1, 1, 1, words.shape[-1])
        case Upsample():
            repeated = jnp.repeat(jnp.repeat(words, stage.factor, axis=1), stage.factor, axis=2)
            return repeated[:, : stage.height, : stage.width]
        case _:
            assert_never(stage)


@dataclass(frozen=True)
class _Computation:
    """What `PackedNetwork` compiles: functions of a circuit, which hold nothing compiled.

    They call no function that is compiled by itself: JAX would keep it for every shape, also when
    the network is gone.
    """

    circuit: Circuit

    def pack(self, x: jax.Array) -> jax.Array:
        """The input as packed samples."""
        return _pack_samples(self.bits(x))

    def pack_strips(self, x: jax.Array) -> jax.Array:
        """The input as packed strips."""
        return _pack_strips(self.bits(x))

    def unpack_strips(self, words: jax.Array, height: int) -> jax.Array:
        """The output of images from their strips."""
        return _unpack_strips(words, height)

    def run_words(self, words: jax.Array) -> jax.Array:
        """See `PackedNetwork.run_words`."""
        at_once = self._words_at_once()
        length = words.shape[0]
        if length <= at_once:
            return self._on_block(words)
        padded = jnp.pad(words, [(0, -length % at_once)] + [(0, 0)] * 3)
        blocks = padded.reshape(-1, at_once, *words.shape[1:])
        found: jax.Array = jax.lax.map(self._on_block, blocks)
        return found.reshape(-1, *found.shape[2:])[:length]

    def _words_at_once(self) -> int:
        """Words of samples whose widest stage stays in the cache."""
        limit = _WORDS_AT_ONCE["cpu" if jax.default_backend() == "cpu" else "other"]
        return max(1, limit // words_at_peak(self.circuit))

    def _on_block(self, words: jax.Array) -> jax.Array:
        planes = _apply_stages(self.circuit, jnp.moveaxis(words, (0, 3), (3, 0)), _pad_samples)
        head = self.circuit.head
        if isinstance(head, Votes):
            return _scores(head, planes[:, 0, 0])
        if isinstance(head, Linear):
            features = _split(planes[:, 0, 0].T, axis=1).astype(jnp.float32)
            return matmul(features, head.kernel) + head.bias[None, None]
        return jnp.moveaxis(planes, (3, 0), (0, 3))

    def can_use_strips(self) -> bool:
        """Whether every stage keeps the size of the image, with zeros outside of it."""
        return len(self.circuit.output_shape) == 3 and all(
            isinstance(stage, Gates)
            and stage.border == "zero"
            and stage.pool == 1
            and [sum(widths) + 1 for widths in stage.padding] == list(stage.window)
            for stage in self.circuit.on_bits.values()
        )

    def bits(self, x: jax.Array) -> jax.Array:
        """The input as images of bits (N, H, W, C)."""
        if self.circuit.thresholds is not None:
            x = level_sets(x, self.circuit.thresholds.values)
        return x.reshape(-1, *(1, 1, *x.shape[1:])[-3:])

    def run_strips(self, words: jax.Array, height: int) -> jax.Array:
        planes = jnp.moveaxis(words, (0, 3), (3, 0))
        planes = _apply_stages(self.circuit, planes, partial(_pad_strips, height=height))
        return jnp.moveaxis(planes, (3, 0), (0, 3))

    def to_samples(self, found: jax.Array, samples: int) -> jax.Array:
        if self.circuit.head is not None:
            return found.reshape(-1, found.shape[2])[:samples]
        bits = _unpack_samples(found, samples)
        return bits.reshape(samples, *self.circuit.output_shape)


class PackedNetwork:
    """A boolean network that runs on packed words.

    Computes what `bimonn_jax.BooleanNetwork` computes, many times faster.

    Attributes:
      circuit: its gates, for one input shape.
    """

    def __init__(self, network: BooleanNetwork, input_shape: Sequence[int]) -> None:
        """Prepares a network for inputs of one shape.

        Args:
          network: architecture and boolean parameters.
          input_shape: of one input, (H, W, C) or (n,).

        Raises:
          TypeError: if the network's parameters are real-valued.
          ValueError: if the network does not take this shape.
        """
        self.circuit = circuit_of(network.architecture, network.params, tuple(input_shape))
        # The compiled functions refer to the computation, not back to this network: its memory is
        # free as soon as nothing refers to it.
        self._computation = _Computation(self.circuit)
        self._pack = jax.jit(self._computation.pack)
        self._run = jax.jit(self._computation.run_words)
        self._unpack = jax.jit(self._computation.to_samples, static_argnames="samples")
        self._pack_strips = jax.jit(self._computation.pack_strips)
        self._run_strips = jax.jit(self._computation.run_strips, static_argnames="height")
        self._unpack_strips = jax.jit(self._computation.unpack_strips, static_argnames="height")

    def __call__(self, x: jax.Array | np.ndarray) -> jax.Array:
        """Runs the network on a batch.

        Args:
          x: (N, *input_shape), bool, or numbers if the network begins with level sets.

        Returns:
          What the network gives: bool (N, ...), int32 scores, or float32 ones of a real head.

        Raises:
          ValueError: for another shape or dtype.
        """
        x = as_numbers(x)
        self.circuit.check_batch(x)
        if self.circuit.thresholds is None and x.dtype != jnp.bool_:
            raise ValueError(f"x must be bool, got {x.dtype}: threshold it first (x > 0.5)")
        if x.shape[0] == 0:
            one = jax.eval_shape(self, jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype))
            return jnp.zeros((0, *one.shape[1:]), one.dtype)
        if x.shape[0] < WORD_BITS and self._computation.can_use_strips():
            height = x.shape[1]
            words = self._run_strips(self._pack_strips(x), height=height)
            y: jax.Array = self._unpack_strips(words, height=height)
            return y
        y = self._unpack(self._run(self._pack(x)), samples=x.shape[0])
        return y

    def run_words(self, words: jax.Array) -> jax.Array:
        """Runs the network on samples that are packed already, for use under `jax.jit`.

        Args:
          words: uint32 (L, H, W, C), the input of the stages after the level sets.

        Returns:
          uint32 (L, H', W', C'), or the scores of a head, (L, 32, classes).
        """
        return self._computation.run_words(words)


def packed_by_shape(network: BooleanNetwork) -> Callable[[jax.Array | np.ndarray], jax.Array]:
    """Runs a network packed on batches (N, ...) of any shapes.

    It is compiled for each shape. The programs of the last 4 shapes are kept, so that a folder of
    images of a thousand sizes does not fill the memory.
    """
    kept: dict[tuple[int, ...], PackedNetwork] = {}

    def run(x: jax.Array | np.ndarray) -> jax.Array:
        packed = kept.pop(x.shape, None) or PackedNetwork(network, x.shape[1:])
        # The shape used last comes last.
        kept[x.shape] = packed
        if len(kept) > _MOST_SHAPES:
            del kept[next(iter(kept))]
        return packed(x)

    return run
