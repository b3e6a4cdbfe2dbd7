"""Classifiers of binarised images: the paper's relaxed one, and one that is boolean throughout."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from bimonn_jax.architecture import Architecture, apply_layers, layer_outputs
from bimonn_jax.binarization import binarize
from bimonn_jax.data_start import latents
from bimonn_jax.heads import TernaryLatents, binarize_heads, popcount_signs
from bimonn_jax.hit_or_miss import windows_of
from bimonn_jax.initializers import NeuronConfig
from bimonn_jax.layers import (
    DenseLUI,
    Flatten,
    HitOrMiss,
    HitOrMissConv,
    LevelSets,
    PopcountHead,
    RealHead,
    TernaryHead,
)
from bimonn_jax.losses import Loss
from bimonn_jax.models import Sequential
from bimonn_jax.training import Sample, fit

Head = Literal["real", "ternary", "popcount"]
HEADS: dict[str, Any] = {"real": RealHead, "ternary": TernaryHead, "popcount": PopcountHead}


@dataclass(frozen=True)
class Convolution:
    """One `HitOrMissConv` of a `boolean_classifier`.

    Attributes:
      kernel: side of the square windows, in pixels.
      features: output channels.
      pool: side of the windows of the union.
    """

    kernel: int
    features: int
    pool: int = 1


def boolean_classifier(
    thresholds: tuple,
    features: int,
    classes: int,
    *,
    convolutions: Sequence[Convolution] = (),
    head: Head = "ternary",
    temperature: float = 2.0,
) -> Sequential:
    """Level sets, convolutional hit-or-miss transforms, one layer of dense ones, a head.

    Takes images uint8 (..., H, W, C), gives scores (..., classes).

    Args:
      thresholds: of the level sets, see `bimonn_jax.data.classification.choose_thresholds`.
      features: how many transforms of all that the convolutions found (without convolutions, of the
        whole image); 0 for none.
      classes: how many.
      convolutions: in order; none by default.
      head: "ternary" and "popcount" stay boolean; "real" is a linear layer.
      temperature: of the surrogate gradients, in inputs that a transform misses by.
    """
    config = NeuronConfig.boolean("erosion", temperature=temperature)
    return Sequential(
        (
            LevelSets(thresholds),
            *(
                HitOrMissConv(c.features, (c.kernel, c.kernel), pool=c.pool, config=config)
                for c in convolutions
            ),
            Flatten(),
            *((HitOrMiss(features, config),) if features else ()),
            HEADS[head](classes),
        )
    )


def to_bits(thresholds: tuple) -> Architecture:
    """The layers that turn images into the flat bits that both classifiers read."""
    return Sequential((LevelSets(thresholds), Flatten())).architecture


def relaxed_classifier(
    thresholds: tuple, features: int, classes: int, config: NeuronConfig
) -> Sequential:
    """The paper's network (section 7): level sets, a dense LUI layer, a real head."""
    return Sequential(
        (LevelSets(thresholds), Flatten(), DenseLUI(features, config), RealHead(classes))
    )


