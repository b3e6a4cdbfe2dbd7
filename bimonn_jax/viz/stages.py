"""An image on its way through a network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bimonn_jax.networks.architecture import stage_outputs
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.viz.columns import Columns
from bimonn_jax.viz.diagram import columns_of
from bimonn_jax.viz.figures import line_height, lines_height, make_room, new_figure, wrapped
from bimonn_jax.viz.images import show
from bimonn_jax.viz.legends import add_legend, operator_marks, sign, swatch

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches: between images, between parts, around all.
_GAP, _BETWEEN, _EDGE = 0.12, 0.35, 0.12
# Points.
_TEXT = 8
# Images of one stage in a row, of those between input and output.
_IN_A_ROW = 5


@dataclass(frozen=True)
class _Part:
    """The images of one stage, or its scores.

    Attributes:
      heading: the stage, in words.
      labels: of the images.
      images: (H, W) each.
      operators: of the images, by name; "" for those of none.
      scores: of classes, in place of images.
    """

    heading: str
    labels: list[str]
    images: list[np.ndarray]
    operators: list[str]
    scores: np.ndarray | None = None

    def height(self, in_a_row: int, cell: tuple[float, float]) -> float:
        """Inches that it takes where so many images stand in a row."""
        rows = -(-max(len(self.images), 1) // in_a_row)
        heading = wrapped(self.heading, self.width(in_a_row, cell), _TEXT)
        return lines_height([heading], _TEXT) + rows * (line_height(_TEXT) + cell[1] + _GAP)

    def width(self, in_a_row: int, cell: tuple[float, float]) -> float:
        """Inches."""
        columns = min(max(len(self.images), 1), in_a_row)
        return columns * (cell[0] + _GAP) - _GAP


def _part(found: Columns, value: int, name: str, image: np.ndarray) -> _Part | None:
    """What is shown of a value of a circuit; None for flat features, which have no picture."""
    if image.ndim == 1:
        return None if image.dtype == np.bool_ else _Part("scores of classes", [], [], [], image)
    channels = found.drawn_channels(value)
    nodes = [found.values[value].nodes[channel] for channel in channels]
    columns = [found.columns[column] for column, _ in nodes]
    is_input = value == 0
    labels = [c.labels[node] for c, (_, node) in zip(columns, nodes, strict=True)]
    if is_input:
        labels = [f"channel {c}" if image.shape[-1] > 1 else "" for c in channels]
    heading = "input" if is_input else columns[0].name if columns else name
    if len(channels) < image.shape[-1]:
        heading += f", {len(channels)} of {image.shape[-1]} are shown"
    return _Part(
        heading,
        labels,
        [image[..., c] for c in channels],
        [c.operators[node] for c, (_, node) in zip(columns, nodes, strict=True)],
    )


def plot_stages(
    network: BooleanNetwork, x: np.ndarray, *, max_neurons: int | None = 8, cell: float = 1.4
) -> "Figure":
    """Draws one example on its way through a network: input, every intermediate image, output.

    The input stands at the left, the output at the right, the stages between them below one
    another; an image for each channel under its sign and number, which are those of
    `bimonn_jax.viz.plot_network`, as is the choice of channels for the same example. Flat features
    have no picture; scores of classes are drawn as bars.

    Args:
      network: the network.
      x: one input, (H, W, C) or (n,), as the network takes it.
      max_neurons: channels to draw of each stage, those that are read most; None for all.
      cell: inches per image.

    Returns:
      The figure.

    Raises:
      ValueError: if the network does not take the input, or has neither images nor scores.
    """
    x = np.asarray(x)
    found = columns_of(network, x.shape, x[None], max_neurons)
    passed = stage_outputs(network.architecture, network.params, x[None])
    values = [("input", x), *((name, np.asarray(batch[0])) for name, batch in passed)]
    parts = [
        None if value == 0 and image.ndim == 1 else _part(found, value, name, image)
        for value, (name, image) in enumerate(values)
    ]
    shown = [
        part for part in parts if part is not None and (part.images or part.scores is not None)
    ]
    if not shown:
        raise ValueError("this network has neither images nor scores: there is nothing to draw")
    first = [shown.pop(0)] if parts[0] is not None else []
    last = [shown.pop()] if shown and parts[-1] is not None else []
    ratio = x.shape[0] / x.shape[1] if x.ndim == 3 else 1.0
    return _drawn([first, shown, last], (cell, cell * min(max(ratio, 0.2), 3.0)))


def _drawn(blocks: list[list[_Part]], cell: tuple[float, float]) -> "Figure":
    """Blocks of parts side by side, the middle one with several images in a row."""
    across = [1, _IN_A_ROW, 1]
    widths = [
        max((part.width(n, cell) for part in block), default=0.0)
        for block, n in zip(blocks, across, strict=True)
    ]
    heights = [
        sum(part.height(n, cell) for part in block) for block, n in zip(blocks, across, strict=True)
    ]
    between = _BETWEEN * (sum(width > 0 for width in widths) - 1)
    width, height = sum(widths) + between + 2 * _EDGE, max(heights) + 2 * _EDGE
    figure = new_figure(width, height, layout=None)
    legend = add_legend(figure, _marks([part for block in blocks for part in block]))
    make_room(figure, legend)
    left = _EDGE
    for block, n, wide, tall in zip(blocks, across, widths, heights, strict=True):
        top = (height - tall) / 2
        for part in block:
            _draw_part(figure, part, n, (left, top), cell)
            top += part.height(n, cell)
        left += wide + _BETWEEN if wide else 0
    return figure


def _draw_part(
    figure: "Figure", part: _Part, in_a_row: int, at: tuple[float, float],
    cell: tuple[float, float],
) -> None:  # fmt: skip
    width, height = figure.get_size_inches()
    left, top = at
    heading = wrapped(part.heading, part.width(in_a_row, cell), _TEXT)
    top += lines_height([heading], _TEXT)
    figure.text(
        left / width, 1 - top / height, heading, ha="left", va="bottom", fontsize=_TEXT,
        color="0.3",
    )  # fmt: skip
    label_height = line_height(_TEXT)

    def add(index: int) -> "Axes":
        row, column = divmod(index, in_a_row)
        x = left + column * (cell[0] + _GAP)
        bottom = top + row * (label_height + cell[1] + _GAP) + label_height + cell[1]
        box = (x / width, 1 - bottom / height, cell[0] / width, cell[1] / height)
        axis = figure.add_axes(box)
        axis.set_anchor("N")
        return axis

    if part.scores is not None:
        _draw_scores(add(0), part.scores)
    for index, (label, image) in enumerate(zip(part.labels, part.images, strict=True)):
        axis = add(index)
        show(axis, image)
        axis.set_title(label, fontsize=_TEXT, pad=2)


def _draw_scores(axis: "Axes", scores: np.ndarray) -> None:
    """Bars downwards, within the axis: their classes and values are written on it."""
    best = int(np.argmax(scores))
    classes = np.arange(len(scores))
    low, high = min(float(scores.min()), 0.0), max(float(scores.max()), 0.0)
    span = (high - low) or 1.0
    axis.barh(classes, scores, color=["black" if c == best else "0.6" for c in classes])
    axis.set(yticks=[], xticks=[], ylim=(len(scores) - 0.5, -0.5))
    axis.set_xlim(low - 0.75 * span, high + 0.05 * span)
    if len(scores) <= 20:
        for c in map(int, classes):
            text = f"{c}: {scores[c]:.4g}"
            axis.text(low - 0.7 * span, c, text, fontsize=6, va="center", ha="left")


def _marks(parts: list[_Part]) -> list["Artist"]:
    """The legend: what is dark, and the signs over the images."""
    images = [image for part in parts for image in part.images]
    marks: list[Artist] = []
    if any(image.dtype == np.bool_ for image in images):
        marks += [swatch("black", "set"), swatch("white", "clear")]
    if any(image.dtype != np.bool_ for image in images):
        marks.append(swatch("0.5", "number: the darker, the larger"))
    marks += operator_marks(name for part in parts for name in part.operators)
    if any("≥" in label for part in parts for label in part.labels):
        marks.append(sign("x ≥ t", "where the input is at least t"))
    if any(part.scores is not None for part in parts):
        marks += [swatch("black", "largest score, the answer"), swatch("0.6", "other scores")]
    return marks
