"""A filter compiled to C: windows of an image are the samples of packed words."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from os import cpu_count
from pathlib import Path

import numpy as np

from bimonn_jax.deployment.c.library import CLibrary, compile_c
from bimonn_jax.morphology.levels import level_sets
from bimonn_jax.morphology.windows import PAD_MODES, pad_widths
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import LevelSetsLayer, SlidingLayer

# Side of the part of the output that each window gives, and how many of them a call of the library
# computes: as many as there are bits in the words that a processor handles at once.
_TILE, _WINDOWS = 32, 512


class _Plan:
    """A network without its level sets and without a border, and what is done in their stead.

    Attributes:
      network: on windows of bits, that does not pad.
      thresholds: of the level sets, or None.
      padding: what its windows reach beyond the image by, (before, after) for each axis.
      mode: what lies there, as NumPy's `pad` has it.
      margins: int (2,); rows and columns that a window has beside those of its tile.
    """

    def __init__(self, network: BooleanNetwork) -> None:
        layers = list(network.architecture)
        self.thresholds = None
        if layers and isinstance(layers[0], LevelSetsLayer):
            self.thresholds = layers.pop(0).thresholds  # type: ignore[attr-defined]
        self.padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))
        self.mode = PAD_MODES["zero"]
        self.margins = np.zeros(2, int)
        if any(layer.inputs for layer in layers):
            raise ValueError("only chains of layers are compiled as filters; this has branches")
        for index, layer in enumerate(layers):
            if not isinstance(layer, SlidingLayer):
                continue
            own = layer.params_of(network.params)
            size = next(iter(own.values())).footprint.shape[:2]
            widths = pad_widths(size, layer.padding)
            if getattr(layer, "pool", 1) != 1 or (index and np.any(widths)):
                raise ValueError(
                    f"layer {layer.name!r} looks beyond the border of what another layer gives, or "
                    "pools: run the filter as it is, by tiles"
                )
            if not index:
                self.padding, self.mode = widths, PAD_MODES[layer.border]
            self.margins += np.array(size) - 1
            layers[index] = replace(layer, padding="VALID")
        self.network = BooleanNetwork(tuple(layers), network.params)


def _in_c(library: CLibrary, windows: np.ndarray) -> np.ndarray:
    """What a library gives for windows (N, h, w, C), on all cores: bool (N, t, t)."""
    parts = [windows[i : i + _WINDOWS] for i in range(0, len(windows), _WINDOWS)]
    with ThreadPoolExecutor(cpu_count()) as pool:
        found = list(pool.map(library, parts))
    return np.concatenate(found)[..., 0]


def _tiles_of(image: np.ndarray, margins: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The windows of an image that is padded already, and how many there are in each direction."""
    counts = [
        -(-(side - margin) // _TILE) for side, margin in zip(image.shape[:2], margins, strict=True)
    ]
    missing = [
        (0, count * _TILE + margin - side)
        for count, margin, side in zip(counts, margins, image.shape[:2], strict=True)
    ]
    padded = np.pad(image, [*missing, (0, 0)])
    sides = tuple(_TILE + margins)
    views = np.lib.stride_tricks.sliding_window_view(padded, sides, axis=(0, 1))
    chosen = np.moveaxis(views[::_TILE, ::_TILE], 2, -1)
    return chosen.reshape(-1, *sides, image.shape[2]), (counts[0], counts[1])


def compiled_bits(
    network: BooleanNetwork, channels: int, folder: str | Path, *, compiler: str, overwrite: bool
) -> Callable[[np.ndarray], np.ndarray]:
    """A network as a function (1, H, W, C) -> bool (1, H, W, 1) in C, equal to it on every image.

    Args:
      network: a chain of layers, of which only the first looks beyond the border.
      channels: C.
      folder: where the source and the library are written.
      compiler: a C compiler that takes gcc's options.
      overwrite: whether files of an earlier one may be replaced.

    Raises:
      ValueError: for another network.
      FileExistsError: if a file exists and ``overwrite`` is False.
      FileNotFoundError: if the compiler is not installed.
      RuntimeError: if the compiler fails.
    """
    plan = _Plan(network)
    bits = channels if plan.thresholds is None else channels * np.shape(plan.thresholds)[-1]
    sides = [int(side) for side in _TILE + plan.margins]
    library = compile_c(
        plan.network,
        folder,
        (*sides, bits),
        name="filter",
        compiler=compiler,
        overwrite=overwrite,
    )

    def run(x: np.ndarray) -> np.ndarray:
        image = x[0]
        if plan.thresholds is not None:
            image = np.asarray(level_sets(image, plan.thresholds))
        # Level sets come first: what lies beyond an image is not set, whatever the thresholds.
        padded = np.pad(image, [*plan.padding, (0, 0)], mode=plan.mode)  # type: ignore[call-overload]
        windows, (rows, columns) = _tiles_of(padded, plan.margins)
        tiles = _in_c(library, windows).reshape(rows, columns, _TILE, _TILE)
        whole = tiles.swapaxes(1, 2).reshape(rows * _TILE, columns * _TILE)
        height, width = np.subtract(padded.shape[:2], plan.margins)
        return whole[None, :height, :width, None]

    return run
