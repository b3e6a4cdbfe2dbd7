"""Image files as the input of a network, and its output as image files.

Needs Pillow and scikit-image (``pip install bimonn-jax[viz]``), imported when an image is read.
"""

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bimonn_jax.files import write_bytes

# Endings of the files that are written, without loss, and of those that are taken from a folder.
WRITTEN = (".png", ".tif", ".tiff", ".pbm", ".pgm", ".bmp")
SUFFIXES = (*WRITTEN, ".jpg", ".jpeg")
_INSTALL = "image files need Pillow and scikit-image: pip install 'bimonn-jax[viz]'"
_LOCAL_WINDOW, _LOCAL_OFFSET = 51, 10

Foreground = Literal["dark", "light"]


def read_gray(path: str | Path) -> np.ndarray:
    """Reads an image file as gray levels.

    Bilevel images become 0 and 255, colours their luminance, transparent pixels white, 16-bit gray
    is divided by 257.

    Args:
      path: PNG, TIFF, PBM, PGM, BMP or what else Pillow opens.

    Returns:
      Float32 (H, W), values in [0, 255].

    Raises:
      ValueError: if the file is not a readable image, holds several, is larger than Pillow's bound,
        or has values that are no gray levels; the message names the file.
      FileNotFoundError: if there is none.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(_INSTALL) from error
    path = Path(path)
    try:
        with warnings.catch_warnings():
            # Pillow warns before it refuses; a picture that may fill the memory is refused here.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                frames = getattr(image, "n_frames", 1)
                if frames > 1:
                    raise ValueError(f"it holds {frames} images: give each its own file")
                return _gray_levels(image)
    except FileNotFoundError:
        raise
    # Pillow's decoders raise whatever the damage makes them raise.
    except Exception as error:
        raise ValueError(f"{path} is not a readable image: {error}") from error


def _gray_levels(image: Any) -> np.ndarray:
    from PIL import Image, ImageOps

    # Pillow scales PGM of more than 8 bits to 65535, and calls it "I".
    is_16_bit = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    # Cameras and scanners may say by a tag how a picture is to be turned.
    image = ImageOps.exif_transpose(image)
    if is_16_bit:
        return np.asarray(image, np.float32) / 257
    if image.mode in ("I", "F"):
        values = np.asarray(image, np.float32)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 255):
            raise ValueError(
                f"its values reach from {values.min()} to {values.max()}: scale them to 0 to 255"
            )
        return values
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("L"), np.float32)


def write_image(path: str | Path, image: np.ndarray, *, overwrite: bool = False) -> None:
    """Writes a bilevel image, atomically; the ending of the name chooses the format.

    Args:
      path: of the file.
      image: bool (H, W); True is written as white.
      overwrite: whether an existing file may be replaced.

    Raises:
      FileExistsError: if the file exists and ``overwrite`` is False.
      ValueError: for another ending than those of `WRITTEN`, or another shape or dtype.
    """
    from PIL import Image

    if image.ndim != 2 or image.dtype != np.bool_:
        raise ValueError(f"image must be bool (H, W); got {image.dtype} {image.shape}")
    path = Path(path)
    file_format = Image.registered_extensions().get(path.suffix.lower())
    if file_format is None or path.suffix.lower() not in WRITTEN:
        raise ValueError(f"{path}: unknown ending {path.suffix!r}; one of {WRITTEN} was expected")
    # Not saved to the file directly: on a full disk Pillow leaves half of a picture and no error.
    data = io.BytesIO()
    Image.fromarray(image).save(data, format=file_format)
    write_bytes(path, data.getvalue(), overwrite=overwrite)


def _otsu(gray: np.ndarray) -> float:
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(gray))


def _local(gray: np.ndarray) -> np.ndarray:
    from skimage.filters import threshold_local

    thresholds: np.ndarray = threshold_local(
        gray, _LOCAL_WINDOW, method="mean", offset=_LOCAL_OFFSET
    )
    return thresholds


# By name: gray levels (H, W) -> the threshold or one per pixel; light is what lies above.
THRESHOLDS: Mapping[str, Callable[[np.ndarray], np.ndarray | float]] = {
    "otsu": _otsu,
    "local": _local,
}


@dataclass(frozen=True)
class Reading:
    """How gray levels become the input of a network, and its output a picture again.

    Attributes:
      threshold: a gray level, "otsu" (of each image) or "local" (mean of 51 x 51 pixels less 10);
        light is what lies above it. Images of one or two gray levels are taken as they are.
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
        chosen = self.threshold
        if isinstance(chosen, str) and len(levels := np.unique(gray)) <= 2:
            # Bits already: a local threshold would hollow out large black areas.
            chosen = float(levels.mean()) if len(levels) == 2 else 127.5
        threshold = THRESHOLDS[chosen](gray) if isinstance(chosen, str) else chosen
        return np.asarray(gray > threshold) ^ (self.foreground == "dark")

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

    Args:
      folder: a folder, or one image file.

    Raises:
      FileNotFoundError: if there is no such folder or file.
      ValueError: if the folder holds no images, or two of the same stem.
    """
    folder = Path(folder)
    if folder.is_file():
        return {folder.stem: folder}
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder or image file at {folder}")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            if path.stem in files:
                raise ValueError(
                    f"{folder} holds {files[path.stem].name} and {path.name}: results are named "
                    "after the stem, which must be unique"
                )
            files[path.stem] = path
    if not files:
        raise ValueError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
    return files
