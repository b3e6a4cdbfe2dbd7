"""The pixels of an image that Pillow opens, as the gray levels that a viewer shows.

Needs Pillow, imported when an image is read.
"""

import io
import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

# Tags of TIFF files; the orientation is one of EXIF too.
_NEW_SUBFILE, _SUBFILE, _BITS, _PHOTOMETRIC, _ORIENTATION = 254, 255, 258, 262, 274
_X_RESOLUTION, _SAMPLE_FORMAT = 282, 339
# More dots per inch than any device has: a file that says so is damaged.
_MOST_DOTS = 1e6


def pages_of(file: BinaryIO) -> list[int]:
    """The pictures of an image file that a viewer shows one after the other: numbers of frames.

    Previews and masks beside them are passed over: reduced pages of a TIFF, what a camera adds to a
    JPEG (multi-picture format), the layers of a PSD.

    Args:
      file: the image file, opened. It is not mapped into memory then, which turns pictures wrongly
        in some versions of Pillow.

    Raises:
      ValueError: if the file is an animation, or pages of another format than TIFF.
    """
    from PIL import Image

    image = Image.open(file)
    if image.format == "TIFF":
        are_beside = list(_are_beside(image))
        pages = [page for page, is_beside in enumerate(are_beside) if not is_beside]
        return pages or list(range(len(are_beside)))
    count = 1 if image.format in ("MPO", "PSD") else getattr(image, "n_frames", 1)
    if count > 1:
        raise ValueError(f"it holds {count} images: give each its own file, or make them a TIFF")
    return [0]


def open_page(file: BinaryIO, page: int) -> Any:
    """Opens an image file at one of `pages_of`: a Pillow image that is not decoded yet."""
    from PIL import Image

    # Anew for each: Pillow keeps what it was told by every page that it was at.
    file.seek(0)
    image = Image.open(file)
    if page:
        image.info.clear()
        image.seek(page)
    return image


def compression_of(image: Any) -> str | None:
    """How a page of a TIFF is compressed, in Pillow's words; None for other formats."""
    return str(image.info.get("compression", "raw")) if image.format == "TIFF" else None


def _are_beside(image: Any) -> Iterator[bool]:
    """For each page of a TIFF, whether it is a smaller copy or a mask of another."""
    with suppress(EOFError):
        for page in itertools.count():
            # Raised for pixels of a kind that Pillow does not read; it has the tags nonetheless.
            with suppress(SyntaxError):
                image.seek(page)
            tags = image.tag_v2
            yield bool(tags.get(_NEW_SUBFILE, 0) & 0b101) or tags.get(_SUBFILE) == 2


def resolution_of(image: Any) -> tuple[float, float] | None:
    """Dots per inch, across and down, of an opened picture as it is shown; None if it has none."""
    if image.format == "TIFF" and _X_RESOLUTION not in image.tag_v2:
        return None  # Pillow makes one up.
    x, y = (float(dots) for dots in image.info.get("dpi", (math.nan, math.nan)))
    if not (0 < x < _MOST_DOTS and 0 < y < _MOST_DOTS):
        return None
    return (y, x) if image.getexif().get(_ORIENTATION, 1) > 4 else (x, y)


def gray_levels(image: Any) -> np.ndarray:
    """The gray levels, float32 (H, W) in [0, 255], of an opened picture.

    See `bimonn_jax.data.image_files.read_gray`.

    Raises:
      ValueError: if the values of 32 bits, or signed ones, are not in 0 to 255.
    """
    from PIL import ImageOps

    # Known until the picture is decoded.
    _scale_transparent_level(image)
    tags = image.tag_v2 if image.format == "TIFF" else {}
    # Pillow scales PGM of more than 8 bits to 65535, and calls it "I".
    is_deep_pgm = image.mode == "I" and image.format == "PPM"
    # Cameras and scanners may say by a tag how a picture is to be turned.
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or is_deep_pgm:
        return _sixteen_bits(image, tags)
    if image.mode in ("I", "F") or tags.get(_SAMPLE_FORMAT) == (2,):
        return _as_they_are(image, tags)
    return _eight_bits(image)


def _scale_transparent_level(image: Any) -> None:
    """Scales the transparent level or color of a PNG as Pillow scales its pixels to 8 bits."""
    level = image.info.get("transparency")
    if image.format != "PNG" or level is None:
        return
    raw_mode = image.tile[0][3]
    if raw_mode in ("L;2", "L;4"):
        image.info["transparency"] = level * (85 if raw_mode == "L;2" else 17)
    elif raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(part >> 8 for part in level)


def _is_white_zero(tags: Mapping[int, Any]) -> bool:
    # Pillow inverts images of up to 8 bits itself, and takes a missing tag for 0 as well.
    return bool(tags) and tags.get(_PHOTOMETRIC, 0) == 0


def _sixteen_bits(image: Any, tags: Mapping[int, Any]) -> np.ndarray:
    full = 2 ** tags.get(_BITS, (16,))[0] - 1
    values = np.asarray(image, np.float32)
    shown = full - values if _is_white_zero(tags) else values
    # The product is exact, so that whole gray levels are.
    levels = _by_gray_profile(shown * np.float32(255) / np.float32(full), image)
    transparent = image.info.get("transparency")
    return levels if transparent is None else np.where(values == transparent, 255, levels)


def _as_they_are(image: Any, tags: Mapping[int, Any]) -> np.ndarray:
    values = np.asarray(image)
    values = (values.view(np.int8) if values.itemsize == 1 else values).astype(np.float32)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 255):
        raise ValueError(
            f"its values reach from {values.min()} to {values.max()}: scale them to 0 to 255"
        )
    return _by_gray_profile(255 - values if _is_white_zero(tags) else values, image)


def _eight_bits(image: Any) -> np.ndarray:
    from PIL import Image

    is_gray = image.mode in ("1", "L", "La", "LA")
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        shown = image.convert("RGBA")
        if not is_gray:
            shown = _in_srgb(shown, "RGB")
        shown = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
    elif is_gray:
        shown = image
    elif image.mode == "CMYK":
        shown = _in_srgb(image, "CMYK")
    else:
        shown = _in_srgb(image.convert("RGB"), "RGB")
    levels = np.asarray(shown.convert("L"))
    curve = _gray_curve(image) if is_gray else None
    return (levels if curve is None else curve[levels]).astype(np.float32)


def _gray_curve(image: Any) -> np.ndarray | None:
    """What the gray profile embedded in an image makes of each whole level, uint8 (256,)."""
    from PIL import Image

    every_level = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    every_level.info["icc_profile"] = image.info.get("icc_profile")
    shown = _in_srgb(every_level, "GRAY")
    return None if shown is every_level else np.asarray(shown.convert("L"))[0]


def _by_gray_profile(levels: np.ndarray, image: Any) -> np.ndarray:
    """Levels between whole ones as the gray profile says; they stay apart and in their order."""
    curve = _gray_curve(image)
    if curve is None:
        return levels
    # Stretches of the curve are level only since it is rounded: lines through where they begin.
    shown, begins = np.unique(np.maximum.accumulate(curve), return_index=True)
    found: np.ndarray = np.interp(levels, [*begins[:-1], 255], shown).astype(np.float32)
    return found


def _in_srgb(image: Any, space: str) -> Any:
    """The image by its embedded color profile; itself where it has none of that color space."""
    from PIL import ImageCms

    data = image.info.get("icc_profile")
    if not data:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if profile.profile.xcolor_space.strip() != space:
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, profile, srgb, outputMode=mode)
    # A damaged profile is ignored, as viewers do.
    except (OSError, ImageCms.PyCMSError):
        return image
