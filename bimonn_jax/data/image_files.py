"""Image files as the input of a network, and its output as image files.

Needs Pillow and scikit-image (``pip install bimonn-jax[viz]``), imported when an image is read.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bimonn_jax._support.files import refuse_existing, user_path, write_bytes
from bimonn_jax.data.gray_channels import CHANNELS
from bimonn_jax.data.gray_levels import (
    compression_of,
    gray_levels,
    open_page,
    pages_of,
    resolution_of,
)
from bimonn_jax.data.tones import THRESHOLDS

# Endings of the files that are written, without loss, and of those that are taken from a folder.
WRITTEN = (".png", ".tif", ".tiff", ".pbm", ".pgm", ".bmp")
SUFFIXES = (
    *WRITTEN, ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".jp2", ".j2k", ".jpx", ".webp", ".avif",
    ".gif", ".apng", ".ppm", ".pnm", ".pfm", ".dib", ".tga", ".qoi", ".pcx", ".psd",
)  # fmt: skip
# Ways in which TIFFs hold bits; others, such as "jpeg", are for gray levels and colors.
_COMPRESSIONS = (
    "raw", "tiff_ccitt", "group3", "group4", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate",
    "packbits", "lzma", "zstd",
)  # fmt: skip
_INSTALL = "image files need Pillow and scikit-image: pip install 'bimonn-jax[viz]'"

Foreground = Literal["dark", "light"]


Resolution = tuple[float, float]


@dataclass(frozen=True)
class Picture:
    """A page of an image file.

    Attributes:
      pixels: (H, W); gray levels, float32 in [0, 255], of a page that was read, bool with True for
        white of one to be written.
      resolution: dots per inch across and down; None if it does not say.
      compression: of a page of a TIFF, in Pillow's words, such as "group4" or "tiff_lzw"; None for
        other formats.
    """

    pixels: np.ndarray
    resolution: Resolution | None = None
    compression: str | None = None


Write = Callable[[Picture], None]


@contextmanager
def _naming(path: str | Path, max_pixels: int | None) -> Iterator[None]:
    """What goes wrong while a picture is read is a ValueError that names the file."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError(_INSTALL) from error
    bound = Image.MAX_IMAGE_PIXELS
    try:
        if max_pixels is not None:
            Image.MAX_IMAGE_PIXELS = max_pixels
        with warnings.catch_warnings():
            # Pillow warns before it refuses; a picture that may fill the memory is refused here.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except FileNotFoundError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        said = str(error).partition(",")[0]
        raise ValueError(
            f"{path} is not read: {said}. Unless it is meant to fill the memory, allow more by "
            "max_pixels (--max_megapixels)"
        ) from error
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{path} is not a readable image: Pillow does not know its format or kind of pixels"
        ) from error
    # Pillow's decoders raise whatever the damage makes them raise.
    except Exception as error:
        raise ValueError(f"{path} is not a readable image: {error}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = bound


def read_pages(path: str | Path, *, max_pixels: int | None = None) -> Iterator[Picture]:
    """Reads the pages of an image file one after the other, as the gray levels a viewer shows.

    Only TIFFs have several. What counts as a page, and which levels it has, see `read_gray`.

    Args:
      path: of the file.
      max_pixels: the bound on the pixels of a page; None for Pillow's. (It is set for the whole
        process while a page is read.)

    Yields:
      The pages, each decoded when it is asked for.

    Raises:
      ValueError: as `read_gray`, but for several pages.
      FileNotFoundError: if there is no such file.
    """
    path = user_path(path)
    with ExitStack() as stack:
        with _naming(path, max_pixels):
            file = stack.enter_context(open(path, "rb"))
            pages = pages_of(file)
        for number, page in enumerate(pages, start=1):
            title = f"{path}, page {number}" if len(pages) > 1 else path
            with _naming(title, max_pixels):
                image = open_page(file, page)
                # Known until the picture is decoded.
                told = resolution_of(image), compression_of(image)
                picture = Picture(gray_levels(image), *told)
            yield picture


def read_gray(path: str | Path, *, max_pixels: int | None = None) -> np.ndarray:
    """Reads an image file of one page as the gray levels that a viewer shows.

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
      max_pixels: see `read_pages`.

    Returns:
      Float32 (H, W), values in [0, 255].

    Raises:
      ValueError: if the file is not a readable image, holds several pages or an animation, is
        larger than the bound, or has values that are no gray levels; the message names it.
      FileNotFoundError: if there is none.
    """
    return _only_page(path, max_pixels).pixels


def read_resolution(path: str | Path) -> Resolution | None:
    """Dots per inch across and down of an image file as it is shown; None if it does not say.

    A ratio alone, without a unit, is none.

    Raises:
      ValueError: if the file is not a readable image of one page.
      FileNotFoundError: if there is none.
    """
    return _only_page(path, None).resolution


def _only_page(path: str | Path, max_pixels: int | None) -> Picture:
    pages = read_pages(path, max_pixels=max_pixels)
    page = next(pages)
    if next(pages, None) is not None:
        raise ValueError(f"{path} holds several pages: `read_pages` reads them one by one")
    return page


@contextmanager
def writing_pages(path: str | Path, *, overwrite: bool = False) -> Iterator[Write]:
    """Gives a function that writes bilevel pages to an image file, which appears when all are.

    It is written atomically; the ending of its name chooses the format. A TIFF keeps the
    compression that a page names, where it is one of bits; other pages are compressed by "group4".

    Args:
      path: of the file.
      overwrite: whether an existing file may be replaced.

    Yields:
      A function of a `Picture` of bool pixels. Its resolution is not written to PBM and PGM, which
      have no place for it.

    Raises:
      FileExistsError: if the file exists and ``overwrite`` is False.
      ValueError: for another ending than those of `WRITTEN`, another shape or dtype, or several
        pages in another format than TIFF.
    """
    from PIL import Image
    from PIL.TiffImagePlugin import AppendingTiffWriter

    path = refuse_existing(path, overwrite=overwrite)
    file_format = Image.registered_extensions().get(path.suffix.lower())
    if file_format is None or path.suffix.lower() not in WRITTEN:
        raise ValueError(f"{path}: unknown ending {path.suffix!r}; one of {WRITTEN} was expected")
    # Not saved to the file directly: on a full disk Pillow leaves half of a picture and no error.
    data = io.BytesIO()
    tiff = AppendingTiffWriter(data, new=True) if file_format == "TIFF" else None

    def write(picture: Picture) -> None:
        image = picture.pixels
        if image.ndim != 2 or image.dtype != np.bool_:
            raise ValueError(f"image must be bool (H, W); got {image.dtype} {image.shape}")
        options: dict[str, Any] = {"format": file_format}
        if picture.resolution is not None:
            options["dpi"] = picture.resolution
        if tiff is not None:
            given = picture.compression
            options["compression"] = given if given in _COMPRESSIONS else "group4"
            Image.fromarray(image).save(tiff, **options)
            tiff.newFrame()
        elif data.tell():
            raise ValueError(f"{path} would hold several pages: only a TIFF can (--format=tif)")
        else:
            Image.fromarray(image).save(data, **options)

    yield write
    write_bytes(path, data.getvalue(), overwrite=overwrite)


def write_image(
    path: str | Path,
    image: np.ndarray,
    *,
    resolution: Resolution | None = None,
    compression: str | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a bilevel image of one page by `writing_pages`.

    Args:
      path: of the file.
      image: bool (H, W); True is written as white.
      resolution: dots per inch across and down.
      compression: of a TIFF, in Pillow's words.
      overwrite: whether an existing file may be replaced.

    Raises:
      FileExistsError: if the file exists and ``overwrite`` is False.
      ValueError: for an ending, a shape or a dtype that `writing_pages` refuses.
    """
    with writing_pages(path, overwrite=overwrite) as write:
        write(Picture(image, resolution, compression))


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
      channels: names of `bimonn_jax.data.gray_channels.CHANNELS`, what the network takes of gray
        levels; by default these alone.

    Raises:
      ValueError: for a threshold, a foreground or a channel that is none of these.
    """

    threshold: float | str = "otsu"
    foreground: Foreground = "dark"
    gray: bool = False
    channels: tuple[str, ...] = ("gray",)

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
        if not self.channels or not set(self.channels) <= set(CHANNELS):
            raise ValueError(f"channels must be among {sorted(CHANNELS)}; got {self.channels!r}")

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
        """What the network reads, (H, W): bits, or float32 gray levels of the foreground.

        Of several channels (H, W, C).
        """
        if not self.gray:
            return self.to_bits(gray)
        light = 255 - gray if self.foreground == "dark" else gray
        channels = [CHANNELS[name](light) for name in self.channels]
        return np.stack(channels, axis=-1) if len(channels) > 1 else channels[0]

    def to_images(self, gray: np.ndarray) -> np.ndarray:
        """`to_input` as a batch of one image, (1, H, W, C)."""
        x = self.to_input(gray)
        return x[None] if x.ndim == 3 else x[None, ..., None]

    def to_picture(self, foreground: np.ndarray) -> np.ndarray:
        """A picture, bool (H, W) with True for white, of a network's output, bool (H, W)."""
        return foreground ^ (self.foreground == "dark")

    def to_json(self) -> dict[str, Any]:
        """As JSON values, for the metadata of a saved network."""
        return {**asdict(self), "channels": list(self.channels)}

    @classmethod
    def from_json(cls, value: Any) -> "Reading":
        """Reads what `to_json` wrote; raises ValueError for anything else."""
        # Older files name no channels.
        given = {"channels": ["gray"], **value} if isinstance(value, Mapping) else {}
        if set(given) != {"threshold", "foreground", "gray", "channels"}:
            raise ValueError(f"threshold, foreground, gray, channels were expected; got {value!r}")
        threshold, channels = given["threshold"], given["channels"]
        are_names = isinstance(channels, list) and all(isinstance(c, str) for c in channels)
        is_typed = isinstance(given["gray"], bool) and isinstance(threshold, int | float | str)
        if not (is_typed and are_names):
            raise ValueError(f"ill-typed: {value!r}")
        return cls(**{**given, "channels": tuple(channels)})
