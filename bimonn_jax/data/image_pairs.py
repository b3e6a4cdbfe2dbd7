"""Pairs of images, degraded and clean, to learn a filter from: a user's own files."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.files import printable, user_path
from bimonn_jax._support.pytrees import pytree, static
from bimonn_jax.data.image_files import Picture, Reading, read_pages
from bimonn_jax.data.image_folders import image_files

_LOG = logging.getLogger(__name__)
# With at least so many pairs whole images are held back, with fewer the right parts of each.
_ENOUGH_TO_SPLIT_BY_IMAGE = 5
_CUTS = (0.55, 0.65)
# Images that differ by more pixels are hardly of one page.
_MOST_CROPPED = 16

OnError = Literal["stop", "skip"]


@dataclass(frozen=True)
class Pair:
    """One image, degraded and clean.

    Attributes:
      name: of its file, without the ending, as text that can be shown; with the page, if there
        are several.
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


def load_pairs(
    inputs: str | Path,
    targets: str | Path | None,
    reading: Reading,
    *,
    suffixes: tuple[str, str] = ("", ""),
    subfolders: bool = False,
    crop: int = 0,
    max_pixels: int | None = None,
    on_error: OnError = "stop",
) -> tuple[Pair, ...]:
    """Reads pairs of image files whose names, without the endings, are the same.

    Which files those are: see `bimonn_jax.data.image_folders`. Each page of a TIFF goes with the
    page of the same number.

    Args:
      inputs: folder of degraded images, or one file.
      targets: folder of clean images, or one file (which may have another name); None for the
        folder of the inputs.
      reading: how gray levels become bits.
      suffixes: what the names of inputs and of targets end in, beside what is the same:
        ``("_noisy", "_clean")`` pairs a_noisy.png with a_clean.png. Other files are left out.
      subfolders: whether images of folders within are taken too; names are then paths.
      crop: by how many rows, and by how many columns, the images of a pair may differ in size. The
        larger one is cut to where the two agree most.
      max_pixels: the bound on the pixels of an image; None for Pillow's.
      on_error: "stop" at the first file that cannot be read or has no partner of its size, or
        "skip" it with a warning in the log.

    Raises:
      ValueError: for such a file, named, or if no pairs are left.
      FileNotFoundError: if a folder is not there.
    """
    sources, clean = _partners(inputs, targets, suffixes, subfolders)
    for name in sorted(clean.keys() - sources.keys()):
        message = f"{clean[name]} has no input of the same name"
        if on_error == "stop":
            raise ValueError(message)
        _LOG.warning("skipped: %s", message)
    pairs: list[Pair] = []
    for name, source in sources.items():
        try:
            if name not in clean:
                raise ValueError(f"{source} has no target of the same name")
            read = partial(read_pages, max_pixels=max_pixels)
            pairs += _read_pairs(name, (source, clean[name]), read, reading, crop)
        except ValueError as error:
            if on_error == "stop":
                raise
            _LOG.warning("skipped: %s", error)
    if not pairs:
        raise ValueError(
            f"no pairs of readable images of equal size in {inputs} and {targets or inputs}"
        )
    return tuple(pairs)


def _partners(
    inputs: str | Path, targets: str | Path | None, suffixes: tuple[str, str], subfolders: bool
) -> tuple[dict[str, Path], dict[str, Path]]:
    """The files of both kinds by what names of partners have in common."""
    is_one_folder = targets is None or user_path(inputs).resolve() == user_path(targets).resolve()
    if is_one_folder and suffixes[0] == suffixes[1]:
        raise ValueError(
            f"inputs and targets are both in {inputs}: say by what the ends of their names differ, "
            "as by suffixes=('_noisy', '_clean') (--input_suffix, --target_suffix)"
        )
    sources = image_files(inputs, subfolders=subfolders)
    clean = sources if targets is None else image_files(targets, subfolders=subfolders)
    if targets is not None and user_path(inputs).is_file() and user_path(targets).is_file():
        return sources, dict(zip(sources, clean.values(), strict=True))
    parts = (
        _ending_in(sources, suffixes[0], suffixes[1] if is_one_folder else ""),
        _ending_in(clean, suffixes[1], suffixes[0] if is_one_folder else ""),
    )
    for part, folder, suffix in zip(parts, (inputs, targets or inputs), suffixes, strict=True):
        if not part:
            raise ValueError(f"no name of an image in {folder} ends in {suffix!r}")
    taken = {path for part in parts for path in part.values()}
    left_out = sorted({*sources.values(), *clean.values()} - taken)
    if left_out:
        names = ", ".join(printable(path.name) for path in left_out)
        _LOG.warning("left out, as their names end in neither of %s: %s", suffixes, names)
    return parts


def _ending_in(files: Mapping[str, Path], suffix: str, other: str) -> dict[str, Path]:
    """Files whose names end in a suffix, by the rest; those that end in a longer one have that."""
    return {
        name.removesuffix(suffix): path
        for name, path in files.items()
        if name.endswith(suffix) and not (len(other) > len(suffix) and name.endswith(other))
    }


def _read_pairs(
    name: str,
    files: tuple[Path, Path],
    read: Callable[[Path], Iterator[Picture]],
    reading: Reading,
    crop: int,
) -> Iterator[Pair]:
    """The pairs of pages of two files."""
    pages = list(zip_longest(*map(read, files)))
    for number, (noisy, clean) in enumerate(pages, start=1):
        if noisy is None or clean is None:
            raise ValueError(f"{files[0]} and {files[1]} do not have the same number of pages")
        title = printable(name) + (f", page {number}" if len(pages) > 1 else "")
        x, y = noisy.pixels, reading.to_bits(clean.pixels)
        bits = reading.to_bits(x)
        if x.shape != y.shape:
            differences = [abs(a - b) for a, b in zip(x.shape, y.shape, strict=True)]
            if max(differences) > crop:
                pixels = max(differences)
                hint = f": crop={pixels} (--crop_pairs={pixels}) cuts the larger one"
                raise ValueError(
                    f"{files[0]} is {x.shape} pixels (rows, columns), {files[1]} is {y.shape}"
                    + (hint if pixels <= _MOST_CROPPED else "")
                )
            places = _where_they_agree(bits, y)
            x, bits, y = x[places[0]], bits[places[0]], y[places[1]]
        yield Pair(title, reading.to_input(x), y, bits)


def _where_they_agree(x: np.ndarray, y: np.ndarray) -> tuple[tuple[slice, slice], ...]:
    """Parts of one size of two images of bits, such that most pixels are equal."""

    def places(own: int, other: int) -> list[tuple[slice, slice]]:
        size = min(own, other)
        return [
            (slice(a, a + size), slice(b, b + size))
            for a in range(own - size + 1)
            for b in range(other - size + 1)
        ]

    rows, columns = map(places, x.shape, y.shape)
    candidates = [((row[0], column[0]), (row[1], column[1])) for row in rows for column in columns]
    return max(candidates, key=lambda at: np.count_nonzero(x[at[0]] == y[at[1]]))


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
