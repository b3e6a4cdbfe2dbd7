import jax
import numpy as np
import pytest

from bimonn_jax._support.random_arrays import bernoulli, normal, randint, uniform

P = np.linspace(0, 1, 4, dtype=np.float32)
DRAWS = [
    (lambda key, shape: uniform(key, shape), jax.random.uniform),
    (
        lambda key, shape: uniform(key, shape, minval=-2.0, maxval=5.0),
        lambda key, shape: jax.random.uniform(key, shape, minval=-2.0, maxval=5.0),
    ),
    (normal, jax.random.normal),
    (
        lambda key, shape: bernoulli(key, 0.3, shape),
        lambda key, shape: jax.random.bernoulli(key, 0.3, shape),
    ),
    (
        lambda key, shape: randint(key, shape, -3, 9),
        lambda key, shape: jax.random.randint(key, shape, -3, 9),
    ),
]


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 1, 5), (0, 3)])
@pytest.mark.parametrize(("ours", "theirs"), DRAWS)
def test_the_numbers_are_those_of_jax(shape, ours, theirs):
    drawn, expected = (draw(jax.random.key(7), shape) for draw in (ours, theirs))
    assert drawn.dtype == expected.dtype
    np.testing.assert_array_equal(drawn, expected)


def test_probabilities_broadcast():
    expected = jax.random.bernoulli(jax.random.key(2), P[None], (50, 4))
    np.testing.assert_array_equal(bernoulli(jax.random.key(2), P, (50, 4)), expected)
    assert not expected[:, 0].any()
    assert expected[:, 3].all()
