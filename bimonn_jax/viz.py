"""Pictures: footprints and images. Every function returns a Matplotlib Figure and shows nothing.

Needs Matplotlib (``pip install bimonn-jax[viz]``), imported when a picture is drawn.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _figure(rows: int, columns: int, cell: float) -> tuple["Figure", np.ndarray]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(cell * columns, cell * rows + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes


def plot_footprints(rows: Mapping[str, Sequence[np.ndarray]], *, cell: float = 1.1) -> "Figure":
    """Draws footprints as grids of pixels, a titled row for each group.

    Args:
      rows: by title, bool (kh, kw) footprints; dark pixels are in the footprint, a dot marks the
        centre.
      cell: inches per footprint.

    Returns:
      The figure.

    Raises:
      ValueError: if there is nothing to draw.
    """
    columns = max((len(group) for group in rows.values()), default=0)
    if columns == 0:
        raise ValueError("rows must hold at least one footprint")
    figure, axes = _figure(len(rows), columns, cell)
    for row, (title, group) in zip(axes, rows.items(), strict=True):
        row[0].set_title(title, fontsize=8, loc="left")
        for axis, footprint in zip(row, group, strict=False):
            kh, kw = footprint.shape
            axis.set_axis_on()
            axis.imshow(footprint, cmap="Greys", vmin=0, vmax=1.4, interpolation="nearest")
            axis.set_xticks(np.arange(-0.5, kw), [])
            axis.set_yticks(np.arange(-0.5, kh), [])
            axis.grid(color="0.8", linewidth=0.5)
            axis.tick_params(length=0)
            axis.plot((kw - 1) // 2, (kh - 1) // 2, "o", color="tab:orange", markersize=3)
    return figure


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
    figure, axes = _figure(1, len(images), cell)
    for axis, (title, image) in zip(axes[0], images.items(), strict=True):
        axis.set_title(title, fontsize=9)
        axis.imshow(image, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    return figure
