import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax.training.losses import LOSSES
from bimonn_jax.training.metrics import dice

rng = np.random.default_rng(0)
P = jnp.asarray(rng.uniform(0.05, 0.95, (4, 6)), jnp.float32)
Y = jnp.asarray(rng.uniform(size=(4, 6)) < 0.4)


def test_losses_are_their_definitions():
    p, y = np.asarray(P, np.float64), np.asarray(Y, np.float64)
    np.testing.assert_allclose(LOSSES["mse"](P, Y), np.mean((p - y) ** 2), rtol=1e-6)
    entropy = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
    np.testing.assert_allclose(LOSSES["bce"](P, Y), entropy, rtol=1e-6)
    overlap = (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    np.testing.assert_allclose(LOSSES["dice"](P, Y), 1 - overlap, rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_are_finite_at_zero_and_one(name):
    for prediction in (jnp.zeros((2, 3)), jnp.ones((2, 3))):
        value, gradient = jax.value_and_grad(LOSSES[name])(prediction, jnp.eye(2, 3) > 0)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_prediction_costs_least(name):
    perfect = LOSSES[name](Y.astype(jnp.float32), Y)
    assert perfect < 1e-5
    assert perfect < LOSSES[name](P, Y)


def test_dice_of_sets():
    a, b = jnp.array([1, 1, 0, 0], bool), jnp.array([1, 0, 1, 0], bool)
    assert dice(a, b) == 0.5
    assert dice(a, a) == 1
    assert dice(a, ~a) == 0
    assert dice(a & False, a & False) == 1
