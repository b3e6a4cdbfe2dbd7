"""Filters learned in one call, saved, compiled, and applied to arrays of all kinds."""

import copy
import math
import pickle
from dataclasses import replace

import jax
import numpy as np
import pytest

from bimonn_jax import learn_filter, load_filter, save_network
from bimonn_jax.data.image_files import Reading
from bimonn_jax.filters import FilterLearner
from bimonn_jax.filters.learning import _best_rank, balanced_thresholds
from bimonn_jax.filters.pairs import f_measure
from bimonn_jax.filters.simple import identity_network

# Sizes around those of tiles, and smaller than any window.
SHAPES = ((1, 1), (2, 40), (31, 33), (64, 32), (65, 70))


def strokes(rng, shape=(48, 96)):
    """Upright strokes, and a copy with gaps and specks; bool."""
    clean = np.zeros(shape, bool)
    for x in rng.choice(shape[1] - 3, 10, replace=False):
        top = rng.integers(0, shape[0] - 20)
        clean[top : top + 20, x : x + 3] = True
    return (clean & (rng.random(shape) > 0.08)) | (rng.random(shape) < 0.02), clean


def as_gray(bits, rng):
    """Dark on light paper, with noise; uint8."""
    return np.clip(np.where(bits, 70, 190) + rng.normal(0, 15, bits.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def of_bits():
    rng = np.random.default_rng(0)
    return learn_filter([strokes(rng) for _ in range(2)], steps=400, window=5)


@pytest.fixture(scope="module")
def of_gray():
    rng = np.random.default_rng(0)
    pairs = [strokes(rng) for _ in range(2)]
    pairs = [(as_gray(x, rng), np.where(y, 0, 255).astype(np.uint8)) for x, y in pairs]
    return learn_filter(pairs, steps=400, window=3)


def test_it_is_better_than_what_needs_no_learning(of_bits, of_gray):
    rng = np.random.default_rng(1)
    noisy, clean = strokes(rng)
    assert of_bits.name == "rank network"
    assert of_bits.scores["rank network"] == max(of_bits.scores.values())
    assert f_measure([of_bits(noisy)], [clean]) > f_measure([noisy], [clean])
    gray = as_gray(noisy, rng)
    found = of_gray(gray)
    assert found.dtype == np.uint8
    assert set(np.unique(found)) == {0, 255}
    assert f_measure([found == 0], [clean]) > f_measure([gray < 130], [clean])
    assert of_gray.reading.foreground == "dark"


@pytest.mark.parametrize("name", ["of_bits", "of_gray"])
def test_tiles_and_c_give_what_the_network_gives(name, request, tmp_path):
    learned = request.getfixturevalue(name)
    compiled = learned.compile(tmp_path / "c")
    rng = np.random.default_rng(2)
    for shape in SHAPES:
        bits = rng.random(shape) < 0.5
        image = bits if name == "of_bits" else as_gray(bits, rng)
        gray = np.where(image, 255, 0) if name == "of_bits" else image
        x = learned.reading.to_images(gray.astype(np.float32))
        expected = np.asarray(learned.network(x))[0, ..., 0]
        found = learned(image)
        np.testing.assert_array_equal(found if name == "of_bits" else found == 0, expected)
        np.testing.assert_array_equal(compiled(image), found)


@pytest.mark.parametrize("name", ["of_bits", "of_gray"])
def test_a_saved_filter_is_the_same(name, request, tmp_path):
    learned = request.getfixturevalue(name)
    learned.save(tmp_path / "filter.npz")
    with pytest.raises(FileExistsError):
        learned.save(tmp_path / "filter.npz")
    read = load_filter(tmp_path / "filter.npz")
    assert (read.reading, read.output, read.name) == (learned.reading, learned.output, learned.name)
    assert read.scores == pytest.approx(learned.scores)
    image = np.random.default_rng(3).random((20, 30)) < 0.5
    np.testing.assert_array_equal(read(image), learned(image))
    assert repr(read) == repr(learned)
    assert "\n" not in repr(read)


def test_a_filter_that_ran_can_be_copied_and_pickled(of_bits):
    image = np.random.default_rng(3).random((20, 30)) < 0.5
    expected = of_bits(image)
    for copied in (pickle.loads(pickle.dumps(of_bits)), copy.deepcopy(of_bits)):
        np.testing.assert_array_equal(copied(image), expected)


def test_a_network_without_reading_is_no_filter(tmp_path):
    network = identity_network()
    save_network(tmp_path / "network.npz", network.architecture, network.params)
    with pytest.raises(ValueError, match="load_network"):
        load_filter(tmp_path / "network.npz")


def test_a_network_with_a_reading_is_a_filter(tmp_path):
    """As `experiments.denoise` writes it."""
    network, told = identity_network(), {"reading": Reading(128).to_json()}
    save_network(tmp_path / "network.npz", network.architecture, network.params, metadata=told)
    image = np.array([[0, 100, 200]], np.uint8)
    np.testing.assert_array_equal(load_filter(tmp_path / "network.npz")(image), [[0, 0, 255]])


def test_dark_ink_and_bools_of_ink():
    """Images and targets that are not alike in what is dark are compared alike all the same."""
    rng = np.random.default_rng(7)
    noisy, clean = strokes(rng)
    gray = np.where(noisy, 0, 255).astype(np.uint8)
    learned = learn_filter([(gray, clean)], steps=200, window=3)
    assert learned.scores["input"] > 0.5
    assert learned.reading.foreground == "dark"
    assert f_measure([learned(gray)], [clean]) > 0.5


def test_where_nothing_is_better_the_input_is_returned_and_said():
    rng = np.random.default_rng(4)
    # What is wanted is there already, in a pattern that no few steps learn.
    noise = rng.random((40, 60)) < 0.5
    learned = learn_filter([(noise, noise)], steps=1, window=9)
    assert learned.scores["input"] == 1
    assert learned.name == "input" or learned.scores[learned.name] == 1
    np.testing.assert_array_equal(learned(noise), noise)


def test_the_same_image_in_any_dtype_gives_the_same(of_bits):
    noisy, _ = strokes(np.random.default_rng(5))
    expected = of_bits(noisy)
    for dtype, most in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.float64, 1)):
        np.testing.assert_array_equal(of_bits(np.where(noisy, most, 0).astype(dtype)), expected)


