from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage, signal

from bimonn_jax import morphology
from bimonn_jax.morphology.levels import from_level_sets, level_sets, on_level_sets
from bimonn_jax.morphology.operators import (
    black_tophat,
    closing,
    dilation,
    embed_in_odd,
    erosion,
    intersection,
    opening,
    reflect,
    union,
    white_tophat,
)
from bimonn_jax.morphology.windows import pad_widths
from tests.support import oracles

BORDERS = ["zero", "edge", "reflect", "wrap"]
SHAPE = (9, 10)
OPERATORS = {dilation: oracles.dilation, erosion: oracles.erosion}


def footprint(rows):
    return np.array([[c == "#" for c in row] for row in rows.split()])


FOOTPRINTS = {
    "pixel": footprint("#"),
    "cross": footprint(".#. ### .#."),
    "corner": footprint("... .## ..#"),
    "off-center": footprint("..#.# ..... #...."),
    "2x2": footprint("## .#"),
    "2x3": footprint("#.. .##"),
    "4x5": footprint("#...# .#... ..... ..##."),
    "full": footprint("### ### ###"),
    "empty": footprint("... ..."),
}
operators = pytest.mark.parametrize("operator", OPERATORS, ids=lambda fn: fn.__name__)
borders = pytest.mark.parametrize("border", BORDERS)
footprints = pytest.mark.parametrize("S", FOOTPRINTS.values(), ids=FOOTPRINTS.keys())

images = arrays(bool, SHAPE)
some_footprints = st.sampled_from([(3, 3), (2, 3)]).flatmap(lambda shape: arrays(bool, shape))


def random_images(seed, density, count=3):
    return np.random.default_rng(seed).random((count, *SHAPE)) < density


def included(a, b):
    return bool(np.all(np.asarray(a) <= np.asarray(b)))


def interior(x, margin):
    return np.asarray(x)[..., margin:-margin, margin:-margin]


@operators
@footprints
@borders
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((0, 3), (1, 2))])
def test_operators_are_their_definitions(operator, S, border, padding):
    x = random_images(0, 0.3 if operator is dilation else 0.7)
    out = operator(x, S, padding=padding, border=border)
    widths = pad_widths(S.shape, padding)
    expected = [OPERATORS[operator](image, S, widths, border) for image in x]
    assert out.dtype == bool
    np.testing.assert_array_equal(out, expected)


@operators
@borders
def test_images_may_be_transformed(operator, border, transform):
    x, S = random_images(1, 0.5), FOOTPRINTS["off-center"]
    out = transform(lambda x: operator(x, S, border=border))(x)
    np.testing.assert_array_equal(out, operator(x, S, border=border))


@operators
def test_footprints_may_be_traced_and_mapped(operator, transform):
    x = random_images(2, 0.5)[0]
    several = np.random.default_rng(3).random((4, 3, 2)) < 0.4
    expected = [OPERATORS[operator](x, S) for S in several]
    np.testing.assert_array_equal(jax.vmap(operator, (None, 0))(x, several), expected)
    traced = [jax.jit(operator)(x, S) for S in several]
    np.testing.assert_array_equal(traced, expected)


@borders
def test_the_empty_footprint_gives_nothing_for_a_dilation_and_everything_for_an_erosion(border):
    x = random_images(4, 0.5)
    assert not np.any(dilation(x, FOOTPRINTS["empty"], border=border))
    assert np.all(erosion(x, FOOTPRINTS["empty"], border=border))


@given(images, some_footprints)
def test_erosion_is_dual_to_dilation_by_the_same_footprint(x, S):
    for border in ("edge", "reflect", "wrap"):
        expected = ~dilation(~x, S, border=border)
        np.testing.assert_array_equal(erosion(x, S, border=border), expected)
    np.testing.assert_array_equal(erosion(x, S, padding="VALID"), ~dilation(~x, S, padding="VALID"))


@given(images, images, some_footprints, st.booleans())
def test_dilation_by_the_reflected_footprint_and_erosion_are_adjoint(x, y, S, is_below):
    S = embed_in_odd(S)
    dilated = np.asarray(dilation(x, reflect(S), border="wrap"))
    y = y | dilated if is_below else y
    assert included(dilated, y) == included(x, erosion(y, S, border="wrap"))


@given(images, images, some_footprints, st.sampled_from(BORDERS))
def test_operators_increase_with_the_image(x, y, S, border):
    for operator in (dilation, erosion, opening, closing):
        assert included(operator(x, S, border=border), operator(x | y, S, border=border))


@given(images, arrays(bool, (3, 3)), arrays(bool, (3, 3)))
def test_dilation_increases_and_erosion_decreases_with_the_footprint(x, S, T):
    assert included(dilation(x, S), dilation(x, S | T))
    assert included(erosion(x, S | T), erosion(x, S))


@given(images, images, some_footprints, st.sampled_from(BORDERS))
def test_dilation_commutes_with_union_and_erosion_with_intersection(x, y, S, border):
    for operator, join in [(dilation, union), (erosion, intersection)]:
        apply = partial(operator, footprint=S, border=border)
        np.testing.assert_array_equal(apply(join([x, y])), join([apply(x), apply(y)]))


