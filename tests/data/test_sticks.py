from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from bimonn_jax.data.sticks import noisy_sticks, target_operator
from bimonn_jax.morphology.footprints import stick_footprints


@cache
def compiled(batch, **options):
    return jax.jit(partial(noisy_sticks, batch=batch, **options))


def draw(batch, seed=0, **options):
    x, y = compiled(batch, **options)(jax.random.key(seed))
    return np.asarray(x), np.asarray(y)


def dice(a, b):
    return 2 * np.sum(a & b) / (np.sum(a) + np.sum(b))


def angle_and_length(image):
    """Of the one stick in the image; fails where the pixels are not a stick."""
    rows, columns = np.nonzero(image)
    extents = np.ptp(rows) + 1, np.ptp(columns) + 1
    length = max(extents)
    assert len(rows) == length
    angle = {(1, length): 0, (length, length): 45, (length, 1): 90}[extents]
    if angle == 45:
        # Rows are counted downwards: on a rising diagonal their sum with the columns is constant.
        assert len(np.unique(rows + columns)) == 1
    return angle, length


def test_stick_footprints_are_centered_sticks_at_0_45_and_90_degrees():
    horizontal, diagonal, vertical = np.zeros((3, 5, 5), bool)
    horizontal[2], vertical[:, 2] = True, True
    diagonal[np.arange(5), 4 - np.arange(5)] = True
    np.testing.assert_array_equal(stick_footprints(5), [horizontal, diagonal, vertical])
    np.testing.assert_array_equal(stick_footprints(), stick_footprints(5))
    np.testing.assert_array_equal(stick_footprints(1), np.ones((3, 1, 1), bool))


@pytest.mark.parametrize("length", [0, -1, 4])
def test_sticks_without_a_center_are_refused(length):
    with pytest.raises(ValueError, match=f"length must be odd and >= 1.*got {length}"):
        stick_footprints(length)


def test_batches_are_bool_images_with_one_channel():
    for images in draw(8):
        assert images.shape == (8, 70, 70, 1)
        assert images.dtype == bool
    assert draw(2, size=20)[0].shape == (2, 20, 20, 1)


def test_a_key_fixes_the_batch_and_jit_does_not_change_it():
    first, again, other = draw(8, seed=5), draw(8, seed=5), draw(8, seed=6)
    eager = noisy_sticks(jax.random.key(5), 8)
    for a, b, c in zip(first, again, eager, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    assert not np.array_equal(first[1], other[1])
    assert not np.array_equal(first[1][0], first[1][1])


def test_keys_may_be_mapped():
    keys = jax.random.split(jax.random.key(7), 3)
    mapped = jax.jit(jax.vmap(compiled(2, size=20)))(keys)
    one_by_one = [compiled(2, size=20)(key) for key in keys]
    for images, expected in zip(mapped, zip(*one_by_one, strict=True), strict=True):
        np.testing.assert_array_equal(images, expected)


def test_the_noisy_image_contains_its_target():
    x, y = draw(8)
    assert np.all(x >= y)


@pytest.mark.parametrize(
    ("options", "noise"), [({}, 0.1), ({"noise": 0.0}, 0.0), ({"noise": 0.4}, 0.4)]
)
def test_noise_switches_on_its_share_of_the_background(options, noise):
    x, y = draw(8, **options)
    deviation = np.sqrt(noise * (1 - noise) / np.sum(~y))
    assert abs(np.mean(x[~y]) - noise) <= 4 * deviation


def test_noise_is_independent_of_the_image_and_of_the_pixel_beside():
    x, _ = draw(8, sticks=0, noise=0.1)
    assert abs(np.mean(x[:, 1:] & x[:, :-1]) - 0.01) < 0.002
    assert abs(np.mean(x[1:] & x[:-1]) - 0.01) < 0.002


@pytest.mark.parametrize("size", [15, 70])
def test_each_stick_is_one_segment_wholly_inside_of_length_12_to_15(size):
    _, y = draw(400, size=size, sticks=1)
    drawn = [angle_and_length(image[..., 0]) for image in y]
    for values, expected in zip(zip(*drawn, strict=True), [(0, 45, 90), (12, 13, 14, 15)],
                                strict=True):  # fmt: skip
        found, counts = np.unique(values, return_counts=True)
        np.testing.assert_array_equal(found, expected)
        share = 1 / len(expected)
        assert np.all(np.abs(counts / 400 - share) < 4 * np.sqrt(share * (1 - share) / 400))


def test_sticks_reach_every_place_of_the_image():
    _, y = draw(400, size=8, sticks=8, min_length=3, max_length=5)
    assert y.any(axis=0).all()


def test_all_sticks_are_drawn():
    _, y = draw(8)
    # 30 sticks of 13.5 pixels on average, less what they share where they cross.
    assert 0.8 * 30 * 13.5 < y.sum(axis=(1, 2, 3)).mean() < 30 * 13.5
    components = [ndimage.label(image[..., 0], np.ones((3, 3)))[1] for image in y]
    assert 8 < np.mean(components) <= 30
    assert not draw(2, sticks=0)[1].any()


def test_sticks_of_one_pixel_and_of_the_whole_image():
    _, y = draw(20, sticks=1, size=6, min_length=1, max_length=1)
    np.testing.assert_array_equal(y.sum(axis=(1, 2, 3)), np.ones(20))
    _, y = draw(20, sticks=1, size=6, min_length=6, max_length=6)
    np.testing.assert_array_equal(y.sum(axis=(1, 2, 3)), np.full(20, 6))


def test_the_target_operator_removes_the_noise(transform):
    x, y = draw(8, seed=123)
    restored = np.asarray(transform(target_operator)(x[..., 0]))
    assert dice(restored, y[..., 0]) > 0.97
    assert dice(restored, y[..., 0]) > dice(x, y) + 0.1


def test_the_target_operator_is_the_union_of_the_openings_of_scipy():
    x, _ = draw(8)
    for image in x[:2, ..., 0]:
        openings = [ndimage.binary_opening(image, structure=S) for S in stick_footprints()]
        np.testing.assert_array_equal(target_operator(image), np.any(openings, axis=0))


def test_the_target_operator_keeps_what_is_clean():
    _, y = draw(8)
    np.testing.assert_array_equal(target_operator(jnp.asarray(y[..., 0])), y[..., 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch must be >= 1 and sticks >= 0; got 0 and 30"),
        ({"sticks": -1}, "batch must be >= 1 and sticks >= 0; got 2 and -1"),
        ({"min_length": 0}, "min_length.*0, 15, 70"),
        ({"min_length": 16}, "min_length.*16, 15, 70"),
        ({"size": 14}, "max_length <= size.*12, 15, 14"),
        ({"noise": -0.1}, r"noise is a probability in \[0, 1\]; got -0.1"),
        ({"noise": 1.5}, "noise is a probability"),
        ({"noise": float("nan")}, "noise is a probability"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        noisy_sticks(jax.random.key(0), **({"batch": 2} | options))
