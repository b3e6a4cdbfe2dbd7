"""What all pictures share: figures without a display, symbols of operators."""

import io
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of the names in `bimonn_jax.export.describe.title`, and of complements of them.
SYMBOLS = {
    "dilation": "⊕",
    "erosion": "⊖",
    "hit-or-miss transform": "⊛",
    "union": "∪",
    "intersection": "∩",
    "copy": "=",
    "complement": "¬",
    "all set": "1",
    "all clear": "0",
}
_COMPLEMENT = "complement of the "


def symbol(title: str) -> str:
    """The sign of an operator by its name: ⊕, ⊖, ⊛, ∪, ∩, =, with ¬ before a complement."""
    name = title.removeprefix(_COMPLEMENT)
    return ("¬" if title.startswith(_COMPLEMENT) else "") + SYMBOLS[name]


@cache
def _figure_class() -> "type[Figure]":
    from matplotlib.figure import Figure

    class ShownInNotebooks(Figure):
        """A figure that a notebook shows as the last value of a cell, whatever its set-up."""

        def _repr_png_(self) -> bytes:
            data = io.BytesIO()
            self.savefig(data, format="png")
            return data.getvalue()

    return ShownInNotebooks


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, in inches, that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _figure_class()(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def grid(rows: int, columns: int, cell: float) -> tuple["Figure", np.ndarray]:
    """A figure of rows x columns axes that are switched off, each ``cell`` inches wide."""
    figure = new_figure(cell * columns, cell * rows + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes


def draw_pixels(axis: "Axes", image: np.ndarray, **options: Any) -> None:
    """Draws an image pixel by pixel with lines between them and a dot on the centre."""
    kh, kw = image.shape
    axis.set_axis_on()
    axis.imshow(image, cmap="Greys", interpolation="nearest", **options)
    axis.set_xticks([])
    axis.set_yticks([])
    if max(kh, kw) <= 12:
        axis.set_xticks(np.arange(-0.5, kw), [])
        axis.set_yticks(np.arange(-0.5, kh), [])
        axis.grid(color="0.8", linewidth=0.5)
        axis.tick_params(length=0)
        axis.plot((kw - 1) // 2, (kh - 1) // 2, "o", color="tab:orange", markersize=3)
