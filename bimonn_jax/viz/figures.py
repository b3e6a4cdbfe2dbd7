"""What all pictures share: figures without a display, symbols of operators."""

import io
import re
from bisect import bisect_right
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from bimonn_jax.deployment.describe import HIT_OR_MISS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of the names in `bimonn_jax.deployment.describe.operator_name`, and of complements of them.
SYMBOLS = {
    "dilation": "⊕",
    "erosion": "⊖",
    HIT_OR_MISS: "⊛",
    "union": "∪",
    "intersection": "∩",
    "copy": "=",
    "complement": "¬",
    "all set": "1",
    "all clear": "0",
}
_COMPLEMENT = "complement of the "
_RANK = re.compile(rf"(?:(median)|rank (\d+)|({HIT_OR_MISS}), (\d+)) of (\d+)")
# What stands for signs of ranks in legends.
RANK = "k / n"
# At few dots per inch letters are moved to whole dots: a line becomes up to 7 % longer.
_HINTED = 1.08


def symbol(title: str) -> str:
    """The sign of an operator by its name: ⊕, ⊖, ⊛, ∪, ∩, =, with ¬ before a complement.

    What lies between these has its rank and size, "5 / 9" or "⊛ 5 / 9".
    """
    name = title.removeprefix(_COMPLEMENT)
    before = "¬" if title.startswith(_COMPLEMENT) else ""
    if (found := _RANK.fullmatch(name)) is None:
        return before + SYMBOLS[name]
    median, rank, hit_or_miss, hits, size = found.groups()
    before += f"{SYMBOLS[HIT_OR_MISS]} " if hit_or_miss else ""
    return f"{before}{(int(size) + 1) // 2 if median else rank or hits} / {size}"


def parts_of(sign: str) -> set[str]:
    """The signs that one is made of, with `RANK` for that of a rank."""
    parts = {RANK} if "/" in sign else set()
    return (
        parts
        | {part for part in SYMBOLS.values() if part in sign and not part.isdigit()}
        | ({sign[-1]} if sign.lstrip("¬") in ("0", "1") else set())
    )


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


def new_figure(
    width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> "Figure":
    """An empty figure, in inches, that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _figure_class()(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def text_width(text: str, size: float) -> float:
    """The width in inches of a line of text of so many points, at any resolution."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size)
    points: float = text_to_path.get_text_width_height_descent(text, font, False)[0]
    return _HINTED * points / 72


def wrapped(text: str, width: float, size: float) -> str:
    """The text in lines that are no wider than ``width`` inches.

    Lines are broken at spaces; a word that is wider by itself is broken within.

    Args:
      text: may have line breaks of its own.
      width: in inches.
      size: of the font, in points.
    """
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and text_width(longer, size) > width:
                lines.append(line)
                longer = word
            while len(longer) > 1 and text_width(longer, size) > width:
                fits = max(_letters_that_fit(longer, width, size), 1)
                lines.append(longer[:fits])
                longer = longer[fits:]
            line = longer
        lines.append(line)
    return "\n".join(lines)


def _letters_that_fit(word: str, width: float, size: float) -> int:
    letters = range(1, len(word) + 1)
    return bisect_right(letters, width, key=lambda count: text_width(word[:count], size))


def line_height(size: float) -> float:
    """The height in inches of a line of text of so many points, with the space between lines."""
    return 1.45 * size / 72


def lines_height(texts: Iterable[str], size: float) -> float:
    """What the highest of some texts needs in inches."""
    return max((text.count("\n") + 1 for text in texts), default=0) * line_height(size)


def make_room(figure: "Figure", height: float) -> None:
    """Makes a figure higher by so many inches."""
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + height)


def grid(
    rows: int,
    columns: int,
    cell: float,
    *,
    cell_width: float | None = None,
    width: float = 0,
    above: float = 0.15,
) -> tuple["Figure", np.ndarray]:
    """A figure of rows x columns axes that are switched off.

    Args:
      rows: of axes.
      columns: of axes.
      cell: inches, height of each, and its width by default.
      cell_width: inches.
      width: inches that the figure has at least.
      above: inches for the title over each row.
    """
    wide = max((cell_width or cell) * columns, width)
    figure = new_figure(wide, (cell + above) * rows + 0.15)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
        # At the top of its cell, or the layout takes the space above for that of the title.
        axis.set_anchor("N")
    return figure, axes
