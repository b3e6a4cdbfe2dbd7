"""Windows of images, each with the pixel that it should give: what filters learn from."""

from collections.abc import Sequence

import numpy as np

from bimonn_jax.morphology.windows import pad_widths


def _windows(image: np.ndarray, kernel_size: tuple[int, int]) -> np.ndarray:
    """The windows around all pixels of (H, W, C), zero outside: a view (H, W, kh, kw, C)."""
    padded = np.pad(image, [*pad_widths(kernel_size, "SAME"), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel_size, axis=(0, 1))
    return np.moveaxis(windows, 2, -1)


def every_window(image: np.ndarray, kernel_size: tuple[int, int]) -> np.ndarray:
    """The windows around all pixels of an image, zero outside, row by row.

    Args:
      image: (H, W, C).
      kernel_size: height and width of the windows.

    Returns:
      (H W, kh * kw * C).
    """
    return _windows(image, kernel_size).reshape(image.shape[0] * image.shape[1], -1)


def draw_windows(
    xs: Sequence[np.ndarray],
    ys: Sequence[np.ndarray],
    kernel_size: tuple[int, int],
    pixels: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Windows of at most so many pixels, drawn from all images without replacement.

    Args:
      xs: images, each bool (H, W, C).
      ys: what they should become, each bool (H, W).
      kernel_size: height and width of the windows.
      pixels: how many to draw; all where there are no more.
      rng: draws them.

    Returns:
      bool (P, kh * kw * C), row by row of a window, and bool (P,), in the order of the images.
    """
    sizes = [y.size for y in ys]
    chosen = np.sort(rng.choice(sum(sizes), min(pixels, sum(sizes)), replace=False))
    ends = np.cumsum(sizes)
    bits, target = [], []
    for x, y, end, size in zip(xs, ys, ends, sizes, strict=True):
        here = chosen[(chosen >= end - size) & (chosen < end)] - (end - size)
        at = np.unravel_index(here, y.shape)
        bits.append(_windows(x, kernel_size)[at].reshape(len(here), -1))
        target.append(y[at])
    return np.concatenate(bits), np.concatenate(target)
