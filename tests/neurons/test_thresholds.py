import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from jax.test_util import check_grads

from bimonn_jax.neurons.thresholds import THRESHOLDS, step, straight_through

FORMULAS = {
    "tanh": lambda t: (1 + np.tanh(t)) / 2,
    "sigmoid": scipy.special.expit,
    "erf": lambda t: (1 + scipy.special.erf(t)) / 2,
    "arctan": lambda t: 0.5 + np.arctan(t) / np.pi,
}
smooth = pytest.mark.parametrize("name", FORMULAS)


def test_the_table_holds_the_smooth_thresholds_and_the_step():
    assert set(THRESHOLDS) == {*FORMULAS, "step"}


@smooth
def test_forward_is_the_formula(name, transform):
    t = np.linspace(-8, 8, 65, dtype=np.float32)
    y = transform(THRESHOLDS[name].forward)(t)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, FORMULAS[name](t.astype(np.float64)), rtol=1e-5, atol=1e-6)


@smooth
def test_values_increase_within_0_and_1(name):
    forward = THRESHOLDS[name].forward
    assert np.all(np.diff(forward(jnp.linspace(-2.5, 2.5, 101))) > 0)
    far = forward(jnp.linspace(-200.0, 200.0, 401))
    assert np.all(np.diff(far) >= 0)
    assert far[0] >= 0
    assert far[-1] <= 1


@smooth
def test_the_value_at_0_is_exactly_half_and_the_curve_is_odd_around_it(name):
    forward = THRESHOLDS[name].forward
    t = jnp.linspace(0.0, 3.0, 31)
    assert forward(jnp.float32(0)) == 0.5
    np.testing.assert_allclose(forward(-t), 1 - forward(t), atol=1e-6)


@smooth
def test_the_inverse_undoes_forward_and_forward_the_inverse(name, transform):
    forward, inverse = THRESHOLDS[name]
    t, y = jnp.linspace(-1.5, 1.5, 31), jnp.linspace(0.01, 0.99, 99)
    np.testing.assert_allclose(transform(inverse)(forward(t)), t, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(forward(transform(inverse)(y)), y, rtol=1e-5)


@smooth
def test_gradients_are_those_of_finite_differences(name):
    check_grads(THRESHOLDS[name].forward, (jnp.linspace(-2.0, 2.0, 9),), 1, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_step_and_straight_through_are_exactly_0_or_1_and_0_at_equality(dtype, transform):
    t = jnp.array([-1, -1e-3, 0, 1e-3, 1], dtype)
    for fn, latent in [(step, t), (straight_through, t + jnp.array(0.5, dtype))]:
        y = transform(fn)(latent)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.astype(jnp.float32), latent > latent[2])


def slopes(fn, t):
    return jax.grad(lambda t: jnp.sum(fn(t)))(t)


@pytest.mark.parametrize("center", [None, 0.0, 0.5, -0.5])
def test_the_surrogate_of_step_decays_with_the_distance_to_its_center(center, transform):
    t = jnp.linspace(-3.0, 3.0, 25)
    fn = step if center is None else lambda t: step(t, center)
    expected = np.exp(-np.abs(np.asarray(t) - (center or 0.0)))
    np.testing.assert_allclose(slopes(transform(fn), t), expected, rtol=1e-6)


def test_each_input_of_step_may_have_its_own_center(transform):
    t, center = jnp.linspace(-2.0, 2.0, 9), jnp.linspace(1.0, -1.0, 9)
    values, derivatives = jax.vjp(lambda t: transform(step)(t, center), t)
    np.testing.assert_array_equal(values, t > 0)
    np.testing.assert_allclose(derivatives(jnp.ones(9))[0], np.exp(-np.abs(t - center)), rtol=1e-6)


def test_the_center_of_step_has_no_derivative():
    assert jax.grad(lambda center: step(jnp.float32(0.3), center))(0.7) == 0


def test_straight_through_has_the_derivative_of_the_identity(transform):
    latent = jnp.linspace(-1.0, 2.0, 13)
    tripled = slopes(lambda w: 3 * transform(straight_through)(w), latent)
    np.testing.assert_array_equal(tripled, np.full(13, 3.0))
