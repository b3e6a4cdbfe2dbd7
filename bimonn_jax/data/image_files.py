"""Image files as the input of a network, and its output as image files.

Needs Pillow and scikit-image (``pip install bimonn-jax[viz]``), imported when an image is read.
"""

import io
import logging
import os
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bimonn_jax._support.files import printable, user_path, write_bytes
from bimonn_jax.data.gray_levels import gray_levels, open_picture, resolution_of
from bimonn_jax.data.tones import THRESHOLDS

_LOG = logging.getLogger(__name__)
# Endings of the files that are written, without loss, and of those that are taken from a folder.
WRITTEN = (".png", ".tif", ".tiff", ".pbm", ".pgm", ".bmp")
SUFFIXES = (
    *WRITTEN, ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".jp2", ".j2k", ".jpx", ".webp", ".avif",
    ".gif", ".apng", ".ppm", ".pnm", ".pfm", ".dib", ".tga", ".qoi", ".pcx", ".psd",
)  # fmt: skip
_INSTALL = "image files need Pillow and scikit-image: pip install 'bimonn-jax[viz]'"
# So many files that are left out are named.
_NAMED = 20

Foreground = Literal["dark", "light"]


@contextmanager
def _picture(path: str | Path) -> Iterator[Any]:
    """An opened picture; what goes wrong while it is read is a ValueError that names the file."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError(_INSTALL) from error
    path = user_path(path)
    try:
        with warnings.catch_warnings():
            # Pillow warns before it refuses; a picture that may fill the memory is refused here.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with open(path, "rb") as file, open_picture(file) as image:
                yield image
    except FileNotFoundError:
        raise
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{path} is not a readable image: Pillow does not know its format or kind of pixels"
        ) from error
    # Pillow's decoders raise whatever the damage makes them raise.
    except Exception as error:
        raise ValueError(f"{path} is not a readable image: {error}") from error


def read_gray(path: str | Path) -> np.ndarray:
    """Reads an image file as the gray levels that a viewer shows.

    - Bilevel images become 0 and 255, colors their luminance, transparent pixels white.
    - 16-bit gray is divided by 257, 12-bit gray scaled likewise: all its levels stay apart. Values
      of 32 bits, whole or floating-point, and signed ones are taken as they are.
    - TIFFs in which white is 0 are inverted, at any depth.
    - Embedded color profiles that fit the pixels are applied; those of LAB images are not.
    - Pictures are turned as their orientation tag says.
    - Of a camera's JPEG with previews, of a TIFF whose other pages are previews or masks, and of a
      PSD with layers the one picture is read that a viewer shows.

    Args:
      path: PNG, TIFF, JPEG, JPEG 2000, WebP, AVIF, GIF, PBM, PGM, PPM, BMP or what else Pillow
        opens.

    Returns:
      Float32 (H, W), values in [0, 255].

    Raises:
      ValueError: if the file is not a readable image, holds several pages or an animation, is
        larger than Pillow's bound, or has values that are no gray levels; the message names it.
      FileNotFoundError: if there is none.
    """
    with _picture(path) as image:
        return gray_levels(image)


def read_resolution(path: str | Path) -> tuple[float, float] | None:
    """Dots per inch across and down of an image file as it is shown; None if it does not say.

    A ratio alone, without a unit, is none.

    Raises:
      ValueError: if the file is not a readable image.
      FileNotFoundError: if there is none.
    """
    with _picture(path) as image:
        return resolution_of(image)


def write_image(
    path: str | Path,
    image: np.ndarray,
    *,
    resolution: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a bilevel image, atomically; the ending of the name chooses the format.

    Args:
      path: of the file.
      image: bool (H, W); True is written as white.
      resolution: dots per inch across and down; not written to PBM and PGM, which have no place
        for it.
      overwrite: whether an existing file may be replaced.

    Raises:
      FileExistsError: if the file exists and ``overwrite`` is False.
      ValueError: for another ending than those of `WRITTEN`, or another shape or dtype.
    """
    from PIL import Image

    if image.ndim != 2 or image.dtype != np.bool_:
        raise ValueError(f"image must be bool (H, W); got {image.dtype} {image.shape}")
    path = user_path(path)
    file_format = Image.registered_extensions().get(path.suffix.lower())
    if file_format is None or path.suffix.lower() not in WRITTEN:
        raise ValueError(f"{path}: unknown ending {path.suffix!r}; one of {WRITTEN} was expected")
    # Not saved to the file directly: on a full disk Pillow leaves half of a picture and no error.
    data = io.BytesIO()
    options = {} if resolution is None else {"dpi": resolution}
    Image.fromarray(image).save(data, format=file_format, **options)
    write_bytes(path, data.getvalue(), overwrite=overwrite)


