"""Image-classification sets: prepared TensorFlow Datasets, plain IDX files, or embedded digits.

All are read into host memory as NumPy arrays; TensorFlow is needed only where a set has still to be
prepared.
"""

import gzip
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from bimonn_jax._support.files import user_path

# TensorFlow Datasets' own default.
_DEFAULT_DIR = "~/tensorflow_datasets"


@dataclass(frozen=True)
class ImageClassification:
    """Images and their classes.

    Attributes:
      name: what it is, as results should call it.
      train_images: uint8 (N, H, W, C).
      train_labels: int32 (N,), from 0.
      test_images: uint8 (M, H, W, C).
      test_labels: int32 (M,).

    Raises:
      ValueError: if there are no images to train on or to test with, or not as many labels.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def __post_init__(self) -> None:
        """Checks that there are images, and as many labels."""
        for split in ("train", "test"):
            images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            if not len(images) or len(images) != len(labels):
                raise ValueError(
                    f"{self.name} has {len(images)} {split} images and {len(labels)} labels: at "
                    "least one, and as many of both, were expected"
                )

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.train_labels.max()) + 1


def data_folder(data_dir: str | Path | None = None) -> Path:
    """Where prepared sets lie: ``data_dir``, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return user_path(data_dir or os.environ.get("TFDS_DATA_DIR") or _DEFAULT_DIR)


def load_tfds(name: str, *, data_dir: str | Path | None = None) -> ImageClassification:
    """Reads a TensorFlow Datasets set; one that is not there is downloaded and prepared.

    Args:
      name: "mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100", or any other set
        with the splits train and test and the features image and label.
      data_dir: see `data_folder`.

    Raises:
      ImportError: if tensorflow_datasets is missing, or the set has to be prepared and TensorFlow
        is missing.
      ValueError: if it is no such set, or a split of it is empty.
      OSError: if it cannot be downloaded.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "tensorflow_datasets is not installed: pip install 'bimonn-jax[datasets]'"
        ) from error
    folder = data_folder(data_dir)
    is_prepared = any((folder / name).glob("**/dataset_info.json"))
    try:
        splits = [
            tfds.data_source(name, split=split, data_dir=folder, download=not is_prepared)
            for split in ("train", "test")
        ]
    except ImportError as error:
        raise ImportError(
            f"{name} is not prepared in {folder}, and preparing it needs TensorFlow ({error}): pip "
            "install 'bimonn-jax[prepare]', or give the folder of a prepared set (--data_dir or "
            "TFDS_DATA_DIR)"
        ) from error
    except (tfds.core.DatasetNotFoundError, NotImplementedError, AssertionError) as error:
        raise ValueError(f"{name} cannot be read from {folder}: {error}") from error
    arrays = []
    for split in splits:
        if not {"image", "label"} <= set(split.dataset_info.features):
            raise ValueError(f"{name} has no features image and label: it is no classification set")
        if not len(split):
            raise ValueError(f"{name} has an empty split: it cannot be trained and tested on")
        # Once, and all at once: reading records one by one takes three times as long.
        examples = split.__getitems__(range(len(split)))
        arrays.append(np.stack([example["image"] for example in examples]))
        arrays.append(np.asarray([example["label"] for example in examples], np.int32))
    return ImageClassification(name, *arrays)


def _read_idx(path: Path) -> np.ndarray:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        data = file.read()
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of bytes: it starts with {data[:4]!r}")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"{path} is cut off within its header")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    if len(data) - start != np.prod(shape, dtype=np.int64):
        raise ValueError(
            f"{path} should hold {shape} bytes of values, but holds {len(data) - start}: download "
            "it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def load_idx(folder: str | Path) -> ImageClassification:
    """Reads the four IDX files of MNIST and its relatives, compressed (.gz) or not.

    Args:
      folder: holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
        t10k-labels-idx1-ubyte.

    Raises:
      FileNotFoundError: if one is missing.
      ValueError: if one is damaged, or images and labels do not match.
    """
    folder = user_path(folder)
    arrays = []
    for split in ("train", "t10k"):
        pair = []
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            plain = folder / f"{split}-{kind}"
            path = plain if plain.exists() else folder / f"{plain.name}.gz"
            if not path.exists():
                raise FileNotFoundError(f"{folder} holds neither {plain.name} nor {path.name}")
            pair.append(_read_idx(path))
        images, labels = pair
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"{folder}: {split} images have shape {images.shape} and labels {labels.shape}; "
                "(N, H, W) and (N,) were expected"
            )
        arrays += [images[..., None], labels.astype(np.int32)]
    return ImageClassification(folder.name, *arrays)


def load_digits() -> ImageClassification:
    """The 1,797 digits of 8 x 8 that scikit-learn ships; every fifth is for testing.

    Raises:
      ImportError: if scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits as load
    except ImportError as error:
        raise ImportError(
            "scikit-learn is not installed: pip install 'bimonn-jax[datasets]'"
        ) from error
    digits = load()
    images = (digits.images[..., None] * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int32)
    is_test = np.arange(len(labels)) % 5 == 4
    return ImageClassification(
        "digits (8 x 8, embedded)",
        images[~is_test],
        labels[~is_test],
        images[is_test],
        labels[is_test],
    )


def choose_thresholds(images: np.ndarray, count: int) -> tuple[tuple[float, ...], ...]:
    """Level-set thresholds of each channel, chosen from the training images.

    The quantiles 1 / (q + 1), ..., q / (q + 1) of its values; where these coincide, as in drawings
    that are mostly background, q values evenly between the extremes. Networks hold thresholds as
    float32, as which they are told apart here.

    Args:
      images: uint8 or floating-point (N, H, W, C), of any range.
      count: q >= 1 thresholds per channel.

    Returns:
      C rows of q values, increasing also as float32, above the lowest of the channel and not above
      the highest.

    Raises:
      ValueError: if ``count`` is not positive, there are no images, or a channel is constant, not
        finite, or has no room for ``count`` float32 numbers between its extremes.

    Examples:
      >>> choose_thresholds(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3)
      ((63.75, 127.5, 191.25),)
    """
    if count < 1:
        raise ValueError(f"count must be >= 1; got {count}")
    if not images.size:
        raise ValueError(f"there are no images to choose from: their shape is {images.shape}")
    return tuple(_thresholds_of(channel, count) for channel in np.moveaxis(images, -1, 0))


def _thresholds_of(channel: np.ndarray, count: int) -> tuple[float, ...]:
    low, high = float(channel.min()), float(channel.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("a channel has values that are not finite: level sets need numbers")
    if low == high:
        raise ValueError(f"a channel is {low:g} everywhere: it has no level sets")
    shares = np.arange(1, count + 1) / (count + 1)
    for values in (np.quantile(channel, shares), low + shares * (high - low)):
        if (np.diff(np.array([low, *values], np.float32)) > 0).all():
            return tuple(float(v) for v in values)
    raise ValueError(
        f"a channel reaches from {low!r} to {high!r}: there are no {count} float32 numbers between "
        "them; take fewer level sets, or scale the images"
    )


def check_labeled(images: jax.Array, labels: jax.Array) -> None:
    """Raises ValueError unless there are images, and as many labels."""
    if not len(images) or len(images) != len(labels):
        raise ValueError(
            "images and labels must be as many, at least one; got the shapes "
            f"{images.shape} and {labels.shape}"
        )
