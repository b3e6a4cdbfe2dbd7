"""Rank networks over windows: what is trained is what runs."""

import jax
import numpy as np
import pytest

from bimonn_jax.data.windows import draw_windows, every_window
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.training import window_networks
from bimonn_jax.training.window_networks import train_on_windows

SIZE = (3, 3)


def majority(image):
    """Whether most of 3 x 3 pixels are set, zero outside."""
    return every_window(image, SIZE).sum(axis=1).reshape(image.shape[:2]) >= 5


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.random((40, 40, 1)) < 0.5 for _ in range(2)]


@pytest.fixture(scope="module")
def trained(images):
    rows = []
    bits, target = draw_windows(images, [majority(i) for i in images], SIZE, 3200, rng())
    key = jax.random.key(0)
    found = train_on_windows(
        bits,
        target,
        SIZE,
        key=key,
        features=(12, 6),
        inputs=(5, 4),
        steps=400,
        callback=rows.append,
    )
    return found, rows


def rng():
    return np.random.default_rng(1)


def test_every_neuron_reads_as_many_literals_as_was_said(trained):
    found, _ = trained
    for (footprint, rank), inputs in zip(found.hidden, (5, 4), strict=True):
        assert (footprint.sum(axis=0) == inputs).all()
        assert rank.dtype == np.int32
        # Never a bit and its complement.
        half = len(footprint) // 2
        assert not (footprint[:half] & footprint[half:]).any()


def test_layers_count_as_the_network_does(trained, images):
    found, _ = trained
    counts = found.counts(every_window(images[0], SIZE)).reshape(images[0].shape[:2])
    for rank in range(len(found.votes) + 2):
        layers, params = found.layers(rank)
        y = BooleanNetwork(layers, params)(images[0][None])
        np.testing.assert_array_equal(np.asarray(y)[0, ..., 0], counts >= rank)


def test_it_learns(trained, images):
    found, rows = trained
    assert [row["step"] for row in rows] == [200, 400]
    assert rows[-1]["loss"] < rows[0]["loss"]
    counts = found.counts(every_window(images[1], SIZE)).reshape(images[1].shape[:2])
    wrong = min((majority(images[1]) != (counts >= rank)).mean() for rank in range(8))
    assert wrong < 0.2


def test_what_is_silent_starts_anew(monkeypatch, images):
    """Neurons far from their thresholds have no gradients, and would stay as they are."""
    starts, start = [], window_networks._start

    def silent_at_first(key, sizes):
        latents, moments = start(key, sizes)
        starts.append(key)
        if len(starts) == 1:
            latents = tuple({**layer, "shift": layer["shift"] + 30} for layer in latents)
        return latents, moments

    monkeypatch.setattr(window_networks, "_start", silent_at_first)
    bits, target = draw_windows(images, [majority(i) for i in images], SIZE, 3200, rng())
    rows = []
    settings = {"features": (12, 6), "inputs": (5, 4), "steps": 2000, "callback": rows.append}
    train_on_windows(bits, target, SIZE, key=jax.random.key(0), **settings)
    assert len(starts) == 2
    assert rows[-1]["loss"] < 0.5 < rows[1]["loss"]


@pytest.mark.parametrize("length", [{"steps": 200}, {"steps": 400}, {"seconds": 1e-3}])
def test_a_short_training_is_not_thrown_away(monkeypatch, length):
    """The loss of its beginning is above that of a constant where the foreground is rare."""
    starts, start = [], window_networks._start
    monkeypatch.setattr(
        window_networks, "_start", lambda *given: starts.append(given) or start(*given)
    )
    bits = rng().random((4000, 9)) < 0.5
    target = rng().random(4000) < 0.01
    settings = {"features": (12, 6), "inputs": (5, 4), **length}
    train_on_windows(bits, target, (3, 3), key=jax.random.key(0), **settings)
    assert len(starts) == 1


def test_the_same_key_gives_the_same_network(images):
    bits, target = draw_windows(images, [majority(i) for i in images], SIZE, 500, rng())
    one, two = (
        train_on_windows(
            bits, target, SIZE, key=jax.random.key(3), features=(4,), inputs=(4,), steps=200
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.hidden[0][0], two.hidden[0][0])
    np.testing.assert_array_equal(one.votes, two.votes)


def test_time_ends_the_training(images):
    bits, target = draw_windows(images, [majority(i) for i in images], SIZE, 500, rng())
    rows = []
    found = train_on_windows(
        bits,
        target,
        SIZE,
        key=jax.random.key(3),
        features=(4,),
        inputs=(4,),
        seconds=1e-3,
        callback=rows.append,
    )
    # One call compiles, the next finds that the time is over.
    assert found.steps == 400
    assert [row["done"] for row in rows] == [0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 1, "seconds": 1.0}, "one of both"),
        ({}, "one of both"),
        ({"steps": 1, "features": (4, 4)}, "as many positive counts"),
        ({"steps": 1, "inputs": (0,)}, "as many positive counts"),
        ({"steps": 1, "kernel_size": (2, 2)}, "do not go together"),
    ],
)
def test_bad_arguments(changes, message):
    settings = {"kernel_size": SIZE, "features": (4,), "inputs": (4,), **changes}
    bits = np.zeros((10, 9), bool)
    with pytest.raises(ValueError, match=message):
        train_on_windows(bits, bits[:, 0], key=jax.random.key(0), **settings)
