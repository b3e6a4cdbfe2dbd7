import builtins
import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from bimonn_jax.data.classification import (
    choose_thresholds,
    data_folder,
    load_digits,
    load_idx,
    load_tfds,
)


def write_idx(path, array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(header + array.tobytes())


@pytest.fixture
def idx_folder(tmp_path):
    rng = np.random.default_rng(0)
    for split, count, ending in (("train", 6, ".gz"), ("t10k", 3, "")):
        images = rng.integers(0, 256, (count, 4, 5), np.uint8)
        write_idx(tmp_path / f"{split}-images-idx3-ubyte{ending}", images)
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte{ending}", np.arange(count, dtype=np.uint8))
    return tmp_path


def test_idx_files_are_read_compressed_or_not(idx_folder):
    data = load_idx(idx_folder)
    assert data.train_images.shape == (6, 4, 5, 1)
    assert data.test_images.shape == (3, 4, 5, 1)
    assert data.train_images.dtype == np.uint8
    assert data.train_labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.classes == 6
    expected = np.random.default_rng(0).integers(0, 256, (6, 4, 5), np.uint8)
    np.testing.assert_array_equal(data.train_images[..., 0], expected)


def test_damaged_idx_files_are_named(idx_folder):
    path = idx_folder / "t10k-images-idx3-ubyte"
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    with pytest.raises(ValueError, match=r"t10k-images.* should hold \(3, 4, 5\) .* holds 59"):
        load_idx(idx_folder)
    path.write_bytes(good[:6])
    with pytest.raises(ValueError, match="cut off within its header"):
        load_idx(idx_folder)
    path.write_bytes(b"PNG" + good)
    with pytest.raises(ValueError, match="not an IDX file"):
        load_idx(idx_folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="neither t10k-images-idx3-ubyte nor"):
        load_idx(idx_folder)


def test_images_and_labels_must_match(idx_folder):
    write_idx(idx_folder / "t10k-labels-idx1-ubyte", np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match="t10k images have shape"):
        load_idx(idx_folder)


def test_the_digits_are_always_there():
    data = load_digits()
    assert data.train_images.shape == (1438, 8, 8, 1)
    assert data.test_images.shape == (359, 8, 8, 1)
    assert "embedded" in data.name
    assert data.classes == 10
    assert data.train_images.max() == 255


def test_the_folder_is_given_or_in_the_environment_or_the_default(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "/somewhere")
    assert data_folder() == Path("/somewhere")
    assert data_folder("/else") == Path("/else")
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert data_folder() == Path("~/tensorflow_datasets").expanduser()


@pytest.mark.skipif(
    not list(data_folder().glob("mnist/*/dataset_info.json")),
    reason="MNIST is not prepared: set TFDS_DATA_DIR",
)
def test_mnist_is_read_without_tensorflow():
    data = load_tfds("mnist")
    assert data.train_images.shape == (60_000, 28, 28, 1)
    assert data.test_images.shape == (10_000, 28, 28, 1)
    assert np.bincount(data.test_labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_preparing_without_tensorflow_says_what_to_install(tmp_path, monkeypatch):
    original = builtins.__import__

    def without_tensorflow(name, *args, **kwargs):
        if name.split(".")[0] in ("tensorflow", "importlib_resources"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_tensorflow)
    with pytest.raises(ImportError, match=r"mnist is not prepared in .*bimonn-jax\[prepare\]"):
        load_tfds("mnist", data_dir=tmp_path)
    assert os.listdir(tmp_path) in ([], ["downloads"], ["mnist"])


def test_thresholds_follow_the_values_or_are_even_where_these_coincide():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (10, 8, 8, 3), np.uint8)
    rows = choose_thresholds(grey, 2)
    assert len(rows) == 3
    for row, channel in zip(rows, np.moveaxis(grey, -1, 0), strict=True):
        np.testing.assert_allclose(row, np.quantile(channel, [1 / 3, 2 / 3]))
    drawing = np.zeros((10, 8, 8, 1), np.uint8)
    drawing[:, 0, 0] = 200
    assert choose_thresholds(drawing, 3) == ((50.0, 100.0, 150.0),)


@pytest.mark.parametrize(
    ("low", "high"), [(100 / 257, 250 / 257), (0.0, 0.99), (254.9, 255.0), (-1e-3, 1e6)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_thresholds_of_images_of_any_range_differ_as_float32(low, high, dtype):
    rng = np.random.default_rng(0)
    values = np.linspace(low, high, 150).astype(dtype)
    for images in (rng.choice(values, (2, 20, 20, 1)), np.repeat(values, [10**4, *149 * [1]])):
        images = images.reshape(1, -1, 1, 1)
        for count in (1, 3, 7):
            (row,) = np.array(choose_thresholds(images, count), np.float32)
            # Each tells some pixels from others, and no two tell the same.
            above = (images.astype(np.float32) >= row).sum(axis=(0, 1, 2))
            assert (np.diff([images.size, *above]) < 0).all()
            assert above[-1] > 0


def test_thresholds_need_room_in_float32():
    next_to_one = np.nextafter(np.float32(1), np.float32(2))
    for high in (next_to_one, 1 + 1e-12):
        images = np.array([1.0, high]).reshape(1, 1, 2, 1)
        with pytest.raises(ValueError, match="there are no 2 float32 numbers between them"):
            choose_thresholds(images, 2)
    with pytest.raises(ValueError, match="not finite"):
        choose_thresholds(np.array([1.0, np.nan]).reshape(1, 1, 2, 1), 1)


@pytest.mark.parametrize("split", ["train", "t10k"])
def test_a_set_without_images_is_refused(idx_folder, split):
    for kind, shape in (("images-idx3", (0, 4, 4)), ("labels-idx1", (0,))):
        write_idx(idx_folder / f"{split}-{kind}-ubyte", np.zeros(shape, np.uint8))
    name = {"train": "train", "t10k": "test"}[split]
    with pytest.raises(ValueError, match=f"0 {name} images and 0 labels: at least one"):
        load_idx(idx_folder)


def test_thresholds_need_images():
    with pytest.raises(ValueError, match=r"no images to choose from: their shape is \(0, 3, 3, 1"):
        choose_thresholds(np.zeros((0, 3, 3, 1), np.uint8), 1)


def test_thresholds_need_a_channel_that_varies():
    with pytest.raises(ValueError, match="a channel is 7 everywhere"):
        choose_thresholds(np.full((2, 3, 3, 1), 7, np.uint8), 1)
    with pytest.raises(ValueError, match="count must be >= 1; got 0"):
        choose_thresholds(np.zeros((2, 3, 3, 1), np.uint8), 0)
