"""Slow oracles in plain NumPy, written from the definitions and not from the library."""

import itertools

import numpy as np

_NUMPY_MODES = {"zero": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}


def same_widths(kernel_size):
    """(before, after) per axis of a window that keeps the size and is centered at (k - 1) // 2."""
    return tuple(((k - 1) // 2, k - 1 - (k - 1) // 2) for k in kernel_size)


def pad(image, widths, border):
    """Pads the last two axes."""
    return np.pad(image, [(0, 0)] * (image.ndim - 2) + list(widths), mode=_NUMPY_MODES[border])


def windows(image, kernel_size):
    """Yields (row, column, window) over every position where the window fits."""
    kh, kw = kernel_size
    for row in range(image.shape[0] - kh + 1):
        for column in range(image.shape[1] - kw + 1):
            yield row, column, image[row : row + kh, column : column + kw]


def _morphology(decide, image, footprint, widths, border):
    widths = same_widths(footprint.shape) if widths is None else widths
    padded = pad(image, widths, border)
    kh, kw = footprint.shape
    out = np.empty((padded.shape[0] - kh + 1, padded.shape[1] - kw + 1), bool)
    for row, column, window in windows(padded, footprint.shape):
        out[row, column] = decide(
            bool(window[at]) for at in np.ndindex(*footprint.shape) if footprint[at]
        )
    return out


def dilation(image, footprint, widths=None, border="zero"):
    """Whether any pixel that the footprint selects is set; one image."""
    return _morphology(any, image, footprint, widths, border)


def erosion(image, footprint, widths=None, border="zero"):
    """Whether all pixels that the footprint selects are set; one image."""
    return _morphology(all, image, footprint, widths, border)


def opening(image, footprint):
    """The union of the footprint's translates, centered in the image, that the image contains."""
    widths = same_widths(footprint.shape)
    padded = pad(image, widths, "zero")
    out = np.zeros_like(padded)
    kh, kw = footprint.shape
    for row, column, window in windows(padded, footprint.shape):
        if np.all(window[footprint]):
            out[row : row + kh, column : column + kw] |= footprint
    (top, _), (left, _) = widths
    return out[top : top + image.shape[0], left : left + image.shape[1]]


def cross_correlation(images, kernels):
    """Images (C, N, H, W) with kernels (kh, kw, C, M) -> (C, M, N, H', W'), in float64."""
    kh, kw, channels, outputs = kernels.shape
    _, batch, height, width = images.shape
    out = np.zeros((channels, outputs, batch, height - kh + 1, width - kw + 1))
    for c, m, b in np.ndindex(channels, outputs, batch):
        for row, column, window in windows(images[c, b].astype(np.float64), (kh, kw)):
            out[c, m, b, row, column] = np.sum(window * kernels[:, :, c, m])
    return out


def enumerate_binary(n):
    """All 2^n rows of n bits, bool (2^n, n)."""
    return np.array(list(itertools.product([False, True], repeat=n)), bool).reshape(2**n, n)
