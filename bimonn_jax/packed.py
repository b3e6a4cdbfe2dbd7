"""Boolean networks on packed words: 32 samples, or 32 strips of one image, at a time.

Bit b of every word belongs to sample b (or to strip b), so neighbouring pixels are neighbouring
words: a window moves by slicing, and no bit is ever shifted within an image. That is the packing
that measured best, see BUILD_NOTES.md.

Packing, computing and unpacking are compiled one by one: within one program XLA would fuse them,
and pack anew for every literal that reads a word.

Words are uint32 (C, H, W, L): channels, rows, columns, and one word for every 32 samples. Packed
strips have L = 1 and the rows of one strip.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.circuit import Gates, Linear, Stage, Thresholds, Votes, circuit_of, operator_gates
from bimonn_jax.morphology import level_sets
from bimonn_jax.saving import BooleanNetwork
from bimonn_jax.windows import pad_image

WORD_BITS = 32
_ONES = np.uint32(0xFFFFFFFF)
# Up to so many literals are sliced from the image one by one; more are gathered from its windows.
_MOST_SLICES = 512
# Gates of similar size are computed together, up to this many superfluous literals each.
_SIZE_STEP = 8
# Words of all windows that are worked on at once: they are to stay in the cache of a CPU.
_WORDS_AT_ONCE = {"cpu": 2**16, "other": 2**26}


def pack_samples(x: jax.Array) -> jax.Array:
    """Packs 32 samples into each word.

    Args:
      x: bool (N, ...).

    Returns:
      uint32 (..., ceil(N / 32)); bit b of word l is sample 32 l + b, 0 where there is none.
    """
    x = jnp.pad(x, [(0, -x.shape[0] % WORD_BITS), *[(0, 0)] * (x.ndim - 1)])
    groups = jnp.moveaxis(x.reshape(-1, WORD_BITS, *x.shape[1:]), 1, 0)
    return jnp.moveaxis(_join(groups), 0, -1)


def unpack_samples(words: jax.Array, samples: int) -> jax.Array:
    """The inverse of `pack_samples`: uint32 (..., L) -> bool (samples, ...)."""
    bits = _split(jnp.moveaxis(words, -1, 0))
    return jnp.moveaxis(bits, 0, 1).reshape(-1, *words.shape[:-1])[:samples]


def pack_strips(image: jax.Array) -> jax.Array:
    """Packs 32 horizontal strips of an image into each word.

    Args:
      image: bool (..., H, W).

    Returns:
      uint32 (..., ceil(H / 32), W); bit b of row r is row b ceil(H / 32) + r of the image, 0 below
      it.
    """
    *leading, height, width = image.shape
    rows = -(-height // WORD_BITS)
    missing = [(0, 0)] * len(leading) + [(0, rows * WORD_BITS - height), (0, 0)]
    strips = jnp.pad(image, missing).reshape(*leading, WORD_BITS, rows, width)
    return _join(jnp.moveaxis(strips, -3, 0))


def unpack_strips(words: jax.Array, height: int) -> jax.Array:
    """The inverse of `pack_strips`: uint32 (..., S, W) -> bool (..., height, W)."""
    strips = jnp.moveaxis(_split(words), 0, -3)
    return strips.reshape(*words.shape[:-2], -1, words.shape[-1])[..., :height, :]


def _join(bits: jax.Array) -> jax.Array:
    """Bool (32, ...) -> uint32 (...)."""
    shifted = (bits[b].astype(jnp.uint32) << b for b in range(WORD_BITS))
    return reduce(jnp.bitwise_or, shifted)


def _split(words: jax.Array) -> jax.Array:
    """Uint32 (...) -> bool (32, ...)."""
    places = jnp.arange(WORD_BITS, dtype=jnp.uint32).reshape(-1, *[1] * words.ndim)
    return (words >> places) & 1 != 0


def dilate_strips(words: jax.Array, footprint: np.ndarray, height: int) -> jax.Array:
    """`bimonn_jax.morphology.dilation`, zero border, of an image packed by `pack_strips`.

    Args:
      words: uint32 (S, W).
      footprint: bool (kh, kw), concrete.
      height: of the image.

    Returns:
      uint32 (S, W).
    """
    return _operate_strips(words, footprint, height, is_erosion=False)


def erode_strips(words: jax.Array, footprint: np.ndarray, height: int) -> jax.Array:
    """`bimonn_jax.morphology.erosion` of an image packed by `pack_strips`: see `dilate_strips`."""
    return _operate_strips(words, footprint, height, is_erosion=True)


def _operate_strips(
    words: jax.Array, footprint: np.ndarray, height: int, *, is_erosion: bool
) -> jax.Array:
    gates = operator_gates(np.asarray(footprint), is_erosion=is_erosion)
    return apply_gates(gates, words[None, ..., None], partial(_pad_strips, height=height))[
        0, ..., 0
    ]


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
        words = words & inside[:, None, None]
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
      gates: of `bimonn_jax.circuit`.
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
    return maps if gates.pool == 1 else _union_over_windows(maps, gates.pool)


def _by_slices(gates: Gates, padded: jax.Array, height: int, width: int) -> jax.Array:
    """One fused expression of slices."""

    def one(gate: int) -> jax.Array:
        must_be_set, must_be_clear, complement = gates.requirements(gate)

        def views(literals: np.ndarray) -> list[jax.Array]:
            return [padded[c, r : r + height, k : k + width] for r, k, c in literals]

        missed = reduce(
            jnp.bitwise_or,
            [~view for view in views(must_be_set)] + views(must_be_clear),
            jnp.zeros((height, width, padded.shape[-1]), jnp.uint32),
        )
        return missed if complement else ~missed

    return jnp.stack([one(gate) for gate in range(len(gates))])


def _by_gathering(gates: Gates, rows: jax.Array) -> jax.Array:
    """From the rows of all literals, uint32 (n, L) -> (gates, L)."""
    row, column, channel = gates.literals.T
    index = (row * gates.window[1] + column) * gates.channels + channel
    gate = np.repeat(np.arange(len(gates)), np.diff(gates.starts))
    must_be_clear = gates.is_inverted == gates.is_erosion[gate]
    literals = np.split(index + must_be_clear * len(rows), gates.starts[1:-1])
    sizes = np.diff(gates.starts)
    padded_sizes = -(-sizes // _SIZE_STEP) * _SIZE_STEP

    ones = len(rows) * 2
    of_literals = jnp.concatenate([rows, ~rows, jnp.full((1, rows.shape[1]), _ONES)])
    found, order = [], []
    for size in np.unique(padded_sizes):
        members = np.flatnonzero(padded_sizes == size)
        picks = np.full((max(size, 1), len(members)), ones)
        for i, member in enumerate(members):
            picks[: sizes[member], i] = literals[member]
        found.append(reduce(jnp.bitwise_and, (of_literals[pick] for pick in picks)))
        order.append(members)
    inverse = np.argsort(np.concatenate(order))
    flip = np.where(gates.complement ^ ~gates.is_erosion, _ONES, np.uint32(0))
    return jnp.concatenate(found)[inverse] ^ flip[:, None]


def _union_over_windows(maps: jax.Array, pool: int) -> jax.Array:
    """(M, H, W, L) -> (M, ceil(H / pool), ceil(W / pool), L)."""
    count, height, width, words = maps.shape
    padded = jnp.pad(maps, [(0, 0), (0, -height % pool), (0, -width % pool), (0, 0)])
    blocks = padded.reshape(count, -(-height // pool), pool, -(-width // pool), pool, words)
    parts = [blocks[:, :, i, :, j] for i in range(pool) for j in range(pool)]
    return reduce(jnp.bitwise_or, parts)


def count_bits(rows: jax.Array) -> list[jax.Array]:
    """Counts, bit by bit of the words, how many rows are set: carry-save addition.

    Args:
      rows: uint32 (V, ...).

    Returns:
      The binary digits of the counts, lowest first, each uint32 (...).
    """
    digits = []
    while rows.shape[0]:
        carries = []
        while rows.shape[0] > 1:
            third = rows.shape[0] // 3
            if third:
                a, b, c = rows[:third], rows[third : 2 * third], rows[2 * third : 3 * third]
                either = a ^ b
                carries.append((a & b) | (either & c))
                rows = jnp.concatenate([either ^ c, rows[3 * third :]])
            else:
                carries.append(rows[:1] & rows[1:])
                rows = rows[:1] ^ rows[1:]
        digits.append(rows[0])
        rows = jnp.concatenate(carries) if carries else rows[:0]
    return digits


def _scores(votes: Votes, words: jax.Array) -> jax.Array:
    """int32 (classes, 32, L): scores of the samples of each word."""
    of_features = words[:, 0, 0]
    ones_for = [np.flatnonzero(column) for column in votes.positive.T]
    zeros_for = [np.flatnonzero(column) for column in votes.negative.T]
    most = max(len(a) + len(b) for a, b in zip(ones_for, zeros_for, strict=True))
    nothing = 2 * len(of_features)
    picks = np.full((max(most, 1), len(ones_for)), nothing)
    for i, (a, b) in enumerate(zip(ones_for, zeros_for, strict=True)):
        # A vote against is a vote of the complement, less one.
        picks[: len(a) + len(b), i] = np.concatenate([a, b + len(of_features)])
    literals = jnp.concatenate([of_features, ~of_features, jnp.zeros_like(of_features[:1])])
    digits = count_bits(literals[picks])
    places = jnp.arange(WORD_BITS, dtype=jnp.uint32)[:, None]
    counts = sum(
        ((digit[:, None] >> places) & 1).astype(jnp.int32) << i for i, digit in enumerate(digits)
    )
    against = np.array([len(b) for b in zeros_for], np.int32)
    return jnp.asarray(counts) - against[:, None, None]


def _apply_stages(stages: Sequence[Stage], words: jax.Array, pad: Pad) -> jax.Array:
    for stage in stages:
        if isinstance(stage, Gates):
            words = apply_gates(stage, words, pad)
        else:
            words = jnp.moveaxis(words, 0, 2).reshape(-1, 1, 1, words.shape[-1])
    return words


class PackedNetwork:
    """A boolean network that runs on packed words.

    Computes what `bimonn_jax.saving.BooleanNetwork` computes, many times faster.

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
        stages = list(self.circuit.stages)
        self._thresholds: list | None = None
        if isinstance(stages[0], Thresholds):
            self._thresholds = stages[0].values.tolist()
            stages.pop(0)
        self._head = stages.pop() if isinstance(stages[-1], Votes | Linear) else None
        self._stages = stages
        self._to_channels = jax.jit(self._planes)
        self._pack = jax.jit(pack_samples)
        self._pack_strips = jax.jit(lambda x: jnp.moveaxis(pack_strips(x), 0, -1))
        self._run = jax.jit(self.run_words)
        self._run_strips = jax.jit(self._on_strips, static_argnames="height")
        self._unpack = jax.jit(self._to_samples, static_argnames="samples")
        self._unpack_strips = jax.jit(self._from_strips, static_argnames="height")

    def __call__(self, x: jax.Array | np.ndarray) -> jax.Array:
        """Runs the network on a batch.

        Args:
          x: (N, *input_shape), bool, or numbers if the network begins with level sets.

        Returns:
          What the network gives: bool (N, ...), int32 scores, or float32 ones of a real head.

        Raises:
          ValueError: for another shape or dtype.
        """
        x = jnp.asarray(x)
        if x.ndim == 0 or x.shape[1:] != self.circuit.input_shape:
            raise ValueError(
                f"x has shape {x.shape}; (N, {', '.join(map(str, self.circuit.input_shape))}) was "
                "expected: make a PackedNetwork for every shape of input"
            )
        if not self.circuit.takes_numbers and x.dtype != jnp.bool_:
            raise ValueError(f"x must be bool, got {x.dtype}: threshold it first (x > 0.5)")
        images = self._to_channels(x)
        samples, _, height, _ = images.shape
        if samples < WORD_BITS and self._can_use_strips():
            words = self._run_strips(self._pack_strips(images), height=height)
            return self._unpack_strips(words, height=height)
        return self._unpack(self._run(self._pack(images)), samples=samples)

    def run_words(self, words: jax.Array) -> jax.Array:
        """Runs the network on samples that are packed already, for use under `jax.jit`.

        Args:
          words: uint32 (C, H, W, L), what the stages after the level sets take.

        Returns:
          uint32 (C', H', W', L), or the scores of a head, (classes, 32, L).
        """
        at_once = self._words_at_once()
        length = words.shape[-1]
        if length <= at_once:
            return self._on_block(words)
        padded = jnp.pad(words, [(0, 0)] * 3 + [(0, -length % at_once)])
        blocks = jnp.moveaxis(padded.reshape(*words.shape[:-1], -1, at_once), -2, 0)
        found = jnp.moveaxis(jax.lax.map(self._on_block, blocks), 0, -2)
        return found.reshape(*found.shape[:-2], -1)[..., :length]

    def _words_at_once(self) -> int:
        """Words of samples whose widest stage stays in the cache."""
        widest = max(math.prod(shape) for shape in self.circuit.shapes)
        for stage, after in zip(self.circuit.stages, self.circuit.shapes[1:], strict=True):
            if isinstance(stage, Gates) and len(stage.literals) > _MOST_SLICES:
                positions = math.prod(after[:2]) * stage.pool**2
                windows = math.prod(stage.window) * stage.channels
                widest = max(widest, positions * (2 * windows + len(stage)))
        limit = _WORDS_AT_ONCE["cpu" if jax.default_backend() == "cpu" else "other"]
        return max(1, limit // widest)

    def _on_block(self, words: jax.Array) -> jax.Array:
        words = _apply_stages(self._stages, words, _pad_samples)
        if isinstance(self._head, Votes):
            return _scores(self._head, words)
        if isinstance(self._head, Linear):
            features = _split(words[:, 0, 0]).astype(jnp.float32)
            scores = jnp.einsum("bfl,fk->kbl", features, self._head.kernel, precision="highest")
            return scores + self._head.bias[:, None, None]
        return words

    def _can_use_strips(self) -> bool:
        """Whether every stage keeps the size of the image, with zeros outside of it."""
        return self._head is None and all(
            isinstance(stage, Gates)
            and stage.border == "zero"
            and stage.pool == 1
            and [sum(widths) + 1 for widths in stage.padding] == list(stage.window)
            for stage in self._stages
        )

    def _planes(self, x: jax.Array) -> jax.Array:
        """Bits (N, C, H, W) of the input."""
        if self._thresholds is not None:
            x = level_sets(x, self._thresholds)
        return jnp.moveaxis(x.reshape(-1, *(1, 1, *x.shape[1:])[-3:]), -1, 1)

    def _on_strips(self, words: jax.Array, height: int) -> jax.Array:
        return _apply_stages(self._stages, words, partial(_pad_strips, height=height))

    def _from_strips(self, words: jax.Array, height: int) -> jax.Array:
        return self._outputs(unpack_strips(jnp.moveaxis(words, -1, 0), height))

    def _to_samples(self, found: jax.Array, samples: int) -> jax.Array:
        if self._head is None:
            return self._outputs(unpack_samples(found, samples))
        return found.transpose(2, 1, 0).reshape(-1, found.shape[0])[:samples]

    def _outputs(self, bits: jax.Array) -> jax.Array:
        """Bits (N, C, H, W) as the network gives them."""
        return jnp.moveaxis(bits, 1, -1).reshape(-1, *self.circuit.output_shape)