@dataclass(frozen=True)
class Reading:
    """How gray levels become the input of a network, and its output a picture again.

    Attributes:
      threshold: a gray level, above which is light, or the name of a rule for each image: "otsu"
        or "local" (see `bimonn_jax.data.tones`). By these a blank page stays blank, and images of
        two gray levels are taken as they are.
      foreground: which pixels are True: the "dark" ones, as ink on paper, or the "light" ones.
      gray: whether the network takes gray levels, for level sets, rather than bits. With a dark
        foreground they are subtracted from 255, so that True is the foreground there too.

    Raises:
      ValueError: for a threshold or a foreground that is none of these.
    """

    threshold: float | str = "otsu"
    foreground: Foreground = "dark"
    gray: bool = False

    def __post_init__(self) -> None:
        """Checks the fields."""
        value = self.threshold
        is_level = isinstance(value, int | float) and not isinstance(value, bool)
        if not (0 <= value <= 255 if is_level else value in THRESHOLDS):  # type: ignore[operator]
            raise ValueError(
                f"threshold must be a gray level of 0 to 255 or one of {sorted(THRESHOLDS)}; got "
                f"{value!r}"
            )
        if self.foreground not in ("dark", "light"):
            raise ValueError(f"foreground must be 'dark' or 'light'; got {self.foreground!r}")

    def to_bits(self, gray: np.ndarray) -> np.ndarray:
        """The foreground, bool (H, W), of gray levels (H, W) in [0, 255].

        Examples:
          >>> Reading(128).to_bits(np.array([[0.0, 128.0, 200.0]]))
          array([[ True,  True, False]])
        """
        is_dark = self.foreground == "dark"
        threshold: np.ndarray | float
        if isinstance(self.threshold, str):
            threshold = THRESHOLDS[self.threshold](gray, is_dark)
        else:
            threshold = self.threshold
        return np.asarray(gray > threshold) ^ is_dark

    def to_input(self, gray: np.ndarray) -> np.ndarray:
        """What the network reads, (H, W): bits, or float32 gray levels of the foreground."""
        if not self.gray:
            return self.to_bits(gray)
        return 255 - gray if self.foreground == "dark" else gray

    def to_picture(self, foreground: np.ndarray) -> np.ndarray:
        """A picture, bool (H, W) with True for white, of a network's output, bool (H, W)."""
        return foreground ^ (self.foreground == "dark")

    def to_json(self) -> dict[str, Any]:
        """As JSON values, for the metadata of a saved network."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "Reading":
        """Reads what `to_json` wrote; raises ValueError for anything else."""
        if not isinstance(value, Mapping) or set(value) != {"threshold", "foreground", "gray"}:
            raise ValueError(f"threshold, foreground and gray were expected; got {value!r}")
        threshold = value["threshold"]
        if not isinstance(value["gray"], bool) or not isinstance(threshold, int | float | str):
            raise ValueError(f"ill-typed: {value!r}")
        return cls(**value)


def image_files(folder: str | Path) -> dict[str, Path]:
    """The image files of a folder by stem, in order of their names.

    Those with an ending of `SUFFIXES`, in capitals or not. What is left out is named in a warning
    of the log: files of other endings, hidden ones that have such an ending (their names begin with
    a dot), and folders within.

    Args:
      folder: a folder, or one image file, whatever its ending.

    Returns:
      Paths by stem, in Unicode's composed form (NFC): names that differ only in how an accent is
      encoded, as those from macOS and from elsewhere do, are the same.

    Raises:
      FileNotFoundError: if there is no such folder or file.
      ValueError: if the folder holds no images, or two of the same stem.
    """
    folder = user_path(folder)
    if folder.is_file():
        return {_stem(folder): folder}
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder or image file at {folder}")
    files: dict[str, Path] = {}
    left_out = []
    for path in sorted(folder.iterdir()):
        is_hidden, is_image = path.name.startswith("."), path.suffix.lower() in SUFFIXES
        if is_hidden or not is_image or path.is_dir():
            if is_image or not is_hidden:
                left_out.append(printable(path.name) + (os.sep if path.is_dir() else ""))
            continue
        stem = _stem(path)
        if stem in files:
            raise ValueError(
                f"{folder} holds {files[stem].name} and {path.name}: results are named after the "
                "stem, which must be unique"
            )
        files[stem] = path
    if left_out:
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        _LOG.warning("left out of %s: %s%s", folder, ", ".join(left_out[:_NAMED]), more)
    if not files:
        raise ValueError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
    return files


def _stem(path: Path) -> str:
    return unicodedata.normalize("NFC", path.stem)


def check_distinct(paths: Iterable[Path]) -> None:
    """Checks that files named after the stems of others stay apart on every system.

    Some do not tell capitals apart, some not how an accent is encoded.

    Raises:
      ValueError: if two would be one, with their names.
    """
    seen: dict[str, Path] = {}
    for path in paths:
        # Small letters may have their accents apart again.
        name = unicodedata.normalize("NFC", _stem(path).casefold())
        if name in seen:
            raise ValueError(
                f"{seen[name].name} and {path.name} would be written to one file where capitals "
                "and the encoding of accents do not count: rename one of them"
            )
        seen[name] = path