def start_from_images(
    key: jax.Array, model: Sequential, images: jax.Array, labels: jax.Array, *, bits: float = 8.0
) -> Any:
    """Parameters of a `boolean_classifier` whose transforms begin as parts of training images.

    Each transform asks for ``bits`` inputs (on average) to be as they are in one image, or in one
    of its windows; inputs that vary more are the likelier. Layer by layer, the inputs are what the
    started layers before make of the images. A ternary head starts with its votes for the classes
    in which a feature is more frequent. From a random start all transforms are dead.

    Args:
      key: a JAX random key.
      model: the classifier.
      images: uint8 (N, H, W, C), the training images.
      labels: int (N,).
      bits: inputs per transform.
    """
    init_key, order_key, head_key = jax.random.split(key, 3)
    params = {**model.init(init_key, images[:1])["params"]}
    some = jax.random.permutation(order_key, labels.shape[0])[:10_000]
    x, labels = images[some], labels[some]
    for index, layer in enumerate(model.architecture):
        layer_key = jax.random.fold_in(key, index)
        if layer.kind in ("hit_or_miss", "hit_or_miss_conv"):
            neurons = params[layer.name]["lui"]
            is_dense = layer.kind == "hit_or_miss"
            patterns = (
                x[_images_for(layer_key, model, labels, neurons.bias.shape[0])]
                if is_dense
                else _varied_windows(layer_key, x[:1000], neurons.weight.shape)
            )
            frequency = jnp.mean(x if is_dense else x.reshape(-1, x.shape[-1]), axis=0)
            weight = _asked(layer_key, patterns, frequency, bits)
            params[layer.name] = {"lui": neurons.replace(weight=weight)}
        if layer.kind == "ternary":
            params[layer.name] = {"head": TernaryLatents(_votes(head_key, x, labels, model))}
        elif layer.kind not in ("popcount", "dense"):
            x = in_chunks(partial(layer, binarize(params)), x)
    return params


def _asked(key: jax.Array, patterns: jax.Array, frequency: jax.Array, bits: float) -> jax.Array:
    """Latents (..., 2 C, M) that ask for some of the inputs of ``patterns``, bool (M, ..., C)."""
    bit_key, latent_key = jax.random.split(key)
    variance = jnp.broadcast_to(frequency * (1 - frequency), patterns.shape[1:])
    share = jnp.clip(bits * variance / jnp.sum(variance), 0, 0.9)
    asked = jax.random.bernoulli(bit_key, share, patterns.shape)
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


def _votes(key: jax.Array, x: jax.Array, labels: jax.Array, model: Sequential) -> jax.Array:
    """Latents (n, classes) of a ternary head: how features (N, n) go along with the classes."""
    is_class = jax.nn.one_hot(labels, model.modules[-1].features)
    features = x.astype(jnp.float32)
    together = (features - jnp.mean(features, axis=0)).T @ (is_class - jnp.mean(is_class, axis=0))
    # Few features vote at first: with all of them, large gradients kill transforms.
    votes = together / jnp.maximum(jnp.max(jnp.abs(together)), 1e-9)
    return votes + 0.15 * jax.random.normal(key, votes.shape)


def _images_for(key: jax.Array, model: Sequential, labels: jax.Array, count: int) -> jax.Array:
    """Which image each transform starts from; under a popcount head, one that suits its vote."""
    order = jax.random.permutation(key, labels.shape[0])
    if not isinstance(model.modules[-1], PopcountHead):
        return jnp.resize(order, (count,))
    votes = popcount_signs(count, model.modules[-1].features)
    group, is_for = jnp.argmax(jnp.abs(votes), axis=1), jnp.sum(votes, axis=1) > 0
    shuffled = labels[order]
    draws = jax.random.uniform(jax.random.fold_in(key, 1), (count,))

    def one(group: jax.Array, is_for: jax.Array, draw: jax.Array) -> jax.Array:
        suits = (shuffled == group) == is_for
        number = jnp.floor(draw * jnp.sum(suits))
        return order[jnp.searchsorted(jnp.cumsum(suits), number + 1)]

    return jax.lax.map(lambda of: one(*of), (group, is_for, draws))


def mean_over_positions(
    architecture: Architecture, params: Any, images: jax.Array
) -> optax.GradientTransformation:
    """Divides each layer's gradient by the number of its outputs per feature and image.

    A convolution's gradient is a sum over the positions of its (pooled) outputs; with their mean,
    one learning rate suits it and dense layers.

    Args:
      architecture: of the network.
      params: its parameters.
      images: (N, H, W, C), of which only the shape counts.
    """
    outputs = jax.eval_shape(lambda p, x: layer_outputs(architecture, p, x), params, images[:1])
    positions = {
        layer.name: math.prod(output.shape[1:-1])
        for layer, output in zip(architecture, outputs, strict=True)
    }

    def update(updates: Any, params: Any = None) -> Any:
        return {
            name: jax.tree.map(lambda u, name=name: u / positions[name], update)
            for name, update in updates.items()
        }

    return optax.stateless(update)


