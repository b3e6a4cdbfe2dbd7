"""Images as scikit-image and OpenCV users have them, as gray levels and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bimonn_jax.data.image_files import Foreground

# Of red, green and blue: the luma of ITU-R BT.601, as in Pillow, OpenCV and JPEG.
_LUMA = np.array([0.299, 0.587, 0.114])
# By how much of a step of 16 bits floats may miss a level: those of float32 miss by less.
_MISS = 0.02


def _of_floats(image: np.ndarray) -> np.ndarray:
    """Gray levels of floats in [0, 1]; those that were of 8 or 16 bits are the same again.

    A level that is off by the last digit would lie on the other side of a threshold.
    """
    levels = image.astype(np.float64) * 65535
    whole = np.rint(levels)
    levels = np.where(np.abs(levels - whole) < _MISS, whole, levels)
    return (levels * 255 / 65535).astype(np.float32)


def gray_of(image: Any, name: str = "image") -> np.ndarray:
    """The gray levels of an array, float32 (H, W) in [0, 255].

    Args:
      image: (H, W), or (H, W, 3) in red, green and blue: bool, uint8, uint16, or floats in [0, 1].
      name: of the image, for errors.

    Raises:
      ValueError: for another shape or dtype, or floats that are not in [0, 1].
    """
    given = np.asarray(image)
    if given.ndim == 3 and given.shape[2] == 1:
        given = given[..., 0]
    if not (given.ndim == 2 or (given.ndim == 3 and given.shape[2] == 3)) or not given.size:
        raise ValueError(
            f"{name} has shape {given.shape}; (height, width), or (height, width, 3) in colors, "
            "with pixels, was expected"
        )
    if given.dtype == np.bool_ or given.dtype == np.uint8:
        levels = given * np.float32(255 if given.dtype == np.bool_ else 1)
    elif given.dtype.type is np.uint16:  # Of either byte order.
        # The product is exact, so that whole gray levels are.
        levels = given.astype(np.float32) * np.float32(255) / np.float32(65535)
    elif np.issubdtype(given.dtype, np.floating):
        if not (given.min() >= 0 and given.max() <= 1):
            raise ValueError(
                f"{name} is {given.dtype} with values from {given.min()} to {given.max()}; floats "
                "in [0, 1] were expected: divide by the level of white, or convert to uint8"
            )
        levels = _of_floats(given)
    else:
        raise ValueError(
            f"{name} is {given.dtype}; bool, uint8, uint16 or floats in [0, 1] were expected: "
            "convert it, for example with skimage.util.img_as_ubyte"
        )
    if levels.ndim == 3:
        levels = (levels @ _LUMA).astype(np.float32)
    return levels.astype(np.float32)


def is_bilevel(images: Sequence[np.ndarray]) -> bool:
    """Whether no image has more than two gray levels."""
    return all(((i == i.min()) | (i == i.max())).all() for i in images)


@dataclass(frozen=True)
class Output:
    """How a filter's bits become an array: of the dtype of the targets that it learned from.

    Attributes:
      dtype: name of the dtype.
      background: the value of pixels that are False.
      foreground: the value of pixels that are True.
    """

    dtype: str
    background: float
    foreground: float

    @classmethod
    def like(cls, target: np.ndarray, foreground: Foreground) -> "Output":
        """The dtype of a target, with the darkest and lightest values that images of it have."""
        dtype = target.dtype
        most = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
        values = (0.0, float(most))
        return cls(dtype.name, *(values if foreground == "light" else values[::-1]))

    def __call__(self, bits: np.ndarray) -> np.ndarray:
        """The array, (H, W), of bits, bool (H, W)."""
        dtype = np.dtype(self.dtype)
        image: np.ndarray = np.where(bits, dtype.type(self.foreground), dtype.type(self.background))
        return image

    @classmethod
    def from_json(cls, value: Any) -> "Output":
        """Reads the fields as JSON has them; raises ValueError for anything else."""
        known = {"bool", "uint8", "uint16", "float16", "float32", "float64"}
        if not isinstance(value, Mapping) or set(value) != {"dtype", "background", "foreground"}:
            raise ValueError(f"dtype, background and foreground were expected; got {value!r}")
        if value["dtype"] not in known:
            raise ValueError(f"dtype must be one of {sorted(known)}; got {value['dtype']!r}")
        return cls(value["dtype"], float(value["background"]), float(value["foreground"]))
