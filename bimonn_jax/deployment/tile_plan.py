"""Which part of an image a tile of a network's output depends on.

Every value of a circuit is looked at through a window, the same part of the image at the value's
own scale, and is computed there as if the image had no end: what lies beyond the image is then
replaced by what the border of the next stage says, see `bimonn_jax.deployment.tiles`. Pixels near
the ends of a window are wrong; the margins are as wide as these can get.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from bimonn_jax.deployment.circuit import Circuit, Flatten, Gates, Linear, Stage, Upsample, Votes

# Pixels (before, after) along an axis.
Margins = tuple[int, int]


@dataclass(frozen=True)
class TilePlan:
    """Windows of the values of a circuit; all pairs are of rows and of columns.

    Attributes:
      step: a tile begins at a multiple of so many pixels of the input.
      scales: pixels of each value for one of the input, along either axis.
      margins: pixels of the input that a tile reads (before, after) it, multiples of the step.
    """

    step: int
    scales: tuple[Fraction, ...]
    margins: tuple[Margins, Margins]

    def tile_of(self, pixels: int) -> int:
        """The side of a tile of so many pixels or a little more: a multiple of the step."""
        return -(-pixels // self.step) * self.step

    def window_of(self, tile: int) -> tuple[int, int]:
        """Rows and columns of the input that a tile reads."""
        height, width = (tile + before + after for before, after in self.margins)
        return height, width


def tile_plan(circuit: Circuit) -> TilePlan:
    """Plans how a circuit is computed tile by tile.

    Raises:
      ValueError: if the output is no image, an image is continued at its other side (border
        "wrap"), or layers join images of pixels of different sizes.
    """
    scales = _scales(circuit)
    step = math.lcm(*(scale.denominator for scale in scales))
    rows, columns = (
        (-(-before // step) * step, -(-after // step) * step) for before, after in _needs(circuit)
    )
    return TilePlan(step, scales, (rows, columns))


def _scales(circuit: Circuit) -> tuple[Fraction, ...]:
    scales = [Fraction(1)]
    for stage, sources in zip(circuit.stages, circuit.sources, strict=True):
        of_sources = {scales[value] for value in sources}
        if len(of_sources) > 1:
            raise ValueError(
                "a layer joins images whose pixels are not of one size: give the network whole "
                "images, not tiles"
            )
        (scale,) = of_sources
        scales.append(scale * _scaled_by(stage))
    return tuple(scales)


def _scaled_by(stage: Stage) -> Fraction:
    match stage:
        case Gates():
            if stage.border == "wrap" and any(map(any, stage.padding)):
                raise ValueError(
                    f"{stage.name} continues the image at its other side (border='wrap'), which "
                    "no tile holds: give the network whole images"
                )
            return Fraction(1, stage.pool)
        case Upsample():
            return Fraction(stage.factor)
        case Flatten() | Votes() | Linear():
            raise ValueError(
                "only networks from images to images run by tiles; this one reads a whole image "
                "at once"
            )
    return Fraction(1)


def _needs(circuit: Circuit) -> tuple[Margins, Margins]:
    """The margins of the input of a circuit, along rows and along columns."""
    needs: dict[int, tuple[Margins, ...]] = {len(circuit.stages): ((0, 0), (0, 0))}
    for index in reversed(range(len(circuit.stages))):
        if index + 1 not in needs:
            continue  # Nothing reads it.
        stage, needed = circuit.stages[index], needs[index + 1]
        read = tuple(_need(stage, axis, *needed[axis]) for axis in range(2))
        for value in circuit.sources[index]:
            others = needs.get(value, read)
            needs[value] = tuple(
                (max(a[0], b[0]), max(a[1], b[1])) for a, b in zip(read, others, strict=True)
            )
    rows, columns = needs.get(0, ((0, 0), (0, 0)))
    return rows, columns


def _need(stage: Stage, axis: int, before: int, after: int) -> Margins:
    """The margins that a stage reads, given those that it is to give."""
    match stage:
        case Gates():
            reach = _reach(stage, axis)
            return stage.pool * before + reach[0], stage.pool * after + reach[1]
        case Upsample():
            return -(-before // stage.factor), -(-after // stage.factor)
    return before, after


def _reach(gates: Gates, axis: int) -> Margins:
    """How far the pixels that a window reads lie before and after its position."""
    (before, after), side = gates.padding[axis], gates.window[axis]
    if gates.border == "zero" or not (before or after):
        return before, max(side - 1 - before, 0)
    # What stands for a pixel beyond the image may lie on the other side of the position, and
    # further from it where an image is padded by more than the window reads.
    return max(before, before + 2 * after - side + 1), max(side - 1 - before, before)
