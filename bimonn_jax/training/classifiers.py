"""Classifiers of binarised images: the paper's relaxed one, and one that is boolean throughout."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import struct

from bimonn_jax._support.random_arrays import randint
from bimonn_jax.morphology.operators import LevelThresholds
from bimonn_jax.networks.architecture import Architecture, apply_layers, layer_outputs
from bimonn_jax.networks.models import Sequential
from bimonn_jax.networks.modules import (
    DenseLUI,
    Flatten,
    HitOrMiss,
    HitOrMissConv,
    LevelSets,
    PopcountHead,
    RealHead,
    TernaryHead,
)
from bimonn_jax.neurons.heads import binarize_heads
from bimonn_jax.neurons.initializers import NeuronConfig
from bimonn_jax.training.evaluation import map_in_chunks
from bimonn_jax.training.loop import Sample, fit
from bimonn_jax.training.losses import Loss

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
    thresholds: LevelThresholds,
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


def to_bits(thresholds: LevelThresholds) -> Architecture:
    """The layers that turn images into the flat bits that both classifiers read."""
    return Sequential((LevelSets(thresholds), Flatten())).architecture


def relaxed_classifier(
    thresholds: LevelThresholds, features: int, classes: int, config: NeuronConfig
) -> Sequential:
    """The paper's network (section 7): level sets, a dense LUI layer, a real head."""
    return Sequential(
        (LevelSets(thresholds), Flatten(), DenseLUI(features, config), RealHead(classes))
    )


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


@struct.dataclass(eq=False)
class _Batches:
    """What `batches` builds: a function that is a tree, whose arrays are the data."""

    images: jax.Array
    labels: jax.Array
    batch: int = struct.field(pytree_node=False)
    shift: int = struct.field(pytree_node=False)

    def __call__(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        image_key, shift_key = jax.random.split(key)
        index = jax.random.randint(image_key, (self.batch,), 0, self.images.shape[0])
        x = self.images[index]
        if self.shift:
            corners = randint(shift_key, (self.batch, 2), 0, 2 * self.shift + 1)
            margins = ((0, 0), (self.shift, self.shift), (self.shift, self.shift), (0, 0))
            x = jax.vmap(
                lambda image, at: jax.lax.dynamic_slice(image, (*at, 0), self.images.shape[1:])
            )(jnp.pad(x, margins), corners)
        return x, self.labels[index]


def batches(images: jax.Array, labels: jax.Array, batch: int, *, shift: int = 0) -> Sample:
    """Builds the ``sample`` of `bimonn_jax.fit`: random images, each shifted on its own.

    Args:
      images: (N, H, W, C), on the device.
      labels: (N,).
      batch: images per batch.
      shift: largest shift in pixels, along both axes; zeros come in.

    Raises:
      ValueError: if there are no images, not as many labels, or a number is out of its range.
    """
    check_labelled(images, labels)
    if batch < 1 or shift < 0:
        raise ValueError(f"batch must be >= 1 and shift >= 0; got {batch} and {shift}")
    return _Batches(images, labels, batch, shift)


def check_labelled(images: jax.Array, labels: jax.Array) -> None:
    """Raises ValueError unless there are images, and as many labels."""
    if not len(images) or len(images) != len(labels):
        raise ValueError(
            "images and labels must be as many, at least one; got the shapes "
            f"{images.shape} and {labels.shape}"
        )


def cross_entropy(temperature: float = 1.0) -> Loss:
    """Mean softmax cross entropy of scores / temperature with integer labels."""
    return partial(_cross_entropy, temperature)


def _cross_entropy(temperature: float, scores: jax.Array, labels: jax.Array) -> jax.Array:
    logits = scores / temperature
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


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

    Raises:
      ValueError: if there are no images, or not as many labels.
    """
    check_labelled(images, labels)
    scores = map_in_chunks(partial(apply_layers, architecture, params), images)
    return 100 * jnp.mean(jnp.argmax(scores, axis=-1).astype(labels.dtype) != labels)


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
      learning_rate: Adam's, decayed to 5 % of it by a cosine.

    Returns:
      The boolean tree with the refitted head, binarised if it is a ternary one.

    Raises:
      ValueError: if there are no validation images, or not as many labels; see also
        `bimonn_jax.fit`.
      FloatingPointError: see `bimonn_jax.fit`.
    """
    layers, last = architecture[:-1], architecture[-1]
    images, labels = validation
    check_labelled(images, labels)
    found = map_in_chunks(partial(apply_layers, layers, boolean), images)
    result = fit(
        partial(apply_layers, (last,)),
        {last.name: head},
        _Features(sample, boolean, layers),
        _Accuracy(found, labels, (last,)),
        loss=loss,
        key=key,
        steps=steps,
        steps_per_evaluation=-(-steps // 10),
        score="accuracy",
        optimizer=_decayed_adam(learning_rate, steps),
    )
    return {**boolean, last.name: binarize_heads(result.params[last.name])}


@lru_cache(maxsize=8)
def _decayed_adam(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """The same object each time, for which `fit` traces nothing again."""
    return optax.adam(optax.cosine_decay_schedule(learning_rate, steps, alpha=0.05))


@struct.dataclass(eq=False)
class _Features:
    """A ``sample`` of what the boolean layers find."""

    sample: Sample
    boolean: Any
    layers: Architecture = struct.field(pytree_node=False)

    def __call__(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, y = self.sample(key)
        return apply_layers(self.layers, self.boolean, x), y


@struct.dataclass(eq=False)
class _Accuracy:
    """An evaluation by `error_percent`."""

    x: jax.Array
    labels: jax.Array
    architecture: Architecture = struct.field(pytree_node=False)

    def __call__(self, params: Any) -> dict[str, jax.Array]:
        error = error_percent(self.architecture, params, self.x, self.labels)
        return {"accuracy": 100 - error}
