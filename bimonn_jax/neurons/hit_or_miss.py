"""Hit-or-miss transforms: neurons over the input and its complement, dense or sliding over images.

An erosion over [x, 1 - x] asks some inputs to be 1 and some to be 0. The complement is not formed:
with weights W+ of x and W- of 1 - x, the sum is x (W+ - W-) + sum W-, half of the products.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from bimonn_jax._support.promotion import with_rank
from bimonn_jax.morphology.windows import Border, Padding, pad_image, shifted_views
from bimonn_jax.neurons.params import (
    Neurons,
    RealNeurons,
    apply_products,
    boolean_input,
    boolean_outputs,
    check_neurons,
    check_trailing,
    neuron_outputs,
    real_input,
    real_parameters,
    weights_of,
)
from bimonn_jax.neurons.precision import matmul

# Sums of one round of images: they are to stay in the cache of a CPU, and fit on any GPU.
_BYTES_AT_ONCE = {"cpu": 2**23, "other": 2**28}


def _products(x: jax.Array, positive: jax.Array, negative: jax.Array) -> jax.Array:
    products = matmul(x, positive - negative)
    return products + with_rank(jnp.sum(negative, axis=0), products.ndim)


def apply_hit_or_miss(neurons: Neurons, x: jax.Array) -> jax.Array:
    """`bimonn_jax.neurons.apply_dense` on [x, 1 - x].

    Args:
      neurons: weights (2 n, M): of x, then of 1 - x.
      x: (..., n); float or bool for `RealNeurons`, bool for `BooleanNeurons`.

    Returns:
      (..., M); bool for `BooleanNeurons`, else the dtype of the weights.

    Raises:
      ValueError: if the inputs are not n, or the dtype is wrong.
    """
    check_neurons(neurons, weight_rank=2)
    rows = weights_of(neurons).shape[0]
    if rows % 2:
        raise ValueError(f"hit-or-miss neurons need an even number of weights; got {rows}")
    n = rows // 2
    return apply_products(neurons, x, n, lambda x, W: _products(x, W[:n], W[n:]))


def apply_hit_or_miss_conv(
    neurons: Neurons,
    x: jax.Array,
    *,
    padding: Padding = "VALID",
    border: Border = "zero",
    pool: int = 1,
) -> jax.Array:
    """Neurons over all channels of a window of [x, 1 - x], then a union over windows of outputs.

    The union is the maximum, of which the last windows may reach beyond the outputs; since xi is
    increasing it is taken before xi, so training sees how far the nearest position is from firing.

    Args:
      neurons: weights (kh, kw, 2 C, M): of the channels of x, then of their complements.
      x: (..., H, W, C); float or bool for `RealNeurons`, bool for `BooleanNeurons`.
      padding: "SAME", "VALID", ints or pairs.
      border: of x, "zero", "edge", "reflect" or "wrap"; with "zero", complements are 1 outside.
      pool: side and stride of the square windows of the union; 1 for none.

    Returns:
      (..., ceil(H' / pool), ceil(W' / pool), M) with H' x W' positions of the kernel; bool for
      `BooleanNeurons`, else the dtype of the weights.

    Raises:
      ValueError: if the channels differ, the dtype is wrong, or the kernel does not fit.
    """
    x = jnp.asarray(x)
    check_neurons(neurons, weight_rank=4)
    _, _, rows, count = weights_of(neurons).shape
    bias = neurons.bias if isinstance(neurons, RealNeurons) else neurons.is_erosion
    if bias.shape != (count,):
        raise ValueError(
            f"bias has shape {bias.shape}; ({count},) was expected: one per output channel"
        )
    if rows % 2:
        raise ValueError(f"hit-or-miss neurons need an even number of channels; got {rows}")
    check_trailing(x, (rows // 2,), "channels")
    if x.ndim < 3:
        raise ValueError(f"x has shape {x.shape}; (..., height, width, channels) was expected")

    def pooled(x: jax.Array, W: jax.Array, decide: Callable[[jax.Array], jax.Array]) -> jax.Array:
        images = pad_image(
            x.reshape(-1, *x.shape[-3:]),
            W.shape[:2],
            padding=padding,
            border=border,
            spatial_axes=(-3, -2),
        )
        maps = _maxima_of_images(images, W, decide, pool)
        return maps.reshape(*x.shape[:-3], *maps.shape[1:])

    if isinstance(neurons, RealNeurons):
        W, B, p = real_parameters(neurons)
        # Of one image: (H', W', M).
        B, p = with_rank(B, 3), with_rank(p, 3)
        sums = pooled(real_input(neurons, x), W, lambda sums: p * (sums - B))
        return neuron_outputs(neurons, sums, with_rank(p, sums.ndim))
    footprint = neurons.footprint.astype(jnp.float32)
    counted = boolean_input(x).astype(jnp.float32)
    return pooled(counted, footprint, partial(boolean_outputs, neurons))


def _maxima_of_images(
    images: jax.Array, W: jax.Array, decide: Callable[[jax.Array], jax.Array], pool: int
) -> jax.Array:
    """``decide`` on the sums of all windows of (N, H, W, C), then maxima: (N, H'', W'', M)."""
    kh, kw, rows, count = W.shape
    positive, negative = (
        half.reshape(-1, count) for half in (W[:, :, : rows // 2], W[:, :, rows // 2 :])
    )

    # Checkpointed: storing the sums of a batch takes longer than computing them again.
    @jax.checkpoint
    def one(image: jax.Array) -> jax.Array:
        return _pooled(decide(_products(windows_of(image, (kh, kw)), positive, negative)), pool)

    height, width = images.shape[1] - kh + 1, images.shape[2] - kw + 1
    limit = _BYTES_AT_ONCE["cpu" if jax.default_backend() == "cpu" else "other"]
    at_once = max(1, limit // (4 * height * width * count))
    # The number of images is not known where the network is exported for batches of any size.
    is_known = isinstance(images.shape[0], int)
    maps: jax.Array = jax.lax.map(one, images, batch_size=at_once if is_known else None)
    return maps


def windows_of(image: jax.Array, kernel_size: tuple[int, int]) -> jax.Array:
    """What each window reads: (H, W, C) -> (H', W', kh kw C)."""
    views = shifted_views(jnp.moveaxis(image, -1, 0), kernel_size)
    return jnp.concatenate([jnp.moveaxis(view, 0, -1) for _, view in views], axis=-1)


def _pooled(maps: jax.Array, pool: int) -> jax.Array:
    """Maxima over windows: (H, W, M) -> (ceil(H / pool), ceil(W / pool), M)."""
    if pool == 1:
        return maps
    height, width, count = maps.shape
    lowest = False if maps.dtype == jnp.bool_ else -jnp.inf
    missing = [(0, -height % pool), (0, -width % pool), (0, 0)]
    padded = jnp.pad(maps, missing, constant_values=lowest)
    blocks = padded.reshape(-(-height // pool), pool, -(-width // pool), pool, count)
    return jnp.max(blocks, axis=(1, 3))
