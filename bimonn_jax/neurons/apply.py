"""What neurons compute, real and boolean, however they are wired."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from bimonn_jax._support.promotion import with_rank
from bimonn_jax.morphology.operators import dilation
from bimonn_jax.morphology.windows import Border, Padding, pad_image, shifted_views
from bimonn_jax.neurons.correlation import correlate
from bimonn_jax.neurons.params import (
    BinaryNeurons,
    Neurons,
    RankNeurons,
    RealNeurons,
    check_neurons,
    neurons_shape,
    real_parameters,
    weights_of,
)
from bimonn_jax.neurons.precision import matmul
from bimonn_jax.neurons.thresholds import THRESHOLDS, step


def real_input(params: RealNeurons, x: jax.Array) -> jax.Array:
    """``x`` as real neurons take it, in the dtype of their weights."""
    return x.astype(jax.dtypes.canonicalize_dtype(params.weight.dtype))


def boolean_input(x: jax.Array) -> jax.Array:
    """``x`` as boolean neurons take it; raises ValueError unless it is bool."""
    if x.dtype != jnp.bool_:
        raise ValueError(
            f"x must be bool for a boolean network, got {x.dtype}: threshold it first (x > 0.5)"
        )
    return x


def neuron_outputs(params: RealNeurons, t: jax.Array, p: jax.Array) -> jax.Array:
    """The outputs xi(t) of neurons whose t = p (W x - B), an array to which ``p`` broadcasts."""
    if params.bias_reparam == "boolean":
        # The surrogate peaks where an erosion just fires and a dilation just does not: no input of
        # the footprint violates the operator.
        is_erosion = jnp.broadcast_to((params.bias > 0.5).reshape(p.shape), t.shape)
        return step(t, p * jnp.where(is_erosion, 0.5, -0.5))
    return THRESHOLDS[params.threshold].forward(t)


def binary_outputs(neurons: BinaryNeurons, counts: jax.Array) -> jax.Array:
    """The outputs of binary neurons (M,) of which ``counts`` (..., M) selected inputs are set."""
    # Ranks out of reach may have more digits than the counts.
    rank = jnp.clip(neurons.ranks, 0, neurons.footprint.size + 1).astype(counts.dtype)
    return (counts >= with_rank(rank, counts.ndim)) ^ with_rank(neurons.complement, counts.ndim)


def check_trailing(x: jax.Array, expected: tuple[int, ...], axes: str) -> None:
    """Raises ValueError unless the last axes of ``x``, called ``axes``, are as expected."""
    if x.ndim < len(expected) or x.shape[x.ndim - len(expected) :] != expected:
        raise ValueError(
            f"x has shape {x.shape}; (..., {axes}) with {axes} = "
            f"{', '.join(map(str, expected))} was expected by these neurons"
        )


def apply_conv(
    neurons: Neurons, x: jax.Array, *, padding: Padding = "SAME", border: Border = "zero"
) -> jax.Array:
    """Each neuron slides over its own input channel (cross-correlation, see `windows`).

    Args:
      neurons: weights (kh, kw, C, M): M neurons for each of C channels.
      x: (..., H, W, C); float or bool for `RealNeurons`, bool for binary ones.
      padding: "SAME", "VALID", ints or pairs.
      border: "zero", "edge", "reflect" or "wrap".

    Returns:
      (..., H', W', C, M); bool for binary neurons, else the dtype of the weights.

    Raises:
      ValueError: if the channels differ, the dtype is wrong, or the kernel does not fit.
    """
    x = jnp.asarray(x)
    check_neurons(neurons, weight_rank=4)
    kh, kw, channels, _ = weights_of(neurons).shape
    check_trailing(x, (channels,), "channels")
    if x.ndim < 3:
        raise ValueError(f"x has shape {x.shape}; (..., height, width, channels) was expected")
    x = real_input(neurons, x) if isinstance(neurons, RealNeurons) else boolean_input(x)
    # Channels go first: pixels of one row stay adjacent, which is what a CPU vectorizes.
    batch = math.prod(x.shape[:-3])
    images = jnp.moveaxis(x.reshape(batch, *x.shape[-3:]), -1, 0)
    images = pad_image(images, (kh, kw), padding=padding, border=border)
    if isinstance(neurons, RealNeurons):
        W, B, p = real_parameters(neurons)
        B, p = B[..., None, None, None], p[..., None, None, None]
        maps = neuron_outputs(neurons, p * (correlate(images, W) - B), p)
    elif isinstance(neurons, RankNeurons):
        maps = correlate(images.astype(jnp.float32), neurons.footprint.astype(jnp.float32))
    else:
        over_outputs = jax.vmap(_boolean_correlation, in_axes=(None, -1, -1, -1))
        maps = jax.vmap(over_outputs, in_axes=(0, -2, -2, -2))(
            images, neurons.footprint, neurons.is_erosion, neurons.complement
        )
    maps = maps.transpose(2, 3, 4, 0, 1)
    if isinstance(neurons, RankNeurons):
        maps = binary_outputs(neurons, maps)
    return maps.reshape(*x.shape[:-3], *maps.shape[1:])


def _boolean_correlation(
    image: jax.Array, footprint: jax.Array, is_erosion: jax.Array, complement: jax.Array
) -> jax.Array:
    # Duality: an erosion is the complement of the dilation of the complement.
    hits = dilation(image ^ is_erosion, footprint, padding="VALID")
    return hits ^ is_erosion ^ complement


def apply_dense(neurons: Neurons, x: jax.Array, *, complements: bool = False) -> jax.Array:
    """Each neuron reads all inputs: a dilation or an erosion over the last axis.

    Args:
      neurons: weights (n, M), with ``complements`` (2 n, M): of x, then of 1 - x.
      x: (..., n); float or bool for `RealNeurons`, bool for binary ones.
      complements: whether the neurons read [x, 1 - x], which makes erosions hit-or-miss transforms.

    Returns:
      (..., M); bool for binary neurons, else the dtype of the weights.

    Raises:
      ValueError: if the inputs are not n, or the dtype is wrong.
    """
    check_neurons(neurons, weight_rank=2)
    inputs = inputs_read(weights_of(neurons).shape[0], complements=complements)
    return apply_products(neurons, x, inputs, partial(_products, complements=complements))


def inputs_read(rows: int, *, complements: bool) -> int:
    """How many inputs there are for so many weights; ValueError if half of them is no number."""
    if not complements:
        return rows
    if rows % 2:
        raise ValueError(f"neurons over x and its complement need an even number; got {rows}")
    return rows // 2


def _products(x: jax.Array, W: jax.Array, *, complements: bool) -> jax.Array:
    """The sums of neurons (rows, M) over the last axis of x, or over [x, 1 - x].

    The complement is not formed: with weights W+ of x and W- of 1 - x, the sum is
    x (W+ - W-) + sum W-, half of the products.
    """
    if not complements:
        return matmul(x, W)
    positive, negative = W[: len(W) // 2], W[len(W) // 2 :]
    products = matmul(x, positive - negative)
    return products + with_rank(jnp.sum(negative, axis=0), products.ndim)


def apply_products(
    neurons: Neurons,
    x: jax.Array,
    inputs: int,
    products: Callable[[jax.Array, jax.Array], jax.Array],
) -> jax.Array:
    """Neurons over the last axis of x, of that many inputs; ``products(x, W)`` are their sums."""
    x = jnp.asarray(x)
    check_trailing(x, (inputs,), "inputs")
    if isinstance(neurons, RealNeurons):
        W, B, p = real_parameters(neurons)
        sums = products(real_input(neurons, x), W)
        B, p = with_rank(B, sums.ndim), with_rank(p, sums.ndim)
        return neuron_outputs(neurons, p * (sums - B), p)
    # Counts of set bits; sums of 0s and 1s are exact in float32 up to 2^24 inputs.
    footprint = neurons.footprint.astype(jnp.float32)
    return binary_outputs(neurons, products(boolean_input(x).astype(jnp.float32), footprint))


def apply_aligned(neurons: Neurons, x: jax.Array) -> jax.Array:
    """Neuron m reads column m of its input: the unions and intersections inside a BiSEL.

    Args:
      neurons: weights (n, M).
      x: (..., n, M); float or bool for `RealNeurons`, bool for binary ones.

    Returns:
      (..., M); bool for binary neurons, else the dtype of the weights.

    Raises:
      ValueError: if the last two axes of ``x`` are not (n, M), or the dtype is wrong.
    """
    x = jnp.asarray(x)
    check_neurons(neurons, weight_rank=2)
    check_trailing(x, weights_of(neurons).shape, "inputs, neurons")
    if isinstance(neurons, RealNeurons):
        W, B, p = real_parameters(neurons)
        sums = jnp.sum(real_input(neurons, x) * with_rank(W, x.ndim), axis=-2)
        B, p = with_rank(B, sums.ndim), with_rank(p, sums.ndim)
        return neuron_outputs(neurons, p * (sums - B), p)
    if isinstance(neurons, RankNeurons):
        selected = boolean_input(x) & with_rank(neurons.footprint, x.ndim)
        return binary_outputs(neurons, jnp.sum(selected, axis=-2, dtype=jnp.int32))
    is_erosion = with_rank(neurons.is_erosion, x.ndim)
    hits = jnp.any((boolean_input(x) ^ is_erosion) & with_rank(neurons.footprint, x.ndim), axis=-2)
    return hits ^ is_erosion[..., 0, :] ^ with_rank(neurons.complement, hits.ndim)


# Sums of one round of images: they are to stay in the cache of a CPU, and fit on any GPU.
_BYTES_AT_ONCE = {"cpu": 2**23, "other": 2**28}


def apply_windows(
    neurons: Neurons,
    x: jax.Array,
    *,
    padding: Padding = "VALID",
    border: Border = "zero",
    pool: int = 1,
    complements: bool = False,
) -> jax.Array:
    """Neurons over all channels of a window of the image, then a union over windows of outputs.

    The union is the maximum, of which the last windows may reach beyond the outputs; since xi is
    increasing it is taken before xi, so training sees how far the nearest position is from firing.

    Args:
      neurons: weights (kh, kw, C, M), with ``complements`` (kh, kw, 2 C, M): of the channels of x,
        then of their complements.
      x: (..., H, W, C); float or bool for `RealNeurons`, bool for binary ones.
      padding: "SAME", "VALID", ints or pairs.
      border: of x, "zero", "edge", "reflect" or "wrap"; with "zero", complements are 1 outside.
      pool: side and stride of the square windows of the union; 1 for none.
      complements: whether the neurons read [x, 1 - x], which makes erosions hit-or-miss transforms.

    Returns:
      (..., ceil(H' / pool), ceil(W' / pool), M) with H' x W' positions of the kernel; bool for
      binary neurons, else the dtype of the weights.

    Raises:
      ValueError: if the channels differ, the dtype is wrong, or the kernel does not fit.
    """
    x = jnp.asarray(x)
    check_neurons(neurons, weight_rank=4)
    _, _, rows, count = weights_of(neurons).shape
    shape = neurons_shape(neurons)
    if shape != (count,):
        raise ValueError(f"bias has shape {shape}; ({count},) was expected: one per output channel")
    check_trailing(x, (inputs_read(rows, complements=complements),), "channels")
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
        maps = _maxima_of_images(images, W, decide, pool, complements=complements)
        return maps.reshape(*x.shape[:-3], *maps.shape[1:])

    if isinstance(neurons, RealNeurons):
        W, B, p = real_parameters(neurons)
        # Of one image: (H', W', M).
        B, p = with_rank(B, 3), with_rank(p, 3)
        sums = pooled(real_input(neurons, x), W, lambda sums: p * (sums - B))
        return neuron_outputs(neurons, sums, with_rank(p, sums.ndim))
    footprint = neurons.footprint.astype(jnp.float32)
    counted = boolean_input(x).astype(jnp.float32)
    return pooled(counted, footprint, partial(binary_outputs, neurons))


def _maxima_of_images(
    images: jax.Array,
    W: jax.Array,
    decide: Callable[[jax.Array], jax.Array],
    pool: int,
    *,
    complements: bool,
) -> jax.Array:
    """``decide`` on the sums of all windows of (N, H, W, C), then maxima: (N, H'', W'', M)."""
    kh, kw, rows, count = W.shape
    # The rows of x of all pixels come before those of 1 - x.
    halves = 2 if complements else 1
    by_halves = W.reshape(kh * kw, halves, rows // halves, count)
    flat = jnp.moveaxis(by_halves, 1, 0).reshape(-1, count)

    # Checkpointed: storing the sums of a batch takes longer than computing them again.
    @jax.checkpoint
    def one(image: jax.Array) -> jax.Array:
        sums = _products(windows_of(image, (kh, kw)), flat, complements=complements)
        return _pooled(decide(sums), pool)

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
