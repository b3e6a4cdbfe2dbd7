"""Images side by side, and where they differ from what they should be."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bimonn_jax.viz.figures import grid, lines_height, make_room, new_figure, wrapped
from bimonn_jax.viz.legends import add_legend, swatch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of pixels that are what they should be, by value, and of those that are not.
_RIGHT, _WRONG = ("white", "black"), ("#7b3fa0", "#d55e00")
_MEANINGS = {
    _RIGHT[1]: "set, as in the target",
    _RIGHT[0]: "clear, as in the target",
    _WRONG[1]: "set, but clear in the target",
    _WRONG[0]: "clear, but set in the target",
}
# Points.
_TITLE, _NOTE = 9, 8
# Inches between images, and around all.
_GAP, _EDGE = 0.12, 0.1
_BELOW = "differences from the target:"


def plot_images(images: Mapping[str, np.ndarray], *, cell: float = 3.0) -> "Figure":
    """Draws bool images (H, W) side by side under their titles; True is dark.

    Args:
      images: by title.
      cell: inches per image.

    Returns:
      The figure.

    Raises:
      ValueError: if there is nothing to draw.
    """
    if not images:
        raise ValueError("images must hold at least one image")
    names = [wrapped(name, cell - 0.2, _TITLE) for name in images]
    figure, axes = grid(1, len(images), cell, above=lines_height(names, _TITLE))
    for axis, name, image in zip(axes[0], names, images.values(), strict=True):
        axis.set_title(name, fontsize=_TITLE)
        show(axis, image)
    return figure


def show(axis: "Axes", image: np.ndarray) -> None:
    """Draws an image (H, W) in a frame, for nothing but white is a picture too; True is dark."""
    axis.set_axis_on()
    axis.set(xticks=[], yticks=[])
    axis.imshow(image, cmap="Greys", vmin=0, vmax=max(1, image.max()), interpolation="nearest")


def plot_comparison(
    images: Mapping[str, np.ndarray],
    target: np.ndarray,
    *,
    notes: Mapping[str, str] | None = None,
    cell: float = 2.0,
) -> "Figure":
    """Draws images beside their target, and below each where it differs from that.

    Args:
      images: by title, bool (H, W); others, as of gray levels, are drawn without their differences.
      target: bool (H, W), what they should be; drawn last.
      notes: texts below images, such as their F-measures, by title.
      cell: inches per image.

    Returns:
      The figure.

    Raises:
      ValueError: if there is nothing to draw, or shapes differ.
    """
    if not images:
        raise ValueError("images must hold at least one image")
    for title, image in images.items():
        if image.shape != target.shape:
            raise ValueError(f"{title!r} has shape {image.shape}; its target {target.shape}")
    notes = notes or {}
    shown = {**images, "target": target}
    titles = [wrapped(title, cell - 0.1, _TITLE) for title in shown]
    texts = [wrapped(notes.get(title, ""), cell - 0.1, _NOTE) for title in shown]
    tall = cell * target.shape[0] / target.shape[1]
    above, below = lines_height(titles, _TITLE) + 0.08, lines_height(texts, _NOTE) + 0.16
    below += lines_height([_BELOW], _NOTE)
    width = (cell + _GAP) * len(shown) - _GAP + 2 * _EDGE
    body = above + 2 * tall + below + _EDGE
    figure = new_figure(width, body, layout=None)
    legend = add_legend(figure, [swatch(color, text) for color, text in _MEANINGS.items()])
    make_room(figure, legend)
    height = body + legend
    is_wrong = {title: image != target for title, image in images.items() if image.dtype == bool}

    def add(column: int, top: float) -> "Axes":
        left = _EDGE + column * (cell + _GAP)
        box = (left / width, 1 - (top + tall) / height, cell / width, tall / height)
        axis = figure.add_axes(box)
        axis.set_anchor("N")
        return axis

    for column, (title, image) in enumerate(shown.items()):
        axis = add(column, above)
        show(axis, image)
        axis.set_title(titles[column], fontsize=_TITLE, pad=4)
        axis.set_xlabel(texts[column], fontsize=_NOTE, labelpad=4)
        if title in is_wrong:
            _show_difference(add(column, above + tall + below), image, is_wrong[title])
    at = _EDGE / width, 1 - (above + tall + below - 0.03) / height
    figure.text(*at, _BELOW, va="bottom", fontsize=_NOTE, color="0.3")
    return figure


def _show_difference(axis: "Axes", image: np.ndarray, is_wrong: np.ndarray) -> None:
    from matplotlib.colors import ListedColormap

    axis.set(xticks=[], yticks=[])
    colors = ListedColormap((*_RIGHT, *_WRONG))
    axis.imshow(image + 2 * is_wrong, cmap=colors, vmin=-0.5, vmax=3.5, interpolation="nearest")
