"""Footprints and weights as tiles of pixels, with one meaning for each color in all pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bimonn_jax.viz.figures import wrapped
from bimonn_jax.viz.legends import line, swatch

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

# How a pixel is read, as bits: a pixel may be read both ways.
NOT_READ, SET, CLEAR, BOTH = range(4)
# None is white: what lies between tiles cannot be taken for a pixel. They differ in gray too.
COLORS = ("#e3e3e3", "#111111", "#56b4e9", "#f0e442")
_MEANINGS = (
    "pixel that is not read",
    "pixel that counts where it is set (dark)",
    "pixel that counts where it is clear (light)",
    "pixel read both ways: one of them always counts",
)
# Of weights, at either end and between: a weight draws a pixel to what has the color.
_WEIGHTS = {
    SET: "weight: the largest of its neuron",
    NOT_READ: "weight of 0",
    CLEAR: "as much below 0",
}
CENTER = "#e69f00"
# Tiles of one neuron, and what lies below each row of them for their names.
IN_A_ROW, BELOW = 3, 0.24
# Points.
_NAME = 6
# Sides of more pixels have no lines between them, and no mark on the center.
_MOST_PIXELS = 12


@dataclass(frozen=True)
class Tile:
    """What a neuron reads of one channel, or its weights.

    Attributes:
      name: of the channel; "" if there is one only.
      pixels: int (height, width), of `NOT_READ`, `SET`, `CLEAR` and `BOTH`; or floats, weights.
      slides: whether it is a window on the image, and so has a center.
      largest: the magnitude of the largest weight of the neuron; 0 if these are no weights.
    """

    name: str
    pixels: np.ndarray
    slides: bool = True
    largest: float = 0.0


def tile_of(
    is_set: np.ndarray, is_clear: np.ndarray | bool = False, *, name: str = "", slides: bool = True
) -> Tile:
    """A tile from bool (height, width) masks of pixels that are read as they are, and inverted."""
    return Tile(name, np.where(is_set, SET, 0) | np.where(is_clear, CLEAR, 0), slides)


def draw_tiles(
    axis: "Axes",
    tiles: Sequence[Tile],
    center: tuple[float, float],
    size: tuple[float, float],
    *,
    gap: float = 0.12,
    frame: Any = "-",
) -> tuple[float, float]:
    """Draws tiles of one shape in rows of `IN_A_ROW`, each in a frame over its name.

    Args:
      axis: whose units are those of the other arguments, with y downwards.
      tiles: at least one.
      center: (x, y) of all of them together.
      size: width and height that a row of them has room in.
      gap: between the tiles of a row.
      frame: the style of the line around each.

    Returns:
      Width and height of all of them, without the names of the last row.
    """
    height, width = tiles[0].pixels.shape
    in_a_row, rows = min(len(tiles), IN_A_ROW), rows_of(tiles)
    pixel = min(size[1] / height, (size[0] - (in_a_row - 1) * gap) / (width * in_a_row))
    wide = in_a_row * (width * pixel + gap) - gap
    tall = rows * (height * pixel + BELOW) - BELOW
    left, top = center[0] - wide / 2, center[1] - tall / 2
    for index, tile in enumerate(tiles):
        row, column = divmod(index, in_a_row)
        x, y = left + column * (width * pixel + gap), top + row * (height * pixel + BELOW)
        _draw_tile(axis, tile, x, y, pixel, frame)
    return wide, tall


def rows_of(tiles: Sequence[Tile]) -> int:
    """In how many rows tiles are drawn."""
    return -(-len(tiles) // IN_A_ROW)


def _colors(tile: Tile) -> dict[str, Any]:
    """Options of imshow."""
    from matplotlib.colors import LinearSegmentedColormap, ListedColormap

    if not tile.largest:
        return {"cmap": ListedColormap(COLORS), "vmin": -0.5, "vmax": len(COLORS) - 0.5}
    ends = [COLORS[code] for code in (CLEAR, NOT_READ, SET)]
    shades = LinearSegmentedColormap.from_list("weights", ends)
    return {"cmap": shades, "vmin": -tile.largest, "vmax": tile.largest}


def _draw_tile(axis: "Axes", tile: Tile, left: float, top: float, pixel: float, frame: Any) -> None:
    height, width = tile.pixels.shape
    right, bottom = left + width * pixel, top + height * pixel
    axis.imshow(
        tile.pixels,
        **_colors(tile),
        extent=(left, right, bottom, top),
        interpolation="nearest",
        zorder=3,
        origin="upper",
        label="tile",
    )
    _draw_grid(axis, tile, left, top, pixel)
    frame_x, frame_y = [left, right, right, left, left], [bottom, bottom, top, top, bottom]
    width = 0.8 if frame == "-" else 1.2
    style: dict[str, Any] = {"linestyle": frame, "color": "black", "linewidth": width}
    axis.plot(frame_x, frame_y, **style, zorder=4, label="frame")
    if tile.name:
        # On white: lines may pass behind.
        name = wrapped(tile.name, max(right - left, 0.3), _NAME)
        below = axis.text((left + right) / 2, bottom + 0.03, name, fontsize=_NAME, zorder=4)
        below.set(ha="center", va="top", bbox={"color": "white", "pad": 0.2})


def _draw_grid(axis: "Axes", tile: Tile, left: float, top: float, pixel: float) -> None:
    """Lines between the pixels of a small tile, and a dot on the center of a window."""
    height, width = tile.pixels.shape
    if max(height, width) > _MOST_PIXELS:
        return
    right, bottom = left + width * pixel, top + height * pixel
    lines: dict[str, Any] = {"colors": "white", "linewidth": 0.4, "zorder": 3.5}
    axis.vlines(left + pixel * np.arange(1, width), top, bottom, **lines)
    axis.hlines(top + pixel * np.arange(1, height), left, right, **lines)
    if _has_center(tile):
        x, y = left + pixel * ((width - 1) // 2 + 0.5), top + pixel * ((height - 1) // 2 + 0.5)
        axis.plot(x, y, "o", color=CENTER, markersize=2.5, zorder=4, label="center")


def _has_center(tile: Tile) -> bool:
    return tile.slides and tile.pixels.size > 1 and max(tile.pixels.shape) <= _MOST_PIXELS


def tile_marks(tiles: Iterable[Tile]) -> list["Artist"]:
    """The legend of tiles: each color that occurs, and the center."""
    tiles = list(tiles)
    weights = [tile for tile in tiles if tile.largest]
    codes = {int(c) for tile in tiles if not tile.largest for c in np.unique(tile.pixels)}
    order = [code for code in (SET, CLEAR, BOTH, NOT_READ) if code in codes]
    marks = [swatch(COLORS[code], _MEANINGS[code]) for code in order]
    if weights:
        is_negative = any((tile.pixels < 0).any() for tile in weights)
        shown = (SET, NOT_READ, CLEAR) if is_negative else (SET, NOT_READ)
        marks += [swatch(COLORS[code], _WEIGHTS[code]) for code in shown]
    if any(_has_center(tile) for tile in tiles):
        dot: dict[str, Any] = {"marker": "o", "color": CENTER, "markersize": 3}
        marks.append(line("center: where the result is written", "none", **dot))
    return marks
