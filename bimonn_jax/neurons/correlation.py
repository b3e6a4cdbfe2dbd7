"""Real-valued cross-correlation of every channel with its own kernels, fast on a CPU.

XLA's grouped convolution on a CPU is slow, and so is what automatic differentiation makes of a sum
of shifted images; BUILD_NOTES.md has the figures. Here the forward pass is that sum, the gradient
of the images is one matrix product and a sum of shifts, and the gradient of the kernels is an
ordinary convolution in which the batch plays the part of the channels.
"""

from functools import reduce

import jax
import jax.numpy as jnp
from jax import lax

from bimonn_jax.morphology.windows import shifted_views
from bimonn_jax.neurons.precision import matmul


@jax.custom_vjp
def correlate(images: jax.Array, kernels: jax.Array) -> jax.Array:
    """Correlates C images, already padded, with M kernels each.

    ``out[c, m, b, i, j] = sum_kl kernels[k, l, c, m] * images[c, b, i + k, j + l]``. Reverse-mode
    derivatives only.

    Args:
      images: float (C, N, H, W): channels first, then the batch.
      kernels: float (kh, kw, C, M).

    Returns:
      Float (C, M, N, H - kh + 1, W - kw + 1).
    """
    kh, kw, _, _ = kernels.shape
    weights = kernels[..., None, None, None]
    terms = [view[:, None] * weights[at] for at, view in shifted_views(images, (kh, kw))]
    return reduce(jnp.add, terms)


Residuals = tuple[jax.Array, jax.Array]


def _forward(images: jax.Array, kernels: jax.Array) -> tuple[jax.Array, Residuals]:
    return correlate(images, kernels), (images, kernels)


def _image_gradient(kernels: jax.Array, cotangent: jax.Array) -> jax.Array:
    kh, kw, _, outputs = kernels.shape
    padded = jnp.pad(cotangent, [(0, 0)] * 3 + [(kh - 1, kh - 1), (kw - 1, kw - 1)])
    flipped = kernels[::-1, ::-1]
    if outputs == 1:
        return correlate(padded[:, 0], flipped)[:, 0]
    height, width = padded.shape[-2] - kh + 1, padded.shape[-1] - kw + 1

    def one_channel(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        # One product over the outputs for all kernel positions, then each shifted into place.
        maps, kernel = pair
        spread = matmul(kernel.reshape(kh * kw, outputs), maps.reshape(outputs, -1))
        spread = spread.reshape(kh, kw, *maps.shape[1:])
        terms = [
            spread[row, column, :, row : row + height, column : column + width]
            for row in range(kh)
            for column in range(kw)
        ]
        return reduce(jnp.add, terms)

    maps: jax.Array = lax.map(one_channel, (padded, flipped.transpose(2, 0, 1, 3)))
    return maps


def _kernel_gradient(images: jax.Array, cotangent: jax.Array) -> jax.Array:
    def one_channel(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        image, outputs = pair
        return lax.conv_general_dilated(
            image[None], outputs, (1, 1), "VALID", precision=lax.Precision.HIGHEST
        )[0]

    gradients: jax.Array = lax.map(one_channel, (images, cotangent))  # (C, M, kh, kw)
    return gradients.transpose(2, 3, 0, 1)


def _backward(residuals: Residuals, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    images, kernels = residuals
    return _image_gradient(kernels, cotangent), _kernel_gradient(images, cotangent)


correlate.defvjp(_forward, _backward)
