"""The runtime on packed words computes what the network computes."""

import gc
import weakref
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from bimonn_jax.deployment.packed import (
    PackedNetwork,
    dilate_strips,
    erode_strips,
    pack_samples,
    pack_strips,
    packed_by_shape,
    rank_strips,
    unpack_samples,
    unpack_strips,
)
from bimonn_jax.morphology.operators import dilation, erosion
from tests.support.boolean_networks import NAMES, RANK_NAMES, examples, inputs, network, rounding


@contextmanager
def collector_off():
    """No garbage is collected but what nothing refers to."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("name", "count"),
    [
        *((name, 65) for name in NAMES + RANK_NAMES),
        *((name, 1) for name in NAMES),
        # Words are the same, and so is what ranks are counted in.
        *(pytest.param(name, 1, marks=pytest.mark.slow) for name in RANK_NAMES),
    ],
)
def test_equal_outputs(name, count):
    plain, shape = network(name)
    x, expected = examples(name, count)
    found = PackedNetwork(plain, shape)(x)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding(plain))


@pytest.mark.parametrize("name", ["wide", "large", "pooled"])
def test_many_blocks_of_words(name, monkeypatch):
    monkeypatch.setattr("bimonn_jax.deployment.packed._WORDS_AT_ONCE", {"cpu": 1, "other": 1})
    plain, shape = network(name, seed=1)
    x, expected = examples(name, 150, seed=1)
    np.testing.assert_array_equal(PackedNetwork(plain, shape)(x), expected)


@pytest.mark.parametrize("samples", [0, 1, 32, 50])
def test_packing_samples(samples):
    x = np.random.default_rng(0).random((samples, 3, 2)) < 0.5
    words = pack_samples(jnp.asarray(x))
    assert words.shape == (-(-samples // 32), 3, 2)
    assert words.dtype == jnp.uint32
    np.testing.assert_array_equal(unpack_samples(words, samples), x)


@pytest.mark.parametrize("height", [1, 31, 32, 70, 96])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (2, 4), (7, 7)])
def test_strips(height, size):
    rng = np.random.default_rng(height)
    images = jnp.asarray(rng.random((2, height, 6, 3)) < 0.5)
    footprint = rng.random(size) < 0.5
    words = pack_strips(images)
    np.testing.assert_array_equal(unpack_strips(words, height), images)
    planes = jnp.moveaxis(images, -1, 1)
    for on_words, operator in ((dilate_strips, dilation), (erode_strips, erosion)):
        # Twice: what the first has left below the image must not come back.
        twice = on_words(on_words(words, footprint, height), footprint, height)
        expected = operator(operator(planes, footprint), footprint)
        np.testing.assert_array_equal(unpack_strips(twice, height), jnp.moveaxis(expected, 1, -1))


@pytest.mark.parametrize("height", [1, 31, 32, 70])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (2, 4), (7, 7)])
def test_strips_of_all_ranks(height, size):
    rng = np.random.default_rng(height)
    images = rng.random((2, height, 6, 3)) < 0.5
    footprint = rng.random(size) < 0.7
    words = pack_strips(jnp.asarray(images))
    centered = [(0, 0), *(((k - 1) // 2, k // 2) for k in size), (0, 0)]
    windows = sliding_window_view(np.pad(images, centered), size, axis=(1, 2))
    counts = (windows & footprint).sum(axis=(-2, -1))
    for rank in {-1, 0, *range(1, footprint.sum() + 3, 4), footprint.sum() - 1, footprint.sum()}:
        found = unpack_strips(rank_strips(words, footprint, rank, height), height)
        np.testing.assert_array_equal(found, counts >= rank)


def test_within_jit():
    plain, shape = network("ternary")
    x, expected = examples("ternary", 40)
    packed = PackedNetwork(plain, shape)
    np.testing.assert_array_equal(jax.jit(packed.__call__)(x), expected)


def test_any_number_of_samples():
    plain, shape = network("ternary")
    packed = PackedNetwork(plain, shape)
    x, expected = examples("ternary", 600)
    for count in (2, 31, 32, 33, 63, 64, 96, 97):
        np.testing.assert_array_equal(packed(x[:count]), expected[:count])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ternary", "one operator", "edge"])
def test_every_number_of_samples(name):
    plain, shape = network(name)
    packed = PackedNetwork(plain, shape)
    x, expected = examples(name, 600)
    for count in range(1, 101):
        np.testing.assert_array_equal(packed(x[:count]), expected[:count])


def test_a_network_that_is_gone_leaves_nothing_compiled():
    plain, shape = network("wide")
    packed = PackedNetwork(plain, shape)
    packed(inputs("wide", shape, 3))
    packed(inputs("wide", shape, 40))
    gone = weakref.ref(packed)
    with collector_off():
        del packed
        # Nothing refers to it in a circle, and no cache holds it.
        assert gone() is None


def test_packed_by_shape_keeps_the_networks_of_the_last_shapes(monkeypatch):
    made = []

    class Counted(PackedNetwork):
        def __init__(self, network, input_shape):
            super().__init__(network, input_shape)
            made.append(weakref.ref(self))

    monkeypatch.setattr("bimonn_jax.deployment.packed.PackedNetwork", Counted)
    plain, _ = network("one operator")
    run = packed_by_shape(plain)
    rng = np.random.default_rng(0)
    shapes = [(1, 5 + side, 6, 1) for side in range(7)]
    for shape in [*shapes, shapes[-1], shapes[-4]]:
        x = rng.random(shape) < 0.5
        np.testing.assert_array_equal(run(x), plain(x))
    assert len(made) == len(shapes)
    with collector_off():
        assert [index for index, network in enumerate(made) if network()] == [3, 4, 5, 6]
        # The one used longest ago goes first, and is made anew when it is asked for again.
        run(rng.random(shapes[0]) < 0.5)
        assert [index for index, network in enumerate(made) if network()] == [3, 5, 6, 7]


def test_errors():
    plain, shape = network("ternary")
    packed = PackedNetwork(plain, shape)
    with pytest.raises(ValueError, match=r"x has shape \(3, 4\); \(N, 9, 7, 2\) was expected"):
        packed(np.zeros((3, 4), bool))
    with pytest.raises(ValueError, match="x must be bool, got float32: threshold it first"):
        packed(np.zeros((3, *shape), np.float32))
    with pytest.raises(ValueError, match="takes 126 channels; got 8"):
        PackedNetwork(plain, (2, 2, 2))
    with pytest.raises(ValueError, match="input_shape must be"):
        PackedNetwork(plain, (2, 2))
