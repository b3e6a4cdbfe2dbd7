"""Starting points taken from data, for neurons trained through the binarization.

From a random start such networks collapse to a constant (BUILD_NOTES.md); from patches of the input
around pixels of the target they do not: each neuron begins as a pattern that really occurs.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.random_arrays import bernoulli, normal, uniform
from bimonn_jax.binarization.conversion import binarize
from bimonn_jax.data.classification import check_labeled
from bimonn_jax.networks.architecture import apply_layer
from bimonn_jax.networks.kinds import (
    Architecture,
    HitOrMissConvLayer,
    HitOrMissLayer,
    Layer,
    PopcountLayer,
    TernaryLayer,
)
from bimonn_jax.networks.models import Sequential
from bimonn_jax.neurons.apply import windows_of
from bimonn_jax.neurons.heads import TernaryLatents, popcount_signs
from bimonn_jax.neurons.params import RealNeurons
from bimonn_jax.neurons.precision import matmul
from bimonn_jax.training.metrics import map_in_chunks


def patches_on_target(
    key: jax.Array,
    x: jax.Array,
    y: jax.Array,
    kernel_size: tuple[int, int],
    count: int,
    *,
    min_on: int = 1,
    max_on: int | None = None,
) -> jax.Array:
    """Draws patches of ``x`` centered on pixels of ``y``, without replacement.

    Args:
      key: a JAX random key.
      x: bool (N, H, W, C), concrete.
      y: bool (N, H, W, 1), concrete.
      kernel_size: (kh, kw) of the patches, odd.
      count: how many.
      min_on: the fewest True pixels of a patch, over all channels.
      max_on: the most; None for no limit.

    Returns:
      bool (kh, kw, C, count).

    Raises:
      ValueError: if there are no images, they are smaller than a patch, or the data has fewer such
        patches.
    """
    kh, kw = kernel_size
    if x.ndim != 4 or y.shape != (*x.shape[:3], 1):
        raise ValueError(
            f"x has shape {x.shape} and y {y.shape}; (N, H, W, C) and (N, H, W, 1) were expected"
        )
    if not len(x) or min(x.shape[1] - kh, x.shape[2] - kw) < 0:
        raise ValueError(
            f"x has shape {x.shape}: at least one image of at least {kh} x {kw} pixels was expected"
        )
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(x), kernel_size, axis=(1, 2))
    height, width = windows.shape[1:3]
    top, left = (kh - 1) // 2, (kw - 1) // 2
    centers = np.asarray(y)[:, top : top + height, left : left + width, 0]
    sizes = windows.sum(axis=tuple(range(3, windows.ndim)))
    upper = windows[0, 0, 0].size if max_on is None else max_on
    places = np.argwhere(centers & (sizes >= min_on) & (sizes <= upper))
    if len(places) < count:
        raise ValueError(
            f"the data has {len(places)} patches of {min_on} to {upper} pixels centered on a pixel "
            f"of the target; {count} were asked for: widen min_on and max_on, or give more images"
        )
    chosen = places[np.asarray(jax.random.choice(key, len(places), (count,), replace=False))]
    patches = jnp.asarray(np.stack([windows[tuple(place)] for place in chosen], axis=-1))
    return jnp.moveaxis(patches, 0, 2)


def latents(key: jax.Array, footprint: jax.Array) -> jax.Array:
    """Latents of a footprint that training can change: 0.6 where True, U(0, 0.2) elsewhere.

    Args:
      key: a JAX random key.
      footprint: bool, any shape.

    Returns:
      Float32 of the same shape.
    """
    return jnp.where(footprint, 0.6, uniform(key, footprint.shape, maxval=0.2))


_TRANSFORMS = (HitOrMissLayer, HitOrMissConvLayer)


def start_from_images(
    key: jax.Array, model: Sequential, images: jax.Array, labels: jax.Array, *, bits: float = 8.0
) -> Any:
    """Parameters of a `boolean_classifier` whose transforms begin as parts of training images.

    Each transform asks for ``bits`` inputs (on average) to be as they are in one image, or in one
    of its windows; inputs that vary more are the likelier. Layer by layer, the inputs are what the
    started layers before make of the images. A ternary head starts with its votes for the classes
    in which a feature is more frequent.

    Args:
      key: a JAX random key.
      model: the classifier.
      images: uint8 (N, H, W, C), the training images.
      labels: int (N,).
      bits: inputs per transform.

    Raises:
      ValueError: if there are no images, or not as many labels, or the classifier is no chain.
    """
    check_labeled(images, labels)
    _check_chain(model.architecture)
    head = model.architecture[-1]

    # Compiled as a whole: in one program, not in some three hundred.
    @jax.jit
    def start(key: jax.Array, images: jax.Array, labels: jax.Array) -> Any:
        init_key, order_key = jax.random.split(key)
        params = {**model.init(init_key, images[:1])["params"]}
        some = jax.random.permutation(order_key, labels.shape[0])[:10_000]
        x, labels = images[some], labels[some]
        for index, layer in enumerate(model.architecture):
            layer_key = jax.random.fold_in(key, index)
            if isinstance(layer, _TRANSFORMS):
                neurons = params[layer.name]["lui"]
                fresh = _fresh(layer_key, layer, neurons, x, labels, head, bits)
                params[layer.name] = {"lui": fresh}
            if isinstance(layer, TernaryLayer):
                classes = params[layer.name]["head"].latent.shape[1]
                votes = _votes(layer_key, x, labels, classes)
                params[layer.name] = {"head": TernaryLatents(votes)}
            elif layer is not head:
                x = map_in_chunks(partial(_output, layer, binarize(params)), x)
        return params

    return start(key, images, labels)


def restart_dead(
    key: jax.Array,
    architecture: Architecture,
    images: jax.Array,
    labels: jax.Array,
    *,
    until: int,
    bits: float = 8.0,
) -> Callable[[Any, jax.Array], Any]:
    """Builds the ``after_evaluation`` of `bimonn_jax.fit` that starts dead transforms again.

    A transform is dead where its output is the same for 2,000 images. A ternary head forgets its
    votes on what starts again.

    Args:
      key: a JAX random key.
      architecture: of the classifier.
      images: uint8 (N, H, W, C), the training images.
      labels: int (N,).
      until: the step from which nothing is started again.
      bits: see `start_from_images`.

    Returns:
      A function (params, step) -> params.

    Raises:
      ValueError: if there are no images, or not as many labels, or the classifier is no chain.
    """
    check_labeled(images, labels)
    _check_chain(architecture)
    head = architecture[-1]

    def restarted(params: Any, step: jax.Array) -> Any:
        step_key = jax.random.fold_in(key, step)
        some = jax.random.randint(step_key, (2_000,), 0, labels.shape[0])
        x, y, params = images[some], labels[some], {**params}
        dead = jnp.zeros(1, bool)
        for index, layer in enumerate(architecture[:-1]):
            output = map_in_chunks(partial(_output, layer, binarize(params)), x)
            if isinstance(layer, _TRANSFORMS):
                layer_key = jax.random.fold_in(step_key, index)
                old = params[layer.name]["lui"]
                fresh = _fresh(layer_key, layer, old, x, y, head, bits)
                flat = output.reshape(-1, output.shape[-1])
                dead = jnp.all(flat, axis=0) | ~jnp.any(flat, axis=0)
                weight = jnp.where(dead, fresh.weight, old.weight)
                params[layer.name] = {"lui": replace(old, weight=weight)}
                output = map_in_chunks(partial(_output, layer, binarize(params)), x)
            x = output
        if isinstance(head, TernaryLayer):
            latent = params[head.name]["head"].latent
            # Flat features: the channel varies fastest.
            forgotten = jnp.resize(dead, latent.shape[:1])[:, None]
            params[head.name] = {"head": TernaryLatents(jnp.where(forgotten, 0.0, latent))}
        return params

    def after_evaluation(params: Any, step: jax.Array) -> Any:
        return jax.lax.cond(step < until, restarted, lambda params, step: params, params, step)

    return after_evaluation


def _check_chain(architecture: Architecture) -> None:
    if any(layer.inputs for layer in architecture):
        raise ValueError("the classifier must be a chain: layers that each read the one before")


def _output(layer: Layer, params: Any, x: jax.Array) -> jax.Array:
    return apply_layer(layer, params, [x])


def _fresh(
    key: jax.Array,
    layer: Layer,
    neurons: RealNeurons,
    x: jax.Array,
    labels: jax.Array,
    head: Layer,
    bits: float,
) -> RealNeurons:
    """The transforms of a layer, started from its inputs x, bool (N, ..., C)."""
    if isinstance(layer, HitOrMissLayer):
        patterns = x[_images_for(key, head, labels, neurons.bias.shape[0])]
        frequency = jnp.mean(x, axis=0)
    else:
        patterns = _varied_windows(key, x[:1000], neurons.weight.shape)
        frequency = jnp.mean(x.reshape(-1, x.shape[-1]), axis=0)
    return replace(neurons, weight=_asked(key, patterns, frequency, bits))


def _asked(key: jax.Array, patterns: jax.Array, frequency: jax.Array, bits: float) -> jax.Array:
    """Latents (..., 2 C, M) that ask for some of the inputs of ``patterns``, bool (M, ..., C)."""
    bit_key, latent_key = jax.random.split(key)
    variance = jnp.broadcast_to(frequency * (1 - frequency), patterns.shape[1:])
    share = jnp.clip(bits * variance / jnp.sum(variance), 0, 0.9)
    asked = bernoulli(bit_key, share, patterns.shape)
    footprint = jnp.concatenate([asked & patterns, asked & ~patterns], axis=-1)
    return latents(latent_key, jnp.moveaxis(footprint, 0, -1))


def _varied_windows(key: jax.Array, x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws windows of bool images (N, H, W, C) for weights of a shape; those that vary most first.

    Returns:
      bool (M, kh, kw, C).
    """
    kh, kw, _, count = shape
    found = jax.vmap(partial(windows_of, kernel_size=(kh, kw)))(x)
    found = found.reshape(-1, found.shape[-1])
    mean = jnp.mean(found, axis=1)
    # Where all are blank, any will do.
    chance = mean * (1 - mean) + 1e-9
    at = jax.random.choice(key, len(found), (count,), p=chance / jnp.sum(chance))
    return found[at].reshape(count, kh, kw, x.shape[-1])


