"""The operator zoo: named footprints and named operators to learn (arXiv 2401.03830, section 6)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.morphology import operators
from bimonn_jax.morphology.operators import Image

# (row, column) step of a stick at 0, 45 and 90 degrees, rows counted downwards.
STICK_DIRECTIONS = np.array([(0, 1), (-1, 1), (-1, 0)])


def _offsets(size: int) -> tuple[np.ndarray, np.ndarray]:
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be odd and >= 1, so that a footprint has a center; got {size}")
    reach = size // 2
    steps = np.arange(-reach, reach + 1)
    rows, columns = np.meshgrid(steps, steps, indexing="ij")
    return rows, columns


def disk(size: int) -> np.ndarray:
    """Euclidean disk of radius size // 2, bool (size, size).

    Examples:
      >>> [int(disk(2 * r + 1).sum()) for r in (1, 2, 3, 5)]
      [5, 13, 29, 81]
    """
    rows, columns = _offsets(size)
    return np.asarray(rows**2 + columns**2 <= (size // 2) ** 2)


def square(size: int) -> np.ndarray:
    """All pixels, bool (size, size)."""
    return np.ones_like(_offsets(size)[0], bool)


def horizontal_stick(size: int) -> np.ndarray:
    """The middle row, bool (size, size)."""
    return np.asarray(_offsets(size)[0] == 0)


def vertical_stick(size: int) -> np.ndarray:
    """The middle column, bool (size, size)."""
    return np.asarray(_offsets(size)[1] == 0)


def cross(size: int) -> np.ndarray:
    """The middle row and column, bool (size, size)."""
    return np.asarray(horizontal_stick(size) | vertical_stick(size))


def diagonal_cross(size: int) -> np.ndarray:
    """Both diagonals, bool (size, size)."""
    rows, columns = _offsets(size)
    return np.asarray(np.abs(rows) == np.abs(columns))


def corner(size: int) -> np.ndarray:
    """Asymmetric: from the center upwards and to the right, bool (size, size)."""
    rows, columns = _offsets(size)
    return np.asarray(((rows == 0) & (columns >= 0)) | ((columns == 0) & (rows <= 0)))


def half_disk(size: int) -> np.ndarray:
    """Asymmetric: the lower half of the disk with its diameter, bool (size, size)."""
    return disk(size) & (_offsets(size)[0] >= 0)


FOOTPRINTS: dict[str, Callable[[int], np.ndarray]] = {
    "disk": disk,
    "square": square,
    "horizontal_stick": horizontal_stick,
    "vertical_stick": vertical_stick,
    "cross": cross,
    "diagonal_cross": diagonal_cross,
    "corner": corner,
    "half_disk": half_disk,
}

OPERATORS: dict[str, Callable[[Image, jax.Array], Image]] = {
    "dilation": operators.dilation,
    "erosion": operators.erosion,
    "opening": operators.opening,
    "closing": operators.closing,
    "white_tophat": operators.white_tophat,
    "black_tophat": operators.black_tophat,
}


def footprint(name: str, size: int) -> np.ndarray:
    """A footprint of the zoo by name, bool (size, size).

    Raises:
      ValueError: for an unknown name, or an even size.
    """
    if name not in FOOTPRINTS:
        raise ValueError(f"footprint must be one of {sorted(FOOTPRINTS)}; got {name!r}")
    return FOOTPRINTS[name](size)


def operator(name: str, footprint: np.ndarray) -> Callable[[Image], Image]:
    """An operator of the zoo with its footprint: bool (..., H, W) -> bool (..., H, W).

    Raises:
      ValueError: for an unknown name.
    """
    if name not in OPERATORS:
        raise ValueError(f"operator must be one of {sorted(OPERATORS)}; got {name!r}")
    apply = OPERATORS[name]
    return lambda x: apply(x, jnp.asarray(footprint))


def same_up_to_translation(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two bool footprints hold the same non-empty set of pixels, shifted or not.

    Examples:
      >>> same_up_to_translation(np.eye(2, dtype=bool), np.eye(3, dtype=bool)[:, :2])
      True
    """

    def cropped(footprint: np.ndarray) -> np.ndarray:
        rows, columns = np.nonzero(footprint)
        if rows.size == 0:
            return np.zeros((0, 0), bool)
        return footprint[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]

    a, b = cropped(np.asarray(first)), cropped(np.asarray(second))
    return bool(a.size) and a.shape == b.shape and bool((a == b).all())


def stick_footprints(length: int = 5) -> np.ndarray:
    """The sticks of ``length`` pixels at 0, 45 and 90 degrees, centered, bool (3, length, length).

    Examples:
      >>> stick_footprints(3)[1].astype(int)
      array([[0, 0, 1],
             [0, 1, 0],
             [1, 0, 0]])
    """
    if length < 1 or length % 2 == 0:
        raise ValueError(f"length must be odd and >= 1, so that a stick has a center; got {length}")
    footprints = np.zeros((3, length, length), bool)
    for footprint, direction in zip(footprints, STICK_DIRECTIONS, strict=True):
        for step in range(length):
            row, column = (length - 1) // 2 + direction * (step - (length - 1) // 2)
            footprint[row, column] = True
    return footprints
