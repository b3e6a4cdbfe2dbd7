"""Pairs of gray images and foregrounds, and what of them is held out of the learning."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# The right part of every image chooses and compares.
_HELD_OUT = 0.15
LEAST_WIDTH = 16


@dataclass(frozen=True)
class GrayPair:
    """An image and what it should become.

    Attributes:
      x: gray levels in [0, 255], float32 (H, W).
      y: the foreground, bool (H, W).
    """

    x: np.ndarray
    y: np.ndarray

    def columns(self, start: int, stop: int) -> "GrayPair":
        """A part of both."""
        return GrayPair(self.x[:, start:stop], self.y[:, start:stop])


def f_measure(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """2 |A and B| / (|A| + |B|) over all pixels of bool images; 1 where both are empty."""
    both = sum(int((a & b).sum()) for a, b in zip(found, wanted, strict=True))
    total = sum(int(a.sum()) + int(b.sum()) for a, b in zip(found, wanted, strict=True))
    return 2 * both / total if total else 1.0


@dataclass(frozen=True)
class Parts:
    """Pairs, of which the right columns are held out."""

    pairs: Sequence[GrayPair]

    def cut(self, pair: GrayPair) -> int:
        """The first column that is held out."""
        width: int = pair.y.shape[1]
        return width - max(LEAST_WIDTH, round(_HELD_OUT * width))

    def learned(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Of images (H, W, ...), one for each pair, the columns to learn from."""
        return [i[:, : self.cut(p)] for i, p in zip(images, self.pairs, strict=True)]

    def held_out(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Of images (H, W, ...), one for each pair, the columns that are held out."""
        return [i[:, self.cut(p) :] for i, p in zip(images, self.pairs, strict=True)]