def batches(
    images: jax.Array, labels: jax.Array, batch: int, *, shift: int = 0
) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    """Builds the ``sample`` of `bimonn_jax.training.fit`: random images, each shifted on its own.

    Args:
      images: (N, H, W, C), on the device.
      labels: (N,).
      batch: images per batch.
      shift: largest shift in pixels, along both axes; zeros come in.
    """

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        image_key, shift_key = jax.random.split(key)
        index = jax.random.randint(image_key, (batch,), 0, images.shape[0])
        x = images[index]
        if shift:
            corners = jax.random.randint(shift_key, (batch, 2), 0, 2 * shift + 1)
            margins = ((0, 0), (shift, shift), (shift, shift), (0, 0))
            x = jax.vmap(
                lambda image, at: jax.lax.dynamic_slice(image, (*at, 0), images.shape[1:])
            )(jnp.pad(x, margins), corners)
        return x, labels[index]

    return sample


def cross_entropy(temperature: float = 1.0) -> Loss:
    """Mean softmax cross entropy of scores / temperature with integer labels."""

    def loss(scores: jax.Array, labels: jax.Array) -> jax.Array:
        logits = scores / temperature
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))

    return loss


def in_chunks(
    fn: Callable[[jax.Array], jax.Array], images: jax.Array, *, chunk: int = 1000
) -> jax.Array:
    """``fn(images)``, on a limited number at a time: for layers whose output is large."""
    count = images.shape[0]
    chunk = min(chunk, count)
    missing = -count % chunk
    padded = jnp.concatenate([images, images[:missing]])
    parts = jax.lax.map(fn, padded.reshape(-1, chunk, *images.shape[1:]))
    return parts.reshape(-1, *parts.shape[2:])[:count]


def error_percent(
    architecture: Architecture, params: Any, images: jax.Array, labels: jax.Array
) -> jax.Array:
    """Share of the images whose largest score (of equal ones, the first) is not their label's.

    Args:
      architecture: of the classifier.
      params: its parameters, real-valued or boolean.
      images: (N, H, W, C).
      labels: (N,).

    Returns:
      Float (), in percent.
    """
    scores = in_chunks(partial(apply_layers, architecture, params), images)
    return 100 * jnp.mean(jnp.argmax(scores, axis=-1) != labels)


def refit_head(
    architecture: Architecture,
    boolean: Any,
    head: Any,
    sample: Sample,
    validation: tuple[jax.Array, jax.Array],
    *,
    loss: Loss,
    key: jax.Array,
    steps: int,
    learning_rate: float = 5e-3,
) -> Any:
    """Trains the last layer of a binarised classifier on what its boolean layers find.

    Args:
      architecture: of the classifier.
      boolean: its boolean tree; nothing but the head changes.
      head: the head's parameters to start from, real-valued.
      sample: key -> (images, labels).
      validation: images and labels by whose error the head is chosen.
      loss: (scores, labels) -> scalar.
      key: from which the key of every step is derived.
      steps: how many.
      learning_rate: Adam's.

    Returns:
      The boolean tree with the refitted head, binarised if it is a ternary one.
    """
    layers, last = architecture[:-1], architecture[-1]
    images, labels = validation
    found = in_chunks(partial(apply_layers, layers, boolean), images)

    def features(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, y = sample(key)
        return apply_layers(layers, boolean, x), y

    result = fit(
        partial(apply_layers, (last,)),
        {last.name: head},
        features,
        lambda params: {"accuracy": 100 - error_percent((last,), params, found, labels)},
        loss=loss,
        key=key,
        steps=steps,
        steps_per_evaluation=-(-steps // 10),
        score="accuracy",
        optimizer=optax.adam(learning_rate),
    )
    return {**boolean, last.name: binarize_heads(result.params[last.name])}
