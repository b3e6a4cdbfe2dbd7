"""Footprints: alone, and beside the weights that they came from."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from bimonn_jax.binarization.conversion import binarize
from bimonn_jax.deployment.describe import operator_name
from bimonn_jax.neurons.params import (
    Neurons,
    RealNeurons,
    check_neurons,
    flat_weight,
    real_parameters,
)
from bimonn_jax.viz.figures import grid, lines_height, make_room, symbol, wrapped
from bimonn_jax.viz.legends import add_legend, line, operator_marks
from bimonn_jax.viz.tiles import BELOW, IN_A_ROW, Tile, draw_tiles, tile_marks, tile_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Points, and inches that a figure under titles is wide at least.
_TITLE, _LEAST_WIDTH = 8, 2.8
# Channels of a neuron that are drawn side by side.
_MOST_CHANNELS = IN_A_ROW
_DASHED: Any = (0, (3, 2))


def _draw(axis: "Axes", tiles: Sequence[Tile], frame: Any = "-") -> None:
    """Tiles alone on an axis, which is wider than high by their number."""
    draw_tiles(axis, tiles, (len(tiles) / 2, 0.5), (len(tiles), 1), frame=frame)
    # Names stand below.
    below = BELOW if any(tile.name for tile in tiles) else 0.02
    axis.set(xlim=(-0.02, len(tiles) + 0.02), ylim=(1 + below, -0.02), aspect="equal")


def plot_footprints(rows: Mapping[str, Sequence[np.ndarray]], *, cell: float = 1.1) -> "Figure":
    """Draws footprints as grids of pixels, a titled row for each group.

    Args:
      rows: by title, bool (kh, kw) footprints; black pixels are in the footprint, gray ones are
        not, a dot marks the center.
      cell: inches per footprint.

    Returns:
      The figure.

    Raises:
      ValueError: if there is nothing to draw.
    """
    columns = max((len(group) for group in rows.values()), default=0)
    if columns == 0:
        raise ValueError("rows must hold at least one footprint")
    width = max(cell * columns, _LEAST_WIDTH)
    titles = [wrapped(title, width - 0.2, _TITLE) for title in rows]
    above = lines_height(titles, _TITLE) + 0.1
    figure, axes = grid(len(rows), columns, cell, width=width, above=above)
    drawn = []
    for row, title, group in zip(axes, titles, rows.values(), strict=True):
        for axis in row:
            axis.set_anchor("NW")  # The titles begin at the left edge.
        row[0].set_title(title, fontsize=_TITLE, loc="left")
        for axis, footprint in zip(row, group, strict=False):
            drawn.append(tile_of(np.asarray(footprint, bool)))
            _draw(axis, drawn[-1:])
    make_room(figure, add_legend(figure, tile_marks(drawn)))
    return figure


def _by_channel(
    values: jax.Array, neurons: Neurons, shape: tuple[int, int] | None, complements: bool
) -> np.ndarray:
    """Weights or footprints (footprint..., neurons...) as images (M, C, halves, H, W).

    The second half, if there is one, is of the complements of the channels.
    """
    bias = neurons.bias if isinstance(neurons, RealNeurons) else neurons.complement
    flat: np.ndarray = np.asarray(flat_weight(values, bias), float).reshape(-1, np.size(bias)).T
    kernel = values.shape[: values.ndim - np.ndim(bias)]
    halves, rows = 1 + complements, 1 if len(kernel) == 2 else int(kernel[-1])
    if rows % halves:
        raise ValueError(
            f"complements=True expects an even number of channels, each beside its complement; "
            f"these neurons read {rows}: leave it out"
        )
    if len(kernel) == 2:
        return flat.reshape(-1, 1, 1, *kernel)
    if len(kernel) == 3:
        split = flat.reshape(-1, *kernel[:2], halves, rows // halves)
        return np.asarray(split.transpose(0, 4, 3, 1, 2))
    height, width = shape or (1, rows // halves)
    channels, rest = divmod(rows, halves * height * width)
    if rest or not channels:
        raise ValueError(
            f"shape {shape} has {height * width} pixels; these neurons have {rows} inputs: a "
            f"multiple of {'twice ' if complements else ''}that was expected"
        )
    return flat.reshape(-1, halves, height, width, channels).transpose(0, 4, 1, 2, 3)


def _tiles(images: np.ndarray, slides: bool, largest: float = 0.0) -> list[Tile]:
    """The first channels that are read, (C, halves, H, W); weights where ``largest`` is not 0."""
    read = np.flatnonzero(np.any(images, axis=(1, 2, 3)))
    tiles = []
    for channel in (read if len(read) else [0])[:_MOST_CHANNELS]:
        name = f"channel {channel}" if len(images) > 1 else ""
        halves = images[channel]
        if largest:
            signed = halves[0] - halves[1:].sum(axis=0)
            tiles.append(Tile(name, signed, slides, largest))
        else:
            is_clear = halves[1:].any(axis=0)
            tiles.append(tile_of(halves[0] > 0, is_clear, name=name, slides=slides))
    return tiles


def plot_layer(
    neurons: Neurons,
    *,
    method: str = "constant",
    shape: tuple[int, int] | None = None,
    complements: bool = False,
    max_neurons: int = 24,
    columns: int = 4,
    cell: float = 1.2,
) -> "Figure":
    """Draws the neurons of a layer: weights and footprint side by side, operator, exactness.

    Over each footprint stand the neuron's number and operator: ⊕ dilation, ⊖ erosion, ⊛ hit-or-miss
    transform, 5 / 9 where at least 5 of 9 must be set, = copy of one input, 1 or 0 for constants, ¬
    before a complement. The frame is solid where the neuron is activated, so that nothing is lost,
    dashed where the footprint approximates it. Black pixels are read, blue ones are read inverted
    (must be clear, for an erosion), gray ones are not read. Weights are black where they are
    largest, within each neuron, gray at zero and blue below. Each channel that a neuron reads is a
    tile of its own, over its name; of more than three the first are drawn. A legend says what
    occurs.

    Args:
      neurons: one set, such as ``params["layers_0"]["bise"]``; of boolean ones there are no
        weights to draw.
      method: how neurons that are not activated are binarized, see `bimonn_jax.binarize`.
      shape: height and width of the image whose pixels are the inputs of dense neurons; they are
        drawn as one row without it.
      complements: whether the neurons read complements too, as those of hit-or-miss transforms do:
        the second half of their inputs is of the complements of the first.
      max_neurons: neurons to draw, from the first.
      columns: neurons in a row.
      cell: inches per picture.

    Returns:
      The figure.

    Raises:
      ValueError: if ``shape`` does not fit, or the neurons' fields do not.
    """
    check_neurons(neurons)
    binary, reports = binarize(neurons, method=method, return_report=True)
    footprints = _by_channel(binary.footprint, neurons, shape, complements)
    weights = exact = None
    if isinstance(neurons, RealNeurons):
        weights = _by_channel(real_parameters(neurons)[0], neurons, shape, complements)
        exact = reports[0].is_exact.reshape(-1)
    ranks, sizes, complement = (
        np.asarray(field).reshape(-1) for field in (binary.ranks, binary.sizes, binary.complement)
    )
    count = min(max_neurons, len(footprints))
    slides = np.ndim(binary.footprint) - np.ndim(binary.complement) > 1
    names = [
        operator_name(
            int(ranks[index]),
            int(sizes[index]),
            complement=bool(complement[index]),
            inverted=int(footprints[index][:, 1:].sum()),
        )
        for index in range(count)
    ]
    pictures = [_tiles(footprints[index], slides) for index in range(count)]
    shades = [
        _tiles(each, slides, float(np.abs(each).max()) or 1.0)
        for each in ([] if weights is None else weights[:count])
    ]
    most = max(len(tiles) for tiles in (*pictures, *shades))
    columns = max(min(columns // most, count), 1)
    per_neuron = 1 if weights is None else 2
    titles = [wrapped(f"{i}: {symbol(name)}", most * cell - 0.1, 9) for i, name in enumerate(names)]
    above, shape_of_grid = lines_height(titles, 9), (-(-count // columns), per_neuron * columns)
    figure, axes = grid(*shape_of_grid, cell, cell_width=most * cell, above=above)
    for index, cells in enumerate(axes.reshape(-1, per_neuron)[:count]):
        *left, axis = cells
        for weight_axis in left:
            _draw(weight_axis, shades[index])
            weight_axis.set_title(f"{index}: weights", fontsize=9)
        is_exact = exact is None or bool(exact[index])
        _draw(axis, pictures[index], "-" if is_exact else _DASHED)
        axis.set_title(titles[index], fontsize=9)
    marks = tile_marks(tile for tiles in (*pictures, *shades) for tile in tiles)
    marks += operator_marks(names)
    if exact is not None:
        frames = (("-", True, "frame: exact"), (_DASHED, False, "frame: approximates the neuron"))
        marks += [line(m, style, color="black") for style, is_exact, m in frames
                  if (exact[:count] == is_exact).any()]  # fmt: skip
    make_room(figure, add_legend(figure, marks))
    if count < len(footprints):
        note = f"{count} of {len(footprints)} neurons"
        figure.suptitle(wrapped(note, figure.get_figwidth() - 0.1, 9), fontsize=9)
    return figure
