"""What a network may be told of a gray image beside its levels: local means, and contrast.

Single pixels are noisy; a mean is less so before it is compared with thresholds than the bits are
after. Contrast tells ink from the shadow that it lies in.

Needs SciPy, imported when a channel is computed.
"""

from collections.abc import Callable, Mapping

import numpy as np

_NEAR, _FAR = 3, 15


def _mean(gray: np.ndarray, side: int) -> np.ndarray:
    from scipy import ndimage

    # In double precision, rounded once; whole levels sum up exactly.
    mean: np.ndarray = ndimage.uniform_filter(gray.astype(np.float64), side, mode="nearest")
    return mean


def near_mean(gray: np.ndarray) -> np.ndarray:
    """The mean of 3 x 3 pixels, edges replicated; float32 (H, W)."""
    return _mean(gray, _NEAR).astype(np.float32)


def contrast(gray: np.ndarray) -> np.ndarray:
    """The mean of 3 x 3 pixels less that of 15 x 15, edges replicated; float32 (H, W)."""
    difference: np.ndarray = _mean(gray, _NEAR) - _mean(gray, _FAR)
    return difference.astype(np.float32)


def _levels(gray: np.ndarray) -> np.ndarray:
    return gray


CHANNELS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "gray": _levels,
    "mean": near_mean,
    "contrast": contrast,
}
