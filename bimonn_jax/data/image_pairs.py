"""Pairs of images, degraded and clean, to learn a filter from: a user's own files."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.files import printable, user_path
from bimonn_jax._support.pytrees import pytree, static
from bimonn_jax.data.image_files import Reading, image_files, read_gray

_LOG = logging.getLogger(__name__)
# With at least so many pairs whole images are held back, with fewer the right parts of each.
_ENOUGH_TO_SPLIT_BY_IMAGE = 5
_CUTS = (0.55, 0.65)

OnError = Literal["stop", "skip"]


@dataclass(frozen=True)
class Pair:
    """One image, degraded and clean.

    Attributes:
      name: of its file, without the ending, as text that can be shown.
      x: what the network reads, (H, W).
      y: the foreground that it should give, bool (H, W).
      bits: the foreground of the degraded image, bool (H, W): ``x`` itself, or ``x`` thresholded.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    bits: np.ndarray


@dataclass(frozen=True)
class PairSplit:
    """Pairs to learn from, to choose by, and to be judged on."""

    training: tuple[Pair, ...]
    validation: tuple[Pair, ...]
    test: tuple[Pair, ...]


def _read_pair(source: Path, target: Path | None, reading: Reading) -> Pair:
    if target is None:
        raise ValueError(f"{source} has no target of the same name")
    x, y = read_gray(source), read_gray(target)
    if x.shape != y.shape:
        raise ValueError(f"{source} is {x.shape} pixels (rows, columns), {target} is {y.shape}")
    return Pair(printable(source.stem), reading.to_input(x), reading.to_bits(y), reading.to_bits(x))


def load_pairs(
    inputs: str | Path, targets: str | Path, reading: Reading, *, on_error: OnError = "stop"
) -> tuple[Pair, ...]:
    """Reads the image files of two folders whose names, without the endings, are the same.

    Which files those are: see `bimonn_jax.data.image_files.image_files`.

    Args:
      inputs: folder of degraded images, or one file.
      targets: folder of clean images, or one file (which may have another name).
      reading: how gray levels become bits.
      on_error: "stop" at the first file that cannot be read or has no partner of its size, or
        "skip" it with a warning in the log.

    Raises:
      ValueError: for such a file, named, or if no pairs are left.
      FileNotFoundError: if a folder is not there.
    """
    sources, clean = image_files(inputs), image_files(targets)
    if user_path(inputs).is_file() and user_path(targets).is_file():
        clean = dict(zip(sources, clean.values(), strict=True))
    for stem in sorted(clean.keys() - sources.keys()):
        message = f"{clean[stem]} has no input of the same name"
        if on_error == "stop":
            raise ValueError(message)
        _LOG.warning("skipped: %s", message)
    pairs = []
    for stem, source in sources.items():
        try:
            pairs.append(_read_pair(source, clean.get(stem), reading))
        except ValueError as error:
            if on_error == "stop":
                raise
            _LOG.warning("skipped: %s", error)
    if not pairs:
        raise ValueError(f"no pairs of readable images of equal size in {inputs} and {targets}")
    return tuple(pairs)


def _columns(pair: Pair, start: int, stop: int) -> Pair:
    cut = (image[:, start:stop] for image in (pair.x, pair.y, pair.bits))
    return Pair(pair.name, *cut)


def split_pairs(pairs: Sequence[Pair]) -> PairSplit:
    """55 % to learn from, 10 % to choose by, 35 % to be judged on.

    Whole images, in the order given, where there are five or more; else parts of the columns of
    each image, from left to right.
    """
    if len(pairs) >= _ENOUGH_TO_SPLIT_BY_IMAGE:
        first = max(1, round(_CUTS[0] * len(pairs)))
        second = max(first + 1, round(_CUTS[1] * len(pairs)))
        return PairSplit(tuple(pairs[:first]), tuple(pairs[first:second]), tuple(pairs[second:]))
    parts: tuple[list[Pair], ...] = ([], [], [])
    for pair in pairs:
        width = pair.x.shape[1]
        bounds = [0, *(round(cut * width) for cut in _CUTS), width]
        for part, start, stop in zip(parts, bounds, bounds[1:], strict=False):
            part.append(_columns(pair, start, stop))
    return PairSplit(*(tuple(part) for part in parts))


