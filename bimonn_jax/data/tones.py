"""Which gray levels of an image are dark and which light, by a rule for each image.

- "otsu": the one of the image's levels that leaves the greatest variance between the darker and the
  lighter pixels (Otsu 1979). Of whole levels and of 16-bit ones it is that of the whole numbers.
- "local": the mean of 51 x 51 pixels, less 10 for a dark foreground, plus 10 for a light one, so
  that plain areas are background. Images of two levels are split between them instead: a local
  threshold would hollow out large areas.

Images of two levels are bits already, and taken as they are, unless the levels are neighbors in a
file of 8 or 16 bits and none of them is 0 (0 and 1 are a mask). Those are a page of one tone, as
are images of more levels if Otsu's two classes differ

- by less than 1 / 32 of the lighter one's mean (8 gray levels of white paper), or by less than 4
  levels of the file (so an image of labels 0, 1 and 2 needs a threshold by number); or
- by less than 16 gray levels, and by less than three times the spread within them. Otsu's method
  cuts noise into halves that differ by 2.65 times their spread if it is Gaussian.

A page of one tone stays blank by both rules. What differs from the tone, the median, by more than
five times as much as the classes do is still foreground: a dot on a page of grain. The tone itself
is foreground only in the outer quarter of the gray levels: below 64 for a dark foreground, above
191 for a light one, as in an image all black.

Needs scikit-image (``pip install bimonn-jax[viz]``), imported when it is used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

_LOCAL_WINDOW, _LOCAL_OFFSET = 51, 10
_LEAST_STEPS, _LEAST_SHARE = 4, 1 / 32
_MOST_NOISE, _NOISE_RATIO = 16, 3
_STRAY = 5
_QUARTER = 64


def _step(levels: np.ndarray) -> float:
    """How far apart the levels of the file can be at least: 1, 1 / 257, or 0 for floating point."""
    if (levels == np.round(levels)).all():
        return 1.0
    sixteen_bits = np.round(levels.astype(np.float64) * 257)
    return 1 / 257 if ((sixteen_bits / 257).astype(levels.dtype) == levels).all() else 0.0


@dataclass(frozen=True)
class _Classes:
    """The levels of an image in Otsu's two classes.

    Attributes:
      levels: of the image, each once, increasing; (n,).
      counts: how many pixels have them.
      dark: how many of them are dark; n where there is one level only.
    """

    levels: np.ndarray
    counts: np.ndarray
    dark: int

    @property
    def means(self) -> tuple[float, float]:
        """Of the dark and of the light pixels."""
        parts = np.s_[: self.dark], np.s_[self.dark :]
        low, high = (np.average(self.levels[p], weights=self.counts[p]) for p in parts)
        return float(low), float(high)

    def are_one_tone(self) -> bool:
        """Whether there is no more than the grain of one tone."""
        if len(self.levels) == 1:
            return True
        step, (low, high) = _step(self.levels), self.means
        contrast = high - low
        if len(self.levels) == 2:
            return low > 0 and contrast < 1.5 * step
        if contrast < max(_LEAST_STEPS * step, _LEAST_SHARE * high):
            return True
        means = np.where(np.arange(len(self.levels)) < self.dark, low, high)
        spread = np.sqrt(np.average((self.levels - means) ** 2, weights=self.counts))
        return bool(contrast < _MOST_NOISE and contrast < _NOISE_RATIO * spread)


def _levels(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The levels of an image, each once, increasing, and how many pixels have them."""
    with np.errstate(invalid="ignore"):
        whole = gray.astype(np.uint8)
    if not (whole == gray).all():
        return np.unique(gray, return_counts=True)
    # Counted, not sorted, which takes seconds of a large scan; by rows: it takes 8 bytes a pixel.
    counts = np.zeros(256, np.intp)
    for row in whole:
        counts += np.bincount(row, minlength=256)
    levels = np.flatnonzero(counts)
    return levels.astype(gray.dtype), counts[levels]


def _classes(gray: np.ndarray) -> _Classes:
    from skimage.filters import threshold_otsu

    levels, counts = _levels(gray)
    if len(levels) == 1:
        return _Classes(levels, counts, 1)
    step = _step(levels)
    values = np.round(levels / step) if step else levels.astype(np.float64)
    # A bin for each level: those of a histogram of fixed width would join levels.
    highest_dark = threshold_otsu(hist=(counts, values))
    return _Classes(levels, counts, int(np.searchsorted(values, highest_dark)) + 1)


def _of_one_tone(classes: _Classes, is_dark: bool) -> float:
    middle = np.searchsorted(np.cumsum(classes.counts), classes.counts.sum() / 2)
    tone = float(classes.levels[middle])
    stray = np.inf
    if len(classes.levels) > 1:
        low, high = classes.means
        stray = _STRAY * (high - low)
    is_foreground = tone < _QUARTER if is_dark else tone > 255 - _QUARTER
    return tone + stray if is_foreground == is_dark else tone - stray


def _for_all_pixels(classes: _Classes, is_dark: bool) -> float:
    if classes.are_one_tone():
        return _of_one_tone(classes, is_dark)
    return float(classes.levels[classes.dark - 1])


def otsu(gray: np.ndarray, is_dark: bool) -> float:
    """Otsu's threshold, or that of a page of one tone.

    Args:
      gray: gray levels in [0, 255], (H, W).
      is_dark: whether the foreground is dark.

    Returns:
      The threshold; light is what lies above it.

    Examples:
      >>> otsu(np.array([[0, 130, 130, 255, 255, 255, 255]]), True)
      130.0
      >>> otsu(np.array([[254, 255, 255]]), True)
      250.0
    """
    return _for_all_pixels(_classes(gray), is_dark)


def local(gray: np.ndarray, is_dark: bool) -> np.ndarray | float:
    """The local threshold of each pixel, (H, W), or one for all of a page of one tone or of bits.

    Arguments as those of `otsu`.
    """
    from skimage.filters import threshold_local

    classes = _classes(gray)
    if len(classes.levels) <= 2 or classes.are_one_tone():
        return _for_all_pixels(classes, is_dark)
    offset = _LOCAL_OFFSET if is_dark else -_LOCAL_OFFSET
    thresholds: np.ndarray = threshold_local(gray, _LOCAL_WINDOW, method="mean", offset=offset)
    return thresholds


# By name.
THRESHOLDS: Mapping[str, Callable[[np.ndarray, bool], np.ndarray | float]] = {
    "otsu": otsu,
    "local": local,
}