def test_fit_and_predict():
    rng = np.random.default_rng(0)
    x, y = zip(*[strokes(rng) for _ in range(2)], strict=True)
    learner = FilterLearner(steps=200, window=3)
    with pytest.raises(AttributeError, match="fit"):
        learner.predict(x)
    assert learner.fit(x, y) is learner
    np.testing.assert_array_equal(learner.predict(x)[1], learner.filter_(x[1]))
    again = FilterLearner().set_params(**learner.get_params())
    assert again == learner
    with pytest.raises(ValueError, match="settings"):
        learner.set_params(depth=3)
    with pytest.raises(ValueError, match="as many"):
        learner.fit(x, y[:1])


def test_the_best_rank_of_all():
    rng = np.random.default_rng(6)
    for most in (1, 2, 7):
        counts, wanted = rng.integers(0, most + 1, (2, 5, 4)), rng.random((2, 5, 4)) < 0.4
        scores = [f_measure(list(counts >= rank), list(wanted)) for rank in range(1, most + 1)]
        assert scores[_best_rank(counts, wanted, most) - 1] == max(scores)


def test_where_nothing_is_wanted_the_best_rank_finds_nothing():
    counts = np.array([[0, 3, 1]])
    assert _best_rank([counts], [np.zeros((1, 3), bool)], 7) == 4


def test_thresholds_lie_where_the_foreground_is():
    # 1 % of the pixels are foreground, between 200 and 255; paper is below 100.
    x = np.concatenate([np.linspace(0, 100, 9900), np.linspace(200, 255, 100)])
    y = x >= 200
    ((*row,),) = balanced_thresholds([x.reshape(100, 100, 1)], [y.reshape(100, 100)], 5)
    assert sum(t >= 200 for t in row) >= 2
    flat = np.zeros((4, 4, 2))
    for row in balanced_thresholds([flat], [flat[..., 0] > 0], 3):
        assert row[0] < row[1] < row[2]


@pytest.mark.parametrize(
    ("pairs", "settings", "message"),
    [
        ([], {}, "empty"),
        ([(np.zeros((40, 40), bool),) * 3], {}, "3 images"),
        ([(np.zeros((40, 40), bool), np.zeros((40, 41), bool))], {}, "its target"),
        ([(np.zeros((40, 20), bool),) * 2], {}, "32 columns"),
        ([(np.zeros((40, 40), bool),) * 2], {"window": 4}, "odd"),
        ([(np.zeros((40, 40), bool),) * 2], {"seconds": 0}, "seconds"),
        ([(np.zeros((40, 40), bool),) * 2], {"seconds": math.nan}, "seconds"),
        ([(np.zeros((40, 40), bool),) * 2], {"seconds": math.inf}, "seconds"),
        ([(np.zeros((40, 40), bool),) * 2], {"steps": 0}, "steps"),
        ([(np.zeros((40, 40), bool),) * 2], {"steps": math.nan}, "steps"),
    ],
)
def test_bad_arguments(pairs, settings, message):
    with pytest.raises(ValueError, match=message):
        learn_filter(pairs, **settings)


def test_a_filter_that_cannot_be_compiled_says_why(of_bits, tmp_path):
    twice = identity_network()
    (layer,) = twice.architecture
    branch = replace(layer, name="branch", inputs=("input",))
    params = {**twice.params, "branch": twice.params[layer.name]}
    network = type(twice)((layer, branch), params)
    with pytest.raises(ValueError, match="branches"):
        replace(of_bits, network=network).compile(tmp_path)


def test_the_key_decides(of_bits):
    rng = np.random.default_rng(0)
    pairs = [strokes(rng) for _ in range(2)]
    again = learn_filter(pairs, steps=400, window=5, key=jax.random.key(0))
    assert jax.tree.all(jax.tree.map(np.array_equal, again.network.params, of_bits.network.params))
