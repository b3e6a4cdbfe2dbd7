"""Boolean networks on images of any sizes, tile by tile: one program, and bounded memory.

A window of an image holds a tile and what its output depends on
(`bimonn_jax.deployment.tile_plan`); 32 windows are the samples of packed words. No stage sees the
end of a window as the end of the image: where the image ends in each of the 32 is an argument of
the program, and what lies beyond it is replaced, before each stage, by what the border of that
stage says. So images smaller than a tile need no program of their own.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.deployment.circuit import Circuit, Flatten, Gates, Upsample, circuit_of
from bimonn_jax.deployment.packed import (
    WORD_BITS,
    apply_gates,
    join_bits,
    pack_samples,
    union_over_windows,
    unpack_samples,
    words_at_peak,
)
from bimonn_jax.deployment.tile_plan import TilePlan, tile_plan
from bimonn_jax.morphology.levels import as_numbers, level_sets
from bimonn_jax.networks.boolean import BooleanNetwork

# Sides of tiles, of which the first is taken whose widest stage has so few words (64 MB).
_SIDES, _MOST_WORDS = (128, 64, 32), 2**24


@dataclass(frozen=True)
class _Axis:
    """Where windows lie along one axis of a value.

    Attributes:
      at: int32 (32, n); the row or column of the image that each place of each window shows.
      size: int32 (); of the image.
    """

    at: jax.Array
    size: jax.Array

    def inside(self) -> jax.Array:
        """Places inside of the image, uint32 (n,), a bit for each window."""
        return join_bits((self.at >= 0) & (self.at < self.size), axis=0)

    def beyond(self, distance: int) -> jax.Array:
        """Places so far before the first pixel or, if negative, after the last one, uint32 (n,)."""
        return join_bits(
            self.at == (-distance if distance > 0 else self.size - 1 - distance), axis=0
        )


Axes = tuple[_Axis, _Axis]


def _along(mask: jax.Array, axis: int) -> jax.Array:
    return mask[None, :, None, None] if axis == 0 else mask[None, None, :, None]


def _masked(words: jax.Array, axes: Axes) -> jax.Array:
    """Zeros beyond the image; words uint32 (C, h, w, L)."""
    for axis, along in enumerate(axes):
        words = words & _along(along.inside(), axis)
    return words


def _mirrored(words: jax.Array, axes: Axes, gates: Gates) -> jax.Array:
    """Pixels beyond the image as the border "edge" or "reflect" has them."""
    times = {"edge": 1, "reflect": 2}[gates.border]
    for axis, along in enumerate(axes):
        before, after = gates.padding[axis]
        found = words
        for distance in (*range(1, before + 1), *range(-1, -after - 1, -1)):
            place = _along(along.beyond(distance), axis)
            stands_for_it = jnp.roll(words, -times * distance, axis=1 + axis)
            found = (found & ~place) | (stands_for_it & place)
        words = found
    return words


def _extended(words: jax.Array, gates: Gates, *, axes: Axes) -> jax.Array:
    """Words such that a window of the gates at every place of them is there."""
    if any(map(any, gates.padding)):
        is_zero = gates.border == "zero"
        words = _masked(words, axes) if is_zero else _mirrored(words, axes, gates)
    before = [widths[0] for widths in gates.padding]
    after = [max(0, side - 1 - b) for side, b in zip(gates.window, before, strict=True)]
    padded = jnp.pad(words, [(0, 0), *zip(before, after, strict=True), (0, 0)])
    height, width = (n + side - 1 for n, side in zip(words.shape[1:3], gates.window, strict=True))
    return padded[:, :height, :width]


@dataclass(frozen=True)
class _Computation:
    """What is compiled, once for all images: packing, running and unpacking 32 windows.

    Attributes:
      circuit: its gates; the sizes in it are those of one image and not used.
      plan: where windows lie.
      tile: side of a tile, in pixels of the input.
    """

    circuit: Circuit
    plan: TilePlan
    tile: int

    @property
    def side(self) -> int:
        """Side of a tile of the output."""
        return int(self.tile * self.plan.scales[-1])

    def pack(self, windows: jax.Array) -> jax.Array:
        """Windows of the input (32, h, w, C) as words uint32 (C, h, w, 1)."""
        if self.circuit.thresholds is not None:
            windows = level_sets(windows, self.circuit.thresholds.values)
        words: jax.Array = pack_samples(windows)
        return jnp.moveaxis(words, (0, 3), (3, 0))

    def run(self, words: jax.Array, starts: jax.Array, sizes: jax.Array) -> jax.Array:
        """The tiles of the output.

        Args:
          words: from `pack`.
          starts: int32 (32, 2), the row and column of the image at which each window begins.
          sizes: int32 (values, 2), rows and columns of every value of the circuit on the image.

        Returns:
          uint32 (C', t, t, 1).
        """
        values = {1 if self.circuit.thresholds else 0: words}
        for index, stage in self.circuit.on_bits.items():
            if isinstance(stage, Flatten):
                raise TypeError("what reads a whole image at once is refused by `tile_plan`")
            sources = self.circuit.sources[index]
            read = [values[value] for value in sources]
            joined = read[0] if len(read) == 1 else jnp.concatenate(read)
            axes = self._axes(sources[0], starts, sizes)
            values[index + 1] = self._apply(stage, joined, axes)
        found = values[len(self.circuit.stages)]
        rows, columns = (int(before * self.plan.scales[-1]) for before, _ in self.plan.margins)
        return found[:, rows : rows + self.side, columns : columns + self.side]

    def unpack(self, words: jax.Array) -> jax.Array:
        """The inverse of `pack` for the output, bool (32, t, t, C')."""
        tiles: jax.Array = unpack_samples(jnp.moveaxis(words, (3, 0), (0, 3)), WORD_BITS)
        return tiles

    def _axes(self, value: int, starts: jax.Array, sizes: jax.Array) -> Axes:
        scale = self.plan.scales[value]
        rows, columns = (
            _Axis(
                starts[:, axis, None] * scale.numerator // scale.denominator
                + jnp.arange(int(length * scale), dtype=jnp.int32)[None],
                sizes[value, axis],
            )
            for axis, length in enumerate(self.plan.window_of(self.tile))
        )
        return rows, columns

    def _apply(self, stage: Gates | Upsample, words: jax.Array, axes: Axes) -> jax.Array:
        if isinstance(stage, Upsample):
            return jnp.repeat(jnp.repeat(words, stage.factor, axis=1), stage.factor, axis=2)
        maps = apply_gates(replace(stage, pool=1), words, partial(_extended, axes=axes))
        if stage.pool == 1:
            return maps
        rows, columns = (
            replace(along, size=along.size + sum(widths) - side + 1)
            for along, widths, side in zip(axes, stage.padding, stage.window, strict=True)
        )
        return union_over_windows(_masked(maps, (rows, columns)), stage.pool)


class TiledNetwork:
    """A boolean network that runs on images of any sizes, by tiles on packed words.

    Computes what `bimonn_jax.BooleanNetwork` computes on the whole image, at its borders too. One
    program is compiled, whatever the sizes of images, and memory does not grow with them, but for
    the image and the result.

    Attributes:
      tile: side of a tile, in pixels of the input.
    """

    def __init__(
        self, network: BooleanNetwork, input_shape: Sequence[int], *, tile: int | None = None
    ) -> None:
        """Prepares a network for images of any sizes.

        Args:
          network: architecture and boolean parameters; images in, images out.
          input_shape: (H, W, C) of an image that the network takes; others have as many channels.
          tile: side of a tile, rounded up to what the network's pools ask for; None for one of 32
            to 128 by the width of the network.

        Raises:
          TypeError: if the network's parameters are real-valued.
          ValueError: if the network does not take this shape, or cannot run by tiles, see
            `bimonn_jax.deployment.tile_plan`.
        """
        if tile is not None and tile < 1:
            raise ValueError(f"tile must be at least 1 pixel; got {tile}")
        if len(input_shape) != 3:
            raise ValueError(
                f"only networks of images run by tiles: input_shape must be (height, width, "
                f"channels); got {tuple(input_shape)}"
            )
        self._network, self._channels = network, input_shape[-1]
        plan = tile_plan(self._circuit(input_shape))
        sides = _SIDES if tile is None else (tile,)
        for side in map(plan.tile_of, sides):
            # As of a window: what its program is compiled from, and how much it holds at once.
            circuit = self._circuit((*plan.window_of(side), self._channels))
            if words_at_peak(circuit) <= _MOST_WORDS:
                break
        self.tile, self._plan = side, plan
        self._computation = _Computation(circuit, plan, side)
        # Compiled one by one, see `bimonn_jax.deployment.packed`.
        self._pack = jax.jit(self._computation.pack)
        self._run = jax.jit(self._computation.run)
        self._unpack = jax.jit(self._computation.unpack)

    def _circuit(self, shape: Sequence[int]) -> Circuit:
        return circuit_of(self._network.architecture, self._network.params, tuple(shape))

    def __call__(self, x: jax.Array | np.ndarray) -> np.ndarray:
        """Runs the network on images of one size.

        Args:
          x: (N, H, W, C), bool, or numbers if the network begins with level sets.

        Returns:
          bool (N, H', W', C'), as `bimonn_jax.BooleanNetwork` gives it.

        Raises:
          ValueError: for another number of axes or channels, another dtype, or an image that is
            smaller than a border needs.
        """
        images = np.asarray(x)
        if images.ndim != 4 or images.shape[-1] != self._channels:
            raise ValueError(
                f"x has shape {images.shape}; (N, H, W, {self._channels}) was expected"
            )
        if images.dtype != np.bool_ and self._computation.circuit.thresholds is None:
            raise ValueError(f"x must be bool, got {images.dtype}: threshold it first (x > 0.5)")
        shapes = self._circuit(images.shape[1:]).shapes
        sizes = np.array([shape[:2] for shape in shapes], np.int32)
        y = np.zeros((len(images), *shapes[-1]), bool)
        side = self._computation.side
        rows, columns = (range(-(-size // side)) for size in y.shape[1:3])
        places = itertools.product(range(len(images)), rows, columns)
        while batch := list(itertools.islice(places, WORD_BITS)):
            tiles = self._tiles(images, batch, sizes)
            for (image, row, column), tile in zip(batch, tiles, strict=False):
                there = y[image, row * side :, column * side :][:side, :side]
                there[...] = tile[: there.shape[0], : there.shape[1]]
        return y

    def _tiles(
        self, images: np.ndarray, places: Sequence[tuple[int, int, int]], sizes: np.ndarray
    ) -> np.ndarray:
        """The tiles (image, row, column) of the output, bool (32, t, t, C')."""
        plan = self._plan
        windows = np.zeros((WORD_BITS, *plan.window_of(self.tile), self._channels), images.dtype)
        starts = np.zeros((WORD_BITS, 2), np.int32)
        before = np.array([margins[0] for margins in plan.margins])
        for index, (image, *place) in enumerate(places):
            starts[index] = self.tile * np.array(place) - before
            _copy_window(images[image], starts[index], windows[index])
        words = self._run(self._pack(as_numbers(windows)), starts, sizes)
        return np.asarray(self._unpack(words))


def _copy_window(image: np.ndarray, start: np.ndarray, window: np.ndarray) -> None:
    """Copies what a window shows of an image; the rest stays as it is."""
    places = []
    for at, length, size in zip(start, window.shape[:2], image.shape[:2], strict=True):
        first, last = max(at, 0), min(at + length, size)
        if first >= last:
            return
        places.append((slice(first, last), slice(first - at, last - at)))
    (rows, to_rows), (columns, to_columns) = places
    window[to_rows, to_columns] = image[rows, columns]