def _votes(key: jax.Array, x: jax.Array, labels: jax.Array, classes: int) -> jax.Array:
    """Latents (n, classes) of a ternary head: how features (N, n) go along with the classes."""
    is_class = jax.nn.one_hot(labels, classes, dtype=jnp.float32)
    features = x.astype(jnp.float32)
    centered = features - jnp.mean(features, axis=0, keepdims=True)
    together = matmul(centered.T, is_class - jnp.mean(is_class, axis=0, keepdims=True))
    # Few features vote at first: with all of them, large gradients kill transforms.
    votes = together / jnp.maximum(jnp.max(jnp.abs(together)), 1e-9)
    return votes + 0.15 * normal(key, votes.shape).astype(votes.dtype)


def _images_for(key: jax.Array, head: Layer, labels: jax.Array, count: int) -> jax.Array:
    """Which image each transform starts from; under a popcount head, one that suits its vote."""
    order = jax.random.permutation(key, labels.shape[0])
    if not isinstance(head, PopcountLayer):
        return jnp.resize(order, (count,))
    votes = popcount_signs(count, head.classes)
    group, is_for = jnp.argmax(jnp.abs(votes), axis=1), jnp.sum(votes, axis=1) > 0
    shuffled = labels[order]
    draws = jax.random.uniform(jax.random.fold_in(key, 1), (count,))

    def one(group: jax.Array, is_for: jax.Array, draw: jax.Array) -> jax.Array:
        suits = (shuffled == group.astype(shuffled.dtype)) == is_for
        number = jnp.floor(draw * jnp.sum(suits).astype(draw.dtype)).astype(jnp.int32)
        return order[jnp.searchsorted(jnp.cumsum(suits, dtype=jnp.int32), number + 1)]

    latents: jax.Array = jax.lax.map(lambda of: one(*of), (group, is_for, draws))
    return latents