def tiles(images: Sequence[np.ndarray], size: int) -> jax.Array:
    """Cuts images into squares that do not overlap; what is left at the far edges is dropped.

    Args:
      images: each (H, W).
      size: side of the squares.

    Returns:
      (N, size, size).

    Raises:
      ValueError: if no image is that large.
    """
    found = []
    for image in images:
        rows, columns = (side // size for side in image.shape)
        whole = image[: rows * size, : columns * size]
        grid = whole.reshape(rows, size, columns, size).swapaxes(1, 2)
        found.append(grid.reshape(-1, size, size))
    squares = np.concatenate(found)
    if not len(squares):
        raise ValueError(f"no image is {size} x {size} pixels")
    return jnp.asarray(squares)


@pytree(eq=False)
class _PairCrops:
    """What `pair_crops` builds: a function that is a tree, whose arrays are the data.

    Attributes:
      xs: (N, H, W), images padded to the largest.
      ys: bool (N, H, W), their targets.
      shares: float32 (N,), with which probability an image is drawn.
      corners: int32 (2, N), in how many rows and columns a crop of each may begin.
      batch: crops at a time.
      size: their side.
    """

    xs: np.ndarray
    ys: np.ndarray
    shares: np.ndarray
    corners: np.ndarray
    batch: int = static()
    size: int = static()

    def __call__(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, y = jax.vmap(self._crop)(jax.random.split(key, self.batch))
        return x[..., None], y[..., None]

    def _crop(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        which_key, row_key, column_key = jax.random.split(key, 3)
        rows, columns = jnp.asarray(self.corners)
        which = jax.random.choice(which_key, len(self.shares), p=jnp.asarray(self.shares))
        at = (
            which,
            jax.random.randint(row_key, (), 0, rows[which]),
            jax.random.randint(column_key, (), 0, columns[which]),
        )
        shape = (1, self.size, self.size)
        x, y = (jax.lax.dynamic_slice(images, at, shape)[0] for images in (self.xs, self.ys))
        return x, y


def pair_crops(
    pairs: Sequence[Pair], batch: int, size: int
) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    """Draws random crops, every position of every image with equal probability.

    Args:
      pairs: the images.
      batch: crops at a time.
      size: their side.

    Returns:
      key -> (x, y), each (batch, size, size, 1); may be traced.

    Raises:
      ValueError: if there are no pairs, a number is not positive, or an image is smaller than a
        crop.
    """
    if not pairs or batch < 1 or size < 1:
        raise ValueError(
            f"pairs, batch and size must be at least 1; got {len(pairs)} pairs, {batch} and {size}"
        )
    for pair in pairs:
        if min(pair.x.shape) < size:
            raise ValueError(f"{pair.name} is {pair.x.shape}; crops of {size} pixels do not fit")
    height, width = (max(side) for side in zip(*(pair.x.shape for pair in pairs), strict=True))

    def stacked(images: Sequence[np.ndarray]) -> np.ndarray:
        # What is added is never drawn.
        return np.stack(
            [np.pad(i, [(0, height - i.shape[0]), (0, width - i.shape[1])]) for i in images]
        )

    xs, ys = stacked([pair.x for pair in pairs]), stacked([pair.y for pair in pairs])
    places = np.array([pair.x.shape for pair in pairs], float) - size + 1
    shares = (places.prod(axis=1) / places.prod(axis=1).sum()).astype(np.float32)
    return _PairCrops(xs, ys, shares, places.T.astype(np.int32), batch, size)
