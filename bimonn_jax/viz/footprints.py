"""Footprints: alone, and beside the weights that they came from."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

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
from bimonn_jax.viz.figures import draw_pixels, grid, lines_height, symbol, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Points, and inches that a figure under titles is wide at least.
_TITLE, _LEAST_WIDTH = 8, 2.5


def plot_footprints(rows: Mapping[str, Sequence[np.ndarray]], *, cell: float = 1.1) -> "Figure":
    """Draws footprints as grids of pixels, a titled row for each group.

    Args:
      rows: by title, bool (kh, kw) footprints; dark pixels are in the footprint, a dot marks the
        center.
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
    for row, title, group in zip(axes, titles, rows.values(), strict=True):
        for axis in row:
            axis.set_anchor("NW")  # The titles begin at the left edge.
        row[0].set_title(title, fontsize=_TITLE, loc="left")
        for axis, footprint in zip(row, group, strict=False):
            draw_pixels(axis, footprint, vmin=0, vmax=1.4)
    return figure


def _as_images(values: jax.Array, neurons: Neurons, shape: tuple[int, int] | None) -> np.ndarray:
    """Weights or footprints (footprint..., neurons...) as images (M, H, W).

    The second half of the channels of a hit-or-miss transform belongs to complements: it is drawn
    with a minus sign over the first.
    """
    bias = neurons.bias if isinstance(neurons, RealNeurons) else neurons.complement
    flat: np.ndarray = np.asarray(flat_weight(values, bias), float).reshape(-1, np.size(bias))
    kernel = values.shape[: values.ndim - np.ndim(bias)]
    if len(kernel) == 2:
        return flat.T.reshape(-1, *kernel)
    if len(kernel) == 3:
        kh, kw, channels = kernel
        of_neurons = flat.T.reshape(-1, kh, kw, channels)
        signed: np.ndarray = of_neurons[..., : channels // 2] - of_neurons[..., channels // 2 :]
        # Channels side by side.
        return np.moveaxis(signed, 3, 2).reshape(len(signed), kh, -1)
    if shape is None:
        return flat.T[:, None, :]
    inputs, pixels = flat.shape[0], shape[0] * shape[1]
    if inputs == pixels:
        return flat.T.reshape(-1, *shape)
    if inputs == 2 * pixels:
        halves: np.ndarray = flat[:pixels] - flat[pixels:]
        return halves.T.reshape(-1, *shape)
    raise ValueError(
        f"shape {shape} has {pixels} pixels; these neurons have {inputs} inputs: as many, or twice "
        "as many with complements, were expected"
    )


def _draw_signed(axis: "Axes", image: np.ndarray, extreme: float) -> None:
    """Dark above 0; where there are values below 0, gray is 0 and light below."""
    extreme = extreme or 1.0
    draw_pixels(axis, image, vmin=-extreme if image.min() < 0 else 0.0, vmax=1.2 * extreme)


def plot_layer(
    neurons: Neurons,
    *,
    method: str = "constant",
    shape: tuple[int, int] | None = None,
    max_neurons: int = 24,
    columns: int = 4,
    cell: float = 1.2,
) -> "Figure":
    """Draws the neurons of a layer: weights and footprint side by side, operator, exactness.

    Over each footprint stand the neuron's number and operator: ⊕ dilation, ⊖ erosion, ⊛ hit-or-miss
    transform, 5 / 9 where at least 5 of 9 must be set, = copy of one input, 1 or 0 for constants, ¬
    before a complement. The frame is solid where the neuron is
    activated, so that nothing is lost, dashed where the footprint approximates it. Weights are dark
    where they are large, within each neuron; where there are negative ones, gray is zero and light
    is negative. Likewise footprints of hit-or-miss transforms: dark must be set, light clear.

    Args:
      neurons: one set, such as ``params["layers_0"]["bise"]``; of boolean ones there are no
        weights to draw.
      method: how neurons that are not activated are binarized, see `bimonn_jax.binarize`.
      shape: height and width of the image whose pixels are the inputs of dense neurons; they are
        drawn as one row without it.
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
    footprints = _as_images(binary.footprint, neurons, shape)
    weights = exact = None
    if isinstance(neurons, RealNeurons):
        weights = _as_images(real_parameters(neurons)[0], neurons, shape)
        exact = reports[0].is_exact.reshape(-1)
    ranks, sizes, complement = (
        np.asarray(field).reshape(-1) for field in (binary.ranks, binary.sizes, binary.complement)
    )
    count = min(max_neurons, len(footprints))
    columns = min(columns, count)
    per_neuron = 1 if weights is None else 2
    names = [
        operator_name(
            int(ranks[index]),
            int(sizes[index]),
            complement=bool(complement[index]),
            inverted=int((footprints[index] < 0).sum()),
        )
        for index in range(count)
    ]
    titles = [wrapped(f"{i}: {symbol(name)}", cell - 0.1, 9) for i, name in enumerate(names)]
    above = lines_height(titles, 9)
    figure, axes = grid(-(-count // columns), per_neuron * columns, cell, above=above)
    for index, cells in enumerate(axes.reshape(-1, per_neuron)[:count]):
        footprint = footprints[index]
        *left, axis = cells
        for weight_axis in left:
            assert weights is not None
            _draw_signed(weight_axis, weights[index], float(np.abs(weights[index]).max()))
        _draw_signed(axis, footprint, 1.0)
        axis.set_title(titles[index], fontsize=9)
        is_exact = exact is None or exact[index]
        for spine in axis.spines.values():
            spine.set(linewidth=1.5, linestyle="solid" if is_exact else (0, (3, 2)))
    if count < len(footprints):
        note = f"{count} of {len(footprints)} neurons"
        figure.suptitle(wrapped(note, figure.get_figwidth() - 0.1, 9), fontsize=9)
    return figure