@given(images, some_footprints, st.integers(-9, 9), st.integers(-9, 9))
def test_operators_commute_with_translations_of_a_torus(x, S, down, right):
    for operator in (dilation, erosion, opening, closing):
        moved = operator(np.roll(x, (down, right), (0, 1)), S, border="wrap")
        expected = np.roll(operator(x, S, border="wrap"), (down, right), (0, 1))
        np.testing.assert_array_equal(moved, expected)


@given(images, arrays(bool, (3, 3)), arrays(bool, (3, 5)))
def test_two_operators_in_a_row_are_one_by_the_minkowski_sum(x, S, T):
    total = signal.convolve2d(S.astype(int), T.astype(int)) > 0
    for operator in (dilation, erosion):
        twice = operator(operator(x, S, border="wrap"), T, border="wrap")
        np.testing.assert_array_equal(twice, operator(x, total, border="wrap"))


@given(images, some_footprints)
def test_an_opening_is_the_union_of_the_translates_that_fit(x, S):
    np.testing.assert_array_equal(opening(x, S), oracles.opening(x, S))


def all_of_size(rows, columns):
    """Every bool array of that size, (2^n, rows, columns)."""
    return oracles.enumerate_binary(rows * columns).reshape(-1, rows, columns)


@borders
@pytest.mark.parametrize("size", [(2, 2), (1, 3), (3, 1)])
def test_laws_of_openings_and_closings_hold_for_all_small_images_and_footprints(border, size):
    x = all_of_size(3, 4)
    for S in all_of_size(*size):
        opened, closed = (np.asarray(f(x, S, border=border)) for f in (opening, closing))
        assert included(opened, x)
        if border != "zero":
            assert included(x, closed)
        if border in ("zero", "wrap"):
            np.testing.assert_array_equal(opening(opened, S, border=border), opened)
        if border == "wrap":
            np.testing.assert_array_equal(closing(closed, S, border=border), closed)


@given(images, some_footprints, st.sampled_from(BORDERS))
def test_an_opening_is_anti_extensive_with_every_border(x, S, border):
    opened = opening(x, S, border=border)
    assert included(opened, x)
    if border in ("zero", "wrap"):
        np.testing.assert_array_equal(opening(opened, S, border=border), opened)


@given(images, some_footprints)
def test_a_closing_is_extensive_and_idempotent_on_a_torus(x, S):
    closed = closing(x, S, border="wrap")
    assert included(x, closed)
    np.testing.assert_array_equal(closing(closed, S, border="wrap"), closed)


@given(images, some_footprints, st.sampled_from(BORDERS))
def test_openings_and_closings_keep_their_laws_away_from_the_border(x, S, border):
    opened, closed = opening(x, S, border=border), closing(x, S, border=border)
    assert included(interior(opened, 1), interior(x, 1))
    assert included(interior(x, 1), interior(closed, 1))
    for operator, once in [(opening, opened), (closing, closed)]:
        twice = operator(once, S, border=border)
        np.testing.assert_array_equal(interior(twice, 3), interior(once, 3))


@footprints
def test_an_opening_is_dual_to_a_closing_on_a_torus(S):
    x = random_images(5, 0.5)
    expected = ~closing(~x, S, border="wrap")
    np.testing.assert_array_equal(opening(x, S, border="wrap"), expected)


@borders
@pytest.mark.parametrize("name", ["opening", "closing", "white_tophat", "black_tophat"])
def test_compound_operators_may_be_transformed(name, border, transform):
    x, S = random_images(6, 0.6), FOOTPRINTS["2x3"]
    operator = partial(getattr(morphology, name), footprint=S, border=border)
    np.testing.assert_array_equal(transform(operator)(x), operator(x))


@footprints
@borders
def test_top_hats_are_what_opening_and_closing_change(S, border):
    x = random_images(7, 0.5)
    opened, closed = opening(x, S, border=border), closing(x, S, border=border)
    np.testing.assert_array_equal(white_tophat(x, S, border=border), x & ~opened)
    np.testing.assert_array_equal(black_tophat(x, S, border=border), closed & ~x)


@footprints
@operators
def test_embedding_in_an_odd_size_keeps_the_operator(S, operator):
    x, odd = random_images(8, 0.5), embed_in_odd(S)
    assert all(k % 2 == 1 for k in odd.shape)
    np.testing.assert_array_equal(operator(x, odd), operator(x, S))
    np.testing.assert_array_equal(reflect(reflect(S)), odd)


