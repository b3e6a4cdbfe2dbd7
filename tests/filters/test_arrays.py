"""Images of any dtype as gray levels, and bits as images."""

import numpy as np
import pytest

from bimonn_jax.filters.arrays import Output, gray_of, is_bilevel


def test_all_levels_of_eight_bits_are_themselves():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(gray_of(levels), levels)
    np.testing.assert_array_equal(gray_of(levels[..., None]), levels)


def test_sixteen_bits_keep_their_order_and_ends():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    gray = gray_of(levels)
    assert (np.diff(gray.reshape(-1)) > 0).all()
    np.testing.assert_array_equal(gray.reshape(-1)[::257], np.arange(256))


def test_floats_and_bools():
    np.testing.assert_array_equal(gray_of(np.array([[False, True]])), [[0, 255]])
    for dtype in (np.float16, np.float32, np.float64):
        np.testing.assert_array_equal(gray_of(np.array([[0, 1, 0.5]], dtype)), [[0, 255, 127.5]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_whole_numbers_divided_by_white_are_the_same_gray(dtype):
    most = np.iinfo(dtype).max
    levels = np.arange(most + 1, dtype=dtype).reshape(16, -1)
    for floats in (
        levels / most,
        levels.astype(np.float32) / np.float32(most),
        # Twice rounded, as by `skimage.util.img_as_float32`.
        levels * np.float32(1 / most),
    ):
        np.testing.assert_array_equal(gray_of(floats), gray_of(levels))


def test_floats_keep_their_order():
    floats = np.sort(np.random.default_rng(0).random((1, 100_000)))
    assert (np.diff(gray_of(floats)) >= 0).all()
    np.testing.assert_allclose(gray_of(floats), 255 * floats, rtol=0, atol=1e-4)


def test_the_order_of_bytes_is_no_other_dtype():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for order in "<>":
        np.testing.assert_array_equal(gray_of(levels.astype(f"{order}u2")), gray_of(levels))


def test_gray_in_colors_is_the_same_gray():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_allclose(gray_of(np.stack([levels] * 3, axis=-1)), levels, atol=1e-4)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 2, 4), np.uint8), "shape"),
        (np.zeros(3, np.uint8), "shape"),
        (np.zeros((0, 3), np.uint8), "shape"),
        (np.zeros((2, 2), np.int64), "img_as_ubyte"),
        (np.full((2, 2), 2.0), r"floats in \[0, 1\]"),
        (np.full((2, 2), np.nan), r"floats in \[0, 1\]"),
        (np.full((2, 2), -0.1), r"floats in \[0, 1\]"),
    ],
)
def test_what_is_no_image(image, message):
    with pytest.raises(ValueError, match=f"picture 7.*{message}"):
        gray_of(image, "picture 7")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("foreground", ["dark", "light"])
def test_outputs_are_like_targets(dtype, foreground):
    bits = np.array([[True, False]])
    image = Output.like(np.zeros((1, 1), dtype), foreground)(bits)
    most = np.iinfo(dtype).max if dtype.startswith("uint") else 1
    assert image.dtype == dtype
    np.testing.assert_array_equal(image, [[most, 0] if foreground == "light" else [0, most]])


def test_output_is_read_as_it_was_written():
    output = Output("uint8", 255, 0)
    told = {"dtype": "uint8", "background": 255, "foreground": 0}
    assert Output.from_json(told) == output
    for wrong in ({}, {**told, "dtype": "object"}, {**told, "more": 1}, None):
        with pytest.raises(ValueError, match=r"expected|must be"):
            Output.from_json(wrong)


def test_bilevel():
    assert is_bilevel([np.zeros((2, 2)), np.array([[3.0, 9.0]])])
    assert not is_bilevel([np.zeros((2, 2)), np.array([[3.0, 9.0, 4.0]])])
