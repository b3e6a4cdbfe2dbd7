import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from bimonn_jax.morphology.windows import pad_image, pad_widths, shifted_views
from tests.support import oracles

BORDERS = ["zero", "edge", "reflect", "wrap"]
KERNEL_SIZES = [(1, 1), (3, 3), (2, 2), (2, 5), (4, 3)]


@pytest.mark.parametrize("kernel_size", KERNEL_SIZES)
def test_same_and_valid_are_those_of_lax(kernel_size):
    for name in ("SAME", "VALID"):
        expected = lax.padtype_to_pads((20, 30), kernel_size, (1, 1), name)
        assert pad_widths(kernel_size, name) == tuple(map(tuple, expected))


@pytest.mark.parametrize("kernel_size", KERNEL_SIZES)
def test_same_leaves_the_center_at_half_of_the_size_rounded_down(kernel_size):
    assert pad_widths(kernel_size, "SAME") == oracles.same_widths(kernel_size)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (0, ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ((1, 3), ((1, 1), (3, 3))),
        ([1, (0, 4)], ((1, 1), (0, 4))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3))),
    ],
)
def test_ints_and_pairs_give_their_own_widths(padding, expected):
    assert pad_widths((3, 5), padding) == expected


@pytest.mark.parametrize(
    "padding",
    [
        "same", "CIRCULAR", "", -1, (1, -1), ((0, 1), (-1, 0)), (1,), (1, 2, 3), (),
        ((1, 2, 3), (1, 1)), None, 1.5, (1.5, 1), ((0.5, 1), (1, 1)), ("SAME", "SAME"),
    ],
)  # fmt: skip
def test_any_other_padding_is_refused(padding):
    with pytest.raises(ValueError, match="padding must be"):
        pad_widths((3, 3), padding)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32])
@pytest.mark.parametrize("padding", ["SAME", "VALID", 2, ((0, 3), (1, 2))])
def test_pad_image_is_numpy_pad_and_keeps_the_dtype(border, dtype, padding, transform):
    x = np.random.default_rng(0).integers(0, 2, (2, 3, 5, 6)).astype(dtype)
    padded = transform(lambda x: pad_image(x, (4, 3), padding=padding, border=border))(x)
    assert padded.dtype == dtype
    np.testing.assert_array_equal(padded, oracles.pad(x, pad_widths((4, 3), padding), border))


@pytest.mark.parametrize("border", BORDERS)
def test_pad_image_pads_the_axes_it_is_given(border):
    x = np.random.default_rng(1).normal(size=(2, 5, 6, 3)).astype(np.float32)
    padded = pad_image(x, (2, 3), border=border, spatial_axes=(1, 2))
    channels_first = oracles.pad(np.moveaxis(x, -1, 1), ((0, 1), (1, 1)), border)
    np.testing.assert_array_equal(padded, np.moveaxis(channels_first, 1, -1))


@pytest.mark.parametrize(("border", "most"), [("reflect", 3), ("wrap", 4)])
def test_a_border_borrows_at_most_the_pixels_that_the_image_has(border, most):
    x = jnp.arange(4.0).reshape(4, 1)
    fits = pad_image(x, (1, 1), padding=((most, 0), (0, 0)), border=border)
    np.testing.assert_array_equal(fits, oracles.pad(np.asarray(x), ((most, 0), (0, 0)), border))
    for side in [(most + 1, 0), (0, most + 1)]:
        with pytest.raises(ValueError, match=f"border '{border}'"):
            pad_image(x, (1, 1), padding=(side, (0, 0)), border=border)


def test_an_unknown_border_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"border must be one of .*'edge'.*'mirror'"):
        pad_image(jnp.zeros((4, 4)), (3, 3), border="mirror")


@pytest.mark.parametrize("shape", [(2, 8), (8, 2)])
def test_a_kernel_larger_than_the_padded_image_is_refused(shape):
    with pytest.raises(ValueError, match="the image has 2"):
        pad_image(jnp.zeros(shape), (3, 3), padding="VALID")


def test_errors_are_raised_while_tracing():
    with pytest.raises(ValueError, match="border"):
        jax.jit(lambda x: pad_image(x, (3, 3), border="mirror"))(jnp.zeros((4, 4)))


@pytest.mark.parametrize("kernel_size", KERNEL_SIZES)
def test_shifted_views_are_what_each_kernel_position_reads(kernel_size):
    x = np.random.default_rng(2).normal(size=(5, 6)).astype(np.float32)
    views = dict(shifted_views(jnp.asarray(x), kernel_size))
    assert list(views) == list(np.ndindex(*kernel_size))
    for row, column, window in oracles.windows(x, kernel_size):
        for at, view in views.items():
            assert view[row, column] == window[at]
    for view in views.values():
        assert view.shape == (5 - kernel_size[0] + 1, 6 - kernel_size[1] + 1)