@footprints
def test_a_reflected_footprint_selects_the_opposite_offsets(S):
    def offsets(T):
        return {tuple(at - (np.array(T.shape) - 1) // 2) for at in np.argwhere(T)}

    opposite = {tuple(-np.array(o)) for o in offsets(S)}
    assert offsets(np.asarray(reflect(S))) == opposite


def test_union_and_intersection_are_any_and_all(transform):
    x = random_images(9, 0.5, count=6).reshape(2, 3, *SHAPE)
    np.testing.assert_array_equal(transform(lambda a, b, c: union([a, b, c]))(*x.swapaxes(0, 1)),
                                  x.any(axis=1))  # fmt: skip
    np.testing.assert_array_equal(
        transform(lambda a, b, c: intersection([a, b, c]))(*x.swapaxes(0, 1)), x.all(axis=1)
    )
    np.testing.assert_array_equal(union([x[0]]), x[0])


def test_level_sets_are_on_at_and_above_their_threshold(transform):
    x = np.array([[[0, 50], [49, 51], [255, 150]]], np.uint8)
    bits = transform(lambda x: level_sets(x, [50, 150]))(x)
    expected = [[[0, 0, 1, 0], [0, 0, 1, 0], [1, 1, 1, 1]]]
    assert bits.dtype == bool
    np.testing.assert_array_equal(bits, expected)


def test_each_channel_may_have_its_own_thresholds():
    x = jnp.array([[0.3, 0.3], [0.8, 0.8]])
    bits = level_sets(x, [[0.2, 0.5], [0.4, 0.9]])
    np.testing.assert_array_equal(bits, [[1, 0, 0, 0], [1, 1, 1, 0]])


@pytest.mark.parametrize("base", [0.0, -1.0, 10.0])
def test_summing_the_level_sets_gives_the_image_back(base, transform):
    thresholds = base + np.array([0.5, 1.25, 4.0, 5.0], np.float32)
    values = np.append(np.float32(base), thresholds)
    x = np.random.default_rng(10).choice(values, (3, 5, 6))

    def there_and_back(x):
        return from_level_sets(level_sets(x[..., None], thresholds), thresholds, base=base)

    np.testing.assert_array_equal(transform(there_and_back)(x), x)


@pytest.mark.parametrize("operator", [dilation, erosion, opening], ids=lambda fn: fn.__name__)
def test_on_level_sets_is_the_flat_grayscale_operator(operator, transform):
    thresholds = [20, 60, 100, 255]
    x = np.random.default_rng(11).choice([0, *thresholds], (2, *SHAPE)).astype(np.uint8)
    S = FOOTPRINTS["off-center"]
    ours = transform(lambda x: on_level_sets(lambda bits: operator(bits, S), x, thresholds))(x)
    grey = getattr(ndimage, f"grey_{operator.__name__}")
    # SciPy mirrors the footprint of a lone dilation.
    theirs = S[::-1, ::-1] if operator is dilation else S
    for image, result in zip(x, ours, strict=True):
        np.testing.assert_array_equal(
            result, grey(image, footprint=theirs, mode="constant", cval=0)
        )


def test_on_level_sets_rounds_other_values_down_to_a_threshold():
    x = jnp.array([[0.0, 0.4, 0.5, 0.9, 1.0, 7.0]])
    rounded = on_level_sets(lambda bits: bits, x, [0.5, 1.0])
    np.testing.assert_array_equal(rounded, [[0, 0, 0.5, 0.5, 1, 1]])


IMAGE, SQUARE = jnp.zeros(SHAPE, bool), jnp.ones((3, 3), bool)


@operators
@pytest.mark.parametrize(
    ("x", "S", "options", "message"),
    [
        (IMAGE.astype(float), SQUARE, {}, "x must be bool, got float32"),
        (IMAGE, SQUARE.astype(int), {}, "footprint must be bool, got int32"),
        (IMAGE[0], SQUARE, {}, r"x has shape \(10,\); \(\.\.\., height, width\) was expected"),
        (IMAGE, SQUARE[0], {}, r"footprint has shape \(3,\)"),
        (
            IMAGE,
            SQUARE[None],
            {},
            r"footprint has shape \(1, 3, 3\); \(height, width\) was expected",
        ),
        (IMAGE, SQUARE[:0], {}, "footprint"),
        (IMAGE, SQUARE, {"border": "constant"}, "border must be"),
        (IMAGE, SQUARE, {"padding": "FULL"}, "padding must be"),
        (IMAGE[:2], SQUARE, {"padding": "VALID"}, "the image has 2"),
    ],
)
def test_wrong_arguments_are_named(operator, x, S, options, message):
    with pytest.raises(ValueError, match=message):
        operator(x, S, **options)
    with pytest.raises(ValueError, match=message):
        jax.jit(partial(operator, **options))(x, S)


@pytest.mark.parametrize("thresholds", [[], [1.0, 1.0], [2.0, 1.0], [[0.1, 0.2]], [[[1.0]]],
                                        [[1.0, 2.0], [2.0, 1.0]], [0.1, float("nan")]])  # fmt: skip
def test_thresholds_that_do_not_increase_or_match_the_channels_are_refused(thresholds):
    with pytest.raises(ValueError, match="thresholds"):
        level_sets(jnp.zeros((4, 2)), thresholds)


def test_summing_needs_one_threshold_per_level_set():
    with pytest.raises(ValueError, match="3 level sets for 2 thresholds"):
        from_level_sets(jnp.zeros((4, 3), bool), [0.5, 1.0])


@pytest.mark.parametrize("join", [union, intersection])
def test_joining_no_images_is_refused(join):
    with pytest.raises(ValueError, match="images"):
        join([])
