import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from bimonn_jax.neurons.correlation import correlate
from tests.support import oracles

# (C, N, H, W), (kh, kw, M)
SIZES = [
    ((2, 3, 6, 5), (3, 2, 1)),
    ((2, 2, 3, 4), (1, 1, 3)),
    ((3, 2, 4, 5), (4, 2, 2)),
]
sizes = pytest.mark.parametrize(("image_shape", "kernel_shape"), SIZES)


def draw(image_shape, kernel_shape, seed=0, batch=()):
    kh, kw, outputs = kernel_shape
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(*batch, *image_shape))
    kernels = rng.normal(size=(*batch, kh, kw, image_shape[0], outputs))
    return jnp.asarray(images, jnp.float32), jnp.asarray(kernels, jnp.float32)


def grouped_convolution(images, kernels):
    kh, kw, channels, outputs = kernels.shape
    out = lax.conv_general_dilated(
        images.transpose(1, 0, 2, 3),
        kernels.reshape(kh, kw, 1, channels * outputs),
        (1, 1),
        "VALID",
        dimension_numbers=("NCHW", "HWIO", "NCHW"),
        feature_group_count=channels,
        precision=lax.Precision.HIGHEST,
    )
    out = out.reshape(out.shape[0], channels, outputs, *out.shape[2:])
    return out.transpose(1, 2, 0, 3, 4)


def gradients(fn):
    """Both gradients of a sum in which every output counts with its own coefficient."""

    def loss(images, kernels):
        out = fn(images, kernels)
        return jnp.sum(out * jnp.cos(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape))

    return jax.grad(loss, argnums=(0, 1))


def one_by_one(fn):
    return lambda *batches: jax.tree.map(
        lambda *results: jnp.stack(results), *[fn(*each) for each in zip(*batches, strict=True)]
    )


OVER_BATCH = {"plain": one_by_one, "jit": lambda fn: one_by_one(jax.jit(fn)), "vmap": jax.vmap}
over_batch = pytest.mark.parametrize("over_batch", OVER_BATCH.values(), ids=OVER_BATCH.keys())


@sizes
@over_batch
def test_the_forward_pass_is_the_definition(image_shape, kernel_shape, over_batch):
    images, kernels = draw(image_shape, kernel_shape, batch=(2,))
    out = over_batch(correlate)(images, kernels)
    expected = one_by_one(oracles.cross_correlation)(np.asarray(images), np.asarray(kernels))
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


@sizes
@over_batch
def test_gradients_are_those_of_a_grouped_convolution(image_shape, kernel_shape, over_batch):
    images, kernels = draw(image_shape, kernel_shape, seed=1, batch=(2,))
    ours = over_batch(gradients(correlate))(images, kernels)
    expected = one_by_one(jax.jit(gradients(grouped_convolution)))(images, kernels)
    for gradient, reference, argument in zip(ours, expected, (images, kernels), strict=True):
        assert gradient.shape == argument.shape
        np.testing.assert_allclose(gradient, reference, rtol=1e-4, atol=1e-4)


@sizes
def test_gradients_are_those_of_finite_differences(image_shape, kernel_shape):
    arguments = draw(image_shape, kernel_shape, seed=2)
    check_grads(correlate, arguments, order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("in_axes", [(0, None), (None, 0)])
def test_gradients_with_one_argument_shared_by_the_batch(in_axes):
    arguments = [
        value if axis is None else jnp.stack([value, 2 * value])
        for value, axis in zip(draw((2, 2, 5, 4), (3, 2, 2)), in_axes, strict=True)
    ]
    ours, expected = (
        jax.jit(jax.vmap(gradients(fn), in_axes))(*arguments)
        for fn in (correlate, grouped_convolution)
    )
    for gradient, reference in zip(ours, expected, strict=True):
        np.testing.assert_allclose(gradient, reference, rtol=1e-4, atol=1e-4)


def test_forward_mode_is_refused():
    arguments = draw((1, 1, 3, 3), (2, 2, 1))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(correlate, arguments, arguments)
