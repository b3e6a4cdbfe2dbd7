"""The runtime on packed words computes what the network computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax.morphology import dilation, erosion
from bimonn_jax.packed import (
    PackedNetwork,
    dilate_strips,
    erode_strips,
    pack_samples,
    pack_strips,
    unpack_samples,
    unpack_strips,
)
from tests.boolean_networks import NAMES, examples, network, rounding


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 65])
def test_equal_outputs(name, count):
    plain, shape = network(name)
    x, expected = examples(name, count)
    found = PackedNetwork(plain, shape)(x)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding(plain))


@pytest.mark.parametrize("name", ["wide", "large", "pooled"])
def test_many_blocks_of_words(name, monkeypatch):
    monkeypatch.setattr("bimonn_jax.packed._WORDS_AT_ONCE", {"cpu": 1, "other": 1})
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


def test_within_jit():
    plain, shape = network("ternary")
    x, expected = examples("ternary", 40)
    packed = PackedNetwork(plain, shape)
    np.testing.assert_array_equal(jax.jit(packed.__call__)(x), expected)


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
