"""Classifiers of binarised images: the paper's relaxed one, and one that is boolean throughout."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from bimonn_jax.architecture import Architecture, apply_layers
from bimonn_jax.data_start import latents
from bimonn_jax.heads import TernaryLatents, popcount_signs
from bimonn_jax.initializers import NeuronConfig
from bimonn_jax.layers import (
    DenseLUI,
    Flatten,
    HitOrMiss,
    LevelSets,
    PopcountHead,
    RealHead,
    TernaryHead,
)
from bimonn_jax.losses import Loss
from bimonn_jax.models import Sequential

Head = Literal["real", "ternary", "popcount"]
HEADS: dict[str, Any] = {"real": RealHead, "ternary": TernaryHead, "popcount": PopcountHead}
# Where the boolean neurons stand in the layers of `boolean_classifier`.
_NEURONS, _HEAD = "layers_2", "layers_3"


def boolean_classifier(
    thresholds: tuple, features: int, classes: int, *, head: Head = "ternary"
) -> Sequential:
    """Level sets, one layer of hit-or-miss transforms of the whole image, a head.

    Takes images uint8 (..., H, W, C), gives scores (..., classes).

    Args:
      thresholds: of the level sets, see `bimonn_jax.data.classification.choose_thresholds`.
      features: how many transforms.
      classes: how many.
      head: "ternary" and "popcount" stay boolean; "real" is a linear layer.
    """
    config = NeuronConfig.boolean("erosion")
    return Sequential(
        (LevelSets(thresholds), Flatten(), HitOrMiss(features, config), HEADS[head](classes))
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

    Each transform asks for ``bits`` pixels (on average) of one image to be as they are there;
    pixels that vary more are the likelier. The head starts with its vote for the image's class.
    From a random start all transforms are dead.

    Args:
      key: a JAX random key.
      model: the classifier.
      images: uint8 (N, H, W, C), the training images.
      labels: int (N,).
      bits: pixels per transform.
    """
    init_key, image_key, bit_key, latent_key, head_key = jax.random.split(key, 5)
    params = model.init(init_key, images[:1])["params"]
    neurons = params[_NEURONS]["lui"]
    count, classes = neurons.bias.shape[0], model.modules[-1].features
    chosen = _images_for(image_key, model, labels, count, classes)
    levels = model.architecture[:2]
    mean = jnp.mean(apply_layers(levels, {}, images[:10_000]), axis=0)
    variance = mean * (1 - mean)
    share = jnp.clip(bits * variance / jnp.sum(variance), 0, 0.9)
    x = apply_layers(levels, {}, images[chosen]).T
    asked = jax.random.bernoulli(bit_key, share[:, None], x.shape)
    footprint = jnp.concatenate([asked & x, asked & ~x])
    lui = neurons.replace(weight=latents(latent_key, footprint))
    started = {**params, _NEURONS: {"lui": lui}}
    if isinstance(model.modules[-1], TernaryHead):
        votes = 0.9 * jax.nn.one_hot(labels[chosen], classes) - 0.1
        noise = 0.15 * jax.random.normal(head_key, votes.shape)
        started[_HEAD] = {"head": TernaryLatents(votes + noise)}
    return started


def _images_for(
    key: jax.Array, model: Sequential, labels: jax.Array, count: int, classes: int
) -> jax.Array:
    """Which image each transform starts from; under a popcount head, one that suits its vote."""
    order = jax.random.permutation(key, labels.shape[0])
    if not isinstance(model.modules[-1], PopcountHead):
        return jnp.resize(order, (count,))
    votes = popcount_signs(count, classes)
    group, is_for = jnp.argmax(jnp.abs(votes), axis=1), jnp.sum(votes, axis=1) > 0
    shuffled = labels[order]
    draws = jax.random.uniform(jax.random.fold_in(key, 1), (count,))

    def one(group: jax.Array, is_for: jax.Array, draw: jax.Array) -> jax.Array:
        suits = (shuffled == group) == is_for
        number = jnp.floor(draw * jnp.sum(suits))
        return order[jnp.searchsorted(jnp.cumsum(suits), number + 1)]

    return jax.lax.map(lambda of: one(*of), (group, is_for, draws))


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
    scores = in_chunks(lambda x: apply_layers(architecture, params, x), images)
    return 100 * jnp.mean(jnp.argmax(scores, axis=-1) != labels)
