"""Filters made by hand as networks, on all small images."""

import numpy as np
import pytest

from bimonn_jax.filters.simple import handmade_network, identity_network, median_network
from bimonn_jax.training.baselines import Handmade, median_3x3

# All images of 3 x 4 pixels.
IMAGES = (np.arange(4096)[:, None] >> np.arange(12) & 1).astype(bool).reshape(-1, 3, 4)


def found(network):
    return np.asarray(network(IMAGES[..., None]))[..., 0]


@pytest.mark.parametrize("shape", [(1, 2), (2, 2), (3, 3), (3, 5)])
@pytest.mark.parametrize("steps", [("opening",), ("closing", "opening")])
def test_handmade(shape, steps):
    footprint = np.ones(shape, bool)
    # Not symmetric, where it is large enough.
    footprint[0, 0] = shape == (1, 2)
    handmade = Handmade("", steps, footprint)
    if len(steps) == 1:
        np.testing.assert_array_equal(found(handmade_network(handmade)), handmade(IMAGES))
        return
    # The second operator extends what the first one gives, as the filter itself does.
    expected = np.asarray(handmade(IMAGES))
    np.testing.assert_array_equal(found(handmade_network(handmade)), expected)


def test_identity():
    np.testing.assert_array_equal(found(identity_network()), IMAGES)


def test_median():
    expected = [median_3x3(image) for image in IMAGES[::17]]
    np.testing.assert_array_equal(found(median_network())[::17], expected)
