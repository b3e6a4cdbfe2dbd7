import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.data.page import degrade, degraded_crops, load_page, salt_and_pepper
from bimonn_jax.data.random_shapes import diskorect
from bimonn_jax.morphology.footprints import FOOTPRINTS, OPERATORS, footprint, operator
from bimonn_jax.training.baselines import best_handmade, handmade_filters, median_3x3
from bimonn_jax.training.metrics import dice


def test_diskorect_is_seeded_balanced_and_made_of_blobs():
    draw = jax.jit(lambda key: diskorect(key, 64))
    x = np.asarray(draw(jax.random.key(0)))
    assert x.shape == (64, 50, 50)
    assert x.dtype == bool
    np.testing.assert_array_equal(x, diskorect(jax.random.key(0), 64))
    assert (x != draw(jax.random.key(1))).any()
    assert 0.3 < x.mean() < 0.7
    clean = np.asarray(diskorect(jax.random.key(0), 64, noise=0.0))
    flips = np.mean(x != clean)
    assert 0.045 < flips < 0.055
    blobs = [ndimage.label(image if image.mean() < 0.5 else ~image)[1] for image in clean]
    assert np.median(blobs) < 15


def test_half_of_diskorect_is_complemented():
    empty = np.asarray(diskorect(jax.random.key(3), 400, size=4, shapes=0, noise=0.0))
    inverted = empty.all(axis=(1, 2))
    assert (inverted | ~empty.any(axis=(1, 2))).all()
    assert 150 < inverted.sum() < 250


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 2.0}, "noise is a probability"),
        ({"holes": -1}, "holes"),
        ({"batch": 0}, "batch and size must be >= 1; got 0 and 50"),
        ({"size": 0}, "batch and size must be >= 1; got 2 and 0"),
    ],
)
def test_diskorect_names_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        diskorect(jax.random.key(0), **({"batch": 2} | options))


def test_footprints_of_the_zoo_differ_contain_their_center_and_some_are_asymmetric():
    zoo = {name: footprint(name, 5) for name in FOOTPRINTS}
    assert len({S.tobytes() for S in zoo.values()}) == len(zoo)
    assert all(S.shape == (5, 5) and S[2, 2] for S in zoo.values())
    asymmetric = {name for name, S in zoo.items() if (S[::-1, ::-1] != S).any()}
    assert asymmetric == {"corner", "half_disk"}


def test_the_zoo_is_scipys_for_symmetric_footprints_away_from_the_border():
    x = np.array(diskorect(jax.random.key(0), 1)[0])
    inner = (slice(8, -8), slice(8, -8))
    S = footprint("disk", 5)
    opened, closed = ndimage.binary_opening(x, S), ndimage.binary_closing(x, S)
    expected = {
        "dilation": ndimage.binary_dilation(x, S),
        "erosion": ndimage.binary_erosion(x, S),
        "opening": opened,
        "closing": closed,
        "white_tophat": x & ~opened,
        "black_tophat": closed & ~x,
    }
    assert set(expected) == set(OPERATORS)
    for name, image in expected.items():
        np.testing.assert_array_equal(operator(name, S)(jnp.asarray(x))[inner], image[inner])


def test_unknown_names_and_even_sizes_are_refused():
    with pytest.raises(ValueError, match=r"footprint must be one of .*disk.*got 'disc'"):
        footprint("disc", 5)
    with pytest.raises(ValueError, match=r"operator must be one of .*got 'median'"):
        operator("median", np.ones((3, 3), bool))
    with pytest.raises(ValueError, match=r"size must be odd and >= 1.*got 4"):
        footprint("disk", 4)


@pytest.mark.parametrize("name", ["page", "text"])
def test_the_scan_is_split_by_area(name):
    page = load_page(name)
    parts = (page.training, page.validation, page.test)
    assert len({part.shape[0] for part in parts}) == 1
    width = sum(part.shape[1] for part in parts)
    np.testing.assert_allclose([p.shape[1] / width for p in parts], [0.55, 0.1, 0.35], atol=0.01)
    assert all(0.03 < part.mean() < 0.4 for part in parts)


def test_salt_and_pepper_replaces_the_given_share():
    x = bernoulli(jax.random.key(0), 0.2, (400, 400))
    noisy = salt_and_pepper(jax.random.key(1), x, amount=0.1)
    changed = np.asarray(noisy != x)
    assert 0.045 < changed.mean() < 0.055
    assert 0.045 < changed[np.asarray(x)].mean() < 0.055
    with pytest.raises(ValueError, match="amount is a probability"):
        salt_and_pepper(jax.random.key(1), x, amount=1.5)


def test_a_bad_copy_has_holes_lines_dust_and_salt():
    blank, full = jnp.zeros((300, 300), bool), jnp.ones((300, 300), bool)
    on_blank, on_full = (np.asarray(degrade(jax.random.key(0), image)) for image in (blank, full))
    # Lines cover about 5 %, salt half of 5 %; holes about 4 %, pepper half of 5 %.
    assert 0.05 < on_blank.mean() < 0.1
    assert 0.04 < (~on_full).mean() < 0.08
    runs = np.lib.stride_tricks.sliding_window_view(on_blank, 30, axis=1).all(axis=-1)
    columns = np.lib.stride_tricks.sliding_window_view(on_blank, 30, axis=0).all(axis=-1)
    assert runs.any()
    assert columns.any()
    holes = np.lib.stride_tricks.sliding_window_view(~on_full, (2, 2)).all(axis=(-2, -1))
    assert holes.mean() > 0.005


def test_crops_lie_in_the_image_and_are_freshly_degraded():
    image = jnp.arange(30 * 40).reshape(30, 40) % 7 < 3
    x, y = degraded_crops(jax.random.key(0), image, 5, size=16)
    assert x.shape == y.shape == (5, 16, 16, 1)
    assert 0.05 < (x != y).mean() < 0.2
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(image), (16, 16))
    for crop in np.asarray(y[..., 0]):
        assert (windows == crop).all(axis=(2, 3)).any()
    with pytest.raises(ValueError, match="crops of 31 do not fit"):
        degraded_crops(jax.random.key(0), image, 1, size=31)


def test_the_best_handmade_filter_is_best_of_all_and_better_than_nothing():
    page = load_page().training[:60, :80]
    x = salt_and_pepper(jax.random.key(0), page)
    best = best_handmade(x, page)
    scores = [float(dice(f(x), page)) for f in handmade_filters()]
    assert float(dice(best(x), page)) == max(scores) > float(dice(x, page))
    assert len(scores) == 4 * (2 * len(FOOTPRINTS) + 3)


def test_the_median_is_the_majority_of_nine():
    x = bernoulli(jax.random.key(0), 0.5, (9, 9))
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(x), (3, 3))
    np.testing.assert_array_equal(median_3x3(x)[1:-1, 1:-1], windows.sum(axis=(2, 3)) >= 5)
