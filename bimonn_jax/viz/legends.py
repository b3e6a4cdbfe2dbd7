"""Legends: a mark and what it means, below a picture, in as many columns as fit."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bimonn_jax.deployment.describe import HIT_OR_MISS
from bimonn_jax.viz.figures import RANK, SYMBOLS, parts_of, symbol, wrapped

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# By the names of operators; what counts is said of pixels and of lines.
_MEANINGS = {
    "erosion": "erosion: all of its pixels must count",
    "dilation": "dilation: one of its pixels must count",
    HIT_OR_MISS: "hit-or-miss transform: all of its pixels must count",
    "union": "union: one of what it reads is set",
    "intersection": "intersection: all that it reads are set",
    "copy": "copy of what it reads",
    "complement": "complement: the result is inverted",
    "all set": "always set",
    "all clear": "always clear",
}
# Points.
_SIZE = 7.5
# Inches that a column has at least, where there are several.
_COLUMN = 2.6
# In multiples of the font size, as Matplotlib counts: of a mark, beside it, between columns.
_MARK, _PAD, _BETWEEN = 2.8, 0.6, 1.5


def swatch(color: Any, meaning: str) -> "Artist":
    """A color and what it means."""
    from matplotlib.patches import Patch

    return Patch(facecolor=color, edgecolor="0.3", linewidth=0.6, label=meaning)


def line(meaning: str, style: Any = "-", **options: Any) -> "Artist":
    """A line or mark, as Matplotlib's Line2D draws it, and what it means."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle=style, label=meaning, **options)


def sign(text: str, meaning: str) -> "Text":
    """A sign, as it is written in the picture, and what it means."""
    from matplotlib.text import Text

    return Text(text=text, label=meaning)


def operator_marks(names: Iterable[str]) -> list["Artist"]:
    """The legend of the signs of operators, by their names."""
    parts = {part for name in names if name for part in parts_of(symbol(name))}
    marks = [sign(SYMBOLS[name], meaning) for name, meaning in _MEANINGS.items()]
    marks.append(sign(RANK, "at least k of its n inputs must count"))
    return [mark for mark in marks if str(mark.get_text()) in parts]


def _sign_handler() -> Any:
    from matplotlib.legend_handler import HandlerBase
    from matplotlib.text import Text

    class Sign(HandlerBase):
        """Draws a sign where other marks are drawn."""

        def create_artists(self, *given: Any) -> list[Any]:
            # (legend, handle, x offset, y offset, width, height, font size, transform)
            _, handle, x, y, width, _, size, transform = given
            drawn = Text(x + width / 2, y, handle.get_text(), fontsize=size, ha="center")
            drawn.set_transform(transform)
            return [drawn]

    return {Text: Sign()}


def add_legend(figure: "Figure", marks: Sequence["Artist"]) -> float:
    """Puts a legend at the lower left, no wider than the figure.

    Args:
      figure: whose width counts; it is made higher by whom it matters to.
      marks: of `swatch`, `line` and `sign`; none for no legend.

    Returns:
      Its height in inches.
    """
    if not marks:
        return 0.0
    width, beside = figure.get_figwidth() - 0.2, (_MARK + _PAD + _BETWEEN) * _SIZE / 72
    columns = min(max(int(width / _COLUMN), 1), len(marks))
    texts = [wrapped(str(mark.get_label()), width / columns - beside, _SIZE) for mark in marks]
    legend = figure.legend(
        list(marks), texts, handler_map=_sign_handler(), ncols=columns, fontsize=_SIZE,
        loc="outside lower left" if figure.get_layout_engine() else "lower left", frameon=False,
        handlelength=_MARK, handletextpad=_PAD, columnspacing=_BETWEEN, labelcolor="0.2",
        alignment="left",
    )  # fmt: skip
    return float(legend.get_window_extent(_renderer(figure)).height / figure.dpi)


def _renderer(figure: "Figure") -> Any:
    canvas: Any = figure.canvas
    return canvas.get_renderer()
